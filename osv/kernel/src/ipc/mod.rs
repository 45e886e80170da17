//! What processes share by name or number: System V shared memory, semaphores and message queues, and POSIX message
//! queues.
//!
//! The three System V families have a [`table`] each: keys lead to ids, ids to objects, and an id is never used again soon.
//! Every object has a [`Header`] with its owners and mode, checked as Linux checks them, which differs from files:
//! see [`permissions`]. The families themselves know nothing of how programs lay out their structures; that
//! is `syscall::ipc`'s. There is one IPC namespace. Source: sysvipc(7), mq_overview(7), and Linux' `ipc/`.
//!
//! Locks: a table's, an object's header's and an object's state are leaf spin locks, taken one at a time. No program memory is
//! touched under them.

#![forbid(unsafe_code)]

pub mod account;
pub mod mqueue;
pub mod msg;
pub mod permissions;
pub mod sem;
pub mod shm;
pub mod table;

pub use crate::limits;
pub use permissions::{Header, Permissions};
pub use table::{Object, Table};

/// The key that names nothing: each use of it makes a new object.
pub const PRIVATE: i32 = 0;

/// Flags of `shmget`, `semget` and `msgget` besides the mode.
pub mod flags {
    /// Make it if there is none.
    pub const CREATE: u32 = 0o1000;
    /// Refuse to find one (EEXIST).
    pub const EXCLUSIVE: u32 = 0o2000;
    /// Return EAGAIN or ENOMSG instead of waiting.
    pub const NO_WAIT: u32 = 0o4000;
}

/// Permission bits that operations ask for: the owner's, group's and others' read bits, or write bits.
pub mod access {
    /// To read, for whatever class the asker is in.
    pub const READ: u32 = 0o444;
    /// To write.
    pub const WRITE: u32 = 0o222;
    /// To execute: shared memory only.
    pub const EXECUTE: u32 = 0o111;
}

/// The wall clock in seconds, as these objects are stamped with.
fn now() -> i64 {
    crate::fs::clock::now().sec
}

/// The id of the process that asks.
#[cfg(test)]
fn current_pid() -> u32 {
    1
}

/// The id of the process that asks; 0 for the kernel's own threads.
#[cfg(not(test))]
fn current_pid() -> u32 {
    crate::process::try_current_task().map_or(0, |task| task.process().pid())
}

/// The id of the thread that asks; 0 for the kernel's own.
fn current_tid() -> u32 {
    crate::process::try_current_task().map_or(0, |task| task.tid())
}
