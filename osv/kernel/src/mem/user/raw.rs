//! The pointer-following core of [`super`]: range check, then `arch`'s fault-proof copy.

use zerocopy::FromBytes;

use super::{USER_END, UserAddr};
use crate::arch::{self, UserInt};
use crate::errno::{Errno, Result};

/// Copies up to `len` bytes from the program; returns how many arrived.
///
/// # Safety
/// - `dst` is writable for `len` bytes.
#[inline(always)]
pub(super) unsafe fn read(dst: *mut u8, src: UserAddr, len: usize) -> usize {
    if src.check(len).is_err() {
        return 0;
    }
    // SAFETY:
    // - `src` lies in the lower half; a fault there ends the copy;
    // - the caller vouches for `dst`.
    len - unsafe { arch::copy_user(dst, src.0 as *const u8, len) }
}

/// Copies up to `len` bytes to the program; returns how many arrived.
///
/// # Safety
/// - `src` is readable for `len` bytes.
#[inline(always)]
pub(super) unsafe fn write(dst: UserAddr, src: *const u8, len: usize) -> usize {
    if dst.check(len).is_err() {
        return 0;
    }
    // SAFETY:
    // - `dst` lies in the lower half, where the kernel has nothing; a fault there ends the copy;
    // - the caller vouches for `src`.
    len - unsafe { arch::copy_user(dst.0 as *mut u8, src, len) }
}

/// As [`read`], all or EFAULT.
///
/// # Safety
/// - `dst` is writable for `len` bytes.
#[inline]
pub(super) unsafe fn read_exact(dst: *mut u8, src: UserAddr, len: usize) -> Result<()> {
    // SAFETY:
    // - the caller vouches for `dst`.
    if unsafe { read(dst, src, len) } == len { Ok(()) } else { Err(Errno::EFAULT) }
}

/// As [`write`], all or EFAULT.
///
/// # Safety
/// - `src` is readable for `len` bytes.
#[inline]
pub(super) unsafe fn write_exact(dst: UserAddr, src: *const u8, len: usize) -> Result<()> {
    // SAFETY:
    // - the caller vouches for `src`.
    if unsafe { write(dst, src, len) } == len { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Fills up to `len` bytes of the program with zeros; returns how many.
#[inline]
pub(super) fn zero(dst: UserAddr, len: usize) -> usize {
    if dst.check(len).is_err() {
        return 0;
    }
    // SAFETY:
    // - `dst` lies in the lower half; a fault there ends the filling.
    len - unsafe { arch::zero_user(dst.0 as *mut u8, len) }
}

/// Copies a string up to its NUL into `buffer`: its length without the NUL, and whether the NUL was found.
/// EFAULT if a byte before the NUL is missing.
#[inline(always)]
pub(super) fn read_string(buffer: &mut [u8], addr: UserAddr) -> Result<(usize, bool)> {
    // What follows the string may be missing, or lie beyond the lower half.
    let room = USER_END.checked_sub(addr.0).filter(|&room| room != 0).ok_or(Errno::EFAULT)?;
    let max = buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    // SAFETY:
    // - `buffer` is writable for `max` bytes, and as many from `addr` on lie in the lower half.
    let len = unsafe { arch::copy_string(buffer.as_mut_ptr(), addr.0 as *const u8, max) }.ok_or(Errno::EFAULT)?;
    if len == max && max < buffer.len() {
        return Err(Errno::EFAULT);
    }
    Ok((len, len < max))
}

/// Reads a value whose size is that of an integer, in one access. `None` for other sizes.
#[inline(always)]
pub(super) fn read_integer<T: FromBytes>(src: UserAddr) -> Option<Result<T>> {
    macro_rules! read {
        ($integer:ty) => {{
            if src.check(size_of::<T>()).is_err() {
                return Some(Err(Errno::EFAULT));
            }
            // SAFETY:
            // - `src` lies in the lower half.
            match unsafe { <$integer>::read_user(src.0 as *const $integer) } {
                // SAFETY:
                // - `T` has the size of the integer, and any bytes make one (`FromBytes`).
                Some(value) => Some(Ok(unsafe { core::mem::transmute_copy(&value) })),
                None => Some(Err(Errno::EFAULT)),
            }
        }};
    }
    match size_of::<T>() {
        1 => read!(u8),
        2 => read!(u16),
        4 => read!(u32),
        8 => read!(u64),
        _ => None,
    }
}

/// Compares and exchanges an aligned word of the program; returns what it was.
#[inline]
pub(super) fn compare_exchange(addr: UserAddr, old: u32, new: u32) -> Result<u32> {
    addr.check(4)?;
    if !addr.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    // SAFETY:
    // - the word lies in the lower half and is aligned.
    unsafe { arch::compare_exchange_user(addr.0 as *mut u32, old, new) }.ok_or(Errno::EFAULT)
}
