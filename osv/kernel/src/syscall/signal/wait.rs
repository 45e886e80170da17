//! `rt_sigtimedwait(2)` and `pause(2)`.

use super::check_set_size;
use crate::mem::user::UserPtr;
use crate::process::signal::SignalSet;
use crate::process::signal::info::USER_SIZE;
use crate::process::signal::mask::{wait_for, wait_for_any};
use crate::sched::Deadline;
use crate::syscall::SysResult;
use crate::syscall::time::Timespec;

/// Returns the signal's number. <https://man7.org/linux/man-pages/man2/sigtimedwait.2.html>
pub fn rt_sigtimedwait(
    set: UserPtr<u64>,
    info: UserPtr<[u8; USER_SIZE]>,
    timeout: UserPtr<Timespec>,
    size: usize,
) -> SysResult {
    check_set_size(size)?;
    let wanted = SignalSet(set.read()?).blockable();
    let deadline = match timeout.non_null() {
        Some(timeout) => Some(Deadline::after(timeout.read()?.to_nanos()?)),
        None => None,
    };
    let (signal, taken) = wait_for(wanted, deadline)?;
    if let Some(info) = info.non_null() {
        info.write(&taken.to_user())?;
    }
    Ok(u64::from(signal.number()))
}

/// <https://man7.org/linux/man-pages/man2/pause.2.html>
pub fn pause() -> SysResult {
    Err(wait_for_any())
}
