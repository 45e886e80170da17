//! Numbers of the socket interface that `linux-raw-sys` does not have: they stand in glibc's headers, not in Linux'
//! exported ones. Source: `include/linux/socket.h`, `include/linux/net.h`.
#![allow(missing_docs)]

pub const AF_UNIX: u32 = 1;
/// One more than the highest address family.
pub const AF_MAX: u32 = 46;

pub const SOCK_STREAM: u32 = 1;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_RAW: u32 = 3;
pub const SOCK_SEQPACKET: u32 = 5;
/// The bits of a socket type beside its flags.
pub const SOCK_TYPE_MASK: u32 = 0xf;

pub const SHUT_RD: u32 = 0;
pub const SHUT_WR: u32 = 1;
pub const SHUT_RDWR: u32 = 2;

pub const SCM_RIGHTS: u32 = 1;
pub const SCM_CREDENTIALS: u32 = 2;
/// The most files that one message carries.
pub const SCM_MAX_FD: usize = 253;
/// The most connections that wait to be accepted (`net.core.somaxconn`).
pub const SOMAXCONN: u32 = 4096;
