//! [`OwnerCell`]: a counted reference that one thread replaces and others look at.
//!
//! What a thread works with all the time (its descriptors, its credentials) others want to see now and then. They
//! take a lock and a reference of their own; the owner, being the only one who replaces the value, borrows it and
//! pays neither. What is replaced while it is borrowed is kept until the next replacement or the end of the cell.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::Deref;

use super::SpinLock;

/// A counted reference, or none, that belongs to one thread.
pub struct OwnerCell<T> {
    /// Written by the owner under the lock; read by the owner without it, and by others under it.
    slot: SpinLock<Option<Arc<T>>>,
    /// The owner's alone: how many borrows there are, and what was replaced under them.
    borrows: UnsafeCell<u32>,
    retired: UnsafeCell<Vec<Arc<T>>>,
}

// SAFETY:
// - others than the owner reach the slot only, under its lock, and get counted references;
// - the contracts of `borrow` and `replace` keep all else on the owner's thread.
unsafe impl<T: Send + Sync> Sync for OwnerCell<T> {}
// SAFETY:
// - it owns what it has.
unsafe impl<T: Send + Sync> Send for OwnerCell<T> {}

impl<T> OwnerCell<T> {
    /// A cell with `value`.
    pub const fn new(value: Option<Arc<T>>) -> Self {
        OwnerCell { slot: SpinLock::new(value), borrows: UnsafeCell::new(0), retired: UnsafeCell::new(Vec::new()) }
    }

    /// A reference of the caller's own, whoever that is.
    #[inline]
    pub fn share(&self) -> Option<Arc<T>> {
        self.slot.lock().clone()
    }

    /// The value, for as long as the guard lives.
    ///
    /// # Safety
    /// - The caller is the cell's owner: the one thread that calls this or [`OwnerCell::replace`].
    #[inline(always)]
    pub unsafe fn borrow(&self) -> Option<Borrowed<'_, T>> {
        // SAFETY:
        // - only the owner writes the slot, and it is busy here; others only read it;
        // - while there are borrows, `replace` keeps what they lead to.
        let value = unsafe { (*self.slot.value.get()).as_deref()? };
        // SAFETY:
        // - the owner's alone.
        unsafe { *self.borrows.get() += 1 };
        Some(Borrowed { value, borrows: &self.borrows, not_send: PhantomData })
    }

    /// Replaces the value, and drops the old one unless it is borrowed.
    ///
    /// # Safety
    /// - As for [`OwnerCell::borrow`].
    pub unsafe fn replace(&self, new: Option<Arc<T>>) {
        let old = core::mem::replace(&mut *self.slot.lock(), new);
        // SAFETY:
        // - the owner's alone, and no reference to the list outlives this block.
        let released = unsafe {
            let retired = &mut *self.retired.get();
            retired.extend(old);
            if *self.borrows.get() == 0 { core::mem::take(retired) } else { Vec::new() }
        };
        drop(released);
    }
}

/// The owner's own borrow of the value in an [`OwnerCell`].
pub struct Borrowed<'a, T> {
    value: &'a T,
    borrows: &'a UnsafeCell<u32>,
    not_send: PhantomData<*const ()>,
}

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for Borrowed<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY:
        // - the guard is still on the owner's thread, since it is not `Send`.
        unsafe { *self.borrows.get() -= 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_borrowed_outlives_its_replacement() {
        let (old, new) = (Arc::new(1), Arc::new(2));
        let cell = OwnerCell::new(Some(old.clone()));
        // SAFETY:
        // - this test has one thread.
        unsafe {
            let borrowed = cell.borrow().unwrap();
            cell.replace(Some(new.clone()));
            assert_eq!((*borrowed, Arc::strong_count(&old)), (1, 2));
            assert_eq!(*cell.share().unwrap(), 2);
            drop(borrowed);
            cell.replace(None);
            assert!(cell.borrow().is_none());
        }
        assert_eq!((Arc::strong_count(&old), Arc::strong_count(&new)), (1, 1));
    }
}
