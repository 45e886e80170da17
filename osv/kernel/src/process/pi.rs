//! Futexes that inherit priority: FUTEX_LOCK_PI and its like, futex(2).
//!
//! The word holds the owner's id, so that locks nobody waits for never come here. What the kernel knows is a [`Lock`] per word
//! that somebody waits for: the owner and the waiters. Who unlocks hands the lock to the waiter with the highest priority;
//! the owner runs with the highest priority of all who wait for it, and so on along the chain of locks. The end of an owner
//! hands its locks on, too, and the word says so (FUTEX_OWNER_DIED).
//!
//! Waiters of a condition (FUTEX_WAIT_REQUEUE_PI) wait in a list of their own until FUTEX_CMP_REQUEUE_PI gives them the lock
//! or lets them wait for it. One sleeping mutex guards all this: words are read and changed under it, which may fault.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use linux_raw_sys::general as linux;

use super::task::Task;
use super::{current_task, tree};
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::sched::futex::Key;
use crate::sched::{self, Deadline, Mutex, WaitQueue, yield_now};
use crate::sorted_map::SortedMap;

/// How far a chain of owners that wait for others is followed.
const MAX_CHAIN: usize = 1024;

/// A word of a program, and what the kernel knows it by.
#[derive(Clone, Copy)]
pub struct Word {
    /// Where the caller sees it.
    pub at: UserPtr<u32>,
    /// The same for all who share it.
    pub key: Key,
}

/// A lock that somebody waits for.
struct Lock {
    owner: Arc<Task>,
    /// In the order of their coming.
    waiters: Vec<Arc<Waiter>>,
}

/// Somebody who waits for a lock, or for the condition that comes before it.
struct Waiter {
    task: Arc<Task>,
    state: AtomicU8,
    wake_up: WaitQueue,
}

/// It waits.
const WAITING: u8 = 0;
/// It owns the lock, and the word says so.
const GRANTED: u8 = 1;
/// It owns the lock, because the owner has ended: it has to write that into the word.
const INHERITED: u8 = 2;

struct Table {
    locks: SortedMap<Key, Lock>,
    /// Waiters of conditions: the condition's word, the lock's, and who.
    conditions: Vec<(Key, Key, Arc<Waiter>)>,
}

/// How many tasks are in calls that could make others their locks' owners: while it is 0, nobody has anything to leave behind.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// The task is in such a call.
struct Active;

impl Active {
    fn new() -> Active {
        ACTIVE.fetch_add(1, Ordering::SeqCst);
        Active
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

static TABLE: Mutex<Table> = Mutex::new(Table { locks: SortedMap::new(), conditions: Vec::new() });

/// What an attempt to lock came to.
enum Attempt {
    Acquired,
    /// Somebody else owns it, and will find a waiter.
    Owned(Arc<Task>),
    /// The owner is about to end: what it leaves is to be seen soon.
    Ending,
}

impl Waiter {
    fn new(task: Arc<Task>) -> Arc<Waiter> {
        Arc::new(Waiter { task, state: AtomicU8::new(WAITING), wake_up: WaitQueue::new() })
    }

    fn priority(&self) -> u8 {
        self.task.thread().map_or(0, |thread| thread.effective_priority())
    }

    fn has_lock(&self) -> bool {
        self.state.load(Ordering::SeqCst) != WAITING
    }

    fn grant(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
        self.wake_up.wake_all();
    }

    fn sleep(&self, deadline: Option<Deadline>) -> Result<()> {
        self.wake_up.wait_interruptible(deadline, || self.has_lock().then_some(()))
    }
}

impl Lock {
    /// Takes the waiter with the highest priority out, the oldest of equals.
    fn take_first(&mut self) -> Option<Arc<Waiter>> {
        let highest = self.waiters.iter().map(|waiter| waiter.priority()).max()?;
        let position = self.waiters.iter().position(|waiter| waiter.priority() == highest)?;
        Some(self.waiters.remove(position))
    }
}

impl Table {
    /// One try to make `task` the owner. Sets FUTEX_WAITERS if it cannot be and `will_wait`.
    fn attempt(&self, word: Word, task: &Task, will_wait: bool) -> Result<Attempt> {
        let tid = task.tid();
        let mut value = word.at.read()?;
        loop {
            let owner_id = value & linux::FUTEX_TID_MASK;
            if owner_id == tid {
                return Err(Errno::EDEADLK);
            }
            if let Some(lock) = self.locks.get(&word.key) {
                let has_died = value & linux::FUTEX_OWNER_DIED != 0;
                let is_sound = owner_id == lock.owner.tid() || has_died;
                return if is_sound { Ok(Attempt::Owned(Arc::clone(&lock.owner))) } else { Err(Errno::EINVAL) };
            }
            let (new, outcome) = if owner_id == 0 {
                (value & linux::FUTEX_OWNER_DIED | tid, Attempt::Acquired)
            } else {
                let owner = tree::find_task(owner_id)?;
                if owner.is_exiting() {
                    return Ok(Attempt::Ending);
                }
                (if will_wait { value | linux::FUTEX_WAITERS } else { value }, Attempt::Owned(owner))
            };
            let seen = word.at.compare_exchange(value, new)?;
            if seen == value {
                return Ok(outcome);
            }
            value = seen;
        }
    }

    /// Lets `waiter` wait for the lock that `owner` has. EDEADLK if that waits for the waiter.
    fn enqueue(&mut self, key: Key, owner: &Arc<Task>, waiter: &Arc<Waiter>) -> Result<()> {
        let mut next = Some(Arc::clone(owner));
        for _ in 0..MAX_CHAIN {
            let Some(task) = next else { break };
            if Arc::ptr_eq(&task, &waiter.task) {
                return Err(Errno::EDEADLK);
            }
            next = self.lock_that_stops(&task).map(|lock| Arc::clone(&lock.owner));
        }
        let lock = self.locks.get_or_insert_with(key, || Lock { owner: Arc::clone(owner), waiters: Vec::new() });
        lock.waiters.push(Arc::clone(waiter));
        self.inherit(owner);
        Ok(())
    }

    /// The lock that `task` waits for.
    fn lock_that_stops(&self, task: &Task) -> Option<&Lock> {
        let waits = |lock: &&Lock| lock.waiters.iter().any(|waiter| core::ptr::eq(&*waiter.task, task));
        self.locks.values().find(waits)
    }

    /// Gives `task` the highest priority of those who wait for what it owns, and goes on along the chain.
    fn inherit(&self, task: &Arc<Task>) {
        let mut next = Some(Arc::clone(task));
        for _ in 0..MAX_CHAIN {
            let Some(task) = next else { return };
            let owned = self.locks.values().filter(|lock| Arc::ptr_eq(&lock.owner, &task));
            let highest = owned.flat_map(|lock| &lock.waiters).map(|waiter| waiter.priority()).max().unwrap_or(0);
            let Some(thread) = task.thread() else { return };
            if !thread.set_inherited_priority(highest) {
                return;
            }
            next = self.lock_that_stops(&task).map(|lock| Arc::clone(&lock.owner));
        }
    }

    /// Makes the first waiter of the lock the owner; what the word has to be for that is `write`'s to see to.
    fn hand_over(&mut self, key: Key, state: u8, write: impl FnOnce(u32) -> Result<()>) -> Result<()> {
        let Some(lock) = self.locks.get_mut(&key) else { return Ok(()) };
        let old_owner = Arc::clone(&lock.owner);
        let Some(first) = lock.take_first() else { return Ok(()) };
        if let Err(errno) = write(first.task.tid()) {
            lock.waiters.insert(0, first);
            return Err(errno);
        }
        lock.owner = Arc::clone(&first.task);
        if lock.waiters.is_empty() {
            self.locks.remove(&key);
        }
        self.inherit(&old_owner);
        self.inherit(&first.task);
        first.grant(state);
        Ok(())
    }

    /// Takes back a waiter that has given up.
    fn forget(&mut self, key: Key, waiter: &Arc<Waiter>) {
        self.conditions.retain(|(_, _, other)| !Arc::ptr_eq(other, waiter));
        let Some(lock) = self.locks.get_mut(&key) else { return };
        lock.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
        let owner = Arc::clone(&lock.owner);
        if lock.waiters.is_empty() {
            self.locks.remove(&key);
        }
        self.inherit(&owner);
    }
}

/// FUTEX_LOCK_PI; FUTEX_TRYLOCK_PI if `only_tries`.
pub fn lock(word: Word, deadline: Option<Deadline>, only_tries: bool) -> Result<()> {
    let _active = Active::new();
    let task = current_task().arc();
    let waiter = Waiter::new(Arc::clone(&task));
    loop {
        let mut table = TABLE.lock();
        match table.attempt(word, &task, !only_tries)? {
            Attempt::Acquired => return Ok(()),
            Attempt::Owned(_) if only_tries => return Err(Errno::EAGAIN),
            Attempt::Owned(owner) => {
                table.enqueue(word.key, &owner, &waiter)?;
                break;
            }
            Attempt::Ending => {
                drop(table);
                yield_now();
            }
        }
    }
    let outcome = waiter.sleep(deadline);
    finish(word, &waiter, outcome)
        .map_err(|errno| if errno == Errno::ERESTARTSYS { Errno::ERESTARTNOINTR } else { errno })
}

/// A waiter has slept. If it has got the lock, that counts, whatever woke it.
fn finish(word: Word, waiter: &Arc<Waiter>, outcome: Result<()>) -> Result<()> {
    let mut table = TABLE.lock();
    match waiter.state.load(Ordering::SeqCst) {
        WAITING => {
            table.forget(word.key, waiter);
            outcome
        }
        GRANTED => Ok(()),
        _ => {
            let has_waiters = if table.locks.contains_key(&word.key) { linux::FUTEX_WAITERS } else { 0 };
            let new = waiter.task.tid() | linux::FUTEX_OWNER_DIED | has_waiters;
            word.at.fetch_update(|_| new)?;
            Ok(())
        }
    }
}

/// FUTEX_UNLOCK_PI. EPERM unless the caller owns the lock.
pub fn unlock(word: Word) -> Result<()> {
    let task = current_task();
    let mut table = TABLE.lock();
    let mut value = word.at.read()?;
    loop {
        if value & linux::FUTEX_TID_MASK != task.tid() {
            return Err(Errno::EPERM);
        }
        let Some(lock) = table.locks.get(&word.key) else {
            let seen = word.at.compare_exchange(value, 0)?;
            if seen == value {
                return Ok(());
            }
            value = seen;
            continue;
        };
        if !core::ptr::eq(&*lock.owner, task.task()) {
            return Err(Errno::EINVAL);
        }
        return table.hand_over(word.key, GRANTED, |tid| {
            word.at.fetch_update(|_| tid | linux::FUTEX_WAITERS)?;
            Ok(())
        });
    }
}

/// FUTEX_WAIT_REQUEUE_PI: waits for a condition whose word still is `expected`, and returns with the lock.
pub fn wait_for_condition(condition: Word, expected: u32, lock: Word, deadline: Option<Deadline>) -> Result<()> {
    let _active = Active::new();
    let waiter = Waiter::new(current_task().arc());
    {
        let mut table = TABLE.lock();
        if condition.at.read()? != expected {
            return Err(Errno::EAGAIN);
        }
        table.conditions.push((condition.key, lock.key, Arc::clone(&waiter)));
    }
    let outcome = waiter.sleep(deadline);
    let waits_for_condition = TABLE.lock().conditions.iter().any(|(_, _, other)| Arc::ptr_eq(other, &waiter));
    finish(lock, &waiter, outcome).map_err(|errno| match errno {
        Errno::ERESTARTSYS if waits_for_condition => Errno::ERESTARTNOINTR,
        Errno::ERESTARTSYS => Errno::EAGAIN,
        errno => errno,
    })
}

/// FUTEX_CMP_REQUEUE_PI: gives the lock to one who waits for the condition, if it is free, and lets `most` others wait for it.
/// Returns how many have got or wait for it now. EINVAL if a waiter knows nothing of the lock.
pub fn requeue(condition: Word, expected: u32, lock: Word, most: usize) -> Result<usize> {
    let _active = Active::new();
    let mut table = TABLE.lock();
    if condition.at.read()? != expected {
        return Err(Errno::EAGAIN);
    }
    if sched::futex::has_waiters(condition.key) {
        return Err(Errno::EINVAL);
    }
    let mut moved = 0;
    while moved < most.saturating_add(1) {
        let Some(at) = table.conditions.iter().position(|(key, _, _)| *key == condition.key) else { break };
        let Some((_, target, waiter)) = table.conditions.get(at).cloned() else { break };
        if target != lock.key {
            return Err(Errno::EINVAL);
        }
        match table.attempt(lock, &waiter.task, true)? {
            Attempt::Acquired => {
                table.conditions.remove(at);
                waiter.grant(GRANTED);
            }
            Attempt::Owned(owner) => {
                table.enqueue(lock.key, &owner, &waiter)?;
                table.conditions.remove(at);
            }
            Attempt::Ending => {
                drop(table);
                yield_now();
                table = TABLE.lock();
                continue;
            }
        }
        moved += 1;
    }
    Ok(moved)
}

/// Whether somebody waits for a lock or its condition at `key`, whom only the calls of this file may wake.
pub fn has_waiters(key: Key) -> bool {
    if ACTIVE.load(Ordering::SeqCst) == 0 {
        return false;
    }
    let table = TABLE.lock();
    table.locks.contains_key(&key) || table.conditions.iter().any(|(condition, _, _)| *condition == key)
}

/// The task ends: what it has locked goes to those who wait for it.
pub(super) fn release(task: &Task) {
    if ACTIVE.load(Ordering::SeqCst) == 0 {
        return;
    }
    let mut table = TABLE.lock();
    let owned: Vec<Key> =
        table.locks.iter().filter(|(_, lock)| core::ptr::eq(&*lock.owner, task)).map(|(&key, _)| key).collect();
    for key in owned {
        // The new owner writes the word: nothing here can fail.
        let _ = table.hand_over(key, INHERITED, |_| Ok(()));
    }
}
