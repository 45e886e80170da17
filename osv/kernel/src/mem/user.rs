//! A program's memory, as system calls see it.
//!
//! Programs hand addresses to the kernel, and every one of them may be a lie. This module is the only one that
//! follows them: it refuses what is not in the lower half, copies with `arch`'s fix-ups, and turns a page that is
//! not there into EFAULT. A page that is there but not yet mapped faults in like the program's own accesses, which
//! may sleep: so never call in here while holding a spin lock.
//!
//! - [`UserPtr<T>`] and [`UserSlice`] are typed addresses: one value, or a run of bytes.
//! - [`Source`] and [`Dest`] are cursors over program memory *or* kernel memory. Files and pipes take them, so that
//!   one implementation of `read` and `write` serves system calls and the kernel's own needs.
//! - [`Iovecs`] is the imported array of `readv` and friends.
//!
//! A copy that stops half-way reports what it moved, as on Linux; EFAULT is returned only if nothing moved.

mod cursor;
mod iovec;
mod raw;

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, size_of};

use zerocopy::{FromBytes, IntoBytes};

use crate::errno::{Errno, Result};

pub use super::layout::USER_END;
pub use cursor::{Dest, Source};
pub use iovec::{IOV_MAX, Iovecs};

/// An address that a program gave, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
#[repr(transparent)]
pub struct UserAddr(pub u64);

impl UserAddr {
    /// Whether it is the null pointer, which many calls take for "absent".
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `offset` bytes further; saturates, so that what was out of range stays so.
    pub const fn add(self, offset: u64) -> UserAddr {
        UserAddr(self.0.saturating_add(offset))
    }

    /// EFAULT unless `len` bytes from here lie in the lower half.
    #[inline(always)]
    pub fn check(self, len: usize) -> Result<()> {
        match self.0.checked_add(len as u64) {
            Some(end) if end <= USER_END => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}

/// The address of a `T` in a program's memory.
#[repr(transparent)]
pub struct UserPtr<T> {
    addr: UserAddr,
    of: PhantomData<*mut T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

// SAFETY:
// - it is a number; following it checks and copies, on whatever thread.
unsafe impl<T> Send for UserPtr<T> {}
// SAFETY:
// - as for `Send`.
unsafe impl<T> Sync for UserPtr<T> {}

impl<T> core::fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.addr.0)
    }
}

impl<T> UserPtr<T> {
    /// A `T` at `addr`.
    pub const fn new(addr: u64) -> Self {
        UserPtr { addr: UserAddr(addr), of: PhantomData }
    }

    /// Where it points.
    pub const fn addr(self) -> UserAddr {
        self.addr
    }

    /// Whether it is the null pointer.
    pub const fn is_null(self) -> bool {
        self.addr.is_null()
    }

    /// The pointer itself, or nothing if it is null: for optional arguments.
    pub const fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }

    /// The element `index` of an array that starts here.
    pub const fn at(self, index: usize) -> Self {
        UserPtr::new(self.addr.0.saturating_add((index as u64).saturating_mul(size_of::<T>() as u64)))
    }

    /// The same address as a `U`.
    pub const fn cast<U>(self) -> UserPtr<U> {
        UserPtr::new(self.addr.0)
    }
}

impl<T: FromBytes> UserPtr<T> {
    /// Copies the value into the kernel.
    #[inline]
    pub fn read(self) -> Result<T> {
        if let Some(result) = raw::read_integer(self.addr) {
            return result;
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY:
        // - `value` is writable for `size_of::<T>()` bytes.
        unsafe { raw::read_exact(value.as_mut_ptr().cast(), self.addr, size_of::<T>())? };
        // SAFETY:
        // - every byte was written, and any bytes make a `T` (`FromBytes`).
        Ok(unsafe { value.assume_init() })
    }

    /// Copies `count` values that lie one after the other; ENOMEM if the kernel has no room for them.
    pub fn read_vec(self, count: usize) -> Result<Vec<T>> {
        let len = count.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
        self.addr.check(len)?;
        let mut values = Vec::<T>::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        // SAFETY:
        // - room for `count` values, so for `len` bytes, has just been reserved.
        unsafe { raw::read_exact(values.as_mut_ptr().cast(), self.addr, len)? };
        // SAFETY:
        // - `count` values were written, and any bytes make a `T` (`FromBytes`).
        unsafe { values.set_len(count) };
        Ok(values)
    }
}

impl<T: IntoBytes + zerocopy::Immutable> UserPtr<T> {
    /// Copies `value` to the program.
    #[inline]
    pub fn write(self, value: &T) -> Result<()> {
        // SAFETY:
        // - `value` is initialised and has no padding (`IntoBytes`), so all its bytes are readable.
        unsafe { raw::write_exact(self.addr, core::ptr::from_ref(value).cast(), size_of::<T>()) }
    }

    /// Copies `values` to the program, one after the other.
    pub fn write_slice(self, values: &[T]) -> Result<()> {
        // SAFETY:
        // - the slice is initialised and without padding (`IntoBytes`).
        unsafe { raw::write_exact(self.addr, values.as_ptr().cast(), size_of_val(values)) }
    }
}

impl UserPtr<u32> {
    /// Compares the word with `old` and, where it is the same, replaces it by `new`, in one atomic step. Returns what
    /// the word was. For futexes; the word has to be aligned (EINVAL).
    pub fn compare_exchange(self, old: u32, new: u32) -> Result<u32> {
        raw::compare_exchange(self.addr, old, new)
    }

    /// Replaces the word by `change` of it, atomically, and returns what it was. For FUTEX_WAKE_OP.
    pub fn fetch_update(self, mut change: impl FnMut(u32) -> u32) -> Result<u32> {
        let mut old = self.read()?;
        loop {
            let seen = self.compare_exchange(old, change(old))?;
            if seen == old {
                return Ok(old);
            }
            old = seen;
        }
    }
}

/// A run of bytes in a program's memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserSlice {
    addr: UserAddr,
    len: usize,
}

impl UserSlice {
    /// `len` bytes at `addr`. Nothing is checked before they are touched.
    pub const fn new(addr: u64, len: usize) -> Self {
        UserSlice { addr: UserAddr(addr), len }
    }

    /// Where it starts.
    pub const fn addr(&self) -> UserAddr {
        self.addr
    }

    /// Its length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the whole slice; EFAULT if any byte is missing. `buffer` must be as long as the slice (EINVAL).
    pub fn read_exact(&self, buffer: &mut [u8]) -> Result<()> {
        if buffer.len() != self.len {
            return Err(Errno::EINVAL);
        }
        // SAFETY:
        // - `buffer` is writable for its length.
        unsafe { raw::read_exact(buffer.as_mut_ptr(), self.addr, buffer.len()) }
    }

    /// Copies the whole slice into a new vector; ENOMEM if the kernel has no room.
    pub fn read_vec(&self) -> Result<Vec<u8>> {
        UserPtr::<u8>::new(self.addr.0).read_vec(self.len)
    }

    /// Copies `data` to the start of the slice; EFAULT if any byte is missing, EINVAL if it is too short.
    pub fn write_all(&self, data: &[u8]) -> Result<()> {
        if data.len() > self.len {
            return Err(Errno::EINVAL);
        }
        // SAFETY:
        // - `data` is readable for its length.
        unsafe { raw::write_exact(self.addr, data.as_ptr(), data.len()) }
    }
}

/// Copies the string at `addr` up to its NUL, which is left out. ENAMETOOLONG if there is none in `max` bytes.
pub fn read_cstr(addr: UserAddr, max: usize) -> Result<Vec<u8>> {
    const CHUNK: usize = 256;
    let mut text = Vec::new();
    let mut chunk = [0u8; CHUNK];
    while text.len() < max {
        let want = CHUNK.min(max - text.len());
        let (len, ended) = raw::read_string(&mut chunk[..want], addr.add(text.len() as u64))?;
        text.try_reserve(len).map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(&chunk[..len]);
        if ended {
            return Ok(text);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

/// Copies the string at `addr` into `buffer`, without its NUL, and returns what it filled: for paths, on the stack.
/// ENAMETOOLONG if the string and its NUL do not fit.
pub fn read_cstr_into(addr: UserAddr, buffer: &mut [u8]) -> Result<&[u8]> {
    let (len, ended) = raw::read_string(buffer, addr)?;
    if ended { Ok(&buffer[..len]) } else { Err(Errno::ENAMETOOLONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_travel_both_ways() {
        let mut cell = 5u32;
        let ptr = UserPtr::<u32>::new(&raw mut cell as u64);
        assert_eq!(ptr.read(), Ok(5));
        ptr.write(&7).unwrap();
        assert_eq!(cell, 7);
        assert_eq!(ptr.compare_exchange(7, 9), Ok(7));
        assert_eq!(ptr.fetch_update(|word| word + 1), Ok(9));
        assert_eq!(cell, 10);
    }

    #[test]
    fn the_upper_half_is_refused() {
        assert_eq!(UserPtr::<u32>::new(0xffff_ffff_8000_0000).read(), Err(Errno::EFAULT));
        assert_eq!(UserPtr::<u64>::new(u64::MAX - 3).read(), Err(Errno::EFAULT));
        assert_eq!(UserPtr::<u64>::new(USER_END - 4).write(&1), Err(Errno::EFAULT));
        assert_eq!(UserPtr::<u64>::new(8).read_vec(usize::MAX), Err(Errno::EFAULT));
    }

    #[test]
    fn strings_end_at_their_nul() {
        let long = [b'a'; 700];
        let mut text = long.to_vec();
        text.push(0);
        let addr = UserAddr(text.as_ptr() as u64);
        assert_eq!(read_cstr(addr, 4096).unwrap(), long);
        assert_eq!(read_cstr(addr, 700), Err(Errno::ENAMETOOLONG));
        let mut buffer = [0; 701];
        assert_eq!(read_cstr_into(addr, &mut buffer).unwrap(), long);
        assert_eq!(read_cstr_into(addr, &mut buffer[..700]), Err(Errno::ENAMETOOLONG));
    }
}
