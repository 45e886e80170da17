//! Descriptors: `close(2)`, `dup(2)`, `fcntl(2)`.

use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::general;

use super::{as_caller, file, install, lock};
use crate::errno::{Errno, Result};
use crate::fs::access::capability;
use crate::fs::pipe::PipeEnd;
use crate::fs::signal_driven::OwnerKind;
use crate::fs::{OpenFile, OpenFlags};
use crate::limits;
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::signal::Signal;
use crate::process::{current_process, current_task};
use crate::syscall::{Fd, SysResult};
use crate::warn;

/// Give the caller a table of its own first.
const CLOSE_RANGE_UNSHARE: u32 = 2;
/// Mark instead of closing.
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// Closes a descriptor. <https://man7.org/linux/man-pages/man2/close.2.html>
pub fn close(fd: Fd) -> SysResult {
    current_task().files().close(fd.0)?;
    Ok(0)
}

/// Closes many. <https://man7.org/linux/man-pages/man2/close_range.2.html>
pub fn close_range(first: u32, last: u32, flags: u32) -> SysResult {
    let known = CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC;
    if flags & !known != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    let task = current_task();
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        task.unshare_files();
    }
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        task.files().set_close_on_exec_range(first, last);
    } else {
        task.files().close_range(first, last);
    }
    Ok(0)
}

/// A second descriptor of a file. <https://man7.org/linux/man-pages/man2/dup.2.html>
pub fn dup(fd: Fd) -> SysResult {
    install(file(fd)?, false)
}

/// As `dup`, with a number that the caller chooses. <https://man7.org/linux/man-pages/man2/dup2.2.html>
pub fn dup2(old: Fd, new: Fd) -> SysResult {
    let file = file(old)?;
    if old == new {
        return Ok(new.0 as u64);
    }
    install_at(file, new, false)
}

/// As `dup2`, with flags. <https://man7.org/linux/man-pages/man2/dup3.2.html>
pub fn dup3(old: Fd, new: Fd, flags: u32) -> SysResult {
    if flags & !general::O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    install_at(file(old)?, new, flags & general::O_CLOEXEC != 0)
}

fn install_at(file: alloc::sync::Arc<OpenFile>, fd: Fd, closes_on_exec: bool) -> SysResult {
    let limit = current_process().limit(Resource::OpenFiles);
    current_task().files().install_at(file, fd.0, closes_on_exec, limit)?;
    Ok(fd.0 as u64)
}

/// Does many things with a descriptor. <https://man7.org/linux/man-pages/man2/fcntl.2.html>
pub fn fcntl(fd: Fd, command: u32, arg: u64) -> SysResult {
    let files = current_task().files();
    let (file, closes_on_exec) = files.get_with_flag(fd.0)?;
    match command {
        general::F_DUPFD => duplicate_from(file, arg, false),
        general::F_DUPFD_CLOEXEC => duplicate_from(file, arg, true),
        general::F_GETFD => Ok(u64::from(closes_on_exec)),
        general::F_SETFD => {
            files.set_close_on_exec(fd.0, arg & u64::from(general::FD_CLOEXEC) != 0)?;
            Ok(0)
        }
        general::F_GETFL => Ok(u64::from(file.flags().bits())),
        _ if file.is_place() => Err(Errno::EBADF),
        general::F_SETFL => set_status(&file, fd.0, OpenFlags::from_bits_truncate(arg as u32)),
        general::F_GETLK | general::F_OFD_GETLK => lock::test(&files, &file, command, arg),
        general::F_SETLK | general::F_SETLKW | general::F_OFD_SETLK | general::F_OFD_SETLKW => {
            lock::set(&files, &file, command, arg)
        }
        general::F_ADD_SEALS | general::F_GET_SEALS => seals(&file, command, arg),
        general::F_SETPIPE_SZ | general::F_GETPIPE_SZ => pipe_size(&file, command, arg),
        _ => owner_or_hint(&file, command, arg),
    }
}

/// F_SETFL
fn set_status(file: &OpenFile, fd: i32, flags: OpenFlags) -> SysResult {
    let is_new = |flag| flags.contains(flag) && !file.flags().contains(flag);
    if let Some(inode) = file.inode().filter(|_| is_new(OpenFlags::NOATIME)) {
        let owner = inode.permissions()?.uid;
        as_caller(|caller| if caller.subject.owns(owner) { Ok(()) } else { Err(Errno::EPERM) })?;
    }
    if is_new(OpenFlags::ASYNC) {
        file.owner().set_descriptor(fd);
    }
    file.set_status(flags);
    Ok(0)
}

fn duplicate_from(file: alloc::sync::Arc<OpenFile>, first: u64, closes_on_exec: bool) -> SysResult {
    let limit = current_process().limit(Resource::OpenFiles);
    let first = usize::try_from(first as i32).map_err(|_| Errno::EINVAL)?;
    if first as u64 >= limit {
        return Err(Errno::EINVAL);
    }
    Ok(current_task().files().install_from(file, first, closes_on_exec, limit)? as u64)
}

fn seals(file: &OpenFile, command: u32, arg: u64) -> SysResult {
    const KNOWN: u32 = general::F_SEAL_SEAL
        | general::F_SEAL_SHRINK
        | general::F_SEAL_GROW
        | general::F_SEAL_WRITE
        | general::F_SEAL_FUTURE_WRITE;
    let inode = file.inode().filter(|_| file.file().is_none()).ok_or(Errno::EINVAL)?;
    let present = inode.seals().ok_or(Errno::EINVAL)?;
    if command == general::F_GET_SEALS {
        return Ok(u64::from(present));
    }
    if !file.flags().is_writable() {
        return Err(Errno::EPERM);
    }
    let added = u32::try_from(arg).ok().filter(|seals| seals & !KNOWN == 0).ok_or(Errno::EINVAL)?;
    inode.add_seals(added)?;
    Ok(0)
}

fn pipe_size(file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let end = file.downcast::<PipeEnd>().ok_or(Errno::EBADF)?;
    if command == general::F_GETPIPE_SZ {
        return Ok(end.capacity() as u64);
    }
    let size = usize::try_from(arg as i32).map_err(|_| Errno::EINVAL)?;
    let is_privileged = as_caller(|caller| Ok(caller.subject.has(capability::SYS_RESOURCE)))?;
    if size as u64 > limits::PIPE_MAX_SIZE.get() && size > end.capacity() && !is_privileged {
        return Err(Errno::EPERM);
    }
    Ok(end.set_capacity(size)? as u64)
}

/// `struct f_owner_ex`: a type and an id.
type OwnerEx = [i32; 2];

fn owner_or_hint(file: &OpenFile, command: u32, arg: u64) -> SysResult {
    match command {
        general::F_SETOWN => set_owner(file, arg as i32)?,
        general::F_GETOWN => return Ok(owner_of(file) as u64),
        general::F_SETOWN_EX => {
            let [kind, id] = UserPtr::<OwnerEx>::new(arg).read()?;
            let kind = match u32::try_from(kind) {
                Ok(general::F_OWNER_TID) => OwnerKind::Thread,
                Ok(general::F_OWNER_PID) => OwnerKind::Process,
                Ok(general::F_OWNER_PGRP) => OwnerKind::Group,
                _ => return Err(Errno::EINVAL),
            };
            file.owner().set(kind, u32::try_from(id).map_err(|_| Errno::ESRCH)?)?;
        }
        general::F_GETOWN_EX => {
            let (kind, id) = file.owner().get();
            UserPtr::<OwnerEx>::new(arg).write(&[kind as i32, id as i32])?;
        }
        general::F_SETSIG => file.owner().set_signal(Signal::new(checked_signal(arg)? as u32)),
        general::F_GETSIG => return Ok(file.owner().signal().map_or(0, |signal| u64::from(signal.number()))),
        general::F_GETLEASE => return Ok(u64::from(general::F_UNLCK)),
        general::F_SETLEASE | general::F_NOTIFY => {
            warn_once(command);
            return Err(Errno::EINVAL);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Says once each that leases and directory notes are not there; programs get what a file system without them gives.
fn warn_once(command: u32) {
    static SAID: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    let (said, name) = if command == general::F_SETLEASE { (&SAID[0], "F_SETLEASE") } else { (&SAID[1], "F_NOTIFY") };
    if !said.swap(true, Ordering::Relaxed) {
        warn!("fcntl: {name} is not supported: EINVAL");
    }
}

/// F_SETOWN, SIOCSPGRP: a process, or a process group if negative.
pub(in crate::syscall) fn set_owner(file: &OpenFile, id: i32) -> Result<()> {
    if id == i32::MIN {
        return Err(Errno::EINVAL);
    }
    let kind = if id < 0 { OwnerKind::Group } else { OwnerKind::Process };
    file.owner().set(kind, id.unsigned_abs())
}

/// F_GETOWN, SIOCGPGRP
pub(in crate::syscall) fn owner_of(file: &OpenFile) -> i64 {
    match file.owner().get() {
        (OwnerKind::Group, id) => -i64::from(id),
        (_, id) => i64::from(id),
    }
}

fn checked_signal(number: u64) -> Result<i32> {
    if number <= 64 { Ok(number as i32) } else { Err(Errno::EINVAL) }
}
