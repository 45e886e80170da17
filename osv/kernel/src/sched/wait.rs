//! Wait queues: where threads sleep until a condition holds.
//!
//! A waiter links a node that lives in its own stack frame into the queue, so that waiting allocates nothing and
//! leaving is O(1). The protocol that loses no wake-up: the waiter links itself and marks itself blocked in one step
//! under the queue's lock, and only then looks at the condition; the waker changes what the condition reads and only then looks at the queue.
//! Waking is allowed in interrupt handlers. Conditions must not sleep.

use crate::sync::atomic::{AtomicU32, Ordering, fence};
use core::ptr::NonNull;

use super::list::{Link, Linked, List};
use super::{Deadline, Thread, current, schedule};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, SpinLock};

/// A queue of sleeping threads.
pub struct WaitQueue {
    /// How many nodes are linked: a waker looks here first, without the lock.
    length: AtomicU32,
    list: SpinLock<List<Node>, IrqOff>,
}

/// A waiter, in its own stack frame. All fields are protected by the queue's lock while it is linked.
struct Node {
    link: Link<Node>,
    thread: NonNull<Thread>,
}

impl Linked for Node {
    #[inline(always)]
    fn link(&mut self) -> &mut Link<Node> {
        &mut self.link
    }
}

impl WaitQueue {
    /// A queue in which nobody waits.
    pub const fn new() -> Self {
        WaitQueue { length: AtomicU32::new(0), list: SpinLock::new(List::new()) }
    }

    /// Wakes the thread that waits longest. Returns whether there was one.
    #[inline(always)]
    pub fn wake_one(&self) -> bool {
        self.has_waiters() && self.wake(1) == 1
    }

    /// Wakes all threads that wait, and returns how many they were.
    #[inline]
    pub fn wake_all(&self) -> usize {
        if self.has_waiters() { self.wake(usize::MAX) } else { 0 }
    }

    /// Whether somebody waits. Ordered after the caller's earlier stores.
    #[inline(always)]
    pub fn has_waiters(&self) -> bool {
        fence(Ordering::SeqCst);
        self.length.load(Ordering::Relaxed) != 0
    }

    /// Sleeps until `condition` gives a value; signals do not matter.
    #[inline]
    pub fn wait_until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        if let Some(value) = condition() {
            return value;
        }
        let mut waiter = Waiter::new(self);
        loop {
            waiter.prepare();
            if let Some(value) = condition() {
                return value;
            }
            schedule();
        }
    }

    /// Sleeps until `condition` gives a value, a signal is pending (ERESTARTSYS) or the deadline has passed
    /// (ETIMEDOUT).
    #[inline]
    pub fn wait_interruptible<T>(
        &self,
        deadline: Option<Deadline>,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        if let Some(value) = condition() {
            return Ok(value);
        }
        self.wait_slowly(deadline, condition)
    }

    fn wait_slowly<T>(&self, deadline: Option<Deadline>, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
        let thread = current();
        let _alarm = deadline.map(|deadline| thread.alarm(deadline));
        let mut waiter = Waiter::new(self);
        loop {
            waiter.prepare();
            if let Some(value) = condition() {
                return Ok(value);
            }
            if let Some(errno) = reason_to_give_up(&thread, deadline) {
                return Err(errno);
            }
            schedule();
        }
    }

    /// Unlinks and wakes up to `most` threads.
    #[inline(never)]
    fn wake(&self, most: usize) -> usize {
        let mut list = self.list.lock();
        let mut woken = 0;
        while woken < most {
            let Some(node) = list.first() else { break };
            self.unlink(&mut list, node);
            // SAFETY:
            // - the node was linked, so its waiter is still in the frame that holds it: to leave, it needs the
            //   lock that we hold, and its thread cannot end before.
            unsafe { node.as_ref().thread.as_ref() }.wake();
            woken += 1;
        }
        woken
    }

    fn link(&self, list: &mut List<Node>, node: NonNull<Node>) {
        // SAFETY:
        // - the node is in its waiter's frame, which it leaves only unlinked, and we hold the lock.
        unsafe { list.push(node) };
        self.length.fetch_add(1, Ordering::SeqCst);
    }

    fn unlink(&self, list: &mut List<Node>, node: NonNull<Node>) {
        // SAFETY:
        // - the node is linked in this list, and we hold the lock.
        unsafe { list.remove(node) };
        self.length.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        WaitQueue::new()
    }
}

/// Why an interruptible sleep has to end although its condition does not hold.
pub(super) fn reason_to_give_up(thread: &Thread, deadline: Option<Deadline>) -> Option<Errno> {
    if thread.has_signal() {
        return Some(Errno::ERESTARTSYS);
    }
    deadline.is_some_and(Deadline::has_passed).then_some(Errno::ETIMEDOUT)
}

/// A linked node on the stack: unlinks itself and marks its thread runnable again when dropped.
struct Waiter<'a> {
    queue: &'a WaitQueue,
    node: Node,
    /// The list points to the node once it is linked.
    _pinned: core::marker::PhantomPinned,
}

impl<'a> Waiter<'a> {
    #[inline]
    fn new(queue: &'a WaitQueue) -> Self {
        let node = Node { link: Link::new(), thread: NonNull::from(&*current()) };
        Waiter { queue, node, _pinned: core::marker::PhantomPinned }
    }

    /// Links the node unless it is, and marks the thread blocked. The caller must not move the waiter from now on.
    #[inline(never)]
    fn prepare(&mut self) {
        let mut list = self.queue.list.lock();
        let node = NonNull::from(&mut self.node);
        // SAFETY:
        // - the node lives in this frame, and its fields are protected by the lock that we hold.
        if !unsafe { (*node.as_ptr()).link.is_linked() } {
            self.queue.link(&mut list, node);
        }
        // Under the lock: a waker that unlinks the node finds its thread blocked.
        current().prepare_to_block();
    }

    /// Takes the node out. False if a waker did so before.
    #[inline]
    fn unlink(&mut self) -> bool {
        let mut list = self.queue.list.lock();
        let is_linked = self.node.link.is_linked();
        if is_linked {
            self.queue.unlink(&mut list, NonNull::from(&mut self.node));
        }
        is_linked
    }
}

impl Drop for Waiter<'_> {
    /// Leaves the queue. A wake-up that came after the waiter last linked itself was not what made it leave: it goes
    /// to the next one.
    #[inline(never)]
    fn drop(&mut self) {
        current().stay_runnable();
        if !self.unlink() {
            self.queue.wake_one();
        }
    }
}
