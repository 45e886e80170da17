//! What arch calls on the floors above: each entry into the kernel finds its floor here.

use crate::arch::{self, SyscallTable, TrapFrame, Upcalls, work};
use crate::drivers::irq;
use crate::{cpus, panic, sched, syscall};

/// Puts the upcalls in force. `has_strace` chooses the table of system calls that prints them.
///
/// # Safety
/// - No other CPU runs, and interrupts are off.
pub unsafe fn install(has_strace: bool) {
    let syscalls: &'static SyscallTable = if has_strace { &syscall::TRACED_TABLE } else { &syscall::TABLE };
    let upcalls =
        Upcalls { syscalls, return_to_program, thread_start, interrupt, ap_main: cpus::ap_main, ..Upcalls::NONE };
    // SAFETY:
    // - the caller vouches for it.
    unsafe { arch::install(upcalls) };
    panic::set_describe(describe);
    irq::set_handler(irq::TIMER, &sched::on_timer_interrupt);
    irq::set_handler(irq::RESCHEDULE, &sched::on_reschedule_interrupt);
}

/// The way back to a program found something to do: run another thread, deliver a signal. Interrupts are off.
extern "C" fn return_to_program(_frame: &mut TrapFrame) {
    let pending = sched::current().context.work.load(core::sync::atomic::Ordering::SeqCst);
    arch::enable_interrupts();
    if pending & work::RESCHED != 0 {
        sched::schedule();
    }
    arch::disable_interrupts();
}

extern "C" fn thread_start() {
    sched::on_first_run();
}

fn interrupt(_frame: &mut TrapFrame, vector: u8) {
    irq::dispatch(vector);
}

/// Names the current thread in last words.
fn describe(print: &mut dyn FnMut(core::fmt::Arguments)) {
    if !sched::is_running() {
        return print(format_args!("before there were threads"));
    }
    let thread = sched::current();
    print(format_args!("CPU {}, thread {} ({})", arch::cpu_id(), thread.id(), thread.name().escape_ascii()));
}
