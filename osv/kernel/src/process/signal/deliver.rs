//! Delivering signals: what a task does on its way back to the program.

use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;

use super::action::{Action, SIG_DFL, SIG_IGN};
use super::info::SignalInfo;
use super::set::{DefaultAction, Signal, SignalSet};
use super::{fault, frame as signal_frame, send};
use crate::arch::{TrapFrame, work};
use crate::errno::Errno;
use crate::process::status::{ChildEvent, ExitStatus};
use crate::process::task::Task;
use crate::process::trace::{self, Trap};
use crate::process::{Current, current_task, exit, rseq, session, wait};
use crate::sched;

/// Length of the `syscall` instruction, which a restart runs again.
const SYSCALL_LENGTH: u64 = 2;

/// What to do next.
enum Next {
    /// Nothing is left.
    Done,
    /// The task ends.
    End,
    /// The process is to stop, or is stopped.
    Stop,
    /// A traced task is to stop for its tracer.
    Trap(Trap),
    /// A signal came out of a queue.
    Signal(Signal, SignalInfo),
    /// The parent is to be told of a change.
    Announce(ChildEvent),
}

/// Delivers all signals that wait for the current task, and ends or restarts the system call that they interrupted.
/// Called with a complete frame and interrupts on, on the way back to the program, when the task's work has the bit.
pub fn deliver(frame: &mut TrapFrame) {
    let task = current_task();
    sched::current().context.work.fetch_and(!work::SIGNAL, Ordering::SeqCst);
    let mut has_handler = false;
    loop {
        match next(&task) {
            Next::Done => break,
            Next::End => exit::exit_task(0),
            Next::Stop => stop_until_resumed(&task),
            Next::Announce(event) => wait::notify_parent(task.process(), event),
            Next::Trap(trap) => {
                announce(&task, count_stop(&task));
                trace::trap(&task, frame, trap);
            }
            Next::Signal(signal, info) => {
                if let Some((signal, info)) = trace::offer(&task, frame, signal, info) {
                    has_handler |= handle(&task, frame, signal, info);
                }
            }
        }
    }
    if !has_handler {
        restart_call(frame);
        task.restore_mask();
    }
}

fn next(task: &Current) -> Next {
    let mut signals = task.process().signals.lock();
    if task.signals.is_killed.load(Ordering::SeqCst) {
        return Next::End;
    }
    if let Some(event) = signals.announcement.take() {
        return Next::Announce(event);
    }
    if task.is_traced() {
        if let Some(trap) = trace::pending_trap(task, &signals) {
            return Next::Trap(trap);
        }
    } else if signals.stop.is_some() {
        return Next::Stop;
    }
    drop(signals);
    match dequeue(task, !task.blocked()) {
        Some((signal, info)) => Next::Signal(signal, info),
        None => Next::Done,
    }
}

/// What the process does about `signal`, which is about to be delivered.
fn take_action(task: &Current, signal: Signal) -> Action {
    let signals = task.process().signals.lock();
    let mut actions = signals.actions.lock();
    let action = *actions.get(signal);
    if action.is_handler() && action.has(linux::SA_RESETHAND) {
        actions.reset(signal);
    }
    action
}

/// Takes the first signal of `wanted` out of the task's queue or the process'. Faults come first, and the task's own
/// before the others.
pub(super) fn dequeue(task: &Task, wanted: SignalSet) -> Option<(Signal, SignalInfo)> {
    let taken = {
        let mut signals = task.process().signals.lock();
        let own = task.signals.pending.lock().pop(wanted);
        own.or_else(|| signals.pending.pop(wanted))
    };
    let (signal, mut info) = taken?;
    task.process().timers.on_signal_taken(signal, &mut info);
    Some((signal, info))
}

/// Does what the process wants to be done. Returns whether the program continues in a handler.
fn handle(task: &Current, frame: &mut TrapFrame, signal: Signal, info: SignalInfo) -> bool {
    let action = take_action(task, signal);
    match action.handler {
        SIG_IGN => false,
        SIG_DFL => {
            do_default(task, frame, signal, &info);
            false
        }
        _ => {
            end_interrupted_call(frame, &action);
            call_handler(task, frame, signal, &info, &action)
        }
    }
}

fn do_default(task: &Current, frame: &TrapFrame, signal: Signal, info: &SignalInfo) {
    match signal.default_action() {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        DefaultAction::Stop => begin_stop(task, signal),
        DefaultAction::Terminate => end_by(task, signal, false),
        DefaultAction::Core => {
            fault::report(task, frame, signal, info);
            end_by(task, signal, task.process().leaves_core());
        }
    }
}

/// The whole process ends by the signal.
fn end_by(task: &Current, signal: Signal, has_core: bool) {
    let mut signals = task.process().signals.lock();
    send::kill_all(task.process(), &mut signals, ExitStatus::killed(signal, has_core));
}

/// The process begins to stop, unless nobody could let it go on.
fn begin_stop(task: &Current, signal: Signal) {
    let process = task.process();
    if signal != Signal::SIGSTOP && session::is_orphaned(process.group_id()) {
        return;
    }
    let mut signals = process.signals.lock();
    // A SIGCONT may have come since the signal was taken out of its queue; it has been discarded then, too late to
    // undo the stop, which Linux accepts as well.
    if signals.exit.is_some() {
        return;
    }
    if signals.stop.is_some() {
        if task.is_traced() {
            signals.stop = Some(signal);
            trace::on_new_stop(&signals);
        }
        return;
    }
    signals.stop = Some(signal);
    signals.stop_number += 1;
    signals.stopping = signals.tasks.iter().filter(|task| !task.is_exiting()).count();
    for other in &signals.tasks {
        send::interrupt(other);
    }
}

/// Sleeps until the process goes on or ends. The last task to stop tells the parent.
fn stop_until_resumed(task: &Current) {
    let process = task.process();
    announce(task, count_stop(task));
    process.resumed.wait_until(|| {
        let may_go_on =
            process.signals.lock().stop.is_none() || task.is_traced() || task.signals.is_killed.load(Ordering::SeqCst);
        may_go_on.then_some(())
    });
}

/// The task stops with its process: once for each stop. What the parent is to be told if it is the last to do so.
fn count_stop(task: &Current) -> Option<ChildEvent> {
    let mut signals = task.process().signals.lock();
    let signal = signals.stop?;
    if task.signals.stopped_for.swap(signals.stop_number, Ordering::Relaxed) == signals.stop_number {
        return None;
    }
    signals.stopping = signals.stopping.saturating_sub(1);
    if signals.stopping != 0 {
        return None;
    }
    let event = ChildEvent::Stopped(signal);
    signals.unreported = Some(event);
    Some(event)
}

fn announce(task: &Current, event: Option<ChildEvent>) {
    if let Some(event) = event {
        wait::notify_parent(task.process(), event);
    }
}

fn call_handler(task: &Current, frame: &mut TrapFrame, signal: Signal, info: &SignalInfo, action: &Action) -> bool {
    rseq::resume(frame);
    let is_stepping = trace::before_handler(task, frame);
    let saved = task.signals.saved_mask.lock().take();
    let blocked = task.blocked();
    if signal_frame::push(task, frame, signal, info, action, saved.unwrap_or(blocked)).is_err() {
        if signal == Signal::SIGSEGV {
            task.process().signals.lock().actions.lock().reset(Signal::SIGSEGV);
        }
        send::force(Signal::SIGSEGV, SignalInfo::from_kernel(Signal::SIGSEGV));
        return false;
    }
    let deferred = if action.has(linux::SA_NODEFER) { SignalSet::EMPTY } else { signal.bit() };
    let new = (blocked | SignalSet(action.mask) | deferred).blockable();
    task.set_blocked(new);
    task.retarget(new.without(blocked));
    if is_stepping {
        trace::in_handler(task, frame);
    }
    true
}

/// The restart code that the interrupted system call returned, if the frame is one of a system call; as on Linux a tracer says
/// that it is none by a negative number.
fn restart_code(frame: &TrapFrame) -> Option<Errno> {
    if (frame.orig_rax as i32) < 0 {
        return None;
    }
    [Errno::ERESTARTSYS, Errno::ERESTARTNOINTR, Errno::ERESTARTNOHAND, Errno::ERESTART_RESTARTBLOCK]
        .into_iter()
        .find(|code| frame.rax == code.to_rax())
}

/// Runs the system call again, with number `number`.
fn run_again(frame: &mut TrapFrame, number: u64) {
    frame.rax = number;
    frame.rip -= SYSCALL_LENGTH;
    frame.rcx = frame.rip;
    sched::current().context.work.fetch_or(work::FRAME_REWRITTEN, Ordering::Relaxed);
}

/// A handler is about to run: the call that the signal interrupted is over, or will start again after it.
fn end_interrupted_call(frame: &mut TrapFrame, action: &Action) {
    match restart_code(frame) {
        Some(Errno::ERESTARTNOINTR) => run_again(frame, frame.orig_rax),
        Some(Errno::ERESTARTSYS) if action.has(linux::SA_RESTART) => run_again(frame, frame.orig_rax),
        Some(_) => frame.rax = Errno::EINTR.to_rax(),
        None => {}
    }
}

/// No handler runs: the call that was interrupted goes on unseen.
fn restart_call(frame: &mut TrapFrame) {
    match restart_code(frame) {
        Some(Errno::ERESTART_RESTARTBLOCK) => run_again(frame, u64::from(linux::__NR_restart_syscall)),
        Some(_) => run_again(frame, frame.orig_rax),
        None => {}
    }
}
