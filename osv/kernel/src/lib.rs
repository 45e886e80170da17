//! The kernel of osv: a library OS whose one interface is the Linux system-call ABI.
//!
//! The modules are floors of a house: each may use what stands on its own floor or below, never above.
//!
//! | floor | what |
//! |---|---|
//! | `main.rs` | the boot order |
//! | [`syscall`] | the table, one file per call or small family |
//! | `process`, `fs`, `net`, `event`, `ipc` | what system calls act on |
//! | `drivers` | ACPI, interrupt controllers, clocks, PCI, virtio |
//! | `sched` | threads, run queues, wait queues, sleeping locks, timers, futexes |
//! | `mem` | frames, heap, page tables, address spaces, page cache, program memory |
//! | [`arch`] | the CPU: boot entries, traps, context switch; the only assembly |
//!
//! [`errno`] and [`sync`] serve all floors. The library is `no_std` outside its own tests, which run on the host.
//!
//! Without the feature `kernel` nothing of that is there: who builds the kernel into something needs only [`DIRECTORY`].

#![cfg_attr(not(test), no_std)]
// The readers of these pages are those who work on the kernel: links to what is private serve them.
#![allow(rustdoc::private_intra_doc_links)]

#[cfg(feature = "kernel")]
extern crate alloc;

/// Where this package lies.
pub const DIRECTORY: &str = env!("CARGO_MANIFEST_DIR");

#[cfg(feature = "kernel")]
pub mod arch;
#[cfg(feature = "kernel")]
pub mod bootchart;
#[cfg(feature = "kernel")]
pub mod cmdline;
#[cfg(feature = "kernel")]
pub mod cpus;
#[cfg(feature = "kernel")]
pub mod drivers;
#[cfg(feature = "kernel")]
pub mod dump;
#[cfg(feature = "kernel")]
pub mod errno;
#[cfg(feature = "kernel")]
pub mod event;
#[cfg(feature = "kernel")]
pub mod first_program;
#[cfg(feature = "kernel")]
pub mod fs;
#[cfg(feature = "kernel")]
pub mod ipc;
#[cfg(feature = "kernel")]
pub mod limits;
#[cfg(feature = "kernel")]
pub mod log;
#[cfg(feature = "kernel")]
pub mod mem;
#[cfg(feature = "kernel")]
pub mod net;
#[cfg(feature = "kernel")]
pub mod panic;
#[cfg(feature = "kernel")]
pub mod process;
#[cfg(feature = "kernel")]
pub mod sched;
#[cfg(feature = "kernel")]
pub mod sorted_map;
#[cfg(feature = "kernel")]
pub mod sorting;
#[cfg(feature = "kernel")]
pub mod sync;
#[cfg(feature = "kernel")]
pub mod syscall;
#[cfg(feature = "kernel")]
pub mod upcalls;
#[cfg(feature = "kernel")]
pub mod uts;
