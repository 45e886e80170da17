//! Where memory management keeps things in the upper half, beside what [`crate::arch::layout`] says.

pub use crate::arch::layout::{DIRECT_MAP, KERNEL_BASE, PAGE_SIZE, STACKS, USER_END};

/// Device registers, mapped uncached one after the other.
pub const MMIO: u64 = 0xffff_d000_0000_0000;

/// One word for each frame of RAM (see `frame`).
pub const WORDS: u64 = 0xffff_e000_0000_0000;

/// Bytes that one entry of the top page table maps: each area above has one, the direct map as many as it needs.
pub const TOP_ENTRY_BYTES: u64 = 1 << 39;

/// The lowest address that a program can map, as Linux' `vm.mmap_min_addr`.
pub const MMAP_MIN_ADDR: u64 = 0x1_0000;

/// Where the first instructions of other CPUs are copied to: a page below 1 MiB, kept out of use.
pub const AP_TRAMPOLINE: u64 = 0x8000;
