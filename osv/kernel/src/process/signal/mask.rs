//! What a task blocks, and calls that look at pending signals instead of having them delivered.

use core::sync::atomic::Ordering;

use super::info::SignalInfo;
use super::set::{Signal, SignalSet};
use crate::errno::{Errno, Result};
use crate::process::current_task;
use crate::process::task::Task;
use crate::sched::{Deadline, WaitQueue};

impl Task {
    /// The signals that it blocks.
    #[inline]
    pub fn blocked(&self) -> SignalSet {
        SignalSet(self.signals.blocked.load(Ordering::Relaxed))
    }

    /// Whether `signal` would change nothing for the task: it is blocked, or its process ignores it.
    pub fn is_deaf_to(&self, signal: Signal) -> bool {
        let signals = self.process().signals.lock();
        let is_ignored = signals.actions.lock().ignored().contains(signal);
        is_ignored || self.blocked().contains(signal)
    }

    /// Sets what the task blocks. Only for the task itself, which has to look for signals after that
    /// ([`Task::look_for_signals`]).
    pub(in crate::process) fn set_blocked(&self, set: SignalSet) {
        self.signals.blocked.store(set.blockable().0, Ordering::Relaxed);
    }

    /// What is pending for it, blocked or not.
    #[inline(always)]
    pub fn pending(&self) -> SignalSet {
        let shared = self.process().signals.lock().pending.set();
        shared | self.signals.pending.lock().set()
    }

    /// What is pending for it alone.
    pub fn own_pending(&self) -> SignalSet {
        self.signals.pending.lock().set()
    }

    /// Makes sure that the task, the current one, delivers what is pending and not blocked before it goes on.
    pub(in crate::process) fn look_for_signals(&self) {
        if !self.pending().without(self.blocked()).is_empty() {
            super::send::interrupt(self);
        }
    }

    /// Sets what the current task blocks, and returns what it did.
    #[inline(always)]
    pub fn replace_blocked(&self, set: SignalSet) -> SignalSet {
        let old = self.blocked();
        self.set_blocked(set);
        self.retarget(set.without(old));
        self.look_for_signals();
        old
    }

    /// Signals of the whole process that this task was to handle, but does not any more, go to others.
    pub(in crate::process) fn retarget(&self, no_longer_handled: SignalSet) {
        if no_longer_handled.is_empty() {
            return;
        }
        let signals = self.process().signals.lock();
        let orphaned = signals.pending.set() & no_longer_handled;
        if orphaned.is_empty() {
            return;
        }
        for task in &signals.tasks {
            if !core::ptr::eq(&**task, self) && orphaned.intersects(!task.blocked()) {
                super::send::interrupt(task);
            }
        }
    }

    /// Blocks `set` for the duration of a call (`ppoll`, `sigsuspend`, `epoll_pwait` …). What was blocked before comes
    /// back when the call is over, but not before a handler that interrupts it has got it into its frame.
    ///
    /// A call that was not interrupted takes it back itself, by [`Task::restore_mask`].
    pub fn replace_blocked_for_call(&self, set: SignalSet) {
        let old = self.blocked();
        *self.signals.saved_mask.lock() = Some(old);
        self.set_blocked(set);
        self.retarget(set.without(old));
        self.look_for_signals();
    }

    /// Ends what [`Task::replace_blocked_for_call`] began, for a call that returns normally.
    pub fn restore_mask(&self) {
        let saved = self.signals.saved_mask.lock().take();
        if let Some(mask) = saved {
            self.replace_blocked(mask);
        }
    }
}

/// Takes the first pending signal of `wanted` from the current task or its process: `signalfd`, `sigtimedwait`.
pub fn take(wanted: SignalSet) -> Option<(Signal, SignalInfo)> {
    super::deliver::dequeue(&current_task(), wanted)
}

/// Whether one of `wanted` is pending for the current task.
pub fn is_pending(wanted: SignalSet) -> bool {
    current_task().pending().intersects(wanted)
}

/// Waits for one of `wanted`, which the program blocks, and takes it: `rt_sigtimedwait`.
///
/// # Errors
/// EAGAIN when the time is over, EINTR for another signal.
pub fn wait_for(wanted: SignalSet, deadline: Option<Deadline>) -> Result<(Signal, SignalInfo)> {
    if let Some(taken) = take(wanted) {
        return Ok(taken);
    }
    if deadline.is_some_and(Deadline::has_passed) {
        return Err(Errno::EAGAIN);
    }
    let task = current_task();
    let old = task.blocked();
    task.signals.awaited.store(wanted.0, Ordering::Relaxed);
    task.set_blocked(old.without(wanted));
    task.look_for_signals();
    let outcome: Result<()> = WaitQueue::new().wait_interruptible(deadline, || None);
    task.set_blocked(old);
    task.signals.awaited.store(0, Ordering::Relaxed);
    match take(wanted) {
        Some(taken) => Ok(taken),
        None if outcome == Err(Errno::ETIMEDOUT) => Err(Errno::EAGAIN),
        None => Err(Errno::EINTR),
    }
}

/// Waits for a signal that is not blocked: `pause`, `sigsuspend`. Always gives the error to return.
pub fn wait_for_any() -> Errno {
    let outcome: Result<()> = WaitQueue::new().wait_interruptible(None, || None);
    match outcome {
        Err(_) => Errno::ERESTARTNOHAND,
        Ok(()) => Errno::EINTR,
    }
}
