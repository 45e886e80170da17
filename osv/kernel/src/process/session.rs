//! Sessions, process groups and the controlling terminal: see setsid(2), setpgid(2), tty_ioctl(4).
//!
//! A terminal driver implements [`Terminal`] and keeps the foreground group itself; this keeps which terminal
//! controls which session, and tells the driver when the session's leader ends.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use super::signal::info::SignalInfo;
use super::signal::set::Signal;
use super::{current_process, signal, tree};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, SpinLock};

/// A terminal that can control a session.
pub trait Terminal: Any + Send + Sync {
    /// The group that may read, and gets the terminal's signals; 0 for none.
    fn foreground_group(&self) -> u32;
    /// It controls the session `session` from now on, and `group` is in the foreground.
    fn on_session_begin(&self, session: u32, group: u32);
    /// It controls no session any more.
    fn on_session_end(&self);
    /// The leader of its session has ended.
    fn on_leader_end(&self);
    /// All who have it open lose it, and its session is told.
    fn hang_up(&self);
    /// Its device number, for `/proc/PID/stat`.
    fn device_number(&self) -> u64;
}

/// A session.
pub struct Session {
    id: u32,
    terminal: SpinLock<Option<Arc<dyn Terminal>>, IrqOff>,
    /// The group that was in the foreground when the terminal was hung up; 0 for none.
    orphaned_foreground: AtomicU32,
}

impl Session {
    pub(super) fn new(id: u32) -> Arc<Session> {
        Arc::new(Session { id, terminal: SpinLock::new(None), orphaned_foreground: AtomicU32::new(0) })
    }

    /// The number of the process that began it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The terminal that controls it.
    pub fn terminal(&self) -> Option<Arc<dyn Terminal>> {
        self.terminal.lock().clone()
    }

    /// Makes `terminal` control the session, with `group` in the foreground. EPERM if it has one.
    pub(super) fn give_terminal(&self, terminal: Arc<dyn Terminal>, group: u32) -> Result<()> {
        let mut slot = self.terminal.lock();
        if slot.is_some() {
            return Err(Errno::EPERM);
        }
        *slot = Some(Arc::clone(&terminal));
        drop(slot);
        terminal.on_session_begin(self.id, group);
        Ok(())
    }

    /// Takes the terminal away.
    pub(super) fn take_terminal(&self) -> Option<Arc<dyn Terminal>> {
        self.terminal.lock().take()
    }
}

/// The session of the process that runs.
pub fn current_session() -> Option<Arc<Session>> {
    tree::lock().node(current_process().pid()).map(|node| Arc::clone(&node.session))
}

/// The session of the process `pid`.
pub fn of_process(pid: u32) -> Option<Arc<Session>> {
    tree::lock().node(pid).map(|node| Arc::clone(&node.session))
}

/// The terminal that controls the session of the process that runs, if the process has not left it.
pub fn current_terminal() -> Option<Arc<dyn Terminal>> {
    current_session()?.terminal().filter(|_| !current_process().has_left_terminal())
}

/// Makes `terminal` control the session of the process that runs (`TIOCSCTTY`). EPERM unless the process leads its
/// session and that has no terminal yet.
pub fn set_terminal(terminal: Arc<dyn Terminal>) -> Result<()> {
    let session = current_session().ok_or(Errno::ESRCH)?;
    let process = current_process();
    if session.id != process.pid() {
        return Err(Errno::EPERM);
    }
    session.give_terminal(terminal, process.group_id())
}

/// The process that runs gives its terminal up (`TIOCNOTTY`): its whole session does, and the foreground group is told,
/// if it leads the session.
pub fn give_up_terminal() {
    let process = current_process();
    let Some(session) = current_session() else { return };
    if session.id != process.pid() {
        process.leave_terminal();
        return;
    }
    let Some(terminal) = session.take_terminal() else { return };
    let foreground = terminal.foreground_group();
    terminal.on_session_end();
    tell_group(foreground, &[Signal::SIGHUP, Signal::SIGCONT]);
}

/// The leader of `session` ends: the foreground group of its terminal is told, or of the one that it has lost.
pub(super) fn end(session: &Session) {
    match session.take_terminal() {
        Some(terminal) => {
            let foreground = terminal.foreground_group();
            terminal.on_leader_end();
            terminal.on_session_end();
            tell_group(foreground, &[Signal::SIGHUP]);
        }
        None => {
            let foreground = session.orphaned_foreground.swap(0, Ordering::Relaxed);
            tell_group(foreground, &[Signal::SIGHUP, Signal::SIGCONT]);
        }
    }
}

/// The terminal of the session `id` was hung up: the leader is told, and if it ends of that, `foreground`.
pub fn hang_up(id: u32, foreground: u32) {
    let Some(session) = of_process(id).filter(|session| session.id == id) else { return };
    if session.take_terminal().is_none() {
        return;
    }
    session.orphaned_foreground.store(foreground, Ordering::Relaxed);
    let tree = tree::lock();
    let Some(leader) = tree.node(id).filter(|leader| leader.status.is_none()) else { return };
    for signal in [Signal::SIGHUP, Signal::SIGCONT] {
        let _ = signal::send::to_process(&leader.process, signal, SignalInfo::from_kernel(signal));
    }
}

/// The session `id` loses its terminal to another one, and is not told.
pub fn forget_terminal(id: u32) {
    if let Some(session) = of_process(id).filter(|session| session.id == id) {
        let lost = session.take_terminal();
        drop(lost);
    }
}

/// `vhangup`: hangs up the terminal of the process that runs.
pub fn hang_up_own_terminal() {
    if let Some(terminal) = current_terminal() {
        terminal.hang_up();
    }
}

fn tell_group(group: u32, signals: &[Signal]) {
    for &signal in signals.iter().filter(|_| group != 0) {
        // ESRCH: the group has ended.
        let _ = signal_group(group, signal);
    }
}

/// Sends a signal of the kernel's to all processes of a group. Callable from interrupts. ESRCH if there is no such group.
pub fn signal_group(group: u32, signal: Signal) -> Result<()> {
    let tree = tree::lock();
    tree.group(group).ok_or(Errno::ESRCH)?;
    for node in tree.members(group).filter(|node| node.status.is_none()) {
        let _ = signal::send::to_process(&node.process, signal, SignalInfo::from_kernel(signal));
    }
    Ok(())
}

/// The session of a group, or of the process with that number (ESRCH).
pub fn session_of_group(group: u32) -> Result<u32> {
    let tree = tree::lock();
    let of_group = tree.group(group).map(|group| group.session.id());
    of_group.or_else(|| tree.node(group).map(|node| node.session.id())).ok_or(Errno::ESRCH)
}

/// Whether nobody outside the group, but in its session, could let it go on if it stopped.
pub fn is_orphaned(group: u32) -> bool {
    tree::lock().is_orphaned(group, None)
}

/// `setsid`.
pub fn begin() -> Result<u32> {
    let process = current_process();
    let mut tree = tree::lock();
    if tree.group(process.pid()).is_some() {
        return Err(Errno::EPERM);
    }
    tree.begin_session(process.pid());
    process.left_terminal.store(false, Ordering::Relaxed);
    Ok(process.pid())
}

/// `setpgid`: moves `pid`, the process that runs or one of its children that has not run `execve`, to `group`.
pub fn set_group(pid: u32, group: u32) -> Result<()> {
    let current = current_process();
    let pid = if pid == 0 { current.pid() } else { pid };
    let group = if group == 0 { pid } else { group };
    let mut tree = tree::lock();
    let node = tree.node(pid).ok_or(Errno::ESRCH)?;
    let process = Arc::clone(&node.process);
    let session = Arc::clone(&node.session);
    if pid != current.pid() {
        if process.parent_pid() != current.pid() {
            return Err(Errno::ESRCH);
        }
        if process.session_id() != current.session_id() {
            return Err(Errno::EPERM);
        }
        if process.has_execed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if session.id() == pid {
        return Err(Errno::EPERM);
    }
    let is_allowed = match tree.group(group) {
        Some(group) => group.session.id() == session.id(),
        None => group == pid,
    };
    if !is_allowed {
        return Err(Errno::EPERM);
    }
    if process.group_id() != group {
        tree.leave_group(pid, process.group_id());
        tree.join_group(pid, group, session);
    }
    Ok(())
}
