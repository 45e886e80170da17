//! `--strace`: one line in the log per system call, arguments decoded by their types, result or error name.
//!
//! Tracing costs nothing while it is off: to turn it on, the boot gives arch [`traced_table`] instead of the
//! plain table.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::Write;

use super::table::TABLE;
use super::{Call, TABLE_SIZE};
use crate::arch::{SyscallEntry, SyscallTable, TrapFrame};
use crate::errno::Errno;
use crate::{kprintln, sched};

/// The table that prints each call before it goes on to the plain one. To be called once, with a heap.
pub fn traced_table() -> &'static SyscallTable {
    Box::leak(Box::new([traced as SyscallEntry; TABLE_SIZE]))
}

/// Runs the call and prints it; calls that may not come back to this place are printed before, too.
extern "win64" fn traced(frame: &mut TrapFrame) -> u64 {
    let number = (frame.orig_rax as u32 as usize).min(TABLE_SIZE - 1);
    let call = Call::find(number);
    let name = call.map_or("?", Call::name);
    let mut line = String::new();
    // Writing into a `String` cannot fail; what an argument's `show` could not read is simply missing.
    let _ = write!(line, "[{}] {}(", sched::current().id(), name);
    let _ = call.map(|call| call.show(frame, &mut line));
    line.push(')');
    if matches!(name, "exit" | "exit_group" | "execve" | "execveat" | "rt_sigreturn") {
        kprintln!("{line}");
    }
    let rax = TABLE[number](frame);
    let _ = write_result(&mut line, rax);
    kprintln!("{line}");
    rax
}

fn write_result(line: &mut String, rax: u64) -> core::fmt::Result {
    match (rax as i64).checked_neg() {
        Some(number @ 1..=133) => write!(line, " = -1 {}", Errno::from_raw(number as u32)),
        Some(number @ 512..=516) => write!(line, " = ? (interrupted, restart code {number})"),
        _ if rax > 0xffff_ffff => write!(line, " = {rax:#x}"),
        _ => write!(line, " = {rax}"),
    }
}
