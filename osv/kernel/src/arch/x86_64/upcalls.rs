//! What this floor calls on the floors above.
//!
//! The table is filled once at boot by [`install`], before there are programs or interrupts; until then every entry
//! ends the kernel with a message. All of these run on the kernel stack of the thread that was running.

use core::cell::UnsafeCell;

use super::{TrapFrame, vector};
use crate::panic;

/// Numbers of the system-call table. The last one, 511, also gets all calls with numbers outside of it: it must
/// be "no such call", and not by way of [`call_handler`](super::syscall::call_handler), which trusts the number.
pub const SYSCALL_COUNT: usize = 512;

/// What the entry calls. It gets the frame in RCX and returns what goes into the program's RAX.
///
/// The calling convention is Windows': it has the compiler preserve RDI, RSI and xmm6 to xmm15 wherever a handler
/// might change them, so that one that calls nothing and uses none of them is not charged for saving them all. All
/// others are [`SyscallHandler`]s behind [`call_handler`](super::syscall::call_handler).
pub type SyscallEntry = extern "win64" fn(&mut TrapFrame) -> u64;

/// A system call: gets the frame and returns what goes into the program's RAX.
pub type SyscallHandler = extern "C" fn(&mut TrapFrame) -> u64;

/// All system calls by number.
pub type SyscallTable = [SyscallEntry; SYSCALL_COUNT];

/// The handlers that are called by way of [`call_handler`](super::syscall::call_handler), by number.
pub type HandlerTable = [SyscallHandler; SYSCALL_COUNT];

/// The functions of the floors above.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Upcalls {
    /// The handlers of the `syscall` instruction. Called with interrupts on. See [`TrapFrame`] for what of the
    /// frame is valid.
    pub syscalls: Option<&'static SyscallTable>,
    /// What [`call_handler`](super::syscall::call_handler) calls.
    pub handlers: Option<&'static HandlerTable>,
    /// Calls what the frame's number, which may be any, says: the handler of all calls in a table of [`call_observed`](super::syscall::call_observed). As
    /// for `handlers`, but with a frame that is complete, and loaded as a whole.
    pub observed: SyscallHandler,
    /// Whether the gate may call `handlers` past `syscalls`: nobody watches all calls.
    pub has_gate: bool,
    /// The way back to a program found bits in its context's `work`. Called with interrupts off, with a complete
    /// frame, again and again until `work` is zero: each call must clear what it has handled. It may turn
    /// interrupts on, sleep, and rewrite the frame.
    pub return_to_program: extern "C" fn(&mut TrapFrame),
    /// A new thread's stack runs for the first time, with interrupts off; its entry function is called next.
    pub thread_start: extern "C" fn(),
    /// A page fault, of a program or of the kernel, at an address, with the CPU's error code (bit 0: the page was
    /// there, 1: a write, 4: an instruction fetch). Called with interrupts off; it may turn them on and sleep, if
    /// `frame.rflags` had them on.
    pub page_fault: fn(frame: &mut TrapFrame, address: u64, error: u64),
    /// Another exception, with its vector and error code. As for page faults.
    pub exception: fn(frame: &mut TrapFrame, vector: u8, error: u64),
    /// An interrupt, vectors 32 to 255. Called with interrupts off, to be left so.
    pub interrupt: fn(frame: &mut TrapFrame, vector: u8),
    /// A non-maskable interrupt. Runs on a stack of its own; it must take no locks.
    pub nmi: fn(frame: &mut TrapFrame),
    /// Another CPU is up, with interrupts off, on the stack that it was given.
    pub ap_main: fn(cpu_id: usize) -> !,
}

impl Upcalls {
    /// What there is before anything is installed.
    pub const NONE: Upcalls = Upcalls {
        // Assembly reads the two without a check: there are no programs before they are there.
        syscalls: None,
        handlers: None,
        observed: no_call,
        has_gate: false,
        return_to_program: no_work,
        thread_start: no_thread_start,
        page_fault: no_page_fault,
        exception: no_exception,
        interrupt: no_interrupt,
        nmi: no_nmi,
        ap_main: no_ap_main,
    };
}

/// Holds the table where assembly finds it.
#[repr(transparent)]
pub(super) struct Table(UnsafeCell<Upcalls>);

// SAFETY:
// - written by `install` only, whose contract keeps readers away.
unsafe impl Sync for Table {}

pub(super) static UPCALLS: Table = Table(UnsafeCell::new(Upcalls::NONE));

/// Puts the table in force.
///
/// # Safety
/// - No other CPU runs, and interrupts are off.
pub unsafe fn install(upcalls: Upcalls) {
    // SAFETY:
    // - the caller vouches for there being no reader.
    unsafe { *UPCALLS.0.get() = upcalls };
}

#[inline(always)]
pub(super) fn get() -> &'static Upcalls {
    // SAFETY:
    // - `install` writes only while nobody reads.
    unsafe { &*UPCALLS.0.get() }
}

/// The table of system calls that a program starts with, once there is one.
pub fn syscall_table() -> Option<&'static SyscallTable> {
    get().syscalls
}

extern "C" fn no_call(_: &mut TrapFrame) -> u64 {
    u64::MAX
}

extern "C" fn no_work(frame: &mut TrapFrame) {
    panic::crash(frame, format_args!("work for the way back, and nobody to do it"))
}

extern "C" fn no_thread_start() {}

fn no_page_fault(frame: &mut TrapFrame, address: u64, error: u64) {
    panic::crash(frame, format_args!("page fault at {address:#x} (error {error:#x})"))
}

fn no_exception(frame: &mut TrapFrame, vector: u8, error: u64) {
    panic::crash(frame, format_args!("{} (error {error:#x})", vector::name(vector)))
}

fn no_interrupt(frame: &mut TrapFrame, vector: u8) {
    panic::crash(frame, format_args!("interrupt {vector}, which nobody handles"))
}

fn no_nmi(frame: &mut TrapFrame) {
    panic::crash(frame, format_args!("non-maskable interrupt"))
}

fn no_ap_main(cpu_id: usize) -> ! {
    panic!("CPU {cpu_id} is up and has nothing to do")
}
