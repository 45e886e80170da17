//! Stands in for the kernel's `sync`: shuttle's atomics, and a spin lock that lets shuttle run others while it waits.

use std::marker::PhantomData;

pub use shuttle::sync::atomic;
use shuttle::sync::{Mutex, MutexGuard};

/// Interrupts do not exist here.
pub enum IrqOff {}

/// The kernel's spin lock, as a lock of shuttle's.
pub struct SpinLock<T, P = ()> {
    value: Mutex<T>,
    protection: PhantomData<fn() -> P>,
}

impl<T, P> SpinLock<T, P> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        SpinLock { value: Mutex::new(value), protection: PhantomData }
    }

    /// Takes the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap()
    }
}
