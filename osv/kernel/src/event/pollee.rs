//! What can be waited for: the queue of the threads that block on the object, and a list of observers beside it.
//!
//! The contract that loses no event: the owner changes its state first and calls [`Pollee::notify`] after;
//! a watcher attaches first and looks at the state after. `notify` may be called from interrupt handlers: it
//! neither allocates nor frees, and costs a few instructions when nobody listens.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::errno::{Errno, Result};
use crate::sched::{Deadline, WaitQueue};
use crate::sync::{IrqOff, SpinLock};

bitflags::bitflags! {
    /// Conditions of a file as poll(2) and epoll(7) name them, with Linux' values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct PollEvents: u32 {
        /// There is data to read, or reading would not block.
        const POLLIN = 0x001;
        /// Something exceptional: out-of-band data, a packet-mode change of a pty.
        const POLLPRI = 0x002;
        /// Writing would not block.
        const POLLOUT = 0x004;
        /// An error is pending, or the reading end of a pipe is closed; reported unasked.
        const POLLERR = 0x008;
        /// The other side has hung up; reported unasked.
        const POLLHUP = 0x010;
        /// The descriptor is not open (poll only).
        const POLLNVAL = 0x020;
        /// Ordinary data can be read.
        const POLLRDNORM = 0x040;
        /// Priority data can be read.
        const POLLRDBAND = 0x080;
        /// Ordinary data can be written.
        const POLLWRNORM = 0x100;
        /// Priority data can be written.
        const POLLWRBAND = 0x200;
        /// Unused by Linux, accepted in masks.
        const POLLMSG = 0x400;
        /// The peer of a stream socket has shut down its writing side.
        const POLLRDHUP = 0x2000;
        /// `POLLIN | POLLRDNORM`: what a readable file reports.
        const READABLE = 0x041;
        /// `POLLOUT | POLLWRNORM`: what a writable file reports.
        const WRITABLE = 0x104;
        /// What a file that never blocks reports always: readable and writable.
        const ALWAYS_READY = 0x145;
        /// What poll and epoll report even if nobody asked: `POLLERR | POLLHUP`.
        const ALWAYS = 0x018;
    }
}

/// Somebody who wants to hear of the events of files: an epoll item, or a thread in poll(2).
pub trait Observer: Send + Sync {
    /// An object that the observer is attached to reports `events`, all of them within its interest.
    ///
    /// Called with the pollee's lock held and interrupts off, perhaps from an interrupt handler: it must not
    /// sleep, allocate, free, or touch that pollee. Returns whether a sleeping thread was woken, which is what
    /// decides whether the next exclusive observer is asked.
    fn on_event(&self, events: PollEvents) -> bool;

    /// The open file through which the observer was attached is gone; it is attached no longer.
    /// Called in thread context without locks.
    fn on_close(&self) {}
}

/// How an observer is attached to a pollee.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The events that the observer hears of.
    pub interest: PollEvents,
    /// Only one of a pollee's exclusive observers is woken by an event (EPOLLEXCLUSIVE).
    pub is_exclusive: bool,
    /// Identity of the open file description on whose behalf the watch exists, for [`Pollee::release`].
    pub owner: usize,
}

struct Registration {
    observer: Arc<dyn Observer>,
    watch: Watch,
}

/// The part of a file that can be waited for.
pub struct Pollee {
    queue: WaitQueue,
    observer_count: AtomicUsize,
    observers: SpinLock<Vec<Registration>, IrqOff>,
}

impl Pollee {
    /// A pollee that nobody watches yet.
    pub const fn new() -> Self {
        Pollee { queue: WaitQueue::new(), observer_count: AtomicUsize::new(0), observers: SpinLock::new(Vec::new()) }
    }

    /// Tells everyone who listens that `events` may have come true, and wakes all threads that wait here. Call it
    /// after the change.
    #[inline]
    pub fn notify(&self, events: PollEvents) {
        self.queue.wake_all();
        self.notify_observers_if_any(events);
    }

    /// As [`Pollee::notify`], for owners with wait queues of their own: wakes no waiting thread.
    #[inline]
    pub fn notify_observers(&self, events: PollEvents) {
        fence(Ordering::SeqCst);
        self.notify_observers_if_any(events);
    }

    /// Sleeps until `condition`, which must not sleep, gives a value; it is asked again after each `notify`.
    #[inline]
    pub fn wait_until<T>(&self, condition: impl FnMut() -> Option<T>) -> T {
        self.queue.wait_until(condition)
    }

    /// As [`Pollee::wait_until`]; ERESTARTSYS when a signal is pending, ETIMEDOUT when the deadline has passed.
    #[inline]
    pub fn wait_interruptible<T>(&self, deadline: Option<Deadline>, condition: impl FnMut() -> Option<T>) -> Result<T> {
        self.queue.wait_interruptible(deadline, condition)
    }

    #[inline]
    fn notify_observers_if_any(&self, events: PollEvents) {
        if self.observer_count.load(Ordering::Relaxed) != 0 {
            self.tell_observers(events);
        }
    }

    /// Adds `observer` until [`Pollee::detach`] or [`Pollee::release`]. ENOMEM when memory is short.
    pub fn attach(&self, observer: Arc<dyn Observer>, watch: Watch) -> Result<()> {
        let mut observers = self.lock_with_room()?;
        observers.push(Registration { observer, watch });
        self.observer_count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Removes one registration of `observer`. No [`Observer::on_event`] of it runs after the return.
    pub fn detach(&self, observer: &Arc<dyn Observer>) {
        let mut observers = self.observers.lock();
        let position = observers.iter().position(|entry| is_same(&entry.observer, observer));
        let removed = position.map(|index| observers.swap_remove(index));
        self.observer_count.store(observers.len(), Ordering::SeqCst);
        drop(observers);
        drop(removed);
    }

    /// Changes what one registration of `observer` is interested in.
    pub fn set_interest(&self, observer: &Arc<dyn Observer>, interest: PollEvents) {
        let mut observers = self.observers.lock();
        if let Some(entry) = observers.iter_mut().find(|entry| is_same(&entry.observer, observer)) {
            entry.watch.interest = interest;
        }
    }

    /// Removes the registrations that were made on behalf of `owner`, an open file that is going away, and
    /// tells their observers. Costs one load when there are none.
    pub fn release(&self, owner: usize) {
        if self.observer_count.load(Ordering::SeqCst) == 0 {
            return;
        }
        while let Some(entry) = self.remove_one_of(owner) {
            entry.observer.on_close();
        }
    }

    fn remove_one_of(&self, owner: usize) -> Option<Registration> {
        let mut observers = self.observers.lock();
        let index = observers.iter().position(|entry| entry.watch.owner == owner)?;
        let entry = observers.swap_remove(index);
        self.observer_count.store(observers.len(), Ordering::SeqCst);
        Some(entry)
    }

    fn tell_observers(&self, events: PollEvents) {
        let mut has_woken_exclusive = false;
        for Registration { observer, watch } in self.observers.lock().iter() {
            let heard = events & (watch.interest | PollEvents::ALWAYS);
            if heard.is_empty() || (watch.is_exclusive && has_woken_exclusive) {
                continue;
            }
            let woke = observer.on_event(heard);
            has_woken_exclusive |= woke && watch.is_exclusive;
        }
    }

    /// The observers' list with room for one more; memory is allocated and freed outside the lock.
    fn lock_with_room(&self) -> Result<crate::sync::SpinLockGuard<'_, Vec<Registration>, IrqOff>> {
        let mut spare: Vec<Registration> = Vec::new();
        loop {
            let mut observers = self.observers.lock();
            let length = observers.len();
            if length < observers.capacity() {
                return Ok(observers);
            }
            if length < spare.capacity() {
                spare.append(&mut observers);
                core::mem::swap(&mut *observers, &mut spare);
                drop(observers);
                spare = Vec::new();
                continue;
            }
            drop(observers);
            spare.try_reserve_exact((length * 2).max(1)).map_err(|_| Errno::ENOMEM)?;
        }
    }
}

impl Default for Pollee {
    fn default() -> Self {
        Pollee::new()
    }
}

fn is_same(a: &Arc<dyn Observer>, b: &Arc<dyn Observer>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counter {
        heard: AtomicUsize,
        closed: AtomicUsize,
    }

    impl Observer for Counter {
        fn on_event(&self, _: PollEvents) -> bool {
            self.heard.fetch_add(1, Ordering::Relaxed);
            true
        }
        fn on_close(&self) {
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn watch(interest: PollEvents, is_exclusive: bool, owner: usize) -> Watch {
        Watch { interest, is_exclusive, owner }
    }

    fn observers<const N: usize>(pollee: &Pollee, watches: [Watch; N]) -> [Arc<Counter>; N] {
        watches.map(|watch| {
            let counter = Arc::new(Counter::default());
            pollee.attach(counter.clone(), watch).unwrap();
            counter
        })
    }

    fn heard(counter: &Counter) -> usize {
        counter.heard.load(Ordering::Relaxed)
    }

    #[test]
    fn observers_hear_what_they_asked_for_and_errors() {
        let pollee = Pollee::new();
        let [reader, writer] =
            observers(&pollee, [watch(PollEvents::POLLIN, false, 1), watch(PollEvents::POLLOUT, false, 1)]);
        pollee.notify(PollEvents::READABLE);
        assert_eq!((heard(&reader), heard(&writer)), (1, 0));
        pollee.notify(PollEvents::POLLHUP);
        assert_eq!((heard(&reader), heard(&writer)), (2, 1));
    }

    #[test]
    fn one_exclusive_observer_is_enough() {
        let pollee = Pollee::new();
        let [a, b, c] = observers(
            &pollee,
            [
                watch(PollEvents::POLLIN, true, 1),
                watch(PollEvents::POLLIN, true, 1),
                watch(PollEvents::POLLIN, false, 1),
            ],
        );
        pollee.notify(PollEvents::POLLIN);
        assert_eq!([heard(&a), heard(&b), heard(&c)], [1, 0, 1]);
    }

    #[test]
    fn a_detached_observer_hears_nothing() {
        let pollee = Pollee::new();
        let [a, b] = observers(&pollee, [watch(PollEvents::POLLIN, false, 1); 2]);
        let a_dyn: Arc<dyn Observer> = a.clone();
        pollee.detach(&a_dyn);
        pollee.notify(PollEvents::POLLIN);
        assert_eq!([heard(&a), heard(&b)], [0, 1]);
    }

    #[test]
    fn release_takes_the_owners_watches_only() {
        let pollee = Pollee::new();
        let [a, b, c] = observers(
            &pollee,
            [
                watch(PollEvents::POLLIN, false, 1),
                watch(PollEvents::POLLIN, false, 2),
                watch(PollEvents::POLLIN, false, 1),
            ],
        );
        pollee.release(1);
        pollee.notify(PollEvents::POLLIN);
        assert_eq!([heard(&a), heard(&b), heard(&c)], [0, 1, 0]);
        assert_eq!([&a, &b, &c].map(|o| o.closed.load(Ordering::Relaxed)), [1, 0, 1]);
    }

    #[test]
    fn many_observers_find_room() {
        let pollee = Pollee::new();
        let all = observers(&pollee, [watch(PollEvents::POLLIN, false, 1); 33]);
        pollee.notify(PollEvents::POLLIN);
        assert!(all.iter().all(|counter| heard(counter) == 1));
    }
}
