//! Physical frames and who owns them.
//!
//! A [`Frame`] is a counted handle of one 4 KiB frame: cloning it counts up, dropping it counts down, the last one
//! gives the frame back. Page tables, page caches and pipes share frames this way and need no other bookkeeping. A
//! [`BigFrame`] is 2 MiB with one owner. The counts live in a table of one word per frame (see `buddy`).
//!
//! [`pool`] hands frames out: per-CPU magazines over the buddy allocator. Memory for programs and file data runs out
//! before the kernel's own does: the last frames are a reserve that only kernel allocations may use, so that the
//! kernel can still end the process that asked for too much.

pub(super) mod pool;

use core::mem::ManuallyDrop;
use core::num::NonZeroU32;
use core::sync::atomic::{Ordering, fence};

use super::buddy::FRAME_LIMIT;
use super::phys::{BIG_PAGE_SIZE, PAGE_SHIFT, PAGE_SIZE, copy_frame, to_virt, zero_frames};
use super::user::{Dest, Source};
use crate::errno::{Errno, Result};
use pool::Purpose;

/// log2 of the frames in a [`BigFrame`].
pub(super) const BIG_ORDER: usize = 9;

/// Set in a handle whose frame is not counted.
const STATIC: u32 = 1 << 31;

/// A counted handle of one physical frame.
#[derive(PartialEq, Eq)]
pub struct Frame(NonZeroU32);

impl Frame {
    /// A new frame full of zeros, for a program or file data; ENOMEM if there is none.
    #[inline(always)]
    pub fn alloc_zeroed() -> Result<Frame> {
        let frame = Frame::alloc_uninit()?;
        // SAFETY:
        // - the frame is new, so this handle is its only user.
        unsafe { zero_frames(frame.phys(), PAGE_SIZE) };
        Ok(frame)
    }

    /// A new frame with whatever was in it before: the caller overwrites all of it before a program can see it.
    #[inline]
    pub fn alloc_uninit() -> Result<Frame> {
        Frame::alloc_for(Purpose::Program)
    }

    /// A new zeroed frame for the kernel's own needs, which may come from the reserve.
    pub(super) fn alloc_kernel() -> Result<Frame> {
        let frame = Frame::alloc_for(Purpose::Kernel)?;
        // SAFETY:
        // - the frame is new, so this handle is its only user.
        unsafe { zero_frames(frame.phys(), PAGE_SIZE) };
        Ok(frame)
    }

    #[inline]
    fn alloc_for(purpose: Purpose) -> Result<Frame> {
        let number = NonZeroU32::new(pool::alloc(purpose).ok_or(Errno::ENOMEM)?).ok_or(Errno::ENOMEM)?;
        pool::word(number.get()).store(1, Ordering::Relaxed);
        Ok(Frame(number))
    }

    /// A new frame with the contents of this one.
    pub fn duplicate(&self) -> Result<Frame> {
        let copy = Frame::alloc_uninit()?;
        // SAFETY:
        // - the copy is new; the original stays allocated while `self` lives.
        unsafe { copy_frame(copy.phys(), self.phys()) };
        Ok(copy)
    }

    /// A handle of memory that is never given back: boot images in reserved RAM. `phys` is cut down to a page boundary;
    /// nothing for page 0 or above 1 TiB.
    pub fn from_phys_static(phys: u64) -> Option<Frame> {
        let number = u32::try_from(phys >> PAGE_SHIFT).ok()?;
        if number == 0 || number >= FRAME_LIMIT {
            return None;
        }
        NonZeroU32::new(number | STATIC).map(Frame)
    }

    fn number(&self) -> u32 {
        self.0.get() & !STATIC
    }

    /// Whether the handle is counted: not so for [`Frame::from_phys_static`].
    #[inline]
    pub fn is_counted(&self) -> bool {
        self.0.get() & STATIC == 0
    }

    /// Its physical address.
    #[inline]
    pub fn phys(&self) -> u64 {
        u64::from(self.number()) << PAGE_SHIFT
    }

    /// Whether nobody else has a handle of this frame or maps it.
    #[inline]
    pub fn is_sole_owner(&self) -> bool {
        self.has_owners(1)
    }

    /// Whether exactly `count` handles of this frame exist, this one and those in page tables included.
    #[inline]
    pub(super) fn has_owners(&self, count: u64) -> bool {
        self.is_counted() && pool::word(self.number()).load(Ordering::Acquire) == count
    }

    /// Gives up the handle without counting down: the caller keeps the count elsewhere, as in a page-table entry.
    #[inline]
    pub(super) fn into_raw(self) -> u64 {
        ManuallyDrop::new(self).phys()
    }

    /// Takes back what [`Frame::into_raw`] gave up.
    ///
    /// # Safety
    /// - `phys` came from `into_raw` of a handle with this `counted`, and is taken back once.
    #[inline]
    pub(super) unsafe fn from_raw(phys: u64, counted: bool) -> Frame {
        let bits = (phys >> PAGE_SHIFT) as u32 | if counted { 0 } else { STATIC };
        debug_assert!(bits != 0);
        // SAFETY:
        // - frame 0 is never handed out, so the number is not 0.
        Frame(unsafe { NonZeroU32::new_unchecked(bits) })
    }

    /// Where the kernel sees its bytes. Programs may see and change them, too.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        to_virt(self.phys())
    }

    /// All its bytes, if this is the only handle, so that nobody else can change them meanwhile.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8; PAGE_SIZE]> {
        if !self.is_sole_owner() {
            return None;
        }
        // SAFETY:
        // - the frame is RAM of this size, and this handle the only way to it while `self` is borrowed.
        Some(unsafe { &mut *self.as_ptr().cast() })
    }

    /// Copies bytes out, from `offset` on; reads less than `buffer` holds at the end of the frame.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let len = buffer.len().min(PAGE_SIZE.saturating_sub(offset));
        if len != 0 {
            // SAFETY:
            // - `offset + len` is within the frame; `buffer` is not in any frame that programs share.
            unsafe { core::ptr::copy_nonoverlapping(self.as_ptr().add(offset), buffer.as_mut_ptr(), len) };
        }
        len
    }

    /// Copies bytes in, from `offset` on; writes less than `data` at the end of the frame.
    pub fn write(&self, offset: usize, data: &[u8]) -> usize {
        let len = data.len().min(PAGE_SIZE.saturating_sub(offset));
        if len != 0 {
            // SAFETY:
            // - `offset + len` is within the frame; `data` is not in any frame that programs share.
            unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), self.as_ptr().add(offset), len) };
        }
        len
    }

    /// Writes zeros from `offset` up to `end` (cut to the frame).
    pub fn zero(&self, offset: usize, end: usize) {
        let end = end.min(PAGE_SIZE);
        if offset < end {
            // SAFETY:
            // - the range is within the frame.
            unsafe { core::ptr::write_bytes(self.as_ptr().add(offset), 0, end - offset) };
        }
    }

    /// Copies `len` bytes at `offset` from the same place in `other`.
    pub(super) fn copy_from(&self, other: &Frame, offset: usize, len: usize) {
        let len = len.min(PAGE_SIZE.saturating_sub(offset));
        // SAFETY:
        // - the range is within both frames, which stay allocated meanwhile; `copy` allows them to be the same.
        unsafe { core::ptr::copy(other.as_ptr().wrapping_add(offset), self.as_ptr().wrapping_add(offset), len) };
    }

    /// Moves up to `len` bytes from `offset` on to `dest`: a file's `read`.
    #[inline(always)]
    pub fn read_to(&self, offset: usize, len: usize, dest: &mut Dest<'_>) -> Result<usize> {
        let len = len.min(PAGE_SIZE.saturating_sub(offset));
        // SAFETY:
        // - `len` bytes from `offset` on are within the frame, which stays allocated while `self` lives.
        unsafe { dest.push_raw(self.as_ptr().wrapping_add(offset), len) }
    }

    /// Moves up to `len` bytes from `source` to `offset`: a file's `write`.
    #[inline]
    pub fn write_from(&self, offset: usize, len: usize, source: &mut Source<'_>) -> Result<usize> {
        let len = len.min(PAGE_SIZE.saturating_sub(offset));
        // SAFETY:
        // - `len` bytes from `offset` on are within the frame, which stays allocated while `self` lives.
        unsafe { source.pull_raw(self.as_ptr().wrapping_add(offset), len) }
    }
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Frame {
        if self.is_counted() {
            pool::word(self.number()).fetch_add(1, Ordering::Relaxed);
        }
        Frame(self.0)
    }
}

impl Frame {
    /// Counts this handle down; whether it was the last one.
    #[inline]
    fn is_last(&self) -> bool {
        if !self.is_counted() {
            return false;
        }
        let word = pool::word(self.number());
        if word.load(Ordering::Acquire) != 1 {
            if word.fetch_sub(1, Ordering::Release) != 1 {
                return false;
            }
            fence(Ordering::Acquire);
        }
        true
    }

    /// Drops the handle, except that the frame, if it was the last one, is left for the caller to give back by its number.
    #[inline]
    pub(super) fn release(self) -> Option<u32> {
        let this = ManuallyDrop::new(self);
        this.is_last().then(|| this.number())
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if self.is_last() {
            pool::free(self.number());
        }
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Frame({:#x})", self.phys())
    }
}

/// 2 MiB of physical memory with one owner.
#[derive(Debug)]
pub struct BigFrame(NonZeroU32);

impl BigFrame {
    /// 2 MiB of zeros for a program, if they can be had easily; never from memory that is short.
    #[inline(always)]
    pub fn alloc_zeroed() -> Option<BigFrame> {
        let number = NonZeroU32::new(pool::alloc_block(BIG_ORDER, Purpose::Luxury)?)?;
        let frame = BigFrame(number);
        // SAFETY:
        // - the block is new.
        unsafe { zero_frames(frame.phys(), BIG_PAGE_SIZE) };
        Some(frame)
    }

    /// Its physical address.
    pub fn phys(&self) -> u64 {
        u64::from(self.0.get()) << PAGE_SHIFT
    }

    /// Gives up the handle, to be kept in a page-table entry.
    pub(super) fn into_raw(self) -> u64 {
        ManuallyDrop::new(self).phys()
    }

    /// Takes back what [`BigFrame::into_raw`] gave up.
    ///
    /// # Safety
    /// - `phys` came from `into_raw` and is taken back once.
    pub(super) unsafe fn from_raw(phys: u64) -> BigFrame {
        // SAFETY:
        // - frame 0 is never handed out.
        BigFrame(unsafe { NonZeroU32::new_unchecked((phys >> PAGE_SHIFT) as u32) })
    }

    /// Turns it into 512 frames with a handle each, given up as by [`Frame::into_raw`]: the first one's address.
    pub(super) fn split_raw(self) -> u64 {
        let first = self.0.get();
        for number in first..first + (1 << BIG_ORDER) {
            pool::word(number).store(1, Ordering::Relaxed);
        }
        self.into_raw()
    }
}

impl Drop for BigFrame {
    fn drop(&mut self) {
        pool::free_block(self.0.get(), BIG_ORDER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_handle_frees() {
        let frame = Frame::alloc_zeroed().unwrap();
        assert!(frame.is_sole_owner());
        let other = frame.clone();
        assert!(!frame.is_sole_owner());
        frame.write(10, b"hello");
        let mut bytes = [0; 5];
        assert_eq!(other.read(10, &mut bytes), 5);
        assert_eq!(&bytes, b"hello");
        drop(frame);
        assert!(other.is_sole_owner());
        let copy = other.duplicate().unwrap();
        assert_ne!(copy.phys(), other.phys());
        assert_eq!(copy.read(4094, &mut bytes), 2);
    }

    #[test]
    fn static_frames_are_not_counted() {
        let frame = Frame::from_phys_static(0x5123).unwrap();
        assert_eq!(frame.phys(), 0x5000);
        assert!(!frame.clone().is_sole_owner());
        assert!(Frame::from_phys_static(5).is_none());
        assert!(Frame::from_phys_static(u64::MAX).is_none());
    }

    #[test]
    fn big_frames_fall_apart_into_frames() {
        let big = BigFrame::alloc_zeroed().unwrap();
        assert_eq!(big.phys() % BIG_PAGE_SIZE as u64, 0);
        let first = big.split_raw();
        for index in 0..512 {
            // SAFETY:
            // - each of the 512 handles is taken back once.
            let frame = unsafe { Frame::from_raw(first + index * PAGE_SIZE as u64, true) };
            assert!(frame.is_sole_owner());
        }
    }
}
