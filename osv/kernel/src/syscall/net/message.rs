//! `sendmsg(2)`, `recvmsg(2)`, `sendmmsg(2)`, `recvmmsg(2)`.

use linux_raw_sys::net::{SO_PASSCRED, SOL_SOCKET};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::address::{self, Address};
use super::{control, patience, socket_at};
use crate::errno::{Errno, Result};
use crate::mem::user::{Iovecs, Source, UserAddr, UserPtr, UserSlice};
use crate::net::{Ancillary, MessageFlags, Patience, Received, Socket};
use crate::process::signal::send::broken_pipe;
use crate::sched::Deadline;
use crate::syscall::time::Timespec;
use crate::syscall::{Fd, SysResult};

/// The most messages of one call.
const MAX_MESSAGES: u32 = 1024;

/// Flags that mean something for sending.
const SENDABLE: MessageFlags = MessageFlags::DONTWAIT.union(MessageFlags::NOSIGNAL).union(MessageFlags::EOR);

/// `struct msghdr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Header {
    name: u64,
    name_len: u32,
    padding: u32,
    pieces: u64,
    piece_count: u64,
    control: u64,
    control_len: u64,
    flags: u32,
    padding2: u32,
}

/// `struct mmsghdr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CountedHeader {
    header: Header,
    len: u32,
    padding: u32,
}

/// The flags that mean something for sending. There is no data out of band.
pub(super) fn sendable(flags: MessageFlags) -> Result<MessageFlags> {
    if flags.contains(MessageFlags::OOB) { Err(Errno::EOPNOTSUPP) } else { Ok(flags & SENDABLE) }
}

/// Sends, with SIGPIPE where nobody receives any more.
pub(super) fn send(
    socket: &dyn Socket,
    source: &mut Source<'_>,
    to: Option<&[u8]>,
    ancillary: Ancillary,
    flags: MessageFlags,
    how: Patience,
) -> Result<usize> {
    let result = socket.send(source, to, ancillary, how);
    if result == Err(Errno::EPIPE) && !flags.contains(MessageFlags::NOSIGNAL) {
        broken_pipe();
    }
    result
}

/// Sends a message. <https://man7.org/linux/man-pages/man2/sendmsg.2.html>
pub fn sendmsg(fd: Fd, header: UserPtr<Header>, flags: u32) -> SysResult {
    Ok(send_one(fd, header, MessageFlags::from_bits_truncate(flags))? as u64)
}

fn send_one(fd: Fd, at: UserPtr<Header>, flags: MessageFlags) -> Result<usize> {
    let (file, socket) = socket_at(fd)?;
    let header = at.read()?;
    let flags = sendable(flags)?;
    let to = Address::read_optional(UserAddr(header.name), header.name_len)?;
    let to = to.as_ref().filter(|_| header.name_len != 0).map(Address::bytes);
    let pieces = Iovecs::import(header.pieces, header.piece_count as usize).map_err(too_many)?;
    let ancillary = control::read(UserSlice::new(header.control, header.control_len as usize))?;
    let how = patience(&file, flags, socket.time_limits().1);
    send(&*socket, &mut pieces.source(), to, ancillary, flags, how)
}

/// Too many pieces are EMSGSIZE here.
fn too_many(errno: Errno) -> Errno {
    if errno == Errno::EINVAL { Errno::EMSGSIZE } else { errno }
}

/// Receives a message. <https://man7.org/linux/man-pages/man2/recvmsg.2.html>
pub fn recvmsg(fd: Fd, header: UserPtr<Header>, flags: u32) -> SysResult {
    Ok(receive_one(fd, header, MessageFlags::from_bits_truncate(flags))? as u64)
}

fn receive_one(fd: Fd, at: UserPtr<Header>, flags: MessageFlags) -> Result<usize> {
    let (file, socket) = socket_at(fd)?;
    let header = at.read()?;
    let pieces = Iovecs::import(header.pieces, header.piece_count as usize).map_err(too_many)?;
    let how = patience(&file, flags, socket.time_limits().0);
    let received = socket.receive(&mut pieces.dest(), flags, how)?;
    let name_len = at.cast::<u8>().at(core::mem::offset_of!(Header, name_len)).cast::<u32>();
    if header.name != 0 {
        match &received.address {
            Some(address) => address::write(address, UserAddr(header.name), name_len)?,
            None => name_len.write(&0)?,
        }
    }
    tell(&*socket, &received, header, at, flags)?;
    Ok(received.count)
}

/// Writes control data and flags back.
fn tell(
    socket: &dyn Socket,
    received: &Received,
    header: Header,
    at: UserPtr<Header>,
    flags: MessageFlags,
) -> Result<()> {
    let shows_sender = socket.option(SOL_SOCKET, SO_PASSCRED).is_ok_and(|value| value.first() == Some(&1));
    let room = UserSlice::new(header.control, header.control_len as usize);
    let closes_on_exec = flags.contains(MessageFlags::CMSG_CLOEXEC);
    let written = control::write(&received.ancillary, shows_sender, closes_on_exec, room)?;
    let mut told = received.flags | (flags & MessageFlags::CMSG_CLOEXEC);
    told.set(MessageFlags::CTRUNC, written.is_cut);
    let field = |offset| at.cast::<u8>().at(offset);
    field(core::mem::offset_of!(Header, control_len)).cast::<u64>().write(&(written.len as u64))?;
    field(core::mem::offset_of!(Header, flags)).cast::<u32>().write(&told.bits())
}

/// Sends several messages. <https://man7.org/linux/man-pages/man2/sendmmsg.2.html>
pub fn sendmmsg(fd: Fd, headers: UserPtr<CountedHeader>, count: u32, flags: u32) -> SysResult {
    let flags = MessageFlags::from_bits_truncate(flags);
    several(headers, count, |_, at| send_one(fd, at.cast(), flags))
}

/// Receives several messages; the time-out is looked at after each, as on Linux.
/// <https://man7.org/linux/man-pages/man2/recvmmsg.2.html>
pub fn recvmmsg(
    fd: Fd,
    headers: UserPtr<CountedHeader>,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
) -> SysResult {
    const WAIT_FOR_ONE: u32 = 0x10000;
    let duration_ns = timeout.non_null().map(|timeout| timeout.read()?.to_nanos()).transpose()?;
    let deadline = duration_ns.map(Deadline::after);
    let all = MessageFlags::from_bits_truncate(flags);
    several(headers, count, |index, at| {
        if index > 0 && deadline.is_some_and(Deadline::has_passed) {
            return Err(Errno::EAGAIN);
        }
        let goes_on_waiting = index == 0 || flags & WAIT_FOR_ONE == 0;
        let flags = if goes_on_waiting { all } else { all | MessageFlags::DONTWAIT };
        receive_one(fd, at.cast(), flags)
    })
}

/// Transfers until one fails; that one's error only if it was the first.
fn several(
    headers: UserPtr<CountedHeader>,
    count: u32,
    mut transfer: impl FnMut(u32, UserPtr<CountedHeader>) -> Result<usize>,
) -> SysResult {
    let count = count.min(MAX_MESSAGES);
    for index in 0..count {
        let at = headers.at(index as usize);
        let len_field = at.cast::<u8>().at(core::mem::offset_of!(CountedHeader, len)).cast::<u32>();
        match transfer(index, at).and_then(|len| len_field.write(&(len as u32))) {
            Ok(()) => {}
            Err(_) if index > 0 => return Ok(u64::from(index)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(u64::from(count))
}
