//! `bind(2)`, `getsockname(2)`, `getpeername(2)`.

use super::address::{self, Address};
use super::socket_at;
use crate::mem::user::{UserAddr, UserPtr};
use crate::syscall::{Fd, SysResult};

/// Gives a socket an address. <https://man7.org/linux/man-pages/man2/bind.2.html>
pub fn bind(fd: Fd, address: UserAddr, len: u32) -> SysResult {
    let (_, socket) = socket_at(fd)?;
    socket.bind(Address::read(address, len)?.bytes())?;
    Ok(0)
}

/// A socket's own address. <https://man7.org/linux/man-pages/man2/getsockname.2.html>
pub fn getsockname(fd: Fd, address: UserAddr, len: UserPtr<u32>) -> SysResult {
    let (_, socket) = socket_at(fd)?;
    address::write(&socket.name()?, address, len)?;
    Ok(0)
}

/// The address of the other side. <https://man7.org/linux/man-pages/man2/getpeername.2.html>
pub fn getpeername(fd: Fd, address: UserAddr, len: UserPtr<u32>) -> SysResult {
    let (_, socket) = socket_at(fd)?;
    address::write(&socket.peer_name()?, address, len)?;
    Ok(0)
}
