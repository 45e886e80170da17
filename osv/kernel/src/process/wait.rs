//! Waiting for children: wait4(2), waitid(2), and what makes their parents look.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;

use super::resources::Used;
use super::signal::action::SIG_IGN;
use super::signal::info::SignalInfo;
use super::signal::send;
use super::signal::set::Signal;
use super::status::{ChildEvent, ExitStatus};
use super::structure::Process;
use super::tree::{self, Node, Tree};
use super::{current_process, current_task};
use crate::errno::{Errno, Result};
use crate::sched::Deadline;

/// Clock ticks per second, in which `siginfo_t` and `times` count.
pub const TICKS_PER_SECOND: u64 = 100;

/// Nanoseconds as clock ticks.
pub const fn ticks(time_ns: u64) -> u64 {
    time_ns / (1_000_000_000 / TICKS_PER_SECOND)
}

/// Which children to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any of them.
    Any,
    /// The one with this id.
    Process(u32),
    /// Those of this group.
    Group(u32),
}

/// What has become of a child.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its id.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// What happened.
    pub event: ChildEvent,
    /// What it and its children have used.
    pub used: Used,
}

/// What a look at the children found.
enum Look {
    Found(Report, Option<Arc<Process>>),
    /// There are some, but none has anything to report.
    Nothing,
    /// There is none to wait for.
    NoChild,
}

/// Waits for a child of the process that runs; `flags` are those of `waitid`, WEXITED among them. `None` if there is
/// nothing to report and WNOHANG is given.
///
/// # Errors
/// ECHILD if there is no such child; ERESTARTSYS for a signal.
pub fn wait(target: Target, flags: u32) -> Result<Option<Report>> {
    let process = current_process();
    let outcome = process.child_events.wait_interruptible(None, || match look(process, target, flags) {
        Look::Nothing if flags & linux::WNOHANG == 0 => None,
        outcome => Some(outcome),
    })?;
    match outcome {
        Look::Found(report, reaped) => {
            drop(reaped);
            Ok(Some(report))
        }
        Look::Nothing => Ok(None),
        Look::NoChild => Err(Errno::ECHILD),
    }
}

/// Children of the process that runs which have not ended.
pub fn living_children() -> alloc::vec::Vec<u32> {
    let tree = tree::lock();
    let children = tree.node(current_process().pid()).map(|node| node.children.as_slice()).unwrap_or_default();
    children.iter().copied().filter(|&pid| tree.node(pid).is_some_and(|child| child.status.is_none())).collect()
}

/// Waits for the end of any child, for the process that the kernel itself runs in. `None` if there is no child, or the
/// time is up.
pub fn wait_for_end(deadline: Option<Deadline>) -> Option<(u32, ExitStatus)> {
    let process = current_process();
    let flags = linux::WEXITED | linux::__WALL;
    let outcome = process.child_events.wait_interruptible(deadline, || match look(process, Target::Any, flags) {
        Look::Nothing => None,
        outcome => Some(outcome),
    });
    match outcome {
        Ok(Look::Found(Report { pid, event: ChildEvent::Ended(status), .. }, _reaped)) => Some((pid, status)),
        _ => None,
    }
}

fn look(parent: &Process, target: Target, flags: u32) -> Look {
    let mut tree = tree::lock();
    let Some(node) = tree.node(parent.pid()) else { return Look::NoChild };
    let mut has_child = false;
    let mut found = None;
    for child in node.children.iter().filter_map(|&pid| tree.node(pid)) {
        if !is_meant(child, target, flags) {
            continue;
        }
        has_child = true;
        if let Some(event) = event_of(child, flags) {
            found = Some((child.process.pid(), event));
            break;
        }
    }
    match found {
        Some((pid, event)) => take(&mut tree, parent, pid, event, flags & linux::WNOWAIT != 0),
        None if has_child => Look::Nothing,
        None => Look::NoChild,
    }
}

fn is_meant(child: &Node, target: Target, flags: u32) -> bool {
    let process = &child.process;
    let is_target = match target {
        Target::Any => true,
        Target::Process(pid) => process.pid() == pid,
        Target::Group(group) => process.group_id() == group,
    };
    let is_clone = process.exit_signal.load(Ordering::Relaxed) != Signal::SIGCHLD.number();
    let is_others = flags & linux::__WNOTHREAD != 0 && process.creator.load(Ordering::Relaxed) != current_task().tid();
    is_target && !is_others && (flags & linux::__WALL != 0 || is_clone == (flags & linux::__WCLONE != 0))
}

/// What the child has to report of what `flags` asks for.
fn event_of(child: &Node, flags: u32) -> Option<ChildEvent> {
    if let Some(status) = child.status {
        return (flags & linux::WEXITED != 0).then_some(ChildEvent::Ended(status));
    }
    let event = child.process.signals.lock().unreported?;
    let asked = match event {
        ChildEvent::Stopped(_) => linux::WSTOPPED,
        ChildEvent::Continued => linux::WCONTINUED,
        ChildEvent::Ended(_) => linux::WEXITED,
    };
    (flags & asked != 0).then_some(event)
}

/// Makes the report, and unless it is only looked at, takes the event away: a child that has ended is gone then.
fn take(tree: &mut Tree, parent: &Process, pid: u32, event: ChildEvent, only_looks: bool) -> Look {
    let Some(child) = tree.node(pid).map(|node| Arc::clone(&node.process)) else { return Look::NoChild };
    let mut used = child.used();
    used.add(&child.children_used());
    let report = Report { pid, uid: child.last_uid.load(Ordering::Relaxed), event, used };
    if only_looks {
        return Look::Found(report, None);
    }
    if !matches!(event, ChildEvent::Ended(_)) {
        child.signals.lock().unreported = None;
        return Look::Found(report, None);
    }
    parent.usage.lock().children.add(&used);
    Look::Found(report, tree.remove_process(pid))
}

/// Tells the parent that its child has stopped or goes on.
pub(super) fn notify_parent(child: &Process, event: ChildEvent) {
    let tree = tree::lock();
    let Some(parent) = tree.node(child.parent_pid()).map(|node| &node.process) else { return };
    let wants_signal = {
        let signals = parent.signals.lock();
        let actions = signals.actions.lock();
        let action = actions.get(Signal::SIGCHLD);
        action.handler != SIG_IGN && !action.has(linux::SA_NOCLDSTOP)
    };
    if wants_signal {
        let _ = send::to_process(parent, Signal::SIGCHLD, info_of(child, event));
    }
    parent.child_events.wake_all();
}

/// Tells the parent that its child, a node of the tree with a status, has ended. Returns the child if nobody is going
/// to ask for its status, for the caller to drop without the lock.
pub(super) fn notify_of_end(tree: &mut Tree, pid: u32, status: ExitStatus) -> Option<Arc<Process>> {
    let child = Arc::clone(&tree.node(pid)?.process);
    let Some(parent) = tree.node(child.parent_pid()).map(|node| Arc::clone(&node.process)) else {
        return tree.remove_process(pid);
    };
    let signal = Signal::new(child.exit_signal.load(Ordering::Relaxed));
    let is_ignored = signal == Some(Signal::SIGCHLD) && {
        let signals = parent.signals.lock();
        let actions = signals.actions.lock();
        let action = actions.get(Signal::SIGCHLD);
        action.handler == SIG_IGN || action.has(linux::SA_NOCLDWAIT)
    };
    if let Some(signal) = signal {
        let info = info_of(&child, ChildEvent::Ended(status));
        let _ = send::to_process(&parent, signal, info.renumbered(signal));
    }
    let reaped = if is_ignored { tree.remove_process(pid) } else { None };
    parent.child_events.wake_all();
    reaped
}

fn info_of(child: &Process, event: ChildEvent) -> SignalInfo {
    let (code, status) = event.code_and_status();
    let used = child.used();
    let uid = child.last_uid.load(Ordering::Relaxed);
    SignalInfo::from_child(code, child.pid(), uid, status, ticks(used.user_ns), ticks(used.system_ns))
}

/// The target that `wait4` means by its first argument.
pub fn target_of(pid: i32) -> Result<Target> {
    match pid {
        i32::MIN => Err(Errno::ESRCH),
        -1 => Ok(Target::Any),
        0 => Ok(Target::Group(current_task().process().group_id())),
        pid if pid < 0 => Ok(Target::Group(pid.unsigned_abs())),
        pid => Ok(Target::Process(pid.unsigned_abs())),
    }
}
