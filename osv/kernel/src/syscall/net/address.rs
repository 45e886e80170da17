//! Addresses in program memory.

use crate::errno::{Errno, Result};
use crate::mem::user::{UserAddr, UserPtr, UserSlice};

/// `struct sockaddr_storage`: the longest address.
const MAX_LEN: usize = 128;

/// An address that a program passed.
pub(super) struct Address {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Address {
    /// Reads `len` bytes. EINVAL if no address is so long.
    pub(super) fn read(at: UserAddr, len: u32) -> Result<Address> {
        let len = usize::try_from(len).ok().filter(|&len| len <= MAX_LEN).ok_or(Errno::EINVAL)?;
        let mut address = Address { bytes: [0; MAX_LEN], len };
        UserSlice::new(at.0, len).read_exact(&mut address.bytes[..len])?;
        Ok(address)
    }

    /// As [`Address::read`]; nothing for a null pointer.
    pub(super) fn read_optional(at: UserAddr, len: u32) -> Result<Option<Address>> {
        if at.is_null() { Ok(None) } else { Address::read(at, len).map(Some) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes `address` to a program that has room for `*len` bytes, cut off if need be, and its whole length to `*len`.
pub(super) fn write(address: &[u8], to: UserAddr, len: UserPtr<u32>) -> Result<()> {
    let room = len.read()? as i32;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let shown = &address[..address.len().min(room)];
    UserSlice::new(to.0, shown.len()).write_all(shown)?;
    len.write(&(address.len() as u32))
}
