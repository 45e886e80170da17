//! Who maps an object, so that pages can be taken away from it.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::space::AddressSpace;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// The address spaces that map an object, or did once.
#[derive(Default)]
pub struct Mappers {
    spaces: SpinLock<Vec<Weak<AddressSpace>>>,
}

impl Mappers {
    /// Nobody.
    pub const fn new() -> Mappers {
        Mappers { spaces: SpinLock::new(Vec::new()) }
    }

    /// Notes that `space` maps the object.
    pub(super) fn add(&self, space: &Arc<AddressSpace>) -> Result<()> {
        let mut spaces = self.spaces.lock();
        if spaces.iter().any(|known| core::ptr::eq(known.as_ptr(), Arc::as_ptr(space))) {
            return Ok(());
        }
        if spaces.len() == spaces.capacity() {
            spaces.retain(|known| known.strong_count() > 0);
        }
        spaces.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        spaces.push(Arc::downgrade(space));
        Ok(())
    }

    /// Takes the pages from `first` up to `end` out of every mapping of the object, copies that processes made for
    /// themselves included, so that the next access faults. May sleep.
    pub fn unmap(&self, first: u64, end: u64) {
        self.find_space(|space| {
            space.unmap_object(self, first, end);
            false
        });
    }

    /// Whether some process maps the object shared and can write to it, or could by `mprotect`. May sleep.
    pub fn has_writers(&self) -> bool {
        self.find_space(|space| space.writes_to(self))
    }

    /// Whether `is_it` says so of one of the spaces.
    fn find_space(&self, is_it: impl Fn(&AddressSpace) -> bool) -> bool {
        let mut number = 0;
        loop {
            // The list's lock is not held while a space's is waited for.
            let space = match self.spaces.lock().get(number) {
                Some(space) => space.upgrade(),
                None => return false,
            };
            if space.is_some_and(|space| is_it(&space)) {
                return true;
            }
            number += 1;
        }
    }
}
