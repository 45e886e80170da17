//! Signals that wait to be delivered: one [`Queue`] per task and one per process.
//!
//! A bit per signal says what is pending, so that "is there anything?" is one AND. Details wait in a list in
//! the order of sending: at most one entry for a standard signal, any number for a real-time signal, up to the
//! limit that the sender checks (RLIMIT_SIGPENDING). A signal whose details find no memory is still pending,
//! as on Linux; only real-time signals that a program queues report EAGAIN then.

use alloc::collections::VecDeque;

use super::info::SignalInfo;
use super::set::{Signal, SignalSet};
use crate::errno::{Errno, Result};

/// Pending signals.
#[derive(Default, Debug)]
pub struct Queue {
    set: SignalSet,
    details: VecDeque<SignalInfo>,
}

impl Queue {
    /// Nothing pending.
    pub const fn new() -> Queue {
        Queue { set: SignalSet::EMPTY, details: VecDeque::new() }
    }

    /// What is pending.
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.details.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Makes room for one more entry, so that a later `push` from an interrupt needs no memory.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        self.details.try_reserve(additional).map_err(|_| Errno::EAGAIN)
    }

    /// The entries, in the order of sending.
    pub fn iter(&self) -> impl Iterator<Item = SignalInfo> + '_ {
        self.details.iter().copied()
    }

    /// Adds a signal. A standard signal that is already pending stays as it is: `Ok(false)`.
    ///
    /// `may_queue` is false when the receiver's limit is used up: then a real-time signal sent by a program
    /// is refused with EAGAIN, any other is pending without details.
    pub fn push(&mut self, signal: Signal, info: SignalInfo, may_queue: bool) -> Result<bool> {
        if !signal.is_real_time() && self.set.contains(signal) {
            return Ok(false);
        }
        let has_room = may_queue && self.details.try_reserve(1).is_ok();
        if has_room {
            self.details.push_back(info);
        } else if signal.is_real_time() && info.code != linux_raw_sys::general::SI_USER as i32 {
            return Err(Errno::EAGAIN);
        }
        self.set |= signal.bit();
        Ok(true)
    }

    /// Takes the first signal of `wanted`.
    pub fn pop(&mut self, wanted: SignalSet) -> Option<(Signal, SignalInfo)> {
        let signal = (self.set & wanted).first()?;
        let is_this = |info: &SignalInfo| info.number == signal.number() as i32;
        let position = self.details.iter().position(is_this);
        let info = position.and_then(|position| self.details.remove(position));
        if !self.details.iter().any(is_this) {
            self.set = self.set.without(signal.bit());
        }
        Some((signal, info.unwrap_or(SignalInfo::from_process(signal, 0, 0, 0))))
    }

    /// Drops all signals of `set`.
    pub fn discard(&mut self, set: SignalSet) {
        if !self.set.intersects(set) {
            return;
        }
        self.set = self.set.without(set);
        self.details.retain(|info| !info.signal().is_some_and(|signal| set.contains(signal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(signal: Signal, value: u64) -> SignalInfo {
        SignalInfo::with_value(signal, linux_raw_sys::general::SI_QUEUE, 1, 0, value)
    }

    #[test]
    fn standard_signals_merge_and_real_time_signals_queue() {
        let mut queue = Queue::new();
        let real_time = Signal::new(35).unwrap();
        assert_eq!(queue.push(Signal::SIGUSR1, info(Signal::SIGUSR1, 1), true), Ok(true));
        assert_eq!(queue.push(Signal::SIGUSR1, info(Signal::SIGUSR1, 2), true), Ok(false));
        for value in 0..3 {
            queue.push(real_time, info(real_time, value), true).unwrap();
        }
        assert_eq!(queue.pop(SignalSet::ALL).unwrap().1.value(), 1);
        for value in 0..3 {
            assert!(queue.set().contains(real_time));
            assert_eq!(queue.pop(SignalSet::ALL), Some((real_time, info(real_time, value))));
        }
        assert!(queue.is_empty() && queue.pop(SignalSet::ALL).is_none());
    }

    #[test]
    fn only_wanted_signals_come_out() {
        let mut queue = Queue::new();
        queue.push(Signal::SIGTERM, info(Signal::SIGTERM, 0), true).unwrap();
        assert_eq!(queue.pop(Signal::SIGUSR1.bit()), None);
        assert_eq!(queue.pop(Signal::SIGTERM.bit()).unwrap().0, Signal::SIGTERM);
    }

    #[test]
    fn a_full_queue_keeps_standard_signals_and_refuses_queued_ones() {
        let mut queue = Queue::new();
        let real_time = Signal::new(40).unwrap();
        assert_eq!(queue.push(real_time, info(real_time, 0), false), Err(Errno::EAGAIN));
        assert!(queue.is_empty());
        queue.push(Signal::SIGINT, info(Signal::SIGINT, 9), false).unwrap();
        assert_eq!(queue.pop(SignalSet::ALL).unwrap().1.value(), 0);
    }

    #[test]
    fn discarding_drops_details_too() {
        let mut queue = Queue::new();
        queue.push(Signal::SIGTSTP, info(Signal::SIGTSTP, 0), true).unwrap();
        queue.push(Signal::SIGCONT, info(Signal::SIGCONT, 0), true).unwrap();
        queue.discard(SignalSet::STOP);
        assert_eq!((queue.set(), queue.len()), (Signal::SIGCONT.bit(), 1));
    }
}
