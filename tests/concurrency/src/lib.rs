//! The kernel's own source of wait queues, sleeping locks and futexes, run by shuttle instead of the kernel's scheduler.
//!
//! The files under test are included as they are. [`sched`] stands in for the scheduler (a thread that blocks parks)
//! and [`sync`] for the spin lock and the atomics, each access of which is a point where shuttle may switch threads.
//! The tests are in `tests/`. A lost wake-up shows as a deadlock, which shuttle reports with the schedule that led to it.

extern crate alloc;

#[path = "../../../osv/kernel/src/errno.rs"]
#[allow(dead_code, missing_docs)]
pub mod errno;
pub mod sched;
pub mod sync;
