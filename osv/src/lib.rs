//! Makes a Rust program its own operating system.
//!
//! Add the crate, mark `main`, and `cargo run` boots the program in a virtual machine:
//!
//! ```no_run
//! #[osv::main]
//! fn main() {
//!     println!("hello");
//! }
//! ```
//!
//! The program stays an ordinary one: all of `std`, every crate that works on Linux, stable Rust. Where there
//! is no `main` to mark (a library's tests, an example that others must read without `osv`), one line does
//! the same: `use osv as _;`, or `osv::configure!(memory = "1G");` with a configuration. Then `cargo test` runs
//! the tests in the VM.
//!
//! With `OSV_NATIVE=1` in the environment the very same file runs on Linux, without a VM.
//!
//! # Configuration
//! `#[osv::main(memory = "256M", cpus = 2, files = ["data"])]` and `[package.metadata.osv]` in `Cargo.toml` set what the VM gets;
//! the environment (`OSV_MEMORY`, `OSV_CPUS`, `OSV_MACHINE`, `OSV_KERNEL_ARGS`, `OSV_TIMEOUT`, `OSV_VERBOSE`,
//! `OSV_GDB`, `OSV_DRY_RUN`) and the options of the command `osv run` override them.
//!
//! # Tests
//! All `#[test]`s of a program share one VM. [`#[osv::test]`](macro@test) gives a test one of its own.
//!
//! # The machine itself
//! What std has no name for: [`hypervisor`], [`boot_time`], [`memory`], [`cpus`], [`cmdline`], [`power_off`], the
//! kernel's log ([`trace`]), and [`io`], whose types have the traits of `embedded-io`.
//!
//! # Calls of the kernel
//! On osv a system call is a call: the crate's own go through the kernel's call gate, and so do `read`, `write`, `recv`,
//! `send`, `epoll_wait` and `syscall` (futexes) of everything that is linked. On Linux all of them are what they were.
//!
//! # Without std
//! With `default-features = false` the crate brings all that a program without std needs: start, allocator, panic
//! handler, printing macros. The file is small, and `main` is reached sooner. Such a program must not unwind:
//! `panic = "abort"` belongs into both profiles of its `Cargo.toml`.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! #[osv::main]
//! fn main() {
//!     osv::println!("hello from {} CPUs", osv::cpus());
//! }
//! ```

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod call;
mod gate;
#[cfg(feature = "std")]
mod hook;
#[cfg(feature = "std")]
mod interpose;
pub mod io;
mod kernel;
mod machine;
#[cfg(not(feature = "std"))]
mod no_std;
#[cfg(feature = "std")]
mod test;
pub mod trace;

pub use machine::{
    Hypervisor, Memory, boot_time, cmdline, cpus, exit, hypervisor, is_osv, memory, power_off, process_id,
};
#[cfg(not(feature = "std"))]
pub use no_std::{Arguments, Termination, args};
#[cfg(feature = "std")]
pub use osv_macros::test;
pub use osv_macros::{configure, main};

/// Prints to standard output, as std's macro, in programs with std and without.
///
/// ```
/// osv::print!("{} ", 1);
/// osv::println!("and {}", 2);
/// osv::eprintln!("to standard error");
/// ```
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::__private::print(false, ::core::format_args!($($text)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::__private::print(false, ::core::format_args!("\n")) };
    ($($text:tt)*) => { $crate::__private::print(false, ::core::format_args!("{}\n", ::core::format_args!($($text)*))) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::__private::print(true, ::core::format_args!("\n")) };
    ($($text:tt)*) => { $crate::__private::print(true, ::core::format_args!("{}\n", ::core::format_args!($($text)*))) };
}

/// What the macros expand to; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::io::print;
    #[cfg(feature = "std")]
    pub use crate::test::Test;

    /// Puts a piece of configuration into the program's file.
    #[doc(hidden)]
    #[macro_export]
    macro_rules! __config {
        ($bytes:literal) => {
            const _: () = {
                #[used]
                #[unsafe(link_section = ".osv.config")]
                static CONFIG: [u8; $bytes.len()] = *$bytes;
            };
        };
    }

    /// Puts the image of the bundled files into the program's file.
    #[doc(hidden)]
    #[macro_export]
    macro_rules! __bundle {
        ($path:literal) => {
            const _: () = {
                #[repr(C, align(4096))]
                struct Bundle<T: ?Sized>(T);
                #[used]
                #[unsafe(link_section = ".osv.bundle")]
                static BUNDLE: Bundle<[u8; include_bytes!($path).len()]> = Bundle(*include_bytes!($path));
            };
        };
    }
}
