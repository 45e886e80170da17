//! Processes: what runs a program, and everything that belongs to it.
//!
//! As on Linux there are two kinds of things. A [`Task`] is one thread of a program: a scheduler's thread with an id,
//! a signal mask, credentials, and references to the descriptor table and working directory that it shares with
//! whom `clone` said. A [`Process`] is what tasks of one program share always: address space, signal handlers,
//! pending signals, limits, timers, children. Its id is that of the task it began with.
//!
//! Who is whose child, and who belongs to which group and session, stands in one place, [`tree`], under one lock;
//! a process that has ended stays there until its parent has asked for its status.
//!
//! Locks, in the order in which they may be taken: the tree; a process' `signals`; its actions, or a task's pending
//! signals. All of them are spin locks with interrupts off, since timers and terminals send signals from interrupts.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod clone;
pub mod credentials;
mod current;
pub mod elf;
pub mod embedded;
pub mod exec;
pub mod exit;
pub mod init;
pub mod limits;
mod loader;
pub mod oom;
pub mod pi;
pub mod pidfd;
pub mod resources;
pub mod robust;
pub mod rseq;
pub mod script;
pub mod seccomp;
pub mod session;
pub mod signal;
pub mod stack;
pub mod status;
mod structure;
mod task;
pub mod timers;
pub mod trace;
pub mod tree;
pub mod vdso;
pub mod wait;

mod futex;

pub use credentials::Credentials;
pub use current::{Current, current_process, current_task, try_current_task};
pub use futex::futex_key;
pub use loader::ADDR_NO_RANDOMIZE;
pub use structure::{Executable, Process, forks};
pub use task::Task;
