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
        let mut number = 0;
        loop {
            let space = match self.spaces.lock().get(number) {
                Some(space) => space.upgrade(),
                None => return,
            };
            if let Some(space) = space {
                space.unmap_object(self, first, end);
            }
            number += 1;
        }
    }
}
