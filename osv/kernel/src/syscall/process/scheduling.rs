//! `sched_setaffinity(2)`, `sched_setscheduler(2)` and their like, `getcpu(2)`, `membarrier(2)`.
//!
//! All threads are scheduled by fair shares. The policies of real-time scheduling are accepted and told, by the rules of
//! sched(7), from those who may use them; they only change what these calls say.

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
use crate::process::{Task, current_process, current_task, tree};
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
    check_owner(task)?;
    let limit = task.process().limit(Resource::RealTimePriority);
    if u64::from(priority) > limit && !current_task().credentials().is_capable(linux::CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    task.policy.store(policy, Ordering::Relaxed);
    task.rt_priority.store(priority, Ordering::Relaxed);
    Ok(0)
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
    let task = task(tid)?;
    let reset = if new.flags & u64::from(linux::SCHED_FLAG_RESET_ON_FORK) != 0 { RESET_ON_FORK } else { 0 };
    if matches!(new.policy, linux::SCHED_NORMAL | linux::SCHED_BATCH) {
        check_owner(&task)?;
        set_nice(&task, new.nice.clamp(-20, 19) as i8)?;
    }
    set_policy(&task, new.policy | reset, new.priority)
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

/// Barriers between the threads of a process.
/// <https://man7.org/linux/man-pages/man2/membarrier.2.html>
pub fn membarrier(command: u32, flags: u32, _cpu: i32) -> SysResult {
    const QUERY: u32 = 0;
    const GLOBAL: u32 = 1;
    const GLOBAL_EXPEDITED: u32 = 1 << 1;
    const REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
    const PRIVATE_EXPEDITED: u32 = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
    const BARRIERS: u32 = GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED;
    const REGISTRATIONS: u32 = REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let is_private = &current_process().has_membarrier;
    match command {
        QUERY => Ok(u64::from(BARRIERS | REGISTRATIONS)),
        REGISTER_PRIVATE_EXPEDITED => {
            is_private.store(true, Ordering::SeqCst);
            Ok(0)
        }
        REGISTER_GLOBAL_EXPEDITED => Ok(0),
        PRIVATE_EXPEDITED if !is_private.load(Ordering::SeqCst) => Err(Errno::EPERM),
        GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED => {
            visit_all_cpus();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Runs the caller on every CPU once: a CPU that has switched to it has done all that it had begun before.
fn visit_all_cpus() {
    let thread = sched::current();
    let affinity = thread.affinity();
    for cpu in sched::online_cpus().iter() {
        thread.set_affinity(CpuMask::only(cpu));
        while arch::cpu_id() != cpu {
            sched::schedule();
        }
    }
    thread.set_affinity(affinity);
}
