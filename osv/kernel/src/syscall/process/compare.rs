//! `kcmp(2)`, `process_mrelease(2)`, `ioprio_set(2)` and `ioprio_get(2)`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;

use super::ids::positive;
use super::priority;
use crate::errno::{Errno, Result};
use crate::process::pidfd::PidFd;
use crate::process::{Task, current_task, tree};
use crate::syscall::{Fd, SysResult};

/// Whether two processes share something: 0 if they do, else 1 or 2, by an order that means nothing.
/// <https://man7.org/linux/man-pages/man2/kcmp.2.html>
pub fn kcmp(pid1: i32, pid2: i32, kind: u32, index1: u64, index2: u64) -> SysResult {
    const FILE: u32 = 0;
    const VM: u32 = 1;
    const FILES: u32 = 2;
    const FS: u32 = 3;
    const SIGHAND: u32 = 4;
    const IO: u32 = 5;
    const SYSVSEM: u32 = 6;
    let (first, second) = (tree::find_task(positive(pid1)?)?, tree::find_task(positive(pid2)?)?);
    for task in [&first, &second] {
        if !current_task().may_access(task) {
            return Err(Errno::EPERM);
        }
    }
    let addresses = |of: &dyn Fn(&Task) -> Result<usize>| Ok::<_, Errno>((of(&first)?, of(&second)?));
    let (left, right) = match kind {
        FILE => (open_file(&first, index1)?, open_file(&second, index2)?),
        VM => addresses(&|task| Ok(task.process().try_space().map_or(0, |space| Arc::as_ptr(&space) as usize)))?,
        FILES => addresses(&|task| Ok(task.try_files().map_or(0, |files| Arc::as_ptr(&files) as usize)))?,
        FS => addresses(&|task| Ok(task.try_fs().map_or(0, |fs| Arc::as_ptr(&fs) as usize)))?,
        SIGHAND => addresses(&|task| Ok(task.process().actions_address()))?,
        SYSVSEM => addresses(&|task| Ok(task.sem_undo_address()))?,
        // Nobody shares these: as for two processes on Linux that have none.
        IO => (0, 0),
        _ => return Err(Errno::EINVAL),
    };
    Ok(match left.cmp(&right) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

fn open_file(task: &Task, index: u64) -> Result<usize> {
    let fd = i32::try_from(index).map_err(|_| Errno::EBADF)?;
    let file = task.try_files().ok_or(Errno::EBADF)?.get(fd)?;
    Ok(Arc::as_ptr(&file) as usize)
}

/// Takes the memory of a process that is about to end. It ends soon enough by itself here.
pub fn process_mrelease(fd: Fd, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let process = PidFd::process_of(&*current_task().files().get(fd.0)?)?;
    if process.has_ended() {
        return Err(Errno::ESRCH);
    }
    if process.is_ending() { Ok(0) } else { Err(Errno::EINVAL) }
}

const CLASS_SHIFT: u32 = 13;
const CLASS_NONE: u32 = 0;
const CLASS_REAL_TIME: u32 = 1;
const CLASS_BEST_EFFORT: u32 = 2;
const CLASS_IDLE: u32 = 3;
const LEVELS: u32 = 8;

/// Which of `getpriority`'s kinds one of `ioprio_get`'s is, and who is meant.
fn tasks(which: u32, who: i32) -> Result<alloc::vec::Vec<Arc<Task>>> {
    let kind = match which {
        1 => linux::PRIO_PROCESS,
        2 => linux::PRIO_PGRP,
        3 => linux::PRIO_USER,
        _ => return Err(Errno::EINVAL),
    };
    priority::tasks(kind, who)
}

/// Remembers the priority: disks here serve in the order of asking.
/// <https://man7.org/linux/man-pages/man2/ioprio_set.2.html>
pub fn ioprio_set(which: u32, who: i32, value: u32) -> SysResult {
    let (class, level) = (value >> CLASS_SHIFT, value & ((1 << CLASS_SHIFT) - 1));
    let own = current_task().credentials();
    match class {
        CLASS_REAL_TIME if !own.is_capable(linux::CAP_SYS_NICE) && !own.is_capable(linux::CAP_SYS_ADMIN) => {
            return Err(Errno::EPERM);
        }
        CLASS_REAL_TIME | CLASS_BEST_EFFORT if level >= LEVELS => return Err(Errno::EINVAL),
        CLASS_REAL_TIME | CLASS_BEST_EFFORT | CLASS_IDLE => {}
        CLASS_NONE if level == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    for task in tasks(which, who)? {
        let other = task.credentials();
        let is_same = other.user.real == own.user.effective || other.user.real == own.user.real;
        if !is_same && !own.is_capable(linux::CAP_SYS_NICE) {
            return Err(Errno::EPERM);
        }
        task.io_priority.store(value, Ordering::Relaxed);
    }
    Ok(0)
}

/// The best priority of those who are meant. <https://man7.org/linux/man-pages/man2/ioprio_set.2.html>
pub fn ioprio_get(which: u32, who: i32) -> SysResult {
    let value = |task: &Arc<Task>| task.io_priority.load(Ordering::Relaxed);
    let best =
        tasks(which, who)?.iter().map(value).reduce(|best, next| match (best >> CLASS_SHIFT, next >> CLASS_SHIFT) {
            (CLASS_NONE, _) => next,
            (_, CLASS_NONE) => best,
            _ => best.min(next),
        });
    best.map(u64::from).ok_or(Errno::ESRCH)
}
