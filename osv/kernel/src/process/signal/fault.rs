//! What the CPU complains about, as signals.

use core::fmt;

use linux_raw_sys::general as linux;

use super::info::SignalInfo;
use super::send;
use super::set::Signal;
use crate::arch::{DEBUG_STATUS_STEP, DEBUG_STATUS_WATCHED, TrapFrame, vector};
use crate::log;
use crate::mem::space::AreaInfo;
use crate::process::current_task;
use crate::process::oom;
use crate::process::task::Task;
use crate::process::trace;

/// The last fault of a task, as a handler's frame shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The CPU's exception.
    pub vector: u64,
    /// Its error code, with the bit for "in user mode" that Linux would show.
    pub error: u64,
    /// The address, of a page fault.
    pub address: u64,
    /// The signal that it sent, until that was delivered.
    pub signal: Option<Signal>,
}

/// The error code's bit for "in user mode", which the CPU does not set here.
const USER_MODE: u64 = 4;

/// Why a page fault could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFaultCause {
    /// Nothing is mapped there.
    NotMapped,
    /// What is mapped there does not allow it.
    NotAllowed,
    /// The file behind the mapping ends before.
    BeyondFile,
    /// Reading the file failed.
    Io,
    /// There is no memory left.
    OutOfMemory,
}

/// A page fault of the program that cannot be resolved becomes a signal.
pub fn on_page_fault(address: u64, error: u64, cause: PageFaultCause) {
    let (signal, code) = match cause {
        PageFaultCause::NotMapped => (Signal::SIGSEGV, linux::SEGV_MAPERR),
        PageFaultCause::NotAllowed => (Signal::SIGSEGV, linux::SEGV_ACCERR),
        PageFaultCause::BeyondFile | PageFaultCause::Io => (Signal::SIGBUS, linux::BUS_ADRERR),
        PageFaultCause::OutOfMemory => return oom::relieve(),
    };
    raise(vector::PAGE_FAULT, error, address, signal, code as i32, address);
}

/// The program's exception `vector::DEBUG` becomes a signal; `status` is DR6. To be called with interrupts on.
pub fn on_debug(frame: &mut TrapFrame, status: u64) {
    if trace::on_step(frame, status) {
        return;
    }
    let code = match status {
        _ if status & DEBUG_STATUS_STEP != 0 => linux::TRAP_TRACE,
        _ if status & DEBUG_STATUS_WATCHED != 0 => linux::TRAP_HWBKPT,
        _ => linux::TRAP_BRKPT,
    };
    raise(vector::DEBUG, 0, 0, Signal::SIGTRAP, code as i32, frame.rip);
}

/// Another exception of the program becomes a signal.
pub fn on_exception(frame: &TrapFrame, number: u8, error: u64) {
    let kernel = linux::SI_KERNEL as i32;
    let (signal, code, address) = match number {
        vector::DIVIDE => (Signal::SIGFPE, linux::FPE_INTDIV as i32, frame.rip),
        vector::BREAKPOINT => (Signal::SIGTRAP, kernel, 0),
        vector::INVALID_OPCODE => (Signal::SIGILL, linux::ILL_ILLOPN as i32, frame.rip),
        vector::NO_SEGMENT | vector::STACK => (Signal::SIGBUS, kernel, 0),
        vector::ALIGNMENT => (Signal::SIGBUS, linux::BUS_ADRALN as i32, 0),
        vector::X87 => (Signal::SIGFPE, linux::FPE_FLTINV as i32, frame.rip),
        vector::SIMD => (Signal::SIGFPE, simd_code(), frame.rip),
        _ => (Signal::SIGSEGV, kernel, 0),
    };
    raise(number, error, 0, signal, code, address);
}

/// Which floating-point exception the flags of MXCSR name that are not masked.
fn simd_code() -> i32 {
    let mxcsr = crate::arch::mxcsr();
    let raised = mxcsr & !(mxcsr >> 7) & 0x3f;
    let code = match raised {
        _ if raised & 1 != 0 => linux::FPE_FLTINV,
        _ if raised & 4 != 0 => linux::FPE_FLTDIV,
        _ if raised & 8 != 0 => linux::FPE_FLTOVF,
        _ if raised & 0x12 != 0 => linux::FPE_FLTUND,
        _ if raised & 0x20 != 0 => linux::FPE_FLTRES,
        _ => linux::FPE_FLTINV,
    };
    code as i32
}

fn raise(number: u8, error: u64, fault_address: u64, signal: Signal, code: i32, address: u64) {
    let fault =
        Fault { vector: u64::from(number), error: error | USER_MODE, address: fault_address, signal: Some(signal) };
    *current_task().signals.last_fault.lock() = fault;
    send::force(signal, SignalInfo::from_fault(signal, code, address));
}

/// Says in the log that a program dies of a fault, in Linux' words.
pub(super) fn report(task: &Task, frame: &TrapFrame, signal: Signal, info: &SignalInfo) {
    let fault = *task.signals.last_fault.lock();
    if fault.signal != Some(signal) || !(info.is_fault() || info.code == linux::SI_KERNEL as i32) {
        return;
    }
    let (name, tid) = (task.name_text(), task.tid());
    let (ip, sp, error) = (frame.rip, frame.rsp, fault.error);
    let place = Place::of(task, ip);
    if signal == Signal::SIGSEGV && fault.vector == u64::from(vector::PAGE_FAULT) {
        log::info!("{name}[{tid}]: segfault at {:x} ip {ip:016x} sp {sp:016x} error {error:x}{place}", info.address());
    } else {
        let what = vector::name(fault.vector as u8);
        log::info!("{name}[{tid}]: {} ({what}) ip {ip:016x} sp {sp:016x} error {error:x}{place}", signal.name());
    }
}

/// The mapping of a file in which an address lies: nothing if there is none.
struct Place(Option<AreaInfo>);

impl Place {
    fn of(task: &Task, address: u64) -> Place {
        let areas = task.process().space().and_then(|space| space.vmas(false)).unwrap_or_default();
        Place(areas.into_iter().find(|area| (area.start..area.end).contains(&address) && !area.name.is_empty()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(area) = &self.0 else { return Ok(()) };
        let file = area.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        write!(out, " in {}[{:x}+{:x}]", file.escape_ascii(), area.start, area.end - area.start)
    }
}
