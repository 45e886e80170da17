//! Physical memory, seen through the direct map.
//!
//! All RAM is mapped at `DIRECT_MAP`, so a physical address becomes a pointer by one addition. In host tests "RAM" is a
//! zeroed allocation, with physical address 0 at its start.

use crate::arch;

/// Bytes of a page or frame.
pub const PAGE_SIZE: usize = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a big page.
pub const BIG_PAGE_SIZE: usize = 2 << 20;

/// `addr` rounded down to a page boundary.
pub const fn page_down(addr: u64) -> u64 {
    addr & !(PAGE_SIZE as u64 - 1)
}

/// `len` rounded up to whole pages, unless that overflows.
pub const fn page_up(len: u64) -> Option<u64> {
    match len.checked_add(PAGE_SIZE as u64 - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}

/// Where physical address `phys` can be accessed.
#[inline(always)]
#[cfg(not(test))]
pub fn to_virt(phys: u64) -> *mut u8 {
    (arch::layout::DIRECT_MAP + phys) as *mut u8
}

/// Where physical address `phys` can be accessed.
#[cfg(test)]
pub fn to_virt(phys: u64) -> *mut u8 {
    fake::ram().wrapping_add(phys as usize)
}

/// Fills frames with zeros, `bytes` from `phys` on.
///
/// # Safety
/// - The frames are RAM, and the caller their only user.
#[inline]
pub(super) unsafe fn zero_frames(phys: u64, bytes: usize) {
    for offset in (0..bytes).step_by(PAGE_SIZE) {
        // SAFETY:
        // - frames are aligned, and the caller vouches for the rest.
        unsafe { arch::zero_page(to_virt(phys).wrapping_add(offset)) };
    }
}

/// Copies the frame at `from` to the one at `to`.
///
/// # Safety
/// - Both are RAM, `from` stays allocated meanwhile, and the caller is the only user of `to`.
#[inline]
pub(super) unsafe fn copy_frame(to: u64, from: u64) {
    // SAFETY:
    // - frames are aligned; the caller vouches for the rest.
    unsafe { arch::copy_page(to_virt(to), to_virt(from)) };
}

/// The RAM of host tests.
#[cfg(test)]
pub(super) mod fake {
    use std::alloc::{Layout, alloc_zeroed};
    use std::sync::OnceLock;

    use crate::mem::buddy::FRAME_LIMIT;

    /// Bytes of fake RAM; the host's own memory is only used where it is touched.
    pub const BYTES: usize = 1 << 30;
    /// Frames of fake RAM.
    pub const FRAMES: u32 = (BYTES >> 12) as u32;
    const _: () = assert!(FRAMES < FRAME_LIMIT);

    fn zeroed(bytes: usize) -> usize {
        // SAFETY:
        // - the size is not 0.
        let memory = unsafe { alloc_zeroed(Layout::from_size_align(bytes, 2 << 20).unwrap()) };
        assert!(!memory.is_null());
        memory as usize
    }

    /// Where the RAM starts.
    pub fn ram() -> *mut u8 {
        static RAM: OnceLock<usize> = OnceLock::new();
        *RAM.get_or_init(|| zeroed(BYTES)) as *mut u8
    }

    /// The words of its frames.
    pub fn words() -> *mut u8 {
        static WORDS: OnceLock<usize> = OnceLock::new();
        *WORDS.get_or_init(|| zeroed(FRAMES as usize * 8)) as *mut u8
    }
}
