//! Signals: from whoever sends them to the handler, the wait status or nothing.
//!
//! Sending ([`send`]) puts a signal into the queue of a task or of a process, unless it would be dropped anyway, and
//! tells a task that it may have to look: the task's interruptible sleep ends, or its CPU is made to enter the
//! kernel. The task itself does all else, on its way back to the program ([`deliver()`]): it takes signals out of the
//! queues, stops, ends, or writes a [`frame`] onto the program's stack and goes to the handler. [`fault`] turns what the
//! CPU complains about into signals. Source: signal(7), sigaction(2), and Linux' `kernel/signal.c`.

pub mod action;
pub mod altstack;
pub mod deliver;
pub mod fault;
pub mod frame;
pub mod info;
pub mod mask;
pub mod queue;
pub mod send;
pub mod set;

pub use deliver::deliver;
pub use info::SignalInfo;
pub use set::{Signal, SignalSet};
