//! What everybody does right now: each CPU's place, and where each task of each process waits.
//!
//! The answer to a VM that hangs. The hypervisor asks by a non-maskable interrupt to all CPUs (`osv run --verbose` does
//! so when its time-out is over), which also reaches a CPU that spins with interrupts off. Each CPU shows where it was;
//! the first shows the tasks that sleep, too. Nothing here waits for a lock that an interrupted CPU may hold, and the
//! addresses are in the form that the runner names, as in last words.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::{self, TrapFrame};
use crate::drivers::serial;
use crate::process::{Task, tree};
use crate::sync::SpinLock;
use crate::{kprintln, panic, sched};

/// One CPU speaks at a time.
static SPEAKING: SpinLock<()> = SpinLock::new(());

/// Whether some CPU has shown the tasks.
static TASKS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows what the CPU did when it was interrupted.
pub fn on_nmi(frame: &mut TrapFrame) {
    let _speaking = SPEAKING.lock();
    serial::start_last_words();
    show_cpu(frame);
    if !TASKS_SHOWN.swap(true, Ordering::Relaxed) && !tree::try_each_task(|task| show_task(task)) {
        kprintln!("osv: the tree of processes is locked, its tasks cannot be shown");
    }
}

fn show_cpu(frame: &TrapFrame) {
    kprintln!("\nosv: CPU {}:", arch::cpu_id());
    if sched::is_running() {
        let thread = sched::current();
        kprintln!("osv: runs thread {} ({})", thread.id(), until_nul(&thread.name()).escape_ascii());
    }
    if frame.from_user() {
        kprintln!("osv: in the program at {:#x}, stack at {:#x}", frame.rip, frame.rsp);
    } else {
        panic::backtrace(Some(frame.rip), frame.rbp);
    }
}

fn show_task(task: &Task) {
    let Some(thread) = task.thread() else { return };
    let name = thread.name();
    let name = until_nul(&name);
    kprintln!(
        "osv: task {} of process {} ({}): {}",
        task.tid(),
        task.process().pid(),
        name.escape_ascii(),
        thread.doing()
    );
    if !thread.is_on_cpu()
        && let Some((rip, frame_pointer)) = thread.context.where_it_waits()
    {
        panic::backtrace(Some(rip), frame_pointer);
    }
    // The last reference would free a stack, here, between any two instructions of the kernel.
    core::mem::forget(thread);
}

fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}
