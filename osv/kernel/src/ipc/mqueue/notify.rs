//! mq_notify(3): a process that wants to be told of a message.

use alloc::sync::{Arc, Weak};

use linux_raw_sys::general as linux;

use crate::process::signal::{Signal, SignalInfo, send};
use crate::process::{Process, current_process, current_task};

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Not at all, but nobody else can be (SIGEV_NONE).
    Silently,
    /// By a signal with a value (SIGEV_SIGNAL).
    Signal(Signal, u64),
}

/// Who wants to be told how.
pub struct Registration {
    process: Weak<Process>,
    pid: u32,
    pub(super) notice: Notice,
}

impl Registration {
    /// The current process does.
    pub(super) fn new(notice: Notice) -> Registration {
        let process = current_process();
        Registration { process: Arc::downgrade(process), pid: process.pid(), notice }
    }

    /// Whether there is still somebody to tell.
    pub(super) fn is_alive(&self) -> bool {
        self.process.upgrade().is_some_and(|process| !process.has_ended())
    }

    /// Whether the current process is meant.
    pub(super) fn is_own(&self) -> bool {
        self.process.upgrade().is_some_and(|process| Arc::ptr_eq(&process, current_process()))
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        if self.is_alive() { self.pid } else { 0 }
    }

    /// A message has come, from the current process.
    pub(super) fn tell(registration: Registration) {
        let (Notice::Signal(signal, value), Some(process)) = (registration.notice, registration.process.upgrade())
        else {
            return;
        };
        let task = current_task();
        let (pid, user) = (task.process().pid(), task.credentials().user.real);
        let info = SignalInfo::with_value(signal, linux::SI_MESGQ, pid, user, value);
        // A full queue of real-time signals loses this one, as on Linux.
        let _ = send::to_process(&process, signal, info);
    }

    /// Nobody is to be told any more.
    pub(super) fn cancel(registration: Registration) {
        drop(registration);
    }
}
