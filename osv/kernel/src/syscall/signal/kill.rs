//! `kill(2)`, `tkill(2)`, `tgkill(2)`, `rt_sigqueueinfo(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;

use super::parse_signal;
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::signal::info::USER_SIZE;
use crate::process::signal::{Signal, SignalInfo, send};
use crate::process::{Task, current_process, current_task, tree};
use crate::syscall::SysResult;

/// What a receiver learns of a signal by `kill` or `tkill`.
fn info(signal: Option<Signal>, code: i32) -> SignalInfo {
    let uid = current_task().credentials().user.real;
    SignalInfo::from_process(signal.unwrap_or(Signal::SIGCONT), code, current_process().pid(), uid)
}

/// <https://man7.org/linux/man-pages/man2/kill.2.html>
pub fn kill(pid: i32, signal: u32) -> SysResult {
    let signal = parse_signal(signal)?;
    let info = info(signal, linux::SI_USER as i32);
    let own = current_process();
    match pid {
        1.. => send::checked_to_process(&*tree::find_by_any_id(pid as u32)?, signal, info)?,
        0 => send::checked_to_many(|process| process.group_id() == own.group_id(), signal, info)?,
        -1 => send::checked_to_many(|process| process.pid() != 1 && process.pid() != own.pid(), signal, info)?,
        i32::MIN => return Err(Errno::ESRCH),
        _ => send::checked_to_many(|process| process.group_id() == pid.unsigned_abs(), signal, info)?,
    }
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/tkill.2.html>
pub fn tkill(tid: i32, signal: u32) -> SysResult {
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let signal = parse_signal(signal)?;
    send::checked_to_task(&find(None, tid)?, signal, info(signal, linux::SI_TKILL))?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/tgkill.2.html>
pub fn tgkill(pid: i32, tid: i32, signal: u32) -> SysResult {
    if pid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let signal = parse_signal(signal)?;
    send::checked_to_task(&find(Some(pid), tid)?, signal, info(signal, linux::SI_TKILL))?;
    Ok(0)
}

/// The task `tid`, which has to be one of process `pid`.
fn find(pid: Option<i32>, tid: i32) -> Result<Arc<Task>> {
    let task = tree::find_task(tid as u32)?;
    match pid {
        Some(pid) if task.process().pid() != pid as u32 => Err(Errno::ESRCH),
        _ => Ok(task),
    }
}

/// What the program says of a signal that it sends. It may not pretend to be the kernel or `kill`, except to itself.
fn given_info(signal: u32, info: UserPtr<[u8; USER_SIZE]>, is_self: bool) -> Result<SignalInfo> {
    let mut info = SignalInfo::from_user(&info.read()?);
    info.number = signal as i32;
    if (info.code >= 0 || info.code == linux::SI_TKILL) && !is_self { Err(Errno::EPERM) } else { Ok(info) }
}

/// <https://man7.org/linux/man-pages/man2/rt_sigqueueinfo.2.html>
pub fn rt_sigqueueinfo(pid: i32, signal: u32, info: UserPtr<[u8; USER_SIZE]>) -> SysResult {
    let info = given_info(signal, info, pid as u32 == current_process().pid())?;
    let signal = parse_signal(signal)?;
    let process = tree::find_by_any_id(u32::try_from(pid).map_err(|_| Errno::ESRCH)?)?;
    send::checked_to_process(&process, signal, info)?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/rt_sigqueueinfo.2.html>
pub fn rt_tgsigqueueinfo(pid: i32, tid: i32, signal: u32, info: UserPtr<[u8; USER_SIZE]>) -> SysResult {
    if pid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = given_info(signal, info, tid as u32 == current_task().tid())?;
    let signal = parse_signal(signal)?;
    send::checked_to_task(&find(Some(pid), tid)?, signal, info)?;
    Ok(0)
}
