//! Signal-driven I/O: who is told by a signal that a file has become ready (O_ASYNC, F_SETOWN, F_SETSIG).
//!
//! An [`AsyncOwner`] belongs to one open file description. While O_ASYNC is set it watches the file like an epoll does,
//! and sends instead of queueing; so it may run in interrupts, and finds its receivers beforehand: members that join a
//! process group later hear nothing. Source: fcntl(2), signal(7).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use crate::errno::{Errno, Result};
use crate::event::{Observer, PollEvents};
use crate::process::signal::{Signal, SignalInfo, send};
use crate::process::{Process, Task, current_task, tree};
use crate::sync::{IrqOff, SpinLock};

/// What the id of an owner means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum OwnerKind {
    Thread = linux::F_OWNER_TID as i32,
    Process = linux::F_OWNER_PID as i32,
    Group = linux::F_OWNER_PGRP as i32,
}

enum Receivers {
    Nobody,
    Task(Weak<Task>),
    Processes(Vec<Weak<Process>>),
}

struct State {
    kind: OwnerKind,
    id: u32,
    receivers: Receivers,
    signal: Option<Signal>,
    fd: i32,
}

/// Who is told about one open file description.
pub struct AsyncOwner(SpinLock<State, IrqOff>);

impl AsyncOwner {
    /// Nobody yet.
    pub fn new() -> Arc<AsyncOwner> {
        let state = State { kind: OwnerKind::Process, id: 0, receivers: Receivers::Nobody, signal: None, fd: -1 };
        Arc::new(AsyncOwner(SpinLock::new(state)))
    }

    /// The owner as it was set; its id is 0 if there is none.
    pub fn get(&self) -> (OwnerKind, u32) {
        let state = self.0.lock();
        (state.kind, state.id)
    }

    /// Sets the owner; 0 is nobody. ESRCH if there is no such task, process or group.
    pub fn set(&self, kind: OwnerKind, id: u32) -> Result<()> {
        let receivers = if id == 0 { Receivers::Nobody } else { find(kind, id)? };
        let old = {
            let mut state = self.0.lock();
            (state.kind, state.id) = (kind, id);
            core::mem::replace(&mut state.receivers, receivers)
        };
        drop(old);
        Ok(())
    }

    /// The signal that is sent instead of SIGIO.
    pub fn signal(&self) -> Option<Signal> {
        self.0.lock().signal
    }

    /// Sets the signal that is sent instead of SIGIO; `None` is SIGIO without any details.
    pub fn set_signal(&self, signal: Option<Signal>) {
        self.0.lock().signal = signal;
    }

    /// The descriptor that O_ASYNC was set through: what receivers are told.
    pub fn set_descriptor(&self, fd: i32) {
        self.0.lock().fd = fd;
    }
}

fn find(kind: OwnerKind, id: u32) -> Result<Receivers> {
    Ok(match kind {
        OwnerKind::Thread => Receivers::Task(Arc::downgrade(&tree::find_task(id)?)),
        OwnerKind::Process => {
            let process = tree::find_by_any_id(id)?;
            Receivers::Processes(if may_tell(&process) { Vec::from([Arc::downgrade(&process)]) } else { Vec::new() })
        }
        OwnerKind::Group => {
            let members: Vec<_> = tree::all().into_iter().filter(|process| process.group_id() == id).collect();
            if members.is_empty() {
                return Err(Errno::ESRCH);
            }
            Receivers::Processes(members.iter().filter(|member| may_tell(member)).map(Arc::downgrade).collect())
        }
    })
}

/// Whether the calling task may send signals to the process: the same user, or root.
fn may_tell(process: &Process) -> bool {
    let sender = current_task().credentials();
    let Some(task) = process.first_task() else { return false };
    let receiver = task.credentials();
    let is_same = |id| id == receiver.user.saved || id == receiver.user.real;
    sender.user.effective == 0 || is_same(sender.user.effective) || is_same(sender.user.real)
}

/// `si_code` and `si_band` of what happened.
fn describe(events: PollEvents) -> (i32, u64) {
    const WHAT: [(PollEvents, i32, u64); 5] = [
        (PollEvents::POLLHUP, linux::POLL_HUP as i32, 0x10),
        (PollEvents::POLLERR, linux::POLL_ERR as i32, 0x08),
        (PollEvents::POLLPRI, linux::POLL_PRI as i32, 0x82),
        (PollEvents::POLLIN, linux::POLL_IN as i32, 0x41),
        (PollEvents::POLLOUT, linux::POLL_OUT as i32, 0x304),
    ];
    let found = WHAT.iter().find(|(mask, ..)| events.intersects(*mask));
    found.map_or((linux::POLL_IN as i32, 0x41), |&(_, code, band)| (code, band))
}

impl Observer for AsyncOwner {
    fn on_event(&self, events: PollEvents) -> bool {
        let state = self.0.lock();
        let (code, band) = describe(events);
        let info = match state.signal {
            Some(signal) => SignalInfo::from_file(signal, code, band, state.fd),
            None => SignalInfo::from_kernel(Signal::SIGIO),
        };
        let signal = state.signal.unwrap_or(Signal::SIGIO);
        // A full queue of real-time signals loses the signal: nobody is there who could be told.
        match &state.receivers {
            Receivers::Nobody => {}
            Receivers::Task(task) => {
                if let Some(task) = task.upgrade() {
                    let _ = send::to_task(&task, signal, info);
                }
            }
            Receivers::Processes(processes) => {
                for process in processes.iter().filter_map(Weak::upgrade) {
                    let _ = send::to_process(&process, signal, info);
                }
            }
        }
        false
    }
}
