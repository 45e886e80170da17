//! `sched_setaffinity(2)`, `sched_setscheduler(2)` and their like, `getcpu(2)`.
//!
//! The rules are those of sched(7). Threads of SCHED_DEADLINE are never admitted (EBUSY): the CPUs' time is not for reserving.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::ids::positive;
use super::priority::set_nice;
use crate::arch;
use crate::errno::{Errno, Result};
use crate::mem::user::{UserAddr, UserPtr, UserSlice};
use crate::process::limits::Resource;
use crate::process::{Task, current_task, tree};
use crate::sched::{self, CpuMask};
use crate::syscall::SysResult;
use crate::syscall::time::Timespec;

/// The flag of `sched_setscheduler` beside the policy.
const RESET_ON_FORK: u32 = linux::SCHED_RESET_ON_FORK;

/// How long a thread runs before others get their turn.
const ROUND_ROBIN_NS: u64 = 100_000_000;

fn task(tid: i32) -> Result<Arc<Task>> {
    match tid {
        0 => Ok(current_task().arc()),
        tid if tid < 0 => Err(Errno::EINVAL),
        tid => tree::find_task(positive(tid)?),
    }
}

/// EPERM unless the caller may change how `task` is scheduled.
fn check_owner(task: &Task) -> Result<()> {
    let (own, other) = (current_task().credentials(), task.credentials());
    let is_same = own.user.effective == other.user.real || own.user.effective == other.user.effective;
    if is_same || own.is_capable(linux::CAP_SYS_NICE) { Ok(()) } else { Err(Errno::EPERM) }
}

/// <https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html>
pub fn sched_setaffinity(tid: i32, size: usize, mask: UserAddr) -> SysResult {
    let mut bytes = [0; size_of::<u64>()];
    let used = size.min(bytes.len());
    if let Some(place) = bytes.get_mut(..used) {
        UserSlice::new(mask.0, used).read_exact(place)?;
    }
    let task = if tid < 0 { Err(Errno::ESRCH) } else { task(tid) }?;
    check_owner(&task)?;
    let wanted = CpuMask(u64::from_le_bytes(bytes)).and(sched::online_cpus());
    if wanted.first().is_none() {
        return Err(Errno::EINVAL);
    }
    task.thread().ok_or(Errno::ESRCH)?.set_affinity(wanted);
    sched::relax();
    Ok(0)
}

/// Returns the bytes of the mask. <https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html>
pub fn sched_getaffinity(tid: i32, size: usize, mask: UserPtr<u64>) -> SysResult {
    if size < size_of::<u64>() || !size.is_multiple_of(size_of::<u64>()) {
        return Err(Errno::EINVAL);
    }
    let task = if tid < 0 { Err(Errno::ESRCH) } else { task(tid) }?;
    let affinity = task.thread().ok_or(Errno::ESRCH)?.affinity().and(sched::online_cpus());
    mask.write(&affinity.0)?;
    Ok(size_of::<u64>() as u64)
}

/// <https://man7.org/linux/man-pages/man2/sched_get_priority_max.2.html>
pub fn sched_get_priority_max(policy: u32) -> SysResult {
    priorities(policy).map(|(_, max)| u64::from(max))
}

/// <https://man7.org/linux/man-pages/man2/sched_get_priority_max.2.html>
pub fn sched_get_priority_min(policy: u32) -> SysResult {
    priorities(policy).map(|(min, _)| u64::from(min))
}

/// The priorities of a policy. EINVAL for one that is none.
fn priorities(policy: u32) -> Result<(u32, u32)> {
    match policy {
        linux::SCHED_FIFO | linux::SCHED_RR => Ok((1, 99)),
        linux::SCHED_NORMAL | linux::SCHED_BATCH | linux::SCHED_IDLE | linux::SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}

/// <https://man7.org/linux/man-pages/man2/sched_setscheduler.2.html>
pub fn sched_setscheduler(tid: i32, policy: u32, priority: UserPtr<u32>) -> SysResult {
    if priority.is_null() || tid < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = priority.read()?;
    set_policy(&*task(tid)?, policy, priority)
}

/// <https://man7.org/linux/man-pages/man2/sched_setparam.2.html>
pub fn sched_setparam(tid: i32, priority: UserPtr<u32>) -> SysResult {
    if priority.is_null() || tid < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = priority.read()?;
    let task = task(tid)?;
    set_policy(&task, task.policy.load(Ordering::Relaxed), priority)
}

fn set_policy(task: &Task, policy: u32, priority: u32) -> SysResult {
    let (min, max) = priorities(policy & !RESET_ON_FORK)?;
    if policy & !RESET_ON_FORK == linux::SCHED_DEADLINE || !(min..=max).contains(&priority) {
        return Err(Errno::EINVAL);
    }
    check_change(task, policy, priority)?;
    task.set_policy(policy, priority);
    sched::relax();
    Ok(0)
}

/// EPERM for a change that only the privileged may make: of others' threads, to a higher real-time priority than the limit
/// allows, away from SCHED_IDLE without the right to be that nice, or so that children inherit again what they should not.
fn check_change(task: &Task, policy: u32, priority: u32) -> Result<()> {
    if current_task().credentials().is_capable(linux::CAP_SYS_NICE) {
        return Ok(());
    }
    check_owner(task)?;
    let (old_policy, old_priority) = (task.policy.load(Ordering::Relaxed), task.rt_priority.load(Ordering::Relaxed));
    let limit = task.process().limit(Resource::RealTimePriority);
    let is_new_policy = policy & !RESET_ON_FORK != old_policy & !RESET_ON_FORK;
    let is_refused = priority != 0
        && (is_new_policy && limit == 0 || priority > old_priority && u64::from(priority) > limit)
        || old_policy & !RESET_ON_FORK == linux::SCHED_IDLE && is_new_policy && !may_be_as_nice(task)
        || old_policy & RESET_ON_FORK != 0 && policy & RESET_ON_FORK == 0;
    if is_refused { Err(Errno::EPERM) } else { Ok(()) }
}

/// Whether RLIMIT_NICE allows the task's nice value.
fn may_be_as_nice(task: &Task) -> bool {
    let nice = task.thread().map_or(0, |thread| thread.nice());
    (20 - i64::from(nice)) as u64 <= task.process().limit(Resource::Nice)
}

/// <https://man7.org/linux/man-pages/man2/sched_setscheduler.2.html>
pub fn sched_getscheduler(tid: i32) -> SysResult {
    Ok(u64::from(task(tid)?.policy.load(Ordering::Relaxed)))
}

/// <https://man7.org/linux/man-pages/man2/sched_setparam.2.html>
pub fn sched_getparam(tid: i32, priority: UserPtr<u32>) -> SysResult {
    if priority.is_null() {
        return Err(Errno::EINVAL);
    }
    let task = task(tid)?;
    priority.write(&task.rt_priority.load(Ordering::Relaxed))?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/sched_rr_get_interval.2.html>
pub fn sched_rr_get_interval(tid: i32, interval: UserPtr<Timespec>) -> SysResult {
    let policy = task(tid)?.policy.load(Ordering::Relaxed);
    let interval_ns = if policy & !RESET_ON_FORK == linux::SCHED_FIFO { 0 } else { ROUND_ROBIN_NS };
    interval.write(&Timespec::from_nanos(interval_ns))?;
    Ok(0)
}

/// `struct sched_attr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Bytes of the first version of [`SchedAttr`].
const FIRST_SIZE: usize = 48;

/// <https://man7.org/linux/man-pages/man2/sched_setattr.2.html>
pub fn sched_setattr(tid: i32, attributes: UserAddr, flags: u32) -> SysResult {
    if attributes.is_null() || tid < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let size = match UserPtr::<u32>::new(attributes.0).read()? as usize {
        0 => FIRST_SIZE,
        size if !(FIRST_SIZE..=4096).contains(&size) => {
            UserPtr::<u32>::new(attributes.0).write(&(size_of::<SchedAttr>() as u32))?;
            return Err(Errno::E2BIG);
        }
        size => size,
    };
    let bytes = UserSlice::new(attributes.0, size).read_vec()?;
    let (known, rest) = bytes.split_at(size.min(size_of::<SchedAttr>()));
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    let mut new = SchedAttr::new_zeroed();
    if let Some(place) = new.as_mut_bytes().get_mut(..known.len()) {
        place.copy_from_slice(known);
    }
    const KNOWN_FLAGS: u64 = 0x7f;
    if new.flags & !KNOWN_FLAGS != 0 || (new.policy as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let task = task(tid)?;
    if new.policy == linux::SCHED_DEADLINE {
        return deadline(&new);
    }
    let reset = if new.flags & u64::from(linux::SCHED_FLAG_RESET_ON_FORK) != 0 { RESET_ON_FORK } else { 0 };
    if matches!(new.policy, linux::SCHED_NORMAL | linux::SCHED_BATCH) {
        check_owner(&task)?;
        set_nice(&task, new.nice.clamp(-20, 19) as i8)?;
    }
    set_policy(&task, new.policy | reset, new.priority)
}

/// SCHED_DEADLINE: parameters that make sense find no room.
fn deadline(wanted: &SchedAttr) -> SysResult {
    const MIN_RUNTIME_NS: u64 = 1024;
    let period = if wanted.period == 0 { wanted.deadline } else { wanted.period };
    let is_sound = wanted.deadline != 0
        && wanted.runtime >= MIN_RUNTIME_NS
        && (wanted.deadline | period) >> 63 == 0
        && wanted.runtime <= wanted.deadline
        && wanted.deadline <= period
        && wanted.priority == 0;
    if !is_sound {
        return Err(Errno::EINVAL);
    }
    if !current_task().credentials().is_capable(linux::CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    Err(Errno::EBUSY)
}

/// <https://man7.org/linux/man-pages/man2/sched_setattr.2.html>
pub fn sched_getattr(tid: i32, attributes: UserAddr, size: u32, flags: u32) -> SysResult {
    if attributes.is_null() || tid < 0 || flags != 0 || (size as usize) < FIRST_SIZE || size > 4096 {
        return Err(Errno::EINVAL);
    }
    let task = task(tid)?;
    let policy = task.policy.load(Ordering::Relaxed);
    let used = (size as usize).min(size_of::<SchedAttr>());
    let current = SchedAttr {
        size: used as u32,
        policy: policy & !RESET_ON_FORK,
        flags: if policy & RESET_ON_FORK != 0 { u64::from(linux::SCHED_FLAG_RESET_ON_FORK) } else { 0 },
        nice: task.thread().map_or(0, |thread| i32::from(thread.nice())),
        priority: task.rt_priority.load(Ordering::Relaxed),
        util_max: 1024,
        ..SchedAttr::new_zeroed()
    };
    UserSlice::new(attributes.0, used).write_all(current.as_bytes().get(..used).unwrap_or_default())?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/getcpu.2.html>
pub fn getcpu(cpu: UserPtr<u32>, node: UserPtr<u32>, _cache: u64) -> SysResult {
    if let Some(cpu) = cpu.non_null() {
        cpu.write(&(arch::cpu_id() as u32))?;
    }
    if let Some(node) = node.non_null() {
        node.write(&0)?;
    }
    Ok(0)
}
