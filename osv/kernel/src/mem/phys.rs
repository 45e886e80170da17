//! Physical memory, seen through the direct map.
//!
//! All RAM is mapped at `DIRECT_MAP`, so a physical address becomes a pointer by one addition. In host tests "RAM" is a
//! zeroed allocation, with physical address 0 at its start.

use core::arch::x86_64::{__m128i, _mm_load_si128, _mm_setzero_si128, _mm_store_si128};

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
    (crate::arch::layout::DIRECT_MAP + phys) as *mut u8
}

/// Where physical address `phys` can be accessed.
#[cfg(test)]
pub fn to_virt(phys: u64) -> *mut u8 {
    fake::ram().wrapping_add(phys as usize)
}

/// Fills the frame at `phys` with zeros.
///
/// # Safety
/// - The frame is RAM, and the caller its only user.
#[inline]
pub(super) unsafe fn zero_frames(phys: u64, bytes: usize) {
    let start = to_virt(phys).cast::<__m128i>();
    let mut at = start;
    let end = start.wrapping_byte_add(bytes);
    while at < end {
        // SAFETY:
        // - frames are aligned and whole multiples of 8 vectors, and the caller owns them.
        unsafe {
            let zero = _mm_setzero_si128();
            _mm_store_si128(at, zero);
            _mm_store_si128(at.add(1), zero);
            _mm_store_si128(at.add(2), zero);
            _mm_store_si128(at.add(3), zero);
            _mm_store_si128(at.add(4), zero);
            _mm_store_si128(at.add(5), zero);
            _mm_store_si128(at.add(6), zero);
            _mm_store_si128(at.add(7), zero);
            at = at.add(8);
        }
    }
}

/// Copies the frame at `from` to the one at `to`.
///
/// # Safety
/// - Both are RAM, `from` stays allocated meanwhile, and the caller is the only user of `to`.
#[inline]
pub(super) unsafe fn copy_frame(to: u64, from: u64) {
    let (mut to, mut from) = (to_virt(to).cast::<__m128i>(), to_virt(from).cast::<__m128i>());
    for _ in 0..PAGE_SIZE / (4 * size_of::<__m128i>()) {
        // SAFETY:
        // - frames are aligned and whole multiples of 4 vectors; the caller vouches for both.
        unsafe {
            let (a, b) = (_mm_load_si128(from), _mm_load_si128(from.add(1)));
            let (c, d) = (_mm_load_si128(from.add(2)), _mm_load_si128(from.add(3)));
            _mm_store_si128(to, a);
            _mm_store_si128(to.add(1), b);
            _mm_store_si128(to.add(2), c);
            _mm_store_si128(to.add(3), d);
            from = from.add(4);
            to = to.add(4);
        }
    }
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
