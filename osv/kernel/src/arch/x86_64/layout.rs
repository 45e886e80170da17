//! Where things are in the address space.
//!
//! The lower half belongs to programs and looks as on Linux. The upper half is the kernel's and the same in
//! every address space. `kernel.ld` repeats [`KERNEL_BASE`].

/// Size of a page, the unit of mapping.
pub const PAGE_SIZE: usize = 4096;

/// First address past what a program can map: one page short of the lower half, as on Linux.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// All physical memory: physical address `p` is at `DIRECT_MAP + p`.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// Kernel stacks, each with an unmapped page below it.
pub const STACKS: u64 = 0xffff_c000_0000_0000;

/// The kernel's own image: linked at `KERNEL_BASE` plus its physical address.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Physical memory that the boot page tables map, at 0, at [`DIRECT_MAP`] and (2 GiB of it) at [`KERNEL_BASE`].
pub const BOOT_MAPPED: u64 = 4 << 30;

unsafe extern "C" {
    static __kernel_start: u8;
    static __kernel_end: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
}

/// A half-open range of virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

impl Span {
    /// Whether `addr` lies inside.
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// The same range of the kernel's image as physical addresses.
    pub const fn physical(self) -> Span {
        Span { start: self.start.wrapping_sub(KERNEL_BASE), end: self.end.wrapping_sub(KERNEL_BASE) }
    }
}

/// The whole kernel image, hand-off page and `.bss` included.
pub fn kernel_image() -> Span {
    Span { start: &raw const __kernel_start as u64, end: &raw const __kernel_end as u64 }
}

/// Kernel code: to be mapped readable and executable.
pub fn kernel_text() -> Span {
    Span { start: &raw const __text_start as u64, end: &raw const __text_end as u64 }
}

/// Constants: to be mapped read-only.
pub fn kernel_rodata() -> Span {
    Span { start: &raw const __rodata_start as u64, end: &raw const __rodata_end as u64 }
}

/// Data and `.bss`: to be mapped writable, not executable.
pub fn kernel_data() -> Span {
    Span { start: &raw const __data_start as u64, end: &raw const __kernel_end as u64 }
}
