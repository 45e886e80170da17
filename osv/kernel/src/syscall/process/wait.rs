//! `wait4(2)` and `waitid(2)`.

use linux_raw_sys::general as linux;

use super::usage::Rusage;
use crate::errno::Errno;
use crate::fs::OpenFlags;
use crate::mem::user::UserPtr;
use crate::process::pidfd::PidFd;
use crate::process::signal::info::{SignalInfo, USER_SIZE};
use crate::process::wait::{Target, target_of, wait};
use crate::process::{current_process, current_task};
use crate::syscall::SysResult;

/// Flags of the kinds of children, for both calls.
const KINDS: u32 = linux::__WNOTHREAD | linux::__WCLONE | linux::__WALL;

/// <https://man7.org/linux/man-pages/man2/wait4.2.html>
pub fn wait4(pid: i32, status: UserPtr<u32>, options: u32, usage: UserPtr<Rusage>) -> SysResult {
    if options & !(linux::WNOHANG | linux::WUNTRACED | linux::WCONTINUED | KINDS) != 0 {
        return Err(Errno::EINVAL);
    }
    let Some(report) = wait(target_of(pid)?, options | linux::WEXITED)? else { return Ok(0) };
    if let Some(status) = status.non_null() {
        status.write(&report.event.status_word())?;
    }
    if let Some(usage) = usage.non_null() {
        usage.write(&Rusage::from(&report.used))?;
    }
    Ok(u64::from(report.pid))
}

/// <https://man7.org/linux/man-pages/man2/waitid.2.html>
pub fn waitid(kind: u32, id: i32, info: UserPtr<[u8; USER_SIZE]>, options: u32, usage: UserPtr<Rusage>) -> SysResult {
    const EVENTS: u32 = linux::WEXITED | linux::WSTOPPED | linux::WCONTINUED;
    if options & !(linux::WNOHANG | linux::WNOWAIT | EVENTS | KINDS) != 0 || options & EVENTS == 0 {
        return Err(Errno::EINVAL);
    }
    let mut is_nonblocking_fd = false;
    let target = match (kind, id) {
        (linux::P_ALL, _) => Target::Any,
        (linux::P_PID, 1..) => Target::Process(id as u32),
        (linux::P_PGID, 0) => Target::Group(current_process().group_id()),
        (linux::P_PGID, 1..) => Target::Group(id as u32),
        (linux::P_PIDFD, 0..) => {
            let file = current_task().files().get(id)?;
            is_nonblocking_fd = file.flags().contains(OpenFlags::NONBLOCK);
            Target::Process(PidFd::process_of(&file)?.pid())
        }
        _ => return Err(Errno::EINVAL),
    };
    let flags = if is_nonblocking_fd { options | linux::WNOHANG } else { options };
    let report = wait(target, flags)?;
    if report.is_none() && is_nonblocking_fd && options & linux::WNOHANG == 0 {
        return Err(Errno::EAGAIN);
    }
    if let (Some(usage), Some(report)) = (usage.non_null(), &report) {
        usage.write(&Rusage::from(&report.used))?;
    }
    let Some(info) = info.non_null() else { return Ok(0) };
    // As on Linux, only the fields of a child are written, and zeros where there is none.
    const FIELDS: usize = 28;
    let bytes = report.map_or([0; USER_SIZE], |report| {
        let (code, status) = report.event.code_and_status();
        SignalInfo::from_child(code, report.pid, report.uid, status, 0, 0).to_user()
    });
    info.cast::<u8>().write_slice(bytes.get(..FIELDS).unwrap_or_default())?;
    Ok(0)
}
