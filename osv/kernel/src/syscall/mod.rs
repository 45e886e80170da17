//! System calls: the one boundary between programs and the kernel.
//!
//! `table` lists all calls; a handler lives in a file of its own (or of its small family) in the folder of its
//! domain and does three things: it takes typed arguments, calls the floor below, and returns a [`SysResult`].
//! Decoding, the encoding of errors, and tracing are done here, once, from the types of the handler's arguments.
//! Source: syscall(2), and the man page that each handler names.

mod args;
#[cfg(test)]
mod document;
mod event;
mod fs;
mod futex;
mod ipc;
mod mm;
mod net;
mod observe;
mod process;
mod signal;
mod table;
mod time;
mod trace;

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{HandlerTable, SyscallEntry, SyscallHandler, SyscallTable, TrapFrame, call_handler};
use crate::errno::{Errno, Result};
use crate::{info, warn};

pub use args::{Argument, Fd, Framed, Handler};
pub use observe::{observed, tables as observed_tables};
pub use table::{CALLS, HANDLERS, TABLE};
pub use trace::traced_table;

/// What a handler returns: the value of `rax`, or the error that becomes its negated number.
pub type SysResult = Result<u64>;

/// Numbers in the table: all of Linux 6.1's fit below.
pub const TABLE_SIZE: usize = 512;

/// Prints one argument of a call, decoded by its type.
type Show = fn(u64, &mut dyn core::fmt::Write) -> core::fmt::Result;

/// How far a call is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// As on Linux.
    Done,
    /// There, but for what its note says.
    Partly,
    /// Deliberately not there: the error. The note says why.
    Refused(Errno),
    /// Not there: ENOSYS, named once in the log.
    Absent,
}

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Call {
    number: u16,
    /// How far it is there.
    pub status: Status,
    /// The name, as in `syscalls(2)`, behind it in parentheses the names of its arguments, if it is there, and behind a
    /// colon the note, if there is one.
    text: &'static str,
    /// How each argument is shown.
    shows: &'static [Show],
}

impl Call {
    /// The call with this number, if Linux 6.1 has one.
    pub fn find(number: usize) -> Option<&'static Call> {
        let index = CALLS.binary_search_by_key(&number, |call| call.number.into()).ok()?;
        CALLS.get(index)
    }

    /// The name, as in `syscalls(2)`.
    pub fn name(&self) -> &'static str {
        self.text.split(['(', ':']).next().unwrap_or_default()
    }

    /// What there is to say of its status.
    pub fn note(&self) -> &'static str {
        self.text.split_once(": ").map_or("", |(_, note)| note)
    }

    /// The names of its arguments.
    fn arguments(&self) -> impl Iterator<Item = &'static str> {
        let list = self.text.split(['(', ')']).nth(1).unwrap_or_default();
        list.split(',').map(str::trim_ascii)
    }
}

/// Builds [`CALLS`], [`TABLE`] and [`HANDLERS`] from lines whose forms `table.rs` explains.
macro_rules! syscalls {
    ($($number:literal $name:ident
        $(($($argument:ident),*) => $handler:path $(, partly $missing:literal)? $(, a $leaf:ident)?)?
        $(: refused $errno:ident $why:literal)?
    ;)*) => {
        /// All calls, in the order of their numbers.
        pub static CALLS: [Call; [$($number),*].len()] = [$({
            #[allow(unused_mut, unused_assignments)]
            let mut call = Call {
                number: $number,
                status: Status::Absent,
                text: concat!(
                    stringify!($name)
                    $(, "(", stringify!($($argument),*), ")" $(, ": ", $missing)?)?
                    $(, ": ", $why)?
                ),
                shows: &[],
            };
            $(
                call.status = Status::Done;
                $(
                    let _ = $missing;
                    call.status = Status::Partly;
                )?
                call.shows = args::shows(&$handler);
            )?
            $(call.status = Status::Refused(Errno::$errno);)?
            call
        }),*];

        /// What arch jumps through, by number: leaves, and for all others the way to [`HANDLERS`].
        pub static TABLE: SyscallTable = {
            #[allow(unused_mut)]
            let mut table: SyscallTable = [call_handler; TABLE_SIZE];
            table[TABLE_SIZE - 1] = unassigned;
            $($($(
                table[$number] = {
                    // The word is `leaf`; naming it tells the macro which lines have it.
                    let _ = stringify!($leaf);
                    extern "win64" fn entry(frame: &mut TrapFrame) -> u64 {
                        args::invoke($handler, frame)
                    }
                    entry as SyscallEntry
                };
            )?)?)*
            table
        };

        /// The handlers that are no leaves, by number.
        pub static HANDLERS: HandlerTable = {
            #[allow(unused_mut)]
            let mut table: HandlerTable = [absent; TABLE_SIZE];
            $(
                $(
                    // Naming the arguments tells the macro which lines have a handler.
                    const { let _ = stringify!($($argument),*); }
                    table[$number] = {
                        extern "C" fn call(frame: &mut TrapFrame) -> u64 {
                            args::invoke($handler, frame)
                        }
                        call as SyscallHandler
                    };
                )?
            )*
            table
        };
    };
}
use syscalls;

/// The handler of all numbers that have none.
extern "C" fn absent(frame: &mut TrapFrame) -> u64 {
    let number = frame.orig_rax as usize;
    if let Some(call) = Call::find(number) {
        name_once(number, call);
        if let Status::Refused(errno) = call.status {
            return errno.to_rax();
        }
    }
    Errno::ENOSYS.to_rax()
}

/// The last number's entry, which all numbers outside of the table get, too.
extern "win64" fn unassigned(frame: &mut TrapFrame) -> u64 {
    absent(frame)
}

/// Names a call that is not there in the log, the first time that a program asks for it.
fn name_once(number: usize, call: &Call) {
    static NAMED: [AtomicU64; TABLE_SIZE / 64] = [const { AtomicU64::new(0) }; TABLE_SIZE / 64];
    let bit = 1 << (number % 64);
    if NAMED[number / 64].fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return;
    }
    match call.status {
        // Programs know how to do without: no news for whoever only wants the program's output.
        Status::Refused(errno) => info!("system call {} is refused ({errno}): {}", call.name(), call.note()),
        _ => warn!("system call {} ({number}) is not there (ENOSYS)", call.name()),
    }
}

/// sched_yield(2): always succeeds.
fn yield_cpu() -> SysResult {
    crate::sched::yield_now();
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(a: u64, b: Fd) -> SysResult {
        if b.0 < 0 { Err(Errno::EBADF) } else { Ok(a + b.0 as u64) }
    }

    fn add_to_stack_pointer(frame: &mut TrapFrame, a: u64) -> SysResult {
        Ok(frame.rsp + a)
    }

    fn frame(orig_rax: u64, rdi: u64, rsi: u64) -> TrapFrame {
        let mut frame = TrapFrame::new(0, 1000);
        (frame.orig_rax, frame.rdi, frame.rsi) = (orig_rax, rdi, rsi);
        frame
    }

    #[test]
    fn handlers_get_their_registers_by_type() {
        assert_eq!(args::invoke(add, &mut frame(0, 40, 2)), 42);
        assert_eq!(args::invoke(add, &mut frame(0, 40, u64::MAX)), Errno::EBADF.to_rax());
    }

    #[test]
    fn handlers_can_take_the_frame_before_their_registers() {
        assert_eq!(args::invoke(add_to_stack_pointer, &mut frame(0, 40, 2)), 1040);
    }

    #[test]
    fn arguments_are_shown_by_type() {
        let mut out = alloc::string::String::new();
        let call = Call { number: 0, status: Status::Done, text: "add(a, fd)", shows: args::shows(&add) };
        call.show(&frame(0, 40, u64::from(-100i32 as u32)), &mut out).unwrap();
        assert_eq!(out, "a=0x28, fd=AT_FDCWD");
    }

    #[test]
    fn the_table_is_that_of_linux() {
        let name = |number| Call::find(number).map(Call::name);
        assert_eq!(name(0), Some("read"));
        assert_eq!(name(435), Some("clone3"));
        assert_eq!(name(450), Some("set_mempolicy_home_node"));
        assert_eq!(name(400), None);
        assert!(CALLS.is_sorted_by(|a, b| a.number < b.number));
    }

    #[test]
    fn unknown_numbers_give_enosys() {
        for number in [400, 511, 512, u64::MAX] {
            let call = HANDLERS[number.min(511) as usize];
            assert_eq!(call(&mut frame(number, 0, 0)), Errno::ENOSYS.to_rax());
        }
    }
}
