//! `getpid(2)`, `gettid(2)`, `getppid(2)`, `setpgid(2)`, `setsid(2)` and their like.

use crate::errno::Errno;
use crate::process::{current_process, current_task, session, tree};
use crate::syscall::SysResult;

/// The process' id. <https://man7.org/linux/man-pages/man2/getpid.2.html>
pub fn getpid() -> SysResult {
    Ok(u64::from(current_process().pid()))
}

/// The task's id. <https://man7.org/linux/man-pages/man2/gettid.2.html>
pub fn gettid() -> SysResult {
    Ok(u64::from(current_task().tid()))
}

/// The parent's id. <https://man7.org/linux/man-pages/man2/getppid.2.html>
pub fn getppid() -> SysResult {
    Ok(u64::from(current_process().parent_pid()))
}

/// The group of the calling process. <https://man7.org/linux/man-pages/man2/getpgrp.2.html>
pub fn getpgrp() -> SysResult {
    Ok(u64::from(current_process().group_id()))
}

/// The group of a process. <https://man7.org/linux/man-pages/man2/getpgid.2.html>
pub fn getpgid(pid: i32) -> SysResult {
    match pid {
        0 => getpgrp(),
        pid => Ok(u64::from(tree::find_by_any_id(positive(pid)?)?.group_id())),
    }
}

/// The session of a process. <https://man7.org/linux/man-pages/man2/getsid.2.html>
pub fn getsid(pid: i32) -> SysResult {
    match pid {
        0 => Ok(u64::from(current_process().session_id())),
        pid => Ok(u64::from(tree::find_by_any_id(positive(pid)?)?.session_id())),
    }
}

/// Moves a process to a group. <https://man7.org/linux/man-pages/man2/setpgid.2.html>
pub fn setpgid(pid: i32, group: i32) -> SysResult {
    let meant = if group == 0 { pid } else { group };
    if meant < 0 {
        return Err(Errno::EINVAL);
    }
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    session::set_group(positive(pid)?, group)?;
    Ok(0)
}

/// Begins a session. <https://man7.org/linux/man-pages/man2/setsid.2.html>
pub fn setsid() -> SysResult {
    session::begin().map(u64::from)
}

/// An id; no process has a negative one.
pub(super) fn positive(id: i32) -> crate::errno::Result<u32> {
    u32::try_from(id).map_err(|_| Errno::ESRCH)
}
