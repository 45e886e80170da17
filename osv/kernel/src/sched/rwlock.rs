//! A sleeping lock that many readers or one writer hold.
//!
//! A waiting writer keeps new readers out, so that a stream of page faults cannot starve `mmap`. Readers may
//! therefore not take the same lock twice. Never taken in interrupt handlers or under a spin lock.

use crate::sync::atomic::{AtomicU32, Ordering};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::WaitQueue;

/// A writer holds the lock.
const WRITER: u32 = 1 << 31;
/// One waiting writer, counted in these bits.
const WAITING_WRITER: u32 = 1 << 16;
const WAITING_WRITERS: u32 = WRITER - WAITING_WRITER;
const READERS: u32 = WAITING_WRITER - 1;

/// A sleeping readers-and-writer lock around a value.
pub struct RwLock<T: ?Sized> {
    lock: Lock,
    value: UnsafeCell<T>,
}

/// The lock itself: a type of its own, so that its code is there once, whatever it protects.
struct Lock {
    state: AtomicU32,
    readers: WaitQueue,
    writers: WaitQueue,
}

impl Lock {
    #[inline(always)]
    fn acquire_shared(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (WRITER | WAITING_WRITERS) == 0 {
            match self.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[cold]
    #[inline(never)]
    fn wait_to_read(&self) {
        self.readers.wait_until(|| self.acquire_shared().then_some(()));
    }

    #[cold]
    #[inline(never)]
    fn wait_to_write(&self) {
        self.state.fetch_add(WAITING_WRITER, Ordering::Relaxed);
        self.writers.wait_until(|| self.acquire_as_waiting_writer().then_some(()));
    }

    fn acquire_as_waiting_writer(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (WRITER | READERS) == 0 {
            let taken = (state - WAITING_WRITER) | WRITER;
            match self.state.compare_exchange_weak(state, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[inline(always)]
    fn release_shared(&self) {
        let state = self.state.fetch_sub(1, Ordering::Release) - 1;
        if state & WAITING_WRITERS != 0 {
            self.wake_after(state);
        }
    }

    #[inline(always)]
    fn release(&self) {
        let state = self.state.fetch_and(!WRITER, Ordering::Release) & !WRITER;
        if state != 0 || self.readers.has_waiters() {
            self.wake_after(state);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_after(&self, state: u32) {
        if state & (WRITER | READERS) != 0 {
            return;
        }
        if state & WAITING_WRITERS != 0 {
            self.writers.wake_one();
        } else {
            self.readers.wake_all();
        }
    }
}

// SAFETY:
// - shared references are given out only while no writer has the lock, the exclusive one only to the one writer.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY:
// - the lock owns its value and nothing that belongs to a thread.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

impl<T> RwLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        let lock = Lock { state: AtomicU32::new(0), readers: WaitQueue::new(), writers: WaitQueue::new() };
        RwLock { lock, value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Sleeps until no writer has or wants the lock, and shares it.
    #[inline(always)]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        if !self.lock.acquire_shared() {
            self.lock.wait_to_read();
        }
        RwLockReadGuard { lock: self }
    }

    /// Sleeps until nobody has the lock, and takes it alone.
    #[inline(always)]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        if self.lock.state.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock.wait_to_write();
        }
        RwLockWriteGuard { lock: self }
    }

    /// Shares the lock if no writer has or wants it.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.lock.acquire_shared().then(|| RwLockReadGuard { lock: self })
    }

    /// The value, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// Shares an [`RwLock`] until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY:
        // - while a read guard lives there is no writer.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.lock.release_shared();
    }
}

/// Holds an [`RwLock`] alone until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY:
        // - the one writer has the lock, and this is its guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY:
        // - the one writer has the lock, and `&mut self` is the only reference through its guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.lock.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_writers_do_not() {
        let lock = RwLock::new(1);
        let first = lock.read();
        assert!(lock.try_read().is_some());
        drop(first);
        let mut writer = lock.write();
        *writer += 1;
        assert!(lock.try_read().is_none());
        drop(writer);
        assert_eq!(*lock.read(), 2);
    }
}
