//! `rt_sigprocmask(2)`, `rt_sigpending(2)`, `rt_sigsuspend(2)`.

use linux_raw_sys::general as linux;

use super::check_set_size;
use crate::errno::Errno;
use crate::mem::user::{UserPtr, UserSlice};
use crate::process::current_task;
use crate::process::signal::SignalSet;
use crate::process::signal::mask::wait_for_any;
use crate::syscall::SysResult;

/// <https://man7.org/linux/man-pages/man2/sigprocmask.2.html>
pub fn rt_sigprocmask(how: u32, new: UserPtr<u64>, old: UserPtr<u64>, size: usize) -> SysResult {
    check_set_size(size)?;
    let task = current_task();
    let before = task.blocked();
    if let Some(new) = new.non_null() {
        let given = SignalSet(new.read()?);
        let wanted = match how {
            linux::SIG_BLOCK => before | given,
            linux::SIG_UNBLOCK => before.without(given),
            linux::SIG_SETMASK => given,
            _ => return Err(Errno::EINVAL),
        };
        task.replace_blocked(wanted.blockable());
    }
    if let Some(old) = old.non_null() {
        old.write(&before.0)?;
    }
    Ok(0)
}

/// What is pending and blocked. <https://man7.org/linux/man-pages/man2/sigpending.2.html>
pub fn rt_sigpending(set: UserPtr<u64>, size: usize) -> SysResult {
    if size > size_of::<SignalSet>() {
        return Err(Errno::EINVAL);
    }
    let task = current_task();
    let pending = (task.pending() & task.blocked()).0.to_le_bytes();
    UserSlice::new(set.addr().0, size).write_all(pending.get(..size).unwrap_or_default())?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/sigsuspend.2.html>
pub fn rt_sigsuspend(set: UserPtr<u64>, size: usize) -> SysResult {
    check_set_size(size)?;
    current_task().replace_blocked_for_call(SignalSet(set.read()?).blockable());
    Err(wait_for_any())
}
