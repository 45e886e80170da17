//! The runnable threads of one CPU, the one with the least virtual time first.
//!
//! Virtual time is run time divided by weight: always running the thread with the least of it shares the CPU by
//! weight (proportional-share scheduling as in Linux' CFS). A thread that slept starts at most a little behind the
//! queue's own virtual time, so that sleeping is no way to hoard. Pure data: the scheduler does the locking.
//!
//! The first thread stands beside the heap of the others: most queues never hold more than one, and those never touch
//! the heap.

use alloc::collections::BinaryHeap;
use core::cmp::Ordering;

/// A sleeper may be this much behind, in nanoseconds of virtual time: it runs soon, but not for long.
const SLEEPER_BONUS_NS: u64 = 3_000_000;

/// Virtual times begin well above this; what is below is the rank of a real-time thread, which runs before all others.
pub const RANKS: u64 = 100;

/// Where a queue's virtual time begins.
const FIRST_VIRTUAL_TIME: u64 = 1 << 24;

const _: () = assert!(FIRST_VIRTUAL_TIME - SLEEPER_BONUS_NS > RANKS);

/// Runnable threads of type `T` by virtual time.
pub struct RunQueue<T> {
    /// Before all others; there is one if there are any others.
    first: Option<Entry<T>>,
    others: BinaryHeap<Entry<T>>,
    /// Never decreases; what a newcomer is measured against.
    virtual_time: u64,
    next_sequence: u64,
}

struct Entry<T> {
    virtual_time: u64,
    /// Keeps equals in the order of their arrival.
    sequence: u64,
    thread: T,
}

impl<T> RunQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        RunQueue { first: None, others: BinaryHeap::new(), virtual_time: FIRST_VIRTUAL_TIME, next_sequence: 0 }
    }

    /// Adds a thread with its virtual time.
    #[inline(always)]
    pub fn push(&mut self, thread: T, virtual_time: u64) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let entry = Entry { virtual_time, sequence, thread };
        match self.first.take() {
            None => self.first = Some(entry),
            Some(first) => self.push_beside(first, entry),
        }
    }

    /// Adds `entry` to a queue whose first is, or was, `first`.
    fn push_beside(&mut self, first: Entry<T>, entry: Entry<T>) {
        let (first, other) = if entry > first { (entry, first) } else { (first, entry) };
        self.first = Some(first);
        self.others.push(other);
    }

    /// Takes the thread that runs next.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        let entry = self.pop_entry()?;
        self.virtual_time = self.virtual_time.max(entry.virtual_time);
        Some(entry.thread)
    }

    #[inline(always)]
    fn pop_entry(&mut self) -> Option<Entry<T>> {
        let entry = self.first.take()?;
        if !self.others.is_empty() {
            self.first = self.others.pop();
        }
        Some(entry)
    }

    /// Takes the first thread, in order of virtual time, that `wanted` accepts.
    pub fn take(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<T> {
        let mut passed_over = alloc::vec::Vec::new();
        let mut taken = None;
        while let Some(entry) = self.pop_entry() {
            if wanted(&entry.thread) {
                taken = Some(entry.thread);
                break;
            }
            passed_over.push(entry);
        }
        self.others.extend(self.first.take());
        self.others.extend(passed_over);
        self.first = self.others.pop();
        taken
    }

    /// The virtual time at which a thread starts that last had `virtual_time`.
    #[inline]
    pub fn placement(&self, virtual_time: u64) -> u64 {
        virtual_time.max(self.virtual_time.saturating_sub(SLEEPER_BONUS_NS))
    }

    /// The virtual time at which a thread starts that comes from a queue whose time was `origin`.
    #[inline]
    pub fn placement_from(&self, virtual_time: u64, origin: u64) -> u64 {
        self.virtual_time.saturating_add(virtual_time.saturating_sub(origin)).max(self.virtual_time)
    }

    /// The queue's own virtual time.
    #[inline]
    pub fn virtual_time(&self) -> u64 {
        self.virtual_time
    }

    /// The least virtual time of a thread in the queue.
    #[inline]
    pub fn least(&self) -> Option<u64> {
        self.first.as_ref().map(|entry| entry.virtual_time)
    }

    /// How many threads wait to run.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// Whether no thread waits to run.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<T> Ord for Entry<T> {
    /// `BinaryHeap` gives the greatest first, so less virtual time is greater here.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (other.virtual_time, other.sequence).cmp(&(self.virtual_time, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_virtual_time_first_then_arrival() {
        let mut queue = RunQueue::new();
        let start = FIRST_VIRTUAL_TIME;
        queue.push('b', start + 20);
        queue.push('a', start + 10);
        queue.push('c', start + 20);
        assert_eq!((queue.pop(), queue.pop(), queue.pop(), queue.pop()), (Some('a'), Some('b'), Some('c'), None));
        assert_eq!(queue.virtual_time(), start + 20);
    }

    #[test]
    fn sleepers_cannot_hoard() {
        let mut queue = RunQueue::new();
        queue.push('a', 1_000_000_000);
        queue.pop();
        assert_eq!(queue.placement(0), 1_000_000_000 - SLEEPER_BONUS_NS);
        assert_eq!(queue.placement(2_000_000_000), 2_000_000_000);
    }

    #[test]
    fn taking_passes_over() {
        let mut queue = RunQueue::new();
        queue.push(1, 1);
        queue.push(2, 2);
        assert_eq!(queue.take(|&thread| thread == 2), Some(2));
        assert_eq!(queue.take(|&thread| thread == 9), None);
        assert_eq!(queue.pop(), Some(1));
    }
}
