//! Waiting for things to happen: the types that every pollable object shares, and the objects of their own.
//!
//! A file that can be waited for owns a [`Pollee`] and calls [`Pollee::notify`] after each change that may
//! make it ready. Whoever waits for several files at once (poll, select, epoll) attaches an [`Observer`] to
//! each pollee and only then looks at the file's readiness, so that no change falls between the two. Nothing
//! here ever asks an idle file: an observer is told, and the cost of an event does not grow with the number
//! of files that are watched.

mod clocks;
pub mod epoll;
mod eventfd;
pub mod inotify;
mod poll;
mod pollee;
mod ready;
mod signalfd;
mod timerfd;

pub use clocks::Clock;
pub use epoll::Epoll;
pub use eventfd::EventFd;
pub use inotify::Inotify;
pub use poll::{PollEntry, poll_files};
pub use pollee::{Observer, PollEvents, Pollee, Watch};
pub use signalfd::SignalFd;
pub use timerfd::{SettingFlags, TimerFd, TimerSetting, on_clock_set};
