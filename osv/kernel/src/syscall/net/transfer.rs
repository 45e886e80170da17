//! `sendto(2)`, `recvfrom(2)`: one piece of memory, no control data.

use super::address::{self, Address};
use super::message::{send, sendable};
use super::{patience, socket_at};
use crate::errno::Errno;
use crate::mem::user::{Dest, Source, UserAddr, UserPtr, UserSlice};
use crate::net::{Ancillary, MessageFlags};
use crate::syscall::{Fd, SysResult};

/// Sends. <https://man7.org/linux/man-pages/man2/sendto.2.html>
pub fn sendto(fd: Fd, data: UserAddr, len: usize, flags: u32, to: UserAddr, to_len: u32) -> SysResult {
    let (file, socket) = socket_at(fd)?;
    let flags = sendable(MessageFlags::from_bits_truncate(flags))?;
    let to = Address::read_optional(to, to_len)?;
    data.check(len)?;
    let mut source = Source::from_user(UserSlice::new(data.0, len));
    let how = patience(&file, flags, socket.time_limits().1);
    let to = to.as_ref().map(Address::bytes);
    Ok(send(&*socket, &mut source, to, Ancillary::default(), flags, how)? as u64)
}

/// Receives. <https://man7.org/linux/man-pages/man2/recvfrom.2.html>
pub fn recvfrom(fd: Fd, buffer: UserAddr, len: usize, flags: u32, from: UserAddr, from_len: UserPtr<u32>) -> SysResult {
    let (file, socket) = socket_at(fd)?;
    let flags = MessageFlags::from_bits_truncate(flags);
    buffer.check(len)?;
    let mut dest = Dest::from_user(UserSlice::new(buffer.0, len));
    let how = patience(&file, flags, socket.time_limits().0);
    let received = socket.receive(&mut dest, flags, how)?;
    if !from.is_null() {
        match &received.address {
            Some(address) => address::write(address, from, from_len)?,
            None if from_len.is_null() => return Err(Errno::EFAULT),
            None => from_len.write(&0)?,
        }
    }
    Ok(received.count as u64)
}
