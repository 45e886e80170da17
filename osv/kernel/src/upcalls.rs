//! What arch calls on the floors above: each entry into the kernel finds its floor here.

use core::sync::atomic::Ordering;

use crate::arch::{self, RFLAGS_IF, SyscallTable, TrapFrame, Upcalls, vector, work};
use crate::drivers::{apic, irq};
use crate::mem::space::{Access, Fault};
use crate::mem::{self, layout, stack, tlb};
use crate::process::signal::fault::{PageFaultCause, on_debug, on_exception, on_page_fault};
use crate::process::{self, rseq, signal};
use crate::{cpus, dump, panic, sched, syscall};

/// Puts the upcalls in force. `has_strace` chooses the table of system calls that prints them.
///
/// # Safety
/// - No other CPU runs, and interrupts are off.
pub unsafe fn install(has_strace: bool) {
    let syscalls: &'static SyscallTable = if has_strace { syscall::traced_table() } else { &syscall::TABLE };
    let upcalls = Upcalls {
        syscalls: Some(syscalls),
        handlers: Some(&syscall::HANDLERS),
        observed: syscall::observed,
        has_gate: !has_strace,
        return_to_program,
        thread_start,
        page_fault,
        exception,
        interrupt,
        nmi: dump::on_nmi,
        ap_main: cpus::ap_main,
    };
    // SAFETY:
    // - the caller vouches for it.
    unsafe { arch::install(upcalls) };
    process::trace::set_tables(syscall::observed_tables());
    panic::set_describe(describe);
    mem::set_low_handler(low_memory);
    irq::set_handler(irq::TIMER, &sched::on_timer_interrupt);
    irq::set_handler(irq::RESCHEDULE, &sched::on_reschedule_interrupt);
    irq::set_handler(irq::TLB_SHOOTDOWN, &tlb::on_interrupt);
    tlb::set_ipi(|cpu| apic::send_ipi(cpu, irq::TLB_SHOOTDOWN));
}

/// The way back to a program found something to do: run another thread, deliver a signal. Interrupts are off.
extern "C" fn return_to_program(frame: &mut TrapFrame) {
    let pending = sched::current().context.work.load(Ordering::SeqCst);
    arch::enable_interrupts();
    if pending & work::RESCHED != 0 {
        sched::schedule();
    }
    if pending & OUT_OF_MEMORY != 0 {
        sched::current().context.work.fetch_and(!OUT_OF_MEMORY, Ordering::SeqCst);
        process::oom::relieve();
    }
    if pending & work::SIGNAL != 0 {
        signal::deliver(frame);
    }
    if pending & rseq::WORK != 0 {
        rseq::resume(frame);
    }
    arch::disable_interrupts();
}

/// A bit of a thread's work: it made the kernel use up its reserve, and its process has to go.
const OUT_OF_MEMORY: u32 = work::FIRST_FREE;

/// The kernel lives on its reserve: the program that runs pays when its system call is done. May be called anywhere.
fn low_memory() {
    if sched::is_running() && process::try_current_task().is_some() {
        sched::current().context.work.fetch_or(OUT_OF_MEMORY, Ordering::SeqCst);
    }
}

extern "C" fn thread_start() {
    sched::on_first_run();
}

fn interrupt(frame: &mut TrapFrame, vector: u8) {
    if vector == irq::TIMER {
        sched::sample(frame.from_user());
    }
    irq::dispatch(vector);
}

/// A program, or the kernel on behalf of one, touched a page that is not there or may not be touched so.
fn page_fault(frame: &mut TrapFrame, address: u64, error: u64) {
    let Err(fault) = resolve(frame, address, error) else { return };
    if frame.from_user() {
        arch::enable_interrupts();
        on_page_fault(address, error, cause(fault));
    } else if let Some(rip) = arch::fixup(frame.rip) {
        frame.rip = rip;
    } else if stack::is_guard(address) {
        panic::crash(frame, format_args!("kernel stack overflow at {address:#x}"));
    } else {
        panic::crash(frame, format_args!("page fault at {address:#x} (error {error:#x})"));
    }
}

/// Gives the page to the current process' address space, if it can have it. May sleep.
fn resolve(frame: &TrapFrame, address: u64, error: u64) -> Result<(), Fault> {
    if address >= layout::USER_END || frame.rflags & RFLAGS_IF == 0 || !sched::is_running() {
        return Err(Fault::NotMapped);
    }
    let task = process::try_current_task().ok_or(Fault::NotMapped)?;
    let space = task.process().space().map_err(|_| Fault::NotMapped)?;
    arch::enable_interrupts();
    let outcome = space.handle_fault(address, Access::from_error_code(error));
    arch::disable_interrupts();
    if outcome.is_ok() {
        task.count_fault();
    }
    outcome
}

fn cause(fault: Fault) -> PageFaultCause {
    match fault {
        Fault::NotMapped => PageFaultCause::NotMapped,
        Fault::Forbidden => PageFaultCause::NotAllowed,
        Fault::NoData => PageFaultCause::BeyondFile,
        Fault::OutOfMemory => PageFaultCause::OutOfMemory,
    }
}

/// An exception that is no page fault: a signal for a program, the end for the kernel.
fn exception(frame: &mut TrapFrame, number: u8, error: u64) {
    if frame.from_user() && number == vector::DEBUG {
        let status = arch::take_debug_status();
        arch::enable_interrupts();
        on_debug(frame, status);
    } else if frame.from_user() {
        arch::enable_interrupts();
        on_exception(frame, number, error);
    } else if let Some(rip) = arch::fixup(frame.rip) {
        frame.rip = rip;
    } else {
        panic::crash(frame, format_args!("{} (error {error:#x})", vector::name(number)));
    }
}

/// Names the current thread in last words.
fn describe(print: &mut dyn FnMut(core::fmt::Arguments)) {
    if !sched::is_running() {
        return print(format_args!("before there were threads"));
    }
    let thread = sched::current();
    print(format_args!("CPU {}, thread {} ({})", arch::cpu_id(), thread.id(), thread.name().escape_ascii()));
}
