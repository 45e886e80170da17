//! Spin locks that say in their type what they protect from.
//!
//! Kernel code is never preempted (see `sched`), so a plain lock needs nothing but the lock word:
//! [`SpinLock<T>`] is for data that no interrupt handler touches. [`SpinLock<T, IrqOff>`] is for data that a
//! handler shares: its guard keeps interrupts off on this CPU. Contract of both: short sections only, no
//! sleeping, no access to program memory, no device waiting while a guard lives. While interrupts are off,
//! never wait for another CPU (a TLB shootdown waits for every CPU to take its interrupt).
//! Locks that may be held across sleeping are `sched::Mutex` and `sched::RwLock`.

mod once;
mod owner;

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

pub use core::sync::atomic;
pub use once::Once;
pub use owner::{Borrowed, OwnerCell};

use crate::arch::IrqGuard;

/// What a spin lock's guard does to the CPU besides holding the lock.
pub trait Protection {
    /// Undoes the protection when dropped.
    type Guard;
    /// Starts the protection on this CPU.
    fn enter() -> Self::Guard;
}

/// Nothing more is needed: no interrupt handler takes the lock.
pub enum Plain {}

impl Protection for Plain {
    type Guard = ();
    #[inline(always)]
    fn enter() -> Self::Guard {}
}

/// Interrupts stay off on this CPU while the guard lives.
pub enum IrqOff {}

impl Protection for IrqOff {
    type Guard = IrqGuard;
    #[inline(always)]
    fn enter() -> Self::Guard {
        IrqGuard::new()
    }
}

/// A test-and-set lock around a value of type `T` with protection `P`.
pub struct SpinLock<T: ?Sized, P: Protection = Plain> {
    protection: PhantomData<P>,
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY:
// - the value is reached only through a guard or `&mut self`;
// - at most one guard exists at any time, on whatever CPU.
unsafe impl<T: ?Sized + Send, P: Protection> Sync for SpinLock<T, P> {}
// SAFETY:
// - the lock owns its value and nothing else.
unsafe impl<T: ?Sized + Send, P: Protection> Send for SpinLock<T, P> {}

impl<T, P: Protection> SpinLock<T, P> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> Self {
        SpinLock { protection: PhantomData, locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, the lock being gone.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized, P: Protection> SpinLock<T, P> {
    /// Waits until the lock is free, and takes it.
    #[inline(always)]
    pub fn lock(&self) -> SpinLockGuard<'_, T, P> {
        let protection = P::enter();
        while self.locked.swap(true, Ordering::Acquire) {
            self.wait_until_it_looks_free();
        }
        SpinLockGuard { lock: self, _protection: protection }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T, P>> {
        let protection = P::enter();
        if self.locked.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(SpinLockGuard { lock: self, _protection: protection })
    }

    /// Whether somebody holds the lock right now; a hint for last words and diagnostics.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// The value, without locking: `&mut self` proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[cold]
    fn wait_until_it_looks_free(&self) {
        while self.locked.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
    }
}

impl<T: Default, P: Protection> Default for SpinLock<T, P> {
    fn default() -> Self {
        SpinLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug, P: Protection> fmt::Debug for SpinLock<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => value.fmt(f),
            None => f.write_str("<locked>"),
        }
    }
}

/// Holds a [`SpinLock`]; unlocks it and ends the protection when dropped, in this order.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinLockGuard<'a, T: ?Sized, P: Protection = Plain> {
    lock: &'a SpinLock<T, P>,
    _protection: P::Guard,
}

impl<T: ?Sized, P: Protection> Deref for SpinLockGuard<'_, T, P> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY:
        // - this guard is the only one of its lock, so nobody else has a reference to the value.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized, P: Protection> DerefMut for SpinLockGuard<'_, T, P> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY:
        // - this guard is the only one of its lock, and `&mut self` the only reference through it.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized, P: Protection> Drop for SpinLockGuard<'_, T, P> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_guard_at_a_time() {
        let lock: SpinLock<u32> = SpinLock::new(1);
        let mut guard = lock.lock();
        *guard += 1;
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert_eq!(*lock.lock(), 2);
    }
}
