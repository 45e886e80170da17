//! [`Once`]: a value that is made when it is first needed, and then stays.
//!
//! Who makes it is told by one byte; whoever asks meanwhile spins. The byte's code is there once for values of all types.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const DONE: u8 = 2;

/// A place for a value that is written at most once.
pub struct Once<T> {
    state: State,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY:
// - one caller alone writes the value, and only after that shared references to it are given out.
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY:
// - it owns its value.
unsafe impl<T: Send> Send for Once<T> {}

impl<T> Once<T> {
    /// A place without a value.
    pub const fn new() -> Self {
        Once { state: State(AtomicU8::new(EMPTY)), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it was made.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if !self.state.is_done() {
            return None;
        }
        // SAFETY:
        // - the value was written before the state said so, and is never written again.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Whether the value was made.
    pub fn is_completed(&self) -> bool {
        self.state.is_done()
    }

    /// The value, which gets `make`'s if it was not made yet. `make` may not ask for it.
    #[inline]
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        if !self.state.is_done() {
            self.fill(make);
        }
        // SAFETY:
        // - the value is there: it was before, or `fill` has seen to it.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// Makes the value, unless somebody else does.
    #[cold]
    fn fill(&self, make: impl FnOnce() -> T) {
        if self.state.begin() {
            // SAFETY:
            // - `begin` lets one caller through, and `get` nobody before `finish`.
            unsafe { (*self.value.get()).write(make()) };
            self.state.finish();
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once::new()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if self.state.is_done() {
            // SAFETY:
            // - the value was written, and nobody can ask for it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

struct State(AtomicU8);

impl State {
    #[inline(always)]
    fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    /// Whether the caller has to make the value. If not, it is there when this returns.
    #[inline(never)]
    fn begin(&self) -> bool {
        loop {
            match self.0.compare_exchange(EMPTY, BUSY, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return true,
                Err(DONE) => return false,
                Err(_) => core::hint::spin_loop(),
            }
        }
    }

    fn finish(&self) {
        self.0.store(DONE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_dropped_once() {
        let counted = std::sync::Arc::new(());
        let once = Once::new();
        assert!(once.get().is_none() && !once.is_completed());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(std::sync::Arc::strong_count(once.call_once(|| counted.clone())), 2));
            }
        });
        assert!(once.is_completed());
        drop(once);
        assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    }
}
