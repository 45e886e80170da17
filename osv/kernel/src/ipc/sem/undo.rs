//! `SEM_UNDO`: what the end of a process gives back.
//!
//! Each set keeps a row of adjustments for everybody who has ever used `SEM_UNDO` on it. A task's list only says who it
//! is and which sets those are. Tasks share a list where `clone` was asked to (CLONE_SYSVSEM: all threads of a process
//! do); the end of the last of them applies it. `fork` gives none, `exec` keeps it.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{MAX_VALUE, Set, current_pid, now};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// Whose adjustments they are.
pub type UndoId = u64;

/// The sets that its owners have to give something back to.
pub struct UndoList {
    id: UndoId,
    sets: SpinLock<Vec<Weak<Set>>>,
}

impl UndoList {
    /// An empty list, unlike any other.
    pub fn new() -> Arc<UndoList> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(UndoList { id: NEXT.fetch_add(1, Ordering::Relaxed), sets: SpinLock::new(Vec::new()) })
    }

    /// Makes sure that `set` has a row for this list.
    pub(super) fn enrol(&self, set: &Arc<Set>) -> Result<UndoId> {
        if set.live_state()?.undo.contains_key(&self.id) {
            return Ok(self.id);
        }
        let mut row = Vec::new();
        row.try_reserve_exact(set.len()).map_err(|_| Errno::ENOMEM)?;
        row.resize(set.len(), 0);
        {
            let mut sets = self.sets.lock();
            sets.retain(|known| known.strong_count() > 0);
            sets.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            sets.push(Arc::downgrade(set));
        }
        set.live_state()?.undo.get_or_insert_with(self.id, || row);
        Ok(self.id)
    }
}

impl Drop for UndoList {
    /// Gives back what is to be given back; values stay within what they can be.
    fn drop(&mut self) {
        for set in self.sets.get_mut().drain(..).filter_map(|set| set.upgrade()) {
            let Ok(mut state) = set.live_state() else { continue };
            let Some(row) = state.undo.remove(&self.id) else { continue };
            let pid = current_pid();
            for (semaphore, &adjustment) in
                state.semaphores.iter_mut().zip(&row).filter(|(_, adjustment)| **adjustment != 0)
            {
                semaphore.value = (i32::from(semaphore.value) + i32::from(adjustment)).clamp(0, MAX_VALUE) as u16;
                semaphore.last = pid;
            }
            state.operated_at = now();
            state.wake_sleepers();
        }
    }
}
