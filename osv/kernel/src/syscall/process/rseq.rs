//! `rseq(2)` and `membarrier(2)`: what threads that share memory without locks ask of the kernel.

use core::sync::atomic::Ordering;

use crate::arch;
use crate::errno::Errno;
use crate::mem::tlb;
use crate::process::{current_process, current_task, rseq as process};
use crate::sched;
use crate::syscall::SysResult;

/// Registers the caller's structure for restartable sequences, or takes that back.
pub fn rseq(address: u64, size: u32, flags: u32, signature: u32) -> SysResult {
    const UNREGISTER: u32 = 1;
    match flags {
        0 => current_task().register_rseq(address, size, signature)?,
        UNREGISTER => current_task().unregister_rseq(address, size, signature)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

const QUERY: u32 = 0;
const GLOBAL: u32 = 1 << 0;
const GLOBAL_EXPEDITED: u32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
const PRIVATE_EXPEDITED: u32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
const PRIVATE_SYNC_CORE: u32 = 1 << 5;
const REGISTER_PRIVATE_SYNC_CORE: u32 = 1 << 6;
const PRIVATE_RSEQ: u32 = 1 << 7;
const REGISTER_PRIVATE_RSEQ: u32 = 1 << 8;
const ALL: u32 = (1 << 9) - 1;

/// Only the CPU that is named, with [`PRIVATE_RSEQ`].
const FLAG_CPU: u32 = 1;

/// Barriers between threads: an interrupt makes each CPU that is concerned finish what it has begun.
/// <https://man7.org/linux/man-pages/man2/membarrier.2.html>
pub fn membarrier(command: u32, flags: u32, cpu: i32) -> SysResult {
    let takes_cpu = command == PRIVATE_RSEQ && flags == FLAG_CPU;
    if flags != 0 && !takes_cpu {
        return Err(Errno::EINVAL);
    }
    let registered = &current_process().membarriers;
    match command {
        QUERY => return Ok(u64::from(ALL)),
        GLOBAL | GLOBAL_EXPEDITED => visit(sched::online_cpus().0),
        REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_SYNC_CORE | REGISTER_PRIVATE_RSEQ => {
            registered.fetch_or(command, Ordering::SeqCst);
        }
        PRIVATE_EXPEDITED | PRIVATE_SYNC_CORE | PRIVATE_RSEQ => {
            if registered.load(Ordering::SeqCst) & command << 1 == 0 {
                return Err(Errno::EPERM);
            }
            let cpus = current_process().space()?.running_cpus();
            let named =
                if takes_cpu { u32::try_from(cpu).map_or(0, |cpu| 1u64.checked_shl(cpu).unwrap_or(0)) } else { !0 };
            if command == PRIVATE_RSEQ {
                restart_sequences();
            }
            visit(cpus & named);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Each thread of the process looks at its sequence before it goes on: those that run do when they are interrupted.
fn restart_sequences() {
    for thread in current_process().tasks().iter().filter_map(|task| task.thread()) {
        thread.context.work.fetch_or(process::WORK, Ordering::SeqCst);
    }
}

/// Interrupts the CPUs and waits until they have been.
fn visit(cpus: u64) {
    tlb::visit(cpus & !(1 << arch::cpu_id()));
}
