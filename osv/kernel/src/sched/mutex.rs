//! A lock that may be held across sleeping: I/O, page faults, allocation.
//!
//! Threads that find it taken sleep. Never taken in interrupt handlers or under a spin lock.

use crate::sync::atomic::{AtomicBool, Ordering};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::WaitQueue;

/// A sleeping lock around a value.
pub struct Mutex<T: ?Sized> {
    lock: Lock,
    value: UnsafeCell<T>,
}

/// The lock itself: a type of its own, so that its code is there once, whatever it protects.
struct Lock {
    is_locked: AtomicBool,
    waiters: WaitQueue,
}

impl Lock {
    #[inline(always)]
    fn try_acquire(&self) -> bool {
        !self.is_locked.swap(true, Ordering::Acquire)
    }

    #[cold]
    #[inline(never)]
    fn wait_and_acquire(&self) {
        self.waiters.wait_until(|| self.try_acquire().then_some(()));
    }

    #[inline(always)]
    fn release(&self) {
        self.is_locked.store(false, Ordering::Release);
        self.waiters.wake_one();
    }
}

// SAFETY:
// - the value is reached only through the one guard or `&mut self`.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY:
// - the lock owns its value and nothing that belongs to a thread.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    pub const fn new(value: T) -> Self {
        let lock = Lock { is_locked: AtomicBool::new(false), waiters: WaitQueue::new() };
        Mutex { lock, value: UnsafeCell::new(value) }
    }

    /// The value, the lock being gone.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Sleeps until the lock is free, and takes it.
    #[inline(always)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if !self.lock.try_acquire() {
            self.lock.wait_and_acquire();
        }
        MutexGuard { mutex: self }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.lock.try_acquire().then(|| MutexGuard { mutex: self })
    }

    /// The value, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

/// Holds a [`Mutex`] until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY:
        // - this guard is the only one of its mutex.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY:
        // - this guard is the only one of its mutex, and `&mut self` the only reference through it.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.mutex.lock.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes() {
        let mutex = Mutex::new(1);
        let guard = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(guard);
        *mutex.lock() += 1;
        assert_eq!(mutex.into_inner(), 2);
    }
}
