//! Wait queues: where threads sleep until a condition holds.
//!
//! A waiter links a node that lives in its own stack frame into the queue, so that waiting allocates nothing and
//! leaving is O(1). The protocol that loses no wake-up: the waiter links itself, marks itself blocked, and only
//! then looks at the condition; the waker changes what the condition reads and only then looks at the queue.
//! Waking is allowed in interrupt handlers. Conditions must not sleep.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering, fence};

use super::{Deadline, Thread, current, schedule};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, SpinLock};

/// A queue of sleeping threads.
pub struct WaitQueue {
    /// How many nodes are linked: a waker looks here first, without the lock.
    length: AtomicU32,
    list: SpinLock<List, IrqOff>,
}

/// A doubly linked list of the waiters' nodes, oldest first.
struct List {
    first: *mut Node,
    last: *mut Node,
}

// SAFETY:
// - the pointers lead to nodes of waiters that cannot leave without unlinking them under the lock;
// - the list is reached only under the lock of its queue.
unsafe impl Send for List {}

/// A waiter, in its own stack frame. All fields are protected by the queue's lock while it is linked.
struct Node {
    previous: *mut Node,
    next: *mut Node,
    thread: NonNull<Thread>,
    is_linked: bool,
}

impl WaitQueue {
    /// A queue in which nobody waits.
    pub const fn new() -> Self {
        WaitQueue {
            length: AtomicU32::new(0),
            list: SpinLock::new(List { first: ptr::null_mut(), last: ptr::null_mut() }),
        }
    }

    /// Wakes the thread that waits longest. Returns whether there was one.
    #[inline]
    pub fn wake_one(&self) -> bool {
        self.has_waiters() && self.wake(1) == 1
    }

    /// Wakes all threads that wait, and returns how many they were.
    #[inline]
    pub fn wake_all(&self) -> usize {
        if self.has_waiters() { self.wake(usize::MAX) } else { 0 }
    }

    /// Whether somebody waits. Ordered after the caller's earlier stores.
    #[inline]
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
                waiter.pass_on_wake_up();
                return Err(errno);
            }
            schedule();
        }
    }

    /// Unlinks and wakes up to `most` threads.
    fn wake(&self, most: usize) -> usize {
        let mut list = self.list.lock();
        let mut woken = 0;
        while woken < most {
            let Some(node) = NonNull::new(list.first) else { break };
            self.unlink(&mut list, node);
            // SAFETY:
            // - the node was linked, so its waiter is still in the frame that holds it: to leave, it needs the
            //   lock that we hold, and its thread cannot end before.
            unsafe { node.as_ref().thread.as_ref() }.wake();
            woken += 1;
        }
        woken
    }

    fn link(&self, list: &mut List, mut node: NonNull<Node>) {
        // SAFETY:
        // - nodes in the list and the new one are alive (see `wake`), and only reached under the lock we hold.
        unsafe {
            node.as_mut().previous = list.last;
            node.as_mut().next = ptr::null_mut();
            node.as_mut().is_linked = true;
            match list.last.as_mut() {
                Some(last) => last.next = node.as_ptr(),
                None => list.first = node.as_ptr(),
            }
        }
        list.last = node.as_ptr();
        self.length.fetch_add(1, Ordering::SeqCst);
    }

    fn unlink(&self, list: &mut List, mut node: NonNull<Node>) {
        // SAFETY:
        // - the node is linked in this list, its neighbours are too, and we hold the lock.
        unsafe {
            let Node { previous, next, .. } = *node.as_ref();
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => list.first = next,
            }
            match next.as_mut() {
                Some(next) => next.previous = previous,
                None => list.last = previous,
            }
            node.as_mut().is_linked = false;
        }
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
        let node = Node {
            previous: ptr::null_mut(),
            next: ptr::null_mut(),
            thread: NonNull::from(&*current()),
            is_linked: false,
        };
        Waiter { queue, node, _pinned: core::marker::PhantomPinned }
    }

    /// Links the node unless it is, and marks the thread blocked. The caller must not move the waiter from now on.
    #[inline]
    fn prepare(&mut self) {
        let mut list = self.queue.list.lock();
        let node = NonNull::from(&mut self.node);
        // SAFETY:
        // - the node lives in this frame, and its fields are protected by the lock that we hold.
        if !unsafe { (*node.as_ptr()).is_linked } {
            self.queue.link(&mut list, node);
        }
        drop(list);
        current().prepare_to_block();
    }

    /// Hands a wake-up that this waiter got, but has no use for, to the next one.
    fn pass_on_wake_up(&mut self) {
        let list = self.queue.list.lock();
        let was_woken = !self.node.is_linked;
        drop(list);
        if was_woken {
            self.queue.wake_one();
        }
    }
}

impl Drop for Waiter<'_> {
    #[inline]
    fn drop(&mut self) {
        current().stay_runnable();
        let mut list = self.queue.list.lock();
        if self.node.is_linked {
            self.queue.unlink(&mut list, NonNull::from(&mut self.node));
        }
    }
}
