//! mq_notify(3): a process that wants to be told of a message.

use alloc::sync::{Arc, Weak};

use linux_raw_sys::general as linux;

use crate::net::Socket;
use crate::process::signal::{Signal, SignalInfo, send};
use crate::process::{Process, current_process, current_task};

/// How it is told.
pub enum Notice {
    /// Not at all, but nobody else can be (SIGEV_NONE).
    Silently,
    /// By a signal with a value (SIGEV_SIGNAL); number 0 is no signal.
    Signal(Option<Signal>, u64),
    /// By a message into a netlink socket, where a thread of libc waits for it (SIGEV_THREAD).
    Message(Arc<dyn Socket>, Cookie),
}

/// What the message says; the last byte tells whether there is something to read or nobody is to be told any more.
pub type Cookie = [u8; 32];

/// Those two, as libc knows them. Source: `include/linux/mqueue.h`.
const WOKEN_UP: u8 = 1;
const REMOVED: u8 = 2;

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
        let (signal, value) = match registration.notice {
            Notice::Silently | Notice::Signal(None, _) => return,
            Notice::Signal(Some(signal), value) => (signal, value),
            Notice::Message(socket, cookie) => return say(&*socket, cookie, WOKEN_UP),
        };
        let Some(process) = registration.process.upgrade() else { return };
        let task = current_task();
        let (pid, user) = (task.process().pid(), task.credentials().user.real);
        let info = SignalInfo::with_value(signal, linux::SI_MESGQ, pid, user, value);
        // A full queue of real-time signals loses this one, as on Linux.
        let _ = send::to_process(&process, signal, info);
    }

    /// Nobody is to be told any more.
    pub(super) fn cancel(registration: Registration) {
        if let Notice::Message(socket, cookie) = registration.notice {
            say(&*socket, cookie, REMOVED);
        }
    }
}

fn say(socket: &dyn Socket, mut cookie: Cookie, what: u8) {
    let [.., last] = &mut cookie;
    *last = what;
    // A socket that is closed or full loses the message, as on Linux.
    let _ = socket.hear(&cookie);
}
