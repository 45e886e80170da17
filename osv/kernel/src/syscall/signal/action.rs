//! `rt_sigaction(2)`, `rt_sigreturn(2)`, `sigaltstack(2)`.

use linux_raw_sys::general as linux;

use super::check_set_size;
use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::signal::action::Action;
use crate::process::signal::altstack::UserStack;
use crate::process::signal::{Signal, SignalInfo, SignalSet, frame as signal_frame, send};
use crate::process::{current_process, current_task};
use crate::syscall::SysResult;

/// <https://man7.org/linux/man-pages/man2/sigaction.2.html>
pub fn rt_sigaction(number: u32, new: UserPtr<Action>, old: UserPtr<Action>, size: usize) -> SysResult {
    check_set_size(size)?;
    let signal = Signal::new(number).ok_or(Errno::EINVAL)?;
    let new = new.non_null().map(UserPtr::read).transpose()?;
    if new.is_some() && SignalSet::UNBLOCKABLE.contains(signal) {
        return Err(Errno::EINVAL);
    }
    let before = match new {
        Some(new) => current_process().set_action(signal, new),
        None => current_process().action(signal),
    };
    if let Some(old) = old.non_null() {
        old.write(&before)?;
    }
    Ok(0)
}

/// Ends a handler: everything goes back to what its frame says.
/// <https://man7.org/linux/man-pages/man2/sigreturn.2.html>
pub fn rt_sigreturn(frame: &mut TrapFrame) -> SysResult {
    match signal_frame::pop(&current_task(), frame) {
        Ok(rax) => Ok(rax),
        Err(_) => {
            send::force(Signal::SIGSEGV, SignalInfo::from_kernel(Signal::SIGSEGV));
            Ok(0)
        }
    }
}

/// <https://man7.org/linux/man-pages/man2/sigaltstack.2.html>
pub fn sigaltstack(frame: &mut TrapFrame, new: UserPtr<UserStack>, old: UserPtr<UserStack>) -> SysResult {
    let new = new.non_null().map(UserPtr::read).transpose()?;
    let task = current_task();
    let before = task.alt_stack();
    if let Some(new) = new {
        let replaced: Result<_> = before.replaced_by(&new, frame.rsp, u64::from(linux::MINSIGSTKSZ));
        task.set_alt_stack(replaced?);
    }
    if let Some(old) = old.non_null() {
        old.write(&before.to_user(frame.rsp))?;
    }
    Ok(0)
}
