//! `--strace`: one line in the log per system call, arguments decoded by their types, result or error name.

use alloc::string::String;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{CALLS, Call, dispatch};
use crate::errno::Errno;
use crate::sched;
use crate::sched::scaffold::TrapFrame;
use crate::sched::scaffold::log;

static TRACING: AtomicBool = AtomicBool::new(false);

/// Turns the trace on or off, for all processes.
pub fn set_tracing(is_on: bool) {
    TRACING.store(is_on, Ordering::Relaxed);
}

#[inline(always)]
pub(super) fn is_tracing() -> bool {
    TRACING.load(Ordering::Relaxed)
}

/// Runs the call and prints it; calls that may never return (`exit`, `execve`) are printed before, too.
#[cold]
pub(super) fn handle_traced(frame: &mut TrapFrame) {
    let call = CALLS.get(frame.orig_rax as usize).unwrap_or(&Call::UNASSIGNED);
    let mut line = String::new();
    // Writing into a `String` cannot fail; what an argument's `show` could not read is simply missing.
    let _ = write!(line, "[{}] {}(", sched::current().id(), call.name);
    let _ = (call.show)(frame, &mut line);
    line.push(')');
    if matches!(call.name, "exit" | "exit_group" | "execve" | "execveat" | "rt_sigreturn") {
        log::info!("{line}");
    }
    frame.rax = dispatch(frame);
    let _ = write_result(&mut line, frame.rax);
    log::info!("{line}");
}

fn write_result(line: &mut String, rax: u64) -> core::fmt::Result {
    match (rax as i64).checked_neg() {
        Some(number @ 1..=133) => write!(line, " = -1 {}", Errno::from_raw(number as u32)),
        Some(number @ 512..=516) => write!(line, " = ? (interrupted, restart code {number})"),
        _ if rax > 0xffff_ffff => write!(line, " = {rax:#x}"),
        _ => write!(line, " = {rax}"),
    }
}
