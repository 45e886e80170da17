//! `exit(2)`, `exit_group(2)`, `set_tid_address(2)`, `set_robust_list(2)`.

use core::sync::atomic::Ordering;

use super::ids::positive;
use crate::errno::Errno;
use crate::mem::user::UserPtr;
use crate::process::{current_task, exit as process, robust, tree};
use crate::syscall::SysResult;

/// Ends the task. <https://man7.org/linux/man-pages/man2/exit.2.html>
pub fn exit(code: i32) -> SysResult {
    process::exit_task(code as u8)
}

/// Ends the process. <https://man7.org/linux/man-pages/man2/exit_group.2.html>
pub fn exit_group(code: i32) -> SysResult {
    process::exit_group(code as u8)
}

/// Where 0 is written and a futex woken at the task's end.
/// <https://man7.org/linux/man-pages/man2/set_tid_address.2.html>
pub fn set_tid_address(address: u64) -> SysResult {
    let task = current_task();
    task.clear_child_tid.store(address, Ordering::Relaxed);
    Ok(u64::from(task.tid()))
}

/// <https://man7.org/linux/man-pages/man2/get_robust_list.2.html>
pub fn set_robust_list(head: u64, size: usize) -> SysResult {
    if size != robust::HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    current_task().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/get_robust_list.2.html>
pub fn get_robust_list(tid: i32, head: UserPtr<u64>, size: UserPtr<u64>) -> SysResult {
    let task = current_task();
    let list = match positive(tid)? {
        0 => task.robust_list.load(Ordering::Relaxed),
        tid => {
            let other = tree::find_task(tid)?;
            if !task.may_access(&other) {
                return Err(Errno::EPERM);
            }
            other.robust_list.load(Ordering::Relaxed)
        }
    };
    size.write(&(robust::HEAD_SIZE as u64))?;
    head.write(&list)?;
    Ok(0)
}
