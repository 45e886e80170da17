//! `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`.

use linux_raw_sys::general as linux;

use crate::errno::Errno;
use crate::fs::{OpenFile, OpenFlags, procfs};
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::pidfd::PidFd;
use crate::process::signal::info::{SignalInfo, USER_SIZE};
use crate::process::signal::{Signal, send};
use crate::process::{current_process, current_task, tree};
use crate::syscall::signal::parse_signal;
use crate::syscall::{Fd, SysResult};

/// <https://man7.org/linux/man-pages/man2/pidfd_open.2.html>
pub fn pidfd_open(pid: i32, flags: u32) -> SysResult {
    if flags & !linux::O_NONBLOCK != 0 || pid <= 0 {
        return Err(Errno::EINVAL);
    }
    let process = match tree::find(pid as u32) {
        Err(_) if tree::find_task(pid as u32).is_ok() => return Err(Errno::EINVAL),
        outcome => outcome?,
    };
    let status = OpenFlags::RDWR | OpenFlags::from_bits_truncate(flags);
    let file = OpenFile::anonymous(PidFd::new(&process), status);
    let fd = current_task().files().install(file, true, current_process().limit(Resource::OpenFiles))?;
    Ok(fd as u64)
}

/// <https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html>
pub fn pidfd_send_signal(fd: Fd, signal: u32, info: UserPtr<[u8; USER_SIZE]>, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let file = current_task().files().get(fd.0)?;
    // A directory of /proc is as good here as a pidfd.
    let process = PidFd::process_of(&file).or_else(|errno| procfs::process_of(&file).ok_or(errno))?;
    let signal = parse_signal(signal)?;
    let sender = current_process();
    let uid = current_task().credentials().user.real;
    let any = signal.unwrap_or(Signal::SIGCONT);
    let info = match info.non_null() {
        None => SignalInfo::from_process(any, linux::SI_USER as i32, sender.pid(), uid),
        Some(info) => {
            let info = SignalInfo::from_user(&info.read()?);
            if info.number as u32 != signal.map_or(0, Signal::number) {
                return Err(Errno::EINVAL);
            }
            if process.pid() != sender.pid() && (info.code >= 0 || info.code == linux::SI_TKILL) {
                return Err(Errno::EPERM);
            }
            info
        }
    };
    // One that has ended takes signals, and does nothing with them, until its parent has asked.
    if !tree::find(process.pid()).is_ok_and(|found| alloc::sync::Arc::ptr_eq(&found, &process)) {
        return Err(Errno::ESRCH);
    }
    send::checked_to_process(&process, signal, info)?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html>
pub fn pidfd_getfd(fd: Fd, target: Fd, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = current_task();
    let process = PidFd::process_of(&*task.files().get(fd.0)?)?;
    let other = process.first_task().ok_or(Errno::ESRCH)?;
    if !task.may_access(&other) {
        return Err(Errno::EPERM);
    }
    let file = other.try_files().ok_or(Errno::ESRCH)?.get(target.0)?;
    let new = task.files().install(file, true, current_process().limit(Resource::OpenFiles))?;
    Ok(new as u64)
}
