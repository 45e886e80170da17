//! Sockets.

mod address;
mod control;
mod message;
mod name;
mod option;
mod socket;
mod transfer;

pub use message::{recvmmsg, recvmsg, sendmmsg, sendmsg};
pub use name::{bind, getpeername, getsockname};
pub use option::{getsockopt, setsockopt};
pub use socket::{accept, accept4, connect, listen, shutdown, socket, socketpair};
pub use transfer::{recvfrom, sendto};

use alloc::sync::Arc;

use crate::errno::{Errno, Result};
use crate::fs::{IoFlags, OpenFile, OpenFlags, anonymous};
use crate::net::{MessageFlags, Patience, Socket, SocketFile};
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};
use crate::syscall::{Fd, SysResult};

/// The socket behind a descriptor, with its open file. ENOTSOCK if it is something else.
fn socket_at(fd: Fd) -> Result<(Arc<OpenFile>, Arc<dyn Socket>)> {
    let file = current_task().files().get(fd.0)?;
    let socket = file.downcast::<SocketFile>().ok_or(Errno::ENOTSOCK)?.socket().clone();
    Ok((file, socket))
}

/// Gives a socket a descriptor.
fn install(socket: Arc<dyn Socket>, flags: OpenFlags) -> SysResult {
    let file = SocketFile::new(socket);
    anonymous::give_to_caller(&*file);
    let file = OpenFile::anonymous(file, flags | OpenFlags::RDWR);
    let limit = current_process().limit(Resource::OpenFiles);
    Ok(current_task().files().install(file, flags.contains(OpenFlags::CLOEXEC), limit)? as u64)
}

/// How long a call on `file` waits.
fn patience(file: &OpenFile, flags: MessageFlags, limit_ns: u64) -> Patience {
    let nonblock = if flags.contains(MessageFlags::DONTWAIT) { IoFlags::NONBLOCK } else { IoFlags::empty() };
    Patience::new(file.io_flags() | nonblock, limit_ns)
}
