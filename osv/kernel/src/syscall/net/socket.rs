//! `socket(2)`, `socketpair(2)`, `listen(2)`, `accept(2)`, `connect(2)`, `shutdown(2)`.

use linux_raw_sys::net::AF_NETLINK;
use linux_raw_sys::netlink::NETLINK_ROUTE;

use super::address::{self, Address};
use super::{install, patience, socket_at};
use crate::errno::{Errno, Result};
use crate::fs::OpenFlags;
use crate::mem::user::{UserAddr, UserPtr};
use crate::net::abi::{
    AF_MAX, AF_UNIX, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, SOCK_TYPE_MASK,
};
use crate::net::netlink::Netlink;
use crate::net::unix::{Endpoint, Kind};
use crate::net::{MessageFlags, Shutdown};
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// Checks family, type and protocol: the kind of socket, and the flags in the type.
fn decode(domain: u32, kind: u32, protocol: u32) -> Result<(Kind, OpenFlags)> {
    let flags = decode_flags(kind & !SOCK_TYPE_MASK)?;
    match domain {
        AF_UNIX => {}
        AF_MAX.. => return Err(Errno::EAFNOSUPPORT),
        _ if kind & SOCK_TYPE_MASK > 10 => return Err(Errno::EINVAL),
        AF_NETLINK => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    if protocol != 0 && protocol != AF_UNIX {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let kind = match kind & SOCK_TYPE_MASK {
        SOCK_STREAM => Kind::Stream,
        SOCK_DGRAM | SOCK_RAW => Kind::Datagram,
        SOCK_SEQPACKET => Kind::SeqPacket,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok((kind, flags))
}

fn decode_flags(flags: u32) -> Result<OpenFlags> {
    let known = OpenFlags::NONBLOCK | OpenFlags::CLOEXEC;
    OpenFlags::from_bits(flags).filter(|&flags| known.contains(flags)).ok_or(Errno::EINVAL)
}

/// A socket to the kernel: those of one family only.
fn netlink(kind: u32, protocol: u32) -> SysResult {
    let flags = decode_flags(kind & !SOCK_TYPE_MASK)?;
    match kind & SOCK_TYPE_MASK {
        kind @ (SOCK_RAW | SOCK_DGRAM) if protocol == NETLINK_ROUTE => install(Netlink::new(kind), flags),
        SOCK_RAW | SOCK_DGRAM => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// A socket. <https://man7.org/linux/man-pages/man2/socket.2.html>
pub fn socket(domain: u32, kind: u32, protocol: u32) -> SysResult {
    if domain == AF_NETLINK && kind & SOCK_TYPE_MASK <= 10 {
        return netlink(kind, protocol);
    }
    let (kind, flags) = decode(domain, kind, protocol)?;
    install(Endpoint::new(kind), flags)
}

/// Two sockets that are connected. <https://man7.org/linux/man-pages/man2/socketpair.2.html>
pub fn socketpair(domain: u32, kind: u32, protocol: u32, pair: UserPtr<[i32; 2]>) -> SysResult {
    let (kind, flags) = decode(domain, kind, protocol)?;
    let (a, b) = Endpoint::pair(kind);
    let files = current_task().files();
    let a = install(a, flags)? as i32;
    let result = install(b, flags).and_then(|b| {
        let b = b as i32;
        pair.write(&[a, b]).inspect_err(|_| {
            let _ = files.close(b);
        })
    });
    if result.is_err() {
        let _ = files.close(a);
    }
    result.map(|()| 0)
}

/// Lets others connect. <https://man7.org/linux/man-pages/man2/listen.2.html>
pub fn listen(fd: Fd, backlog: u32) -> SysResult {
    socket_at(fd)?.1.listen(backlog)?;
    Ok(0)
}

/// The next connection. <https://man7.org/linux/man-pages/man2/accept4.2.html>
pub fn accept4(fd: Fd, peer: UserAddr, len: UserPtr<u32>, flags: u32) -> SysResult {
    let flags = decode_flags(flags)?;
    let (file, socket) = socket_at(fd)?;
    let how = patience(&file, MessageFlags::empty(), socket.time_limits().0);
    let connection = socket.accept(how)?;
    let result =
        if peer.is_null() { Ok(()) } else { connection.peer_name().and_then(|name| address::write(&name, peer, len)) };
    match result {
        // The client may have gone already: then its address is nothing but the family.
        Ok(()) | Err(Errno::ENOTCONN) => install(connection, flags),
        Err(errno) => {
            connection.close();
            Err(errno)
        }
    }
}

/// `accept4` without flags. <https://man7.org/linux/man-pages/man2/accept.2.html>
pub fn accept(fd: Fd, peer: UserAddr, len: UserPtr<u32>) -> SysResult {
    accept4(fd, peer, len, 0)
}

/// Connects a socket. <https://man7.org/linux/man-pages/man2/connect.2.html>
pub fn connect(fd: Fd, to: UserAddr, len: u32) -> SysResult {
    let (file, socket) = socket_at(fd)?;
    let to = Address::read(to, len)?;
    socket.connect(to.bytes(), patience(&file, MessageFlags::empty(), socket.time_limits().1))?;
    Ok(0)
}

/// Shuts a connection down. <https://man7.org/linux/man-pages/man2/shutdown.2.html>
pub fn shutdown(fd: Fd, how: u32) -> SysResult {
    let (_, socket) = socket_at(fd)?;
    let how = match how {
        SHUT_RD => Shutdown::Read,
        SHUT_WR => Shutdown::Write,
        SHUT_RDWR => Shutdown::Both,
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(how)?;
    Ok(0)
}
