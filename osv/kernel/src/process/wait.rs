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
use super::task::Task;
use super::trace;
use super::tree::{self, Node, Tracee, Tree};
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
    /// Its id; a tracee's is that of the task.
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
    Found(Report, Gone),
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
    let only_looks = flags & linux::WNOWAIT != 0;
    let mut has_child = false;
    let mut found = None;
    for child in node.children.iter().filter_map(|&pid| tree.node(pid)) {
        if !is_meant(child, target, flags) {
            continue;
        }
        has_child = true;
        if let Some(event) = event_of(&tree, child, flags) {
            found = Some((child.process.pid(), event));
            break;
        }
    }
    if let Some((pid, event)) = found {
        return take(&mut tree, parent, pid, event, only_looks);
    }
    let tracer_tid = (flags & linux::__WNOTHREAD != 0).then(|| current_task().tid());
    for tracee in tree.tracees(parent.pid(), tracer_tid).filter(|tracee| is_meant_tracee(tracee, target)) {
        has_child = true;
        if let Some(event) = event_of_tracee(&tree, tracee, flags) {
            found = Some((tracee.task.tid(), event));
            break;
        }
    }
    match found {
        Some((tid, event)) => take_from_tracee(&mut tree, tid, event, only_looks),
        None if has_child => Look::Nothing,
        None => Look::NoChild,
    }
}

fn is_meant_tracee(tracee: &Tracee, target: Target) -> bool {
    match target {
        Target::Any => true,
        Target::Process(pid) => tracee.task.tid() == pid,
        Target::Group(group) => tracee.task.process().group_id() == group,
    }
}

/// What a tracee has to tell of what `flags` asks for: stops always, its end if it is a task's of its own, or a process'
/// whose parent is somebody else.
fn event_of_tracee(tree: &Tree, tracee: &Tracee, flags: u32) -> Option<ChildEvent> {
    let of_process = || {
        let node = tree.node(tracee.task.tid()).filter(|node| node.process.parent_pid() != tracee.tracer)?;
        node.status
    };
    match tracee.status.or_else(of_process) {
        Some(status) => (flags & linux::WEXITED != 0).then_some(ChildEvent::Ended(status)),
        None => tracee.task.trace_report(),
    }
}

/// Makes the report of a tracee, and unless it is only looked at, takes the event away.
fn take_from_tracee(tree: &mut Tree, tid: u32, event: ChildEvent, only_looks: bool) -> Look {
    let Some(task) = tree.tracee_mut(tid).map(|tracee| Arc::clone(&tracee.task)) else { return Look::NoChild };
    let process = task.process();
    let mut used = process.used();
    used.add(&process.children_used());
    let uid = task.credentials().user.real;
    let report = Report { pid: tid, uid, event, used };
    let mut gone: Gone = (None, None, Some(Arc::clone(&task)));
    if !only_looks {
        if matches!(event, ChildEvent::Ended(_)) {
            gone.1 = tree.remove_tracee(tid);
            gone.0 = trace::tell_parent_of_end(tree, &task);
        } else {
            task.take_trace_report();
        }
    }
    Look::Found(report, gone)
}

/// What nobody needs any more, to be dropped without the tree's lock.
type Gone = (Option<Arc<Process>>, Option<Tracee>, Option<Arc<Task>>);

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

/// What the child has to report of what `flags` asks for. Its end is its tracer's to hear first, and a parent that traces it
/// hears of its stops as a tracer.
fn event_of(tree: &Tree, child: &Node, flags: u32) -> Option<ChildEvent> {
    let tracer = tree.tracer_of(child.process.pid());
    let is_own = tracer.is_none_or(|tracer| tracer == child.process.parent_pid());
    if let Some(status) = child.status {
        return (is_own && flags & linux::WEXITED != 0).then_some(ChildEvent::Ended(status));
    }
    let event = child.process.signals.lock().unreported?;
    if matches!(event, ChildEvent::Stopped(_)) && tracer.is_some() && is_own {
        return None;
    }
    let asked = match event {
        ChildEvent::Stopped(_) => linux::WSTOPPED,
        ChildEvent::Continued => linux::WCONTINUED,
        ChildEvent::Ended(_) => linux::WEXITED,
        ChildEvent::Trapped(_) => return None,
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
        return Look::Found(report, Gone::default());
    }
    if !matches!(event, ChildEvent::Ended(_)) {
        child.signals.lock().unreported = None;
        return Look::Found(report, Gone::default());
    }
    parent.usage.lock().children.add(&used);
    let tracee = tree.remove_tracee(pid);
    Look::Found(report, (tree.remove_process(pid), tracee, None))
}

/// Tells the parent that its child has stopped or goes on.
pub(super) fn notify_parent(child: &Process, event: ChildEvent) {
    let tree = tree::lock();
    let Some(parent) = tree.node(child.parent_pid()).map(|node| &node.process) else { return };
    let is_told_as_tracer =
        matches!(event, ChildEvent::Stopped(_)) && tree.tracer_of(child.pid()) == Some(child.parent_pid());
    if !is_told_as_tracer {
        tell_of_change(parent, info_of(child, event));
    }
}

/// SIGCHLD for a change that is no end, if that is wanted, and a look at the children for who waits.
fn tell_of_change(parent: &Process, info: SignalInfo) {
    let wants_signal = {
        let signals = parent.signals.lock();
        let actions = signals.actions.lock();
        let action = actions.get(Signal::SIGCHLD);
        action.handler != SIG_IGN && !action.has(linux::SA_NOCLDSTOP)
    };
    if wants_signal {
        let _ = send::to_process(parent, Signal::SIGCHLD, info);
    }
    parent.child_events.wake_all();
}

/// Tells the tracer that a tracee has stopped, with its process or for another reason.
pub(super) fn notify_tracer(task: &Task, code: u32, is_group: bool) {
    let tree = tree::lock();
    let Some(tracer) = tree.tracer_of(task.tid()).and_then(|tracer| tree.node(tracer)) else { return };
    let reason = if is_group { linux::CLD_STOPPED } else { linux::CLD_TRAPPED };
    let uid = task.credentials().user.real;
    let used = task.process().used();
    let (user, system) = (ticks(used.user_ns), ticks(used.system_ns));
    let info = SignalInfo::from_child(reason as i32, task.tid(), uid, (code & 0x7f) as i32, user, system);
    tell_of_change(&tracer.process, info);
}

/// A traced task, not the first of its process, has ended: its tracer may ask for its status, unless it ignores its children.
pub(super) fn tell_tracer_of_end(task: &Task, code: u8) {
    if !task.is_traced() || task.is_leader() {
        return;
    }
    let status = task.process().signals.lock().exit.unwrap_or(ExitStatus::Exited(code));
    let mut tree = tree::lock();
    let Some(tracee) = tree.tracee_mut(task.tid()) else { return };
    tracee.status = Some(status);
    let tracer = tracee.tracer;
    let Some(tracer) = tree.node(tracer).map(|node| Arc::clone(&node.process)) else { return };
    let (code, number) = ChildEvent::Ended(status).code_and_status();
    let is_ignored = ignores_children(&tracer);
    let uid = task.credentials().user.real;
    let _ = send::to_process(&tracer, Signal::SIGCHLD, SignalInfo::from_child(code, task.tid(), uid, number, 0, 0));
    let removed = if is_ignored { tree.remove_tracee(task.tid()) } else { None };
    tracer.child_events.wake_all();
    drop(tree);
    drop(removed);
}

/// Whether the ends of its children are nothing that it will ask for.
fn ignores_children(parent: &Process) -> bool {
    let signals = parent.signals.lock();
    let actions = signals.actions.lock();
    let action = actions.get(Signal::SIGCHLD);
    action.handler == SIG_IGN || action.has(linux::SA_NOCLDWAIT)
}

/// A process has ended, and stands in the tree with its status: tells its tracer, which tells the parent when it has heard, or
/// the parent. Returns it if nobody is going to ask for its status, for the caller to drop without the lock.
pub(super) fn announce_end(tree: &mut Tree, pid: u32, status: ExitStatus) -> Option<Arc<Process>> {
    let child = Arc::clone(&tree.node(pid)?.process);
    let tracer = tree.tracer_of(pid).filter(|&tracer| tracer != child.parent_pid());
    let Some(tracer) = tracer.and_then(|tracer| tree.node(tracer)).map(|node| Arc::clone(&node.process)) else {
        return notify_of_end(tree, pid, status);
    };
    let _ = send::to_process(&tracer, Signal::SIGCHLD, info_of(&child, ChildEvent::Ended(status)));
    tracer.child_events.wake_all();
    None
}

/// Tells the parent that its child, a node of the tree with a status, has ended. Returns the child if nobody is going
/// to ask for its status, for the caller to drop without the lock.
pub(super) fn notify_of_end(tree: &mut Tree, pid: u32, status: ExitStatus) -> Option<Arc<Process>> {
    let child = Arc::clone(&tree.node(pid)?.process);
    let Some(parent) = tree.node(child.parent_pid()).map(|node| Arc::clone(&node.process)) else {
        return tree.remove_process(pid);
    };
    let signal = Signal::new(child.exit_signal.load(Ordering::Relaxed));
    let is_ignored = signal == Some(Signal::SIGCHLD) && ignores_children(&parent);
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
