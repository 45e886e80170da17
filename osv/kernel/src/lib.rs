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

#![cfg_attr(not(test), no_std)]
// The readers of these pages are those who work on the kernel: links to what is private serve them.
#![allow(rustdoc::private_intra_doc_links)]

extern crate alloc;

pub mod arch;
pub mod bootchart;
pub mod cmdline;
pub mod cpus;
pub mod drivers;
pub mod dump;
pub mod errno;
pub mod event;
pub mod first_program;
pub mod fs;
pub mod ipc;
pub mod limits;
pub mod log;
pub mod mem;
pub mod net;
pub mod panic;
pub mod process;
pub mod sched;
pub mod sorted_map;
pub mod sorting;
pub mod sync;
pub mod syscall;
pub mod upcalls;
pub mod uts;
