//! The queue of an epoll's items that may be ready.
//!
//! Events arrive in interrupt handlers, so pushing never allocates: room for every item of the set is reserved when
//! it is added. Items that have left the set stay in the queue as dead ones until they are met or become the
//! majority, so that leaving is O(1) too.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, SpinLock};

/// More dead items than this, and more than live ones, are swept out.
const DEAD_TOLERATED: usize = 16;

/// A first-in, first-out queue with reserved room.
pub(super) struct ReadyQueue<T> {
    /// The length, readable without the lock.
    len: AtomicUsize,
    dead: AtomicUsize,
    items: SpinLock<VecDeque<T>, IrqOff>,
}

impl<T> ReadyQueue<T> {
    pub(super) const fn new() -> Self {
        ReadyQueue { len: AtomicUsize::new(0), dead: AtomicUsize::new(0), items: SpinLock::new(VecDeque::new()) }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `live` items beside the dead ones. ENOMEM when memory is short.
    pub(super) fn reserve(&self, live: usize) -> Result<()> {
        let wanted = live + self.dead.load(Ordering::Relaxed) + DEAD_TOLERATED;
        if self.items.lock().capacity() >= wanted {
            return Ok(());
        }
        let mut larger = VecDeque::new();
        larger.try_reserve(wanted * 2).map_err(|_| Errno::ENOMEM)?;
        let mut items = self.items.lock();
        larger.append(&mut items);
        core::mem::swap(&mut *items, &mut larger);
        drop(items);
        Ok(())
    }

    /// Appends what `item` gives, which runs under the lock.
    #[inline(always)]
    pub(super) fn push_with(&self, item: impl FnOnce() -> Option<T>) {
        let mut items = self.items.lock();
        if let Some(item) = item() {
            items.push_back(item);
            self.len.store(items.len(), Ordering::SeqCst);
        }
    }

    /// Takes the first item; `on_pop` runs under the lock.
    #[inline(always)]
    pub(super) fn pop_with(&self, on_pop: impl FnOnce(&T)) -> Option<T> {
        let mut items = self.items.lock();
        let item = items.pop_front()?;
        on_pop(&item);
        self.len.store(items.len(), Ordering::SeqCst);
        Some(item)
    }

    /// One more of the queued items is dead. Sweeps when there are many; `is_live` tells.
    pub(super) fn note_dead(&self, is_live: impl Fn(&T) -> bool) {
        let dead = self.dead.fetch_add(1, Ordering::Relaxed) + 1;
        if dead >= DEAD_TOLERATED && dead * 2 > self.len() {
            self.sweep(is_live);
        }
    }

    /// A dead item was popped.
    pub(super) fn note_dead_gone(&self) {
        let _ = self.dead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |dead| dead.checked_sub(1));
    }

    /// Drops everything.
    pub(super) fn clear(&self) {
        let items = core::mem::take(&mut *self.items.lock());
        self.len.store(0, Ordering::SeqCst);
        drop(items);
    }

    /// Keeps the live items. Dead ones are moved to a second queue, to be dropped outside the lock.
    fn sweep(&self, is_live: impl Fn(&T) -> bool) {
        let mut gone = VecDeque::new();
        if gone.try_reserve(self.len() + DEAD_TOLERATED).is_err() {
            return;
        }
        let mut items = self.items.lock();
        for _ in 0..items.len() {
            match items.pop_front() {
                Some(item) if is_live(&item) || gone.len() == gone.capacity() => items.push_back(item),
                Some(item) => gone.push_back(item),
                None => break,
            }
        }
        self.len.store(items.len(), Ordering::SeqCst);
        self.dead.store(0, Ordering::Relaxed);
        drop(items);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &ReadyQueue<u32>, item: u32) {
        queue.push_with(|| Some(item));
    }

    #[test]
    fn items_come_out_in_order() {
        let queue = ReadyQueue::new();
        queue.reserve(2).unwrap();
        push(&queue, 1);
        push(&queue, 2);
        queue.push_with(|| None);
        assert_eq!(queue.len(), 2);
        assert_eq!([queue.pop_with(|_| ()), queue.pop_with(|_| ()), queue.pop_with(|_| ())], [Some(1), Some(2), None]);
        assert!(queue.is_empty());
    }

    #[test]
    fn reserved_room_is_enough_for_all() {
        let queue = ReadyQueue::new();
        for count in 1..100 {
            queue.reserve(count).unwrap();
            push(&queue, count as u32);
            let capacity = queue.items.lock().capacity();
            assert!(capacity >= count);
        }
        assert_eq!(queue.len(), 99);
    }

    #[test]
    fn the_dead_are_swept_when_they_are_many() {
        let queue = ReadyQueue::new();
        queue.reserve(40).unwrap();
        (0..40).for_each(|item| push(&queue, item));
        for _ in 0..21 {
            queue.note_dead(|&item| item % 2 == 0);
        }
        assert_eq!(queue.len(), 20);
        assert_eq!(queue.pop_with(|_| ()), Some(0));
        assert_eq!(queue.pop_with(|_| ()), Some(2));
    }
}
