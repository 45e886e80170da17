//! System calls of tasks that are traced: their tracer sees each begin and end, and may change both.
//!
//! A tracee's table leads here for every number (see [`process::trace`](crate::process::trace)). Order, as on Linux: the
//! tracer, then the filters, then the call, then the tracer.

use super::process::FILTERED_TABLE;
use super::{HANDLERS, TABLE_SIZE};
use crate::arch::{SyscallTable, TrapFrame, call_observed};
use crate::errno::Errno;
use crate::process::seccomp;
use crate::process::trace::{self, Tables};

/// The calls of tasks that are traced.
static TRACED_TABLE: SyscallTable = [call_observed; TABLE_SIZE];

/// The tables for tasks that somebody observes.
pub fn tables() -> Tables {
    Tables { filtered: &FILTERED_TABLE, traced: &TRACED_TABLE }
}

/// Makes the call that the frame says, if nobody minds. RAX in the frame is ENOSYS before, as on Linux.
pub extern "C" fn observed(frame: &mut TrapFrame) -> u64 {
    if trace::enter_call(frame) {
        match seccomp::judge(frame, true) {
            Some(rax) => frame.rax = rax,
            None => make(frame),
        }
    }
    trace::leave_call(frame);
    frame.rax
}

/// A tracer skips a call by making its number -1.
fn make(frame: &mut TrapFrame) {
    let number = frame.orig_rax as u32;
    if number != u32::MAX {
        frame.rax = match HANDLERS.get(number as usize) {
            Some(handler) => handler(frame),
            None => Errno::ENOSYS.to_rax(),
        };
    }
}
