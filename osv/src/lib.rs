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

mod hook;

pub use osv_macros::{configure, main};

/// What the macros expand to; no part of the interface.
#[doc(hidden)]
pub mod __private {
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
