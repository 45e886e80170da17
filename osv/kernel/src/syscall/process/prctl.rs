//! `prctl(2)` and `arch_prctl(2)`.

use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;
use linux_raw_sys::prctl as pr;

use super::seccomp;
use crate::arch;
use crate::errno::{Errno, Result};
use crate::mem::user::{USER_END, UserAddr, UserPtr, UserSlice};
use crate::process::credentials::secure_bits;
use crate::process::signal::Signal;
use crate::process::{current_process, current_task};
use crate::syscall::SysResult;

/// Bytes of a task's name.
const NAME_SIZE: usize = 16;

/// <https://man7.org/linux/man-pages/man2/prctl.2.html>
pub fn prctl(option: u32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) -> SysResult {
    let rest_is_zero = arg3 == 0 && arg4 == 0 && arg5 == 0;
    let (task, process) = (current_task(), current_process());
    match option {
        pr::PR_SET_PDEATHSIG => {
            let signal = if arg2 == 0 { 0 } else { signal(arg2)?.number() };
            task.parent_death_signal.store(signal, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_GET_PDEATHSIG => write_u32(arg2, task.parent_death_signal.load(Ordering::Relaxed)),
        pr::PR_GET_DUMPABLE => Ok(u64::from(process.is_dumpable.load(Ordering::Relaxed))),
        pr::PR_SET_DUMPABLE if arg2 <= 1 => {
            process.is_dumpable.store(arg2 as u32, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_SET_NAME => {
            task.set_name(&read_name(arg2)?);
            Ok(0)
        }
        pr::PR_GET_NAME => {
            UserSlice::new(arg2, NAME_SIZE).write_all(&task.name())?;
            Ok(0)
        }
        pr::PR_SET_TIMERSLACK => {
            task.set_timer_slack(arg2);
            Ok(0)
        }
        pr::PR_GET_TIMERSLACK => Ok(task.timer_slack_ns.load(Ordering::Relaxed)),
        pr::PR_SET_CHILD_SUBREAPER => {
            process.is_subreaper.store(arg2 != 0, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_GET_CHILD_SUBREAPER => write_u32(arg2, u32::from(process.is_subreaper())),
        pr::PR_SET_NO_NEW_PRIVS if arg2 == 1 && rest_is_zero => {
            task.has_no_new_privileges.store(true, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_GET_NO_NEW_PRIVS if arg2 == 0 && rest_is_zero => {
            Ok(u64::from(task.has_no_new_privileges.load(Ordering::Relaxed)))
        }
        pr::PR_GET_KEEPCAPS => Ok(u64::from(task.credentials().secure_bits & secure_bits::KEEP_CAPS != 0)),
        pr::PR_SET_KEEPCAPS if arg2 <= 1 => set_keep_caps(arg2 == 1),
        pr::PR_GET_SECUREBITS => Ok(u64::from(task.credentials().secure_bits)),
        pr::PR_SET_SECUREBITS => set_secure_bits(arg2),
        pr::PR_CAPBSET_READ => {
            let bit = capability(arg2)?;
            Ok(u64::from(task.credentials().capabilities.bounding & bit != 0))
        }
        pr::PR_CAPBSET_DROP => drop_from_bounding_set(arg2),
        pr::PR_CAP_AMBIENT => ambient(arg2, arg3, arg4, arg5),
        pr::PR_GET_SECCOMP => seccomp::mode(),
        pr::PR_SET_SECCOMP => seccomp::set_by_prctl(arg2, arg3),
        pr::PR_GET_THP_DISABLE if arg2 == 0 && rest_is_zero => {
            Ok(u64::from(process.has_no_huge_pages.load(Ordering::Relaxed)))
        }
        pr::PR_SET_THP_DISABLE if arg3 == 0 && arg4 == 0 && arg5 == 0 => {
            process.has_no_huge_pages.store(arg2 != 0, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_GET_TSC => write_u32(arg2, pr::PR_TSC_ENABLE),
        pr::PR_SET_TSC if arg2 == u64::from(pr::PR_TSC_ENABLE) => Ok(0),
        pr::PR_GET_TIMING => Ok(u64::from(pr::PR_TIMING_STATISTICAL)),
        pr::PR_SET_TIMING if arg2 == u64::from(pr::PR_TIMING_STATISTICAL) => Ok(0),
        pr::PR_GET_TID_ADDRESS => {
            UserPtr::<u64>::new(arg2).write(&task.clear_child_tid.load(Ordering::Relaxed))?;
            Ok(0)
        }
        pr::PR_MCE_KILL if arg4 == 0 && arg5 == 0 => set_machine_check(arg2, arg3),
        pr::PR_MCE_KILL_GET if arg2 == 0 && rest_is_zero => {
            Ok(u64::from(process.machine_check_kill.load(Ordering::Relaxed)))
        }
        // There are no performance counters to switch.
        pr::PR_TASK_PERF_EVENTS_ENABLE | pr::PR_TASK_PERF_EVENTS_DISABLE => Ok(0),
        pr::PR_SET_IO_FLUSHER | pr::PR_GET_IO_FLUSHER => {
            io_flusher(option == pr::PR_SET_IO_FLUSHER, arg2, rest_is_zero)
        }
        pr::PR_SET_MM => set_memory_map(arg2 as u32, arg3, arg4, arg5),
        // A name for an area of memory is a comment.
        pr::PR_SET_VMA => Err(Errno::EINVAL),
        _ => Err(Errno::EINVAL),
    }
}

/// When a broken page of memory is told of: there is nobody who would find one.
fn set_machine_check(command: u64, policy: u64) -> SysResult {
    const CLEAR: u64 = 0;
    const SET: u64 = 1;
    const DEFAULT: u32 = 2;
    let new = match (command, policy) {
        (CLEAR, 0) => DEFAULT,
        (SET, 0..=2) => policy as u32,
        _ => return Err(Errno::EINVAL),
    };
    current_process().machine_check_kill.store(new, Ordering::Relaxed);
    Ok(0)
}

/// Whether the process serves a file system and must not wait for itself: remembered, since none here would.
fn io_flusher(is_set: bool, value: u64, rest_is_zero: bool) -> SysResult {
    let task = current_task();
    if !task.credentials().is_capable(linux::CAP_SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    let flag = &current_process().is_io_flusher;
    match value {
        _ if !rest_is_zero => Err(Errno::EINVAL),
        0 | 1 if is_set => {
            flag.store(value == 1, Ordering::Relaxed);
            Ok(0)
        }
        0 if !is_set => Ok(u64::from(flag.load(Ordering::Relaxed))),
        _ => Err(Errno::EINVAL),
    }
}

/// Moves what the kernel takes for arguments and environment, as programs do that change what `ps` shows.
fn set_memory_map(field: u32, address: u64, arg4: u64, arg5: u64) -> SysResult {
    if arg4 != 0 || arg5 != 0 {
        return Err(Errno::EINVAL);
    }
    if !current_task().credentials().is_capable(linux::CAP_SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    UserPtr::<u8>::new(address).read().map_err(|_| Errno::EINVAL)?;
    let process = current_process();
    let mut executable = process.executable();
    match field {
        pr::PR_SET_MM_ARG_START => executable.arguments.0 = address,
        pr::PR_SET_MM_ARG_END => executable.arguments.1 = address,
        pr::PR_SET_MM_ENV_START => executable.environment.0 = address,
        pr::PR_SET_MM_ENV_END => executable.environment.1 = address,
        _ => return Err(Errno::EINVAL),
    }
    process.set_executable(executable);
    Ok(0)
}

fn signal(number: u64) -> Result<Signal> {
    u32::try_from(number).ok().and_then(Signal::new).ok_or(Errno::EINVAL)
}

fn write_u32(address: u64, value: u32) -> SysResult {
    UserPtr::<u32>::new(address).write(&value)?;
    Ok(0)
}

/// At most 15 bytes, up to a NUL; what lies behind that need not be there.
fn read_name(address: u64) -> Result<[u8; NAME_SIZE]> {
    let mut name = [0; NAME_SIZE];
    for (offset, place) in name.iter_mut().take(NAME_SIZE - 1).enumerate() {
        *place = UserPtr::<u8>::new(UserAddr(address).add(offset as u64).0).read()?;
        if *place == 0 {
            break;
        }
    }
    Ok(name)
}

fn capability(number: u64) -> Result<u64> {
    if number > u64::from(linux::CAP_LAST_CAP) { Err(Errno::EINVAL) } else { Ok(1 << number) }
}

fn set_keep_caps(is_on: bool) -> SysResult {
    let task = current_task();
    let mut new = (*task.credentials()).clone();
    if new.secure_bits & secure_bits::KEEP_CAPS << 1 != 0 {
        return Err(Errno::EPERM);
    }
    new.secure_bits &= !secure_bits::KEEP_CAPS;
    if is_on {
        new.secure_bits |= secure_bits::KEEP_CAPS;
    }
    task.set_credentials(new);
    Ok(0)
}

fn set_secure_bits(bits: u64) -> SysResult {
    let task = current_task();
    let mut new = (*task.credentials()).clone();
    let bits = u32::try_from(bits).map_err(|_| Errno::EPERM)?;
    let locked = new.secure_bits & secure_bits::LOCKS;
    let is_wrong = bits & !secure_bits::ALL != 0
        || locked & !bits != 0
        || (locked >> 1) & (bits ^ new.secure_bits) != 0
        || !new.is_capable(linux::CAP_SETPCAP);
    if is_wrong {
        return Err(Errno::EPERM);
    }
    new.secure_bits = bits;
    task.set_credentials(new);
    Ok(0)
}

fn drop_from_bounding_set(number: u64) -> SysResult {
    let bit = capability(number)?;
    let task = current_task();
    let mut new = (*task.credentials()).clone();
    if !new.is_capable(linux::CAP_SETPCAP) {
        return Err(Errno::EPERM);
    }
    new.capabilities.bounding &= !bit;
    task.set_credentials(new);
    Ok(0)
}

fn ambient(command: u64, number: u64, arg4: u64, arg5: u64) -> SysResult {
    let task = current_task();
    let mut new = (*task.credentials()).clone();
    if arg4 != 0 || arg5 != 0 {
        return Err(Errno::EINVAL);
    }
    match command as u32 {
        pr::PR_CAP_AMBIENT_CLEAR_ALL if number == 0 => new.capabilities.ambient = 0,
        pr::PR_CAP_AMBIENT_IS_SET => return Ok(u64::from(new.capabilities.ambient & capability(number)? != 0)),
        pr::PR_CAP_AMBIENT_LOWER => new.capabilities.ambient &= !capability(number)?,
        pr::PR_CAP_AMBIENT_RAISE => {
            let bit = capability(number)?;
            let sets = &new.capabilities;
            let is_refused = new.secure_bits & secure_bits::NO_CAP_AMBIENT_RAISE != 0;
            if sets.permitted & bit == 0 || sets.inheritable & bit == 0 || is_refused {
                return Err(Errno::EPERM);
            }
            new.capabilities.ambient |= bit;
        }
        _ => return Err(Errno::EINVAL),
    }
    task.set_credentials(new);
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/arch_prctl.2.html>
pub fn arch_prctl(option: u32, address: u64) -> SysResult {
    const SET_GS: u32 = 0x1001;
    const SET_FS: u32 = 0x1002;
    const GET_FS: u32 = 0x1003;
    const GET_GS: u32 = 0x1004;
    const GET_CPUID: u32 = 0x1011;
    match option {
        SET_FS | SET_GS if address >= USER_END => return Err(Errno::EPERM),
        SET_FS => arch::set_fs_base(address),
        SET_GS => arch::set_gs_base(address),
        GET_FS => UserPtr::<u64>::new(address).write(&arch::fs_base())?,
        GET_GS => UserPtr::<u64>::new(address).write(&arch::gs_base())?,
        GET_CPUID => return Ok(1),
        // Shadow stacks (CET) and tagged addresses are not there.
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
