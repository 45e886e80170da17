//! What a program without std needs and std would bring: its start, an allocator, a panic handler, the functions that
//! compiled code calls by name.

mod heap;
mod memory;
mod start;

pub use start::{Arguments, Termination, args};

use crate::call::{call, number};
use crate::machine;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// As in a program with std and `panic = "abort"`: a message on standard error, then SIGABRT.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    const SIGABRT: usize = 6;
    crate::eprintln!("{info}");
    // SAFETY: the call takes numbers only.
    let _ = unsafe { call(number::KILL, [machine::process_id() as usize, SIGABRT, 0, 0, 0, 0]) };
    machine::exit(134)
}
