//! Threads and everything that makes them wait.
//!
//! The rules of this kernel, on which all floors above rely:
//! - Kernel code is never preempted. It runs until it blocks in a wait queue or returns to the program; programs
//!   are preempted by the timer. A lock that no interrupt handler takes therefore needs no protection beside
//!   itself, and long loops in the kernel call [`relax`].
//! - Interrupts stay on in kernel code, except in handlers and under `IrqOff` locks.
//! - A CPU ticks only while it runs programs, to tell their time from the kernel's; an idle CPU halts and stays silent.
//!
//! [`WaitQueue`] is the one primitive to sleep on; [`Mutex`] and [`RwLock`] (which may be held across I/O and page
//! faults), [`futex`] and sleeping with a [`Deadline`] are built from it.

pub mod cpu_mask;
pub mod futex;
mod list;
mod mutex;
mod run_queue;
mod rwlock;
mod scheduler;
#[cfg(feature = "selftest")]
pub mod selftest;
mod thread;
pub mod timer;
mod wait;

pub use cpu_mask::CpuMask;
pub use mutex::{Mutex, MutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use scheduler::{
    current, exit_thread, has_signal, idle_cpus, idle_time_ns, init_cpu, is_running, on_first_run,
    on_reschedule_interrupt, on_timer_interrupt, online_cpus, relax, run_idle_loop, runnable_threads, sample, schedule,
    switch_count, yield_now,
};
pub use thread::{CurrentThread, Extension, NewThread, Thread, create, spawn};
pub use timer::Deadline;
pub use wait::WaitQueue;
