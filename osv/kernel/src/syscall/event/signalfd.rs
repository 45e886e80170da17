//! `signalfd(2)`.

use super::{file_flags, install};
use crate::errno::Errno;
use crate::event::SignalFd;
use crate::fs::OpenFlags;
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::process::signal::SignalSet;
use crate::syscall::{Fd, SysResult};

/// Pending signals as a file: a new one for -1, else another set for one that exists.
/// <https://man7.org/linux/man-pages/man2/signalfd4.2.html>
pub fn signalfd4(fd: Fd, set: UserPtr<u64>, set_size: usize, flags: u32) -> SysResult {
    let flags = file_flags(flags, 0)?;
    if set_size != size_of::<SignalSet>() {
        return Err(Errno::EINVAL);
    }
    let set = SignalSet(set.read()?);
    if fd == Fd(-1) {
        return install(SignalFd::new(set), flags | OpenFlags::RDWR);
    }
    let file = current_task().files().get(fd.0)?;
    file.downcast::<SignalFd>().ok_or(Errno::EINVAL)?.set_signals(set);
    Ok(fd.0 as u64)
}

/// `signalfd4` without flags. <https://man7.org/linux/man-pages/man2/signalfd.2.html>
pub fn signalfd(fd: Fd, set: UserPtr<u64>, set_size: usize) -> SysResult {
    signalfd4(fd, set, set_size, 0)
}
