//! The pointer-following core of [`super`]: range check, then `arch`'s fault-proof copy.

use core::sync::atomic::{AtomicU32, Ordering};

use super::UserAddr;
use crate::errno::{Errno, Result};

/// Copies up to `len` bytes from the program; returns how many arrived.
///
/// # Safety
/// - `dst` is writable for `len` bytes.
#[inline]
pub(super) unsafe fn read(dst: *mut u8, src: UserAddr, len: usize) -> usize {
    if src.check(len).is_err() {
        return 0;
    }
    // SAFETY:
    // - `src` lies in the lower half; a fault there ends the copy;
    // - the caller vouches for `dst`.
    len - unsafe { copy_user(dst, src.0 as *const u8, len) }
}

/// Copies up to `len` bytes to the program; returns how many arrived.
///
/// # Safety
/// - `src` is readable for `len` bytes.
#[inline]
pub(super) unsafe fn write(dst: UserAddr, src: *const u8, len: usize) -> usize {
    if dst.check(len).is_err() {
        return 0;
    }
    // SAFETY:
    // - `dst` lies in the lower half, where the kernel has nothing; a fault there ends the copy;
    // - the caller vouches for `src`.
    len - unsafe { copy_user(dst.0 as *mut u8, src, len) }
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
pub(super) fn zero(dst: UserAddr, len: usize) -> usize {
    static ZEROS: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < len {
        let step = ZEROS.len().min(len - done);
        // SAFETY:
        // - `ZEROS` is readable for `step` bytes.
        let moved = unsafe { write(dst.add(done as u64), ZEROS.as_ptr(), step) };
        done += moved;
        if moved < step {
            break;
        }
    }
    done
}

/// Copies a string up to its NUL into `buffer`: its length without the NUL, and whether the NUL was found.
/// EFAULT if a byte before the NUL is missing.
pub(super) fn read_string(buffer: &mut [u8], addr: UserAddr) -> Result<(usize, bool)> {
    const PAGE: u64 = 4096;
    let mut len = 0;
    while len < buffer.len() {
        let at = addr.add(len as u64);
        // Never beyond the page, and no more than is likely to be needed: what follows the string may be missing.
        let step = (64.min(buffer.len() - len)).min((PAGE - at.0 % PAGE) as usize);
        let chunk = &mut buffer[len..len + step];
        // SAFETY:
        // - `chunk` is writable for its length.
        unsafe { read_exact(chunk.as_mut_ptr(), at, step)? };
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            return Ok((len + end, true));
        }
        len += step;
    }
    Ok((len, false))
}

/// Compares and exchanges an aligned word of the program; returns what it was.
pub(super) fn compare_exchange(addr: UserAddr, old: u32, new: u32) -> Result<u32> {
    addr.check(4)?;
    if addr.0 % 4 != 0 {
        return Err(Errno::EINVAL);
    }
    compare_exchange_user(addr.0 as *mut u32, old, new)
}

/// Copies `len` bytes, of which one side is a program's; returns how many could not be copied.
unsafe fn copy_user(dst: *mut u8, src: *const u8, len: usize) -> usize {
    // SAFETY:
    // - placeholder until arch's fix-ups land.
    unsafe { core::ptr::copy(src, dst, len) };
    0
}

fn compare_exchange_user(word: *mut u32, old: u32, new: u32) -> Result<u32> {
    // SAFETY:
    // - placeholder until arch's fix-ups land.
    match unsafe { AtomicU32::from_ptr(word) }.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(seen) | Err(seen) => Ok(seen),
    }
}
