//! `restart_syscall(2)`: what a call that was interrupted by a signal without handler does instead of beginning anew.

use crate::errno::Errno;
use crate::process::current_task;
use crate::syscall::SysResult;

/// <https://man7.org/linux/man-pages/man2/restart_syscall.2.html>
pub fn restart_syscall() -> SysResult {
    let restart = current_task().take_restart();
    match restart {
        Some(restart) => restart(),
        None => Err(Errno::EINTR),
    }
}
