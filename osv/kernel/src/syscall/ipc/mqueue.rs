//! `mq_open(2)` and its family.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;
use linux_raw_sys::net::AF_NETLINK;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::SysResult;
use crate::errno::{Errno, Result};
use crate::event::Clock;
use crate::fs::{Caller, OpenFile, OpenFlags, PATH_MAX};
use crate::ipc::mqueue::{self, Capacity, Cookie, Notice, OpenQueue, PRIORITIES, Queue};
use crate::mem::user::{UserAddr, UserPtr, UserSlice, read_cstr};
use crate::net::SocketFile;
use crate::process::limits::Resource;
use crate::process::signal::Signal;
use crate::process::{current_process, current_task};
use crate::sched::Deadline;
use crate::syscall::Fd;
use crate::syscall::signal::Sigevent;
use crate::syscall::time::Timespec;

/// `struct mq_attr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MqAttr {
    flags: i64,
    messages: i64,
    size: i64,
    count: i64,
    reserved: [i64; 4],
}

/// Opens or makes a queue. <https://man7.org/linux/man-pages/man2/mq_open.2.html>
pub fn mq_open(name: UserAddr, flags: u32, mode: u16, attributes: UserPtr<MqAttr>) -> SysResult {
    let wanted = match attributes.non_null() {
        Some(attributes) => Some(attributes.read()?),
        None => None,
    };
    let name = read_cstr(name, PATH_MAX)?;
    if flags & linux::O_ACCMODE == linux::O_ACCMODE {
        return Err(Errno::EINVAL);
    }
    let kept = linux::O_ACCMODE | linux::O_CREAT | linux::O_EXCL | linux::O_NONBLOCK;
    let task = current_task();
    let (credentials, context) = (task.credentials(), task.fs());
    let capacity = || match wanted {
        None => Ok(Capacity::by_default()),
        Some(MqAttr { messages, size, .. }) => {
            Capacity::checked(messages, size, credentials.is_capable(linux::CAP_SYS_RESOURCE))
        }
    };
    let subject = credentials.subject();
    let caller = Caller::new(&context, &subject);
    let file = mqueue::open(&caller, &name, OpenFlags::from_bits_truncate(flags & kept), mode, capacity)?;
    let limit = current_process().limit(Resource::OpenFiles);
    let fd = task.files().install(file, flags & linux::O_CLOEXEC != 0, limit)?;
    Ok(fd as u64)
}

/// Removes a queue's name. <https://man7.org/linux/man-pages/man3/mq_unlink.3.html>
pub fn mq_unlink(name: UserAddr) -> SysResult {
    let name = read_cstr(name, PATH_MAX)?;
    let task = current_task();
    let (credentials, context) = (task.credentials(), task.fs());
    mqueue::unlink(&Caller::new(&context, &credentials.subject()), &name).map(|()| 0)
}

/// The queue behind `fd` (EBADF).
fn queue(fd: Fd) -> Result<(Arc<OpenFile>, Arc<Queue>)> {
    let file = current_task().files().get(fd.0)?;
    let queue = file.downcast::<OpenQueue>().map(|open| Arc::clone(open.queue())).ok_or(Errno::EBADF)?;
    Ok((file, queue))
}

/// The moment of the wall clock until which to wait, if any.
fn deadline(timeout: UserPtr<Timespec>) -> Result<Option<Deadline>> {
    match timeout.non_null() {
        None => Ok(None),
        Some(timeout) => Clock::from_id(linux::CLOCK_REALTIME as i32)?.deadline(timeout.read()?.to_nanos()?).map(Some),
    }
}

/// Sends a message. <https://man7.org/linux/man-pages/man3/mq_send.3.html>
pub fn mq_timedsend(fd: Fd, text: UserAddr, size: usize, priority: u32, timeout: UserPtr<Timespec>) -> SysResult {
    let deadline = deadline(timeout)?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    let (file, queue) = queue(fd)?;
    file.check_writable()?;
    if size as u64 > queue.capacity().size {
        return Err(Errno::EMSGSIZE);
    }
    let text = UserSlice::new(text.0, size).read_vec()?;
    queue.send((priority, text), file.flags().contains(OpenFlags::NONBLOCK), deadline)?;
    Ok(0)
}

/// Receives a message. <https://man7.org/linux/man-pages/man3/mq_receive.3.html>
pub fn mq_timedreceive(
    fd: Fd,
    buffer: UserAddr,
    size: usize,
    priority: UserPtr<u32>,
    timeout: UserPtr<Timespec>,
) -> SysResult {
    let deadline = deadline(timeout)?;
    let (file, queue) = queue(fd)?;
    file.check_readable()?;
    if (size as u64) < queue.capacity().size {
        return Err(Errno::EMSGSIZE);
    }
    let (number, text) = queue.receive(file.flags().contains(OpenFlags::NONBLOCK), deadline)?;
    if let Some(priority) = priority.non_null() {
        priority.write(&number)?;
    }
    UserSlice::new(buffer.0, size).write_all(&text)?;
    Ok(text.len() as u64)
}

/// Asks to be told of a message. <https://man7.org/linux/man-pages/man2/mq_notify.2.html>
pub fn mq_notify(fd: Fd, event: UserPtr<Sigevent>) -> SysResult {
    let event = match event.non_null() {
        Some(event) => Some(event.read()?),
        None => None,
    };
    let notice = match event {
        None => None,
        Some(event) => Some(match event.kind() {
            linux::SIGEV_NONE => Notice::Silently,
            linux::SIGEV_SIGNAL if event.signal() == 0 => Notice::Signal(None, event.value()),
            linux::SIGEV_SIGNAL => {
                let signal = Signal::new(event.signal()).ok_or(Errno::EINVAL)?;
                Notice::Signal(Some(signal), event.value())
            }
            linux::SIGEV_THREAD => {
                let cookie = UserPtr::<Cookie>::new(event.value()).read()?;
                let file = current_task().files().get(event.signal() as i32)?;
                let socket = file.downcast::<SocketFile>().ok_or(Errno::ENOTSOCK)?.socket();
                if socket.identity().0 != AF_NETLINK {
                    return Err(Errno::EINVAL);
                }
                Notice::Message(socket.clone(), cookie)
            }
            _ => return Err(Errno::EINVAL),
        }),
    };
    let (_, queue) = queue(fd)?;
    match notice {
        None => queue.stop_listening(),
        Some(notice) => queue.listen(notice)?,
    }
    Ok(0)
}

/// Asks for a queue's attributes, or changes the description's O_NONBLOCK.
/// <https://man7.org/linux/man-pages/man2/mq_getsetattr.2.html>
pub fn mq_getsetattr(fd: Fd, new: UserPtr<MqAttr>, old: UserPtr<MqAttr>) -> SysResult {
    let nonblock = i64::from(linux::O_NONBLOCK);
    let new = match new.non_null() {
        Some(new) => Some(new.read()?),
        None => None,
    };
    if new.is_some_and(|new| new.flags & !nonblock != 0) {
        return Err(Errno::EINVAL);
    }
    let (file, queue) = queue(fd)?;
    let Capacity { messages, size } = queue.capacity();
    let before = MqAttr {
        flags: if file.flags().contains(OpenFlags::NONBLOCK) { nonblock } else { 0 },
        messages: messages as i64,
        size: size as i64,
        count: queue.len() as i64,
        reserved: [0; 4],
    };
    if let Some(new) = new {
        file.set_flag(OpenFlags::NONBLOCK, new.flags & nonblock != 0);
    }
    if let Some(old) = old.non_null() {
        old.write(&before)?;
    }
    Ok(0)
}
