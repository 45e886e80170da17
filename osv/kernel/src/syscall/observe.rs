//! System calls of tasks that are traced: their tracer sees each begin and end, and may change both.
//!
//! A tracee's table leads here for every number (see [`process::trace`](crate::process::trace)). Order, as on Linux: the
//! tracer, then the filters, then the call, then the tracer.

use alloc::boxed::Box;

use super::process::FILTERED;
use super::{HANDLERS, TABLE_SIZE};
use crate::arch::{SyscallEntry, TrapFrame, call_observed};
use crate::errno::Errno;
use crate::process::seccomp;
use crate::process::trace::{self, Tables};

/// The tables for tasks that somebody observes. To be called once, with a heap: tables of one address have no place in
/// files.
pub fn tables() -> Tables {
    let table = |entry: SyscallEntry| Box::leak(Box::new([entry; TABLE_SIZE]));
    Tables { filtered: table(FILTERED), traced: table(call_observed) }
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
