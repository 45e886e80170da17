//! `epoll_create(2)`, `epoll_ctl(2)`, `epoll_wait(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{deadline_after, deadline_ms, file_flags, install, read_timeout, with_mask};
use crate::errno::{Errno, Result};
use crate::event::epoll::{Epoll, Event, as_epoll};
use crate::fs::{OpenFile, OpenFlags};
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::sched::Deadline;
use crate::syscall::time::Timespec;
use crate::syscall::{Fd, SysResult};

/// `struct epoll_event`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C, packed)]
pub struct EpollEvent {
    events: u32,
    data: u64,
}

/// The most events that can be asked for at once.
const MAX_EVENTS: i32 = i32::MAX / size_of::<EpollEvent>() as i32;

/// An empty set of files to wait for. <https://man7.org/linux/man-pages/man2/epoll_create1.2.html>
pub fn epoll_create1(flags: u32) -> SysResult {
    if flags & !general::EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    install(Epoll::new(), file_flags(flags, 0)? | OpenFlags::RDWR)
}

/// `epoll_create1` with a hint that means nothing. <https://man7.org/linux/man-pages/man2/epoll_create.2.html>
pub fn epoll_create(size: i32) -> SysResult {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(0)
}

/// Changes a set. <https://man7.org/linux/man-pages/man2/epoll_ctl.2.html>
pub fn epoll_ctl(epoll: Fd, operation: u32, fd: Fd, event: UserPtr<EpollEvent>) -> SysResult {
    let event = if operation == general::EPOLL_CTL_DEL { None } else { Some(event.read()?) };
    let files = current_task().files();
    let set = files.get(epoll.0)?;
    let file = files.get(fd.0)?;
    if set.is_place() || file.is_place() {
        return Err(Errno::EBADF);
    }
    if file.pollee().is_none() {
        return Err(Errno::EPERM);
    }
    let set_file = as_epoll(&set).ok_or(Errno::EINVAL)?;
    if Arc::ptr_eq(&set, &file) {
        return Err(Errno::EINVAL);
    }
    let event = event.map(|EpollEvent { events, data }| Event { events, data });
    match (operation, event) {
        (general::EPOLL_CTL_ADD, Some(event)) => set_file.add(fd.0, &file, event)?,
        (general::EPOLL_CTL_MOD, Some(event)) => set_file.modify(fd.0, &file, event)?,
        (general::EPOLL_CTL_DEL, _) => set_file.remove(fd.0, &file)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Waits for files of a set. <https://man7.org/linux/man-pages/man2/epoll_wait.2.html>
pub fn epoll_wait(epoll: Fd, events: UserPtr<EpollEvent>, max: i32, timeout_ms: i32) -> SysResult {
    wait(epoll, events, max, deadline_ms(timeout_ms))
}

/// `epoll_wait` with another signal mask. <https://man7.org/linux/man-pages/man2/epoll_pwait.2.html>
pub fn epoll_pwait(
    epoll: Fd,
    events: UserPtr<EpollEvent>,
    max: i32,
    timeout_ms: i32,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> SysResult {
    with_mask(mask, mask_size, || wait(epoll, events, max, deadline_ms(timeout_ms)))
}

/// `epoll_pwait` with nanoseconds. <https://man7.org/linux/man-pages/man2/epoll_pwait2.2.html>
pub fn epoll_pwait2(
    epoll: Fd,
    events: UserPtr<EpollEvent>,
    max: i32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> SysResult {
    let deadline = read_timeout(timeout)?.map(deadline_after);
    with_mask(mask, mask_size, || wait(epoll, events, max, deadline))
}

fn wait(epoll: Fd, events: UserPtr<EpollEvent>, max: i32, deadline: Option<Deadline>) -> SysResult {
    if max <= 0 || max > MAX_EVENTS {
        return Err(Errno::EINVAL);
    }
    events.addr().check(max as usize * size_of::<EpollEvent>())?;
    let file: Arc<OpenFile> = current_task().files().get(epoll.0)?;
    let set = as_epoll(&file).ok_or(Errno::EINVAL)?;
    let emit = |index: usize, Event { events: seen, data }| -> Result<()> {
        events.at(index).write(&EpollEvent { events: seen, data })
    };
    Ok(set.wait(max as usize, deadline, emit)? as u64)
}
