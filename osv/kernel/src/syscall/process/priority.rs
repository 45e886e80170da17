//! `getpriority(2)` and `setpriority(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use super::ids::positive;
use crate::errno::{Errno, Result};
use crate::process::limits::Resource;
use crate::process::{Task, current_process, current_task, tree};
use crate::syscall::SysResult;

/// The tasks that are meant; ESRCH if there is none.
pub(super) fn tasks(which: u32, who: i32) -> Result<Vec<Arc<Task>>> {
    let who = positive(who)?;
    let current = current_task();
    let tasks: Vec<Arc<Task>> = match which {
        linux::PRIO_PROCESS if who == 0 => alloc::vec![current.arc()],
        linux::PRIO_PROCESS => alloc::vec![tree::find_task(who)?],
        linux::PRIO_PGRP => {
            let group = if who == 0 { current_process().group_id() } else { who };
            tree::all().iter().filter(|process| process.group_id() == group).flat_map(|p| p.tasks()).collect()
        }
        linux::PRIO_USER => {
            let user = if who == 0 { current.credentials().user.real } else { who };
            let of_user = |task: &Arc<Task>| task.credentials().user.real == user;
            tree::all().iter().flat_map(|process| process.tasks()).filter(of_user).collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if tasks.is_empty() { Err(Errno::ESRCH) } else { Ok(tasks) }
}

/// Returns 20 minus the lowest nice value, so that it is never negative.
/// <https://man7.org/linux/man-pages/man2/getpriority.2.html>
pub fn getpriority(which: u32, who: i32) -> SysResult {
    let lowest = tasks(which, who)?.iter().filter_map(|task| task.thread()).map(|thread| thread.nice()).min();
    Ok((20 - i64::from(lowest.ok_or(Errno::ESRCH)?)) as u64)
}

/// <https://man7.org/linux/man-pages/man2/setpriority.2.html>
pub fn setpriority(which: u32, who: i32, nice: i32) -> SysResult {
    let nice = nice.clamp(-20, 19) as i8;
    let mut outcome = Ok(0);
    for task in tasks(which, who)? {
        if let Err(errno) = set_nice(&task, nice) {
            outcome = Err(errno);
        }
    }
    outcome
}

/// Changes the nice value of a task. EPERM for another user's, EACCES below what RLIMIT_NICE allows.
pub(super) fn set_nice(task: &Task, nice: i8) -> Result<()> {
    let own = current_task().credentials();
    let other = task.credentials();
    let is_privileged = own.is_capable(linux::CAP_SYS_NICE);
    if !is_privileged && own.user.effective != other.user.real && own.user.effective != other.user.effective {
        return Err(Errno::EPERM);
    }
    let thread = task.thread().ok_or(Errno::ESRCH)?;
    let limit = i64::try_from(task.process().limit(Resource::Nice)).unwrap_or(i64::MAX);
    if nice < thread.nice() && !is_privileged && 20 - i64::from(nice) > limit {
        return Err(Errno::EACCES);
    }
    thread.set_nice(nice);
    Ok(())
}
