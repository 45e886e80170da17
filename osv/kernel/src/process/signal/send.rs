//! Sending signals. Everything here may be called from interrupts, unless it says otherwise.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;

use super::info::SignalInfo;
use super::set::{Signal, SignalSet};
use crate::errno::{Errno, Result};
use crate::event::PollEvents;
use crate::process::credentials::Credentials;
use crate::process::limits::Resource;
use crate::process::status::{ChildEvent, ExitStatus};
use crate::process::structure::{Process, Signals};
use crate::process::task::Task;
use crate::process::trace;
use crate::process::{current_task, tree};

/// Sends a signal to a process: one of its tasks that does not block it will handle it.
///
/// # Errors
/// EAGAIN if a queued real-time signal finds the receiver's queue full.
pub fn to_process(process: &Process, signal: Signal, info: SignalInfo) -> Result<()> {
    send(process, None, signal, info)
}

/// Sends a signal to one task.
///
/// # Errors
/// EAGAIN if a queued real-time signal finds the receiver's queue full.
pub fn to_task(task: &Task, signal: Signal, info: SignalInfo) -> Result<()> {
    send(task.process(), Some(task), signal, info)
}

/// SIGPIPE for the current task, which has written where nobody reads any more.
pub fn broken_pipe() {
    let task = current_task();
    let user = task.credentials().user.real;
    let info =
        SignalInfo::from_process(Signal::SIGPIPE, linux_raw_sys::general::SI_USER as i32, task.process().pid(), user);
    // SIGPIPE is no real-time signal: it always finds room.
    let _ = to_task(&task, Signal::SIGPIPE, info);
}

/// Sends the current task a signal that it cannot escape, for what it has just done: if it blocks or ignores the
/// signal, the signal's default action happens.
pub fn force(signal: Signal, info: SignalInfo) {
    let task = current_task();
    {
        let signals = task.process().signals.lock();
        let mut actions = signals.actions.lock();
        let is_blocked = task.blocked().contains(signal);
        if is_blocked || actions.ignored().contains(signal) {
            actions.reset(signal);
            task.set_blocked(task.blocked().without(signal.bit()));
        }
    }
    let _ = to_task(&task, signal, info);
}

/// Sends the signal of a timer. Returns whether it is pending now: it is not if the process ignores it.
pub(in crate::process) fn for_timer(process: &Process, task: Option<&Task>, signal: Signal, info: SignalInfo) -> bool {
    let _ = send(process, task, signal, info);
    let signals = process.signals.lock();
    let own = task.map(|task| task.signals.pending.lock().set()).unwrap_or_default();
    (signals.pending.set() | own).contains(signal)
}

/// SIGKILL for all tasks: the process ends with `status` unless it is about to end already.
pub(in crate::process) fn kill_all(process: &Process, signals: &mut Signals, status: ExitStatus) {
    if signals.exit.is_some() || process.is_immortal {
        return;
    }
    signals.exit = Some(status);
    signals.stop = None;
    for task in &signals.tasks {
        kill(task);
    }
    process.resumed.wake_all();
}

/// SIGKILL for a process.
pub(in crate::process) fn kill_process(process: &Process) {
    kill_all(process, &mut process.signals.lock(), ExitStatus::killed(Signal::SIGKILL, false));
}

/// Makes a task end on its way back to the program.
pub(in crate::process) fn kill(task: &Task) {
    task.signals.is_killed.store(true, Ordering::SeqCst);
    interrupt(task);
}

/// Tells a task to look for signals.
pub(in crate::process) fn interrupt(task: &Task) {
    if let Some(thread) = task.thread() {
        thread.interrupt();
    }
}

fn send(process: &Process, target: Option<&Task>, signal: Signal, info: SignalInfo) -> Result<()> {
    if process.is_immortal {
        return Ok(());
    }
    let limit = match process.limits.try_lock() {
        Some(limits) => limits.soft(Resource::PendingSignals),
        None => u64::MAX,
    };
    let mut signals = process.signals.lock();
    if signals.exit.is_some() && signal == Signal::SIGKILL {
        signals.tasks.iter().for_each(|task| task.end_trace_stop());
        process.resumed.wake_all();
    }
    if signals.exit.is_some() || !prepare(process, &mut signals, target, signal) {
        return Ok(());
    }
    if signal == Signal::SIGKILL {
        kill_all(process, &mut signals, ExitStatus::killed(signal, false));
        return Ok(());
    }
    let is_new = match target {
        Some(task) => {
            let mut pending = task.signals.pending.lock();
            let may_queue = ((pending.len() + signals.pending.len()) as u64) < limit;
            pending.push(signal, info, may_queue)?
        }
        None => {
            let may_queue = (signals.pending.len() as u64) < limit;
            signals.pending.push(signal, info, may_queue)?
        }
    };
    if is_new && let Some(receiver) = choose(&signals, target, signal) {
        interrupt(receiver);
    }
    drop(signals);
    process.signal_events().notify(PollEvents::READABLE);
    Ok(())
}

/// What sending does whether or not the signal is handled: stopping and continuing cancel each other. Returns whether
/// there is anything to deliver.
fn prepare(process: &Process, signals: &mut Signals, target: Option<&Task>, signal: Signal) -> bool {
    if SignalSet::STOP.contains(signal) {
        discard(signals, Signal::SIGCONT.bit());
    } else if signal == Signal::SIGCONT {
        discard(signals, SignalSet::STOP);
        resume(process, signals);
        signals.tasks.iter().for_each(|task| trace::on_continue(task));
    }
    if signal == Signal::SIGKILL || signal == Signal::SIGSTOP {
        return true;
    }
    let Some(task) = target.or(signals.tasks.first().map(|task| &**task)) else { return false };
    if task.is_traced() {
        return true;
    }
    let waiting = task.blocked() | SignalSet(task.signals.awaited.load(Ordering::Relaxed));
    waiting.contains(signal) || !signals.actions.lock().drops(signal)
}

/// Lets a stopped process go on; its tasks tell the parent.
fn resume(process: &Process, signals: &mut Signals) {
    if signals.stop.take().is_none() {
        return;
    }
    if signals.stopping == 0 {
        signals.unreported = Some(ChildEvent::Continued);
        signals.announcement = Some(ChildEvent::Continued);
    }
    signals.stopping = 0;
    for task in &signals.tasks {
        interrupt(task);
    }
    process.resumed.wake_all();
}

fn discard(signals: &mut Signals, set: SignalSet) {
    signals.pending.discard(set);
    for task in &signals.tasks {
        task.signals.pending.lock().discard(set);
    }
}

/// The task that will handle the signal: the target, or the first one that does not block it.
fn choose<'a>(signals: &'a Signals, target: Option<&'a Task>, signal: Signal) -> Option<&'a Task> {
    let wants = |task: &Task| !task.is_exiting() && !task.blocked().contains(signal);
    match target {
        Some(task) => Some(task).filter(|task| wants(task)),
        None => signals.tasks.iter().map(|task| &**task).find(|task| wants(task)),
    }
}

/// Whether a task with these credentials may send signals to the process: same user, or privileged; SIGCONT within
/// the session.
fn may_signal(sender: &Credentials, process: &Process, signal: Option<Signal>) -> Result<()> {
    if sender.is_capable(linux::CAP_KILL) {
        return Ok(());
    }
    let Some(task) = process.first_task() else { return Ok(()) };
    let receiver = task.credentials();
    let is_same = [sender.user.effective, sender.user.real]
        .iter()
        .any(|&id| id == receiver.user.saved || id == receiver.user.real);
    let is_session = signal == Some(Signal::SIGCONT) && process.session_id() == current_task().process().session_id();
    if is_same || is_session { Ok(()) } else { Err(Errno::EPERM) }
}

/// `kill` and its like: sends the signal, or only checks whether it could (`None`).
pub fn checked_to_process(process: &Process, signal: Option<Signal>, info: SignalInfo) -> Result<()> {
    may_signal(&current_task().credentials(), process, signal)?;
    match signal {
        Some(signal) => to_process(process, signal, info),
        None => Ok(()),
    }
}

/// `tkill` and its like.
pub fn checked_to_task(task: &Arc<Task>, signal: Option<Signal>, info: SignalInfo) -> Result<()> {
    may_signal(&current_task().credentials(), task.process(), signal)?;
    match signal {
        Some(signal) => to_task(task, signal, info),
        None => Ok(()),
    }
}

/// `kill` with an id below 1: to all processes for which `is_meant` is true. Succeeds if it could be sent to one. Not from
/// interrupts.
pub fn checked_to_many(is_meant: impl Fn(&Process) -> bool, signal: Option<Signal>, info: SignalInfo) -> Result<()> {
    let meant: Vec<Arc<Process>> = tree::all().into_iter().filter(|process| is_meant(process)).collect();
    let mut outcome = Err(Errno::ESRCH);
    for process in meant {
        let sent = checked_to_process(&process, signal, info);
        if outcome.is_err() {
            outcome = sent;
        }
    }
    outcome
}
