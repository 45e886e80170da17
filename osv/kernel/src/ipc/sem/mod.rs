//! Semaphore sets: semget(2), semop(2), semctl(2).
//!
//! A call's operations happen all at once or not at all. Those that cannot happen now wait in the set's queue; whoever
//! changes the set goes through the queue, oldest first, and does for the sleepers what has become possible: so nobody
//! misses a moment in which it was. What `SEM_UNDO` has to give back at a process' end is kept in the set,
//! by whose it is ([`undo`]).

mod operate;
pub mod undo;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Header, Object, Permissions, Table, current_pid, limits, now};
use crate::errno::{Errno, Result};
use crate::process::Credentials;
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;
use operate::Sleeper;
pub use operate::{Operation, operate};
use undo::UndoId;

/// The largest value of a semaphore, and the largest that is given back.
pub const MAX_VALUE: i32 = 32767;

/// One semaphore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Semaphore {
    /// Its value.
    pub value: u16,
    /// The process that changed it last.
    pub last: u32,
}

/// A set of semaphores.
pub struct Set {
    header: Header,
    count: usize,
    state: SpinLock<State>,
}

struct State {
    semaphores: Vec<Semaphore>,
    /// What each process (or group of them that shares it) gives back to each semaphore at its end.
    undo: SortedMap<UndoId, Vec<i16>>,
    /// Who waits, the longest waiting first.
    sleepers: Vec<Arc<Sleeper>>,
    operated_at: i64,
    changed_at: i64,
}

static SETS: Table<Set> = Table::new();
/// Semaphores of all sets.
static ALL: AtomicU64 = AtomicU64::new(0);

/// The family's table.
pub fn table() -> &'static Table<Set> {
    &SETS
}

/// How many semaphores there are in all sets.
pub fn count() -> u64 {
    ALL.load(Ordering::Relaxed)
}

/// `semget`: the id of the set with `key`, made if need be.
pub fn get(key: i32, count: i32, wanted: u32, credentials: &Credentials) -> Result<i32> {
    let count = usize::try_from(count).ok().filter(|&count| count as u64 <= limits::SEM_PER_SET.get());
    let count = count.ok_or(Errno::EINVAL)?;
    let make = || Set::new(key, count, wanted, credentials);
    let check = |set: &Set| if set.count < count { Err(Errno::EINVAL) } else { Ok(()) };
    SETS.get(key, wanted, limits::SEM_IDS.get(), credentials, make, check)
}

impl Set {
    fn new(key: i32, count: usize, mode: u32, credentials: &Credentials) -> Result<Arc<Set>> {
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        let is_room = |all: u64| Some(all + count as u64).filter(|&sum| sum <= limits::SEM_ALL.get());
        let mut semaphores = Vec::new();
        semaphores.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        semaphores.resize(count, Semaphore::default());
        ALL.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_room).map_err(|_| Errno::ENOSPC)?;
        Ok(Arc::new(Set {
            header: Header::new(Permissions::new(key, mode, credentials)),
            count,
            state: SpinLock::new(State {
                semaphores,
                undo: SortedMap::new(),
                sleepers: Vec::new(),
                operated_at: 0,
                changed_at: now(),
            }),
        }))
    }

    /// How many semaphores it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never: a set has one semaphore at least.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When `semop` last succeeded, and when the set was last changed otherwise.
    pub fn times(&self) -> (i64, i64) {
        let state = self.state.lock();
        (state.operated_at, state.changed_at)
    }

    /// The semaphore `number` (EINVAL).
    pub fn semaphore(&self, number: usize) -> Result<Semaphore> {
        self.state.lock().semaphores.get(number).copied().ok_or(Errno::EINVAL)
    }

    /// How many wait for the semaphore to grow, or to become zero.
    pub fn waiting(&self, number: usize, for_zero: bool) -> Result<usize> {
        let state = self.state.lock();
        state.semaphores.get(number).ok_or(Errno::EINVAL)?;
        Ok(state.sleepers.iter().filter(|sleeper| sleeper.waits_for(number) == Some(for_zero)).count())
    }

    /// `GETALL`: all values.
    pub fn values(&self) -> Result<Vec<u16>> {
        let mut values = Vec::new();
        values.try_reserve_exact(self.count).map_err(|_| Errno::ENOMEM)?;
        values.extend(self.state.lock().semaphores.iter().map(|semaphore| semaphore.value));
        Ok(values)
    }

    /// `SETVAL`: sets one value; nobody gives anything back to it any more. ERANGE for what is no value.
    pub fn set_value(&self, number: usize, value: i32) -> Result<()> {
        let value = checked_value(value)?;
        let mut state = self.live_state()?;
        let semaphore = state.semaphores.get_mut(number).ok_or(Errno::EINVAL)?;
        *semaphore = Semaphore { value, last: current_pid() };
        state.undo.values_mut().filter_map(|row| row.get_mut(number)).for_each(|adjustment| *adjustment = 0);
        state.changed_at = now();
        state.wake_sleepers();
        Ok(())
    }

    /// `SETALL`: sets all values, of which there are as many as semaphores. ERANGE for what is no value.
    pub fn set_values(&self, values: &[u16]) -> Result<()> {
        if values.iter().any(|&value| i32::from(value) > MAX_VALUE) {
            return Err(Errno::ERANGE);
        }
        let pid = current_pid();
        let mut state = self.live_state()?;
        for (semaphore, &value) in state.semaphores.iter_mut().zip(values) {
            *semaphore = Semaphore { value, last: pid };
        }
        state.undo.values_mut().for_each(|row| row.fill(0));
        state.changed_at = now();
        state.wake_sleepers();
        Ok(())
    }

    /// `IPC_SET`.
    pub fn set(&self, uid: u32, gid: u32, mode: u32) -> Result<()> {
        self.header.set(uid, gid, mode)?;
        self.state.lock().changed_at = now();
        Ok(())
    }

    /// `IPC_RMID`: it is gone, and who waits is told (EIDRM).
    pub fn remove(&self) {
        if !SETS.remove(self) {
            return;
        }
        let (sleepers, undo) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.sleepers), core::mem::take(&mut state.undo))
        };
        sleepers.iter().for_each(|sleeper| sleeper.finish(Err(Errno::EIDRM)));
        drop(undo);
    }

    /// The state of a set that is still there (EIDRM).
    fn live_state(&self) -> Result<crate::sync::SpinLockGuard<'_, State>> {
        let state = self.state.lock();
        if self.header.is_removed() { Err(Errno::EIDRM) } else { Ok(state) }
    }
}

fn checked_value(value: i32) -> Result<u16> {
    u16::try_from(value).ok().filter(|_| value <= MAX_VALUE).ok_or(Errno::ERANGE)
}

impl Object for Set {
    fn header(&self) -> &Header {
        &self.header
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        ALL.fetch_sub(self.count as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
