//! semop(2): operations that happen together, and the sleep until they can.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::super::{access, flags, limits};
use super::undo::{UndoId, UndoList};
use super::{MAX_VALUE, SETS, Set, State, current_pid, now};
use crate::errno::{Errno, Result};
use crate::process::Credentials;
use crate::sched::{Deadline, WaitQueue};
use crate::sync::SpinLock;

/// The flag that asks for an operation to be undone at the process' end.
const UNDO: u16 = 0x1000;
const NO_WAIT: u16 = flags::NO_WAIT as u16;

/// One operation: `struct sembuf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::FromBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct Operation {
    /// Which semaphore.
    pub number: u16,
    /// What is added to it; 0 waits until it is zero.
    pub change: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`.
    pub flags: u16,
}

/// What stands in the way of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The operation with this index has to wait.
    Blocked(usize),
    /// They can never happen.
    Failed(Errno),
}

/// A call that waits.
pub(super) struct Sleeper {
    operations: Vec<Operation>,
    undo: Option<UndoId>,
    pid: u32,
    /// The operation that stands in the way.
    blocked: AtomicUsize,
    outcome: SpinLock<Option<Result<()>>>,
    queue: WaitQueue,
}

impl Sleeper {
    /// Whether it waits for semaphore `number` to become zero, or (false) to grow.
    pub(super) fn waits_for(&self, number: usize) -> Option<bool> {
        let operation = self.operations.get(self.blocked.load(Ordering::Relaxed))?;
        (usize::from(operation.number) == number).then_some(operation.change == 0)
    }

    pub(super) fn finish(&self, outcome: Result<()>) {
        *self.outcome.lock() = Some(outcome);
        self.queue.wake_all();
    }
}

/// `semop`: does all of `operations` on the set `id`, at once, waiting until `deadline` for what hinders them. `undo` is the
/// caller's list, asked for if an operation is to be undone. The errors are semop(2)'s.
pub fn operate(
    id: i32,
    operations: Vec<Operation>,
    deadline: Option<Deadline>,
    credentials: &Credentials,
    undo: impl FnOnce() -> Arc<UndoList>,
) -> Result<()> {
    if operations.is_empty() || id < 0 {
        return Err(Errno::EINVAL);
    }
    if operations.len() as u64 > limits::SEM_OPERATIONS.get() {
        return Err(Errno::E2BIG);
    }
    let set = SETS.find(id)?;
    if operations.iter().any(|operation| usize::from(operation.number) >= set.len()) {
        return Err(Errno::EFBIG);
    }
    let alters = operations.iter().any(|operation| operation.change != 0);
    set.header.check(credentials, if alters { access::WRITE } else { access::READ })?;
    let undoes = operations.iter().any(|operation| operation.flags & UNDO != 0);
    let undo = if undoes { Some(undo().enrol(&set)?) } else { None };
    let pid = current_pid();
    let mut state = set.live_state()?;
    let blocked = match state.attempt(&operations, undo, pid) {
        Ok(()) => {
            state.operated_at = now();
            state.wake_sleepers();
            return Ok(());
        }
        Err(Obstacle::Failed(errno)) => return Err(errno),
        Err(Obstacle::Blocked(index)) => index,
    };
    drop(state);
    if operations.get(blocked).is_some_and(|operation| operation.flags & NO_WAIT != 0) {
        return Err(Errno::EAGAIN);
    }
    let sleeper = Arc::new(Sleeper {
        operations,
        undo,
        pid,
        blocked: AtomicUsize::new(blocked),
        outcome: SpinLock::new(None),
        queue: WaitQueue::new(),
    });
    set.sleep(&sleeper, deadline)
}

impl Set {
    fn sleep(&self, sleeper: &Arc<Sleeper>, deadline: Option<Deadline>) -> Result<()> {
        {
            let mut state = self.live_state()?;
            state.sleepers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            state.sleepers.push(Arc::clone(sleeper));
            // The set may have changed since it was looked at.
            state.wake_sleepers();
        }
        let waited = sleeper.queue.wait_interruptible(deadline, || *sleeper.outcome.lock());
        match waited {
            Ok(outcome) => outcome,
            Err(errno) => {
                let mut state = self.state.lock();
                state.sleepers.retain(|other| !Arc::ptr_eq(other, sleeper));
                drop(state);
                // What happened in the last moment has happened; a wait that was interrupted is never resumed.
                let given_up = if errno == Errno::ETIMEDOUT { Errno::EAGAIN } else { Errno::EINTR };
                let outcome = *sleeper.outcome.lock();
                outcome.unwrap_or(Err(given_up))
            }
        }
    }
}

impl State {
    /// Does all operations, or none.
    fn attempt(&mut self, operations: &[Operation], undo: Option<UndoId>, pid: u32) -> Result<(), Obstacle> {
        for (index, operation) in operations.iter().enumerate() {
            if let Err(obstacle) = self.apply(index, operation, undo) {
                for done in operations.iter().take(index).rev() {
                    self.revert(done, undo);
                }
                return Err(obstacle);
            }
        }
        for operation in operations {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(operation.number)) {
                semaphore.last = pid;
            }
        }
        Ok(())
    }

    fn apply(&mut self, index: usize, operation: &Operation, undo: Option<UndoId>) -> Result<(), Obstacle> {
        let number = usize::from(operation.number);
        let semaphore = self.semaphores.get_mut(number).ok_or(Obstacle::Failed(Errno::EFBIG))?;
        let sum = i32::from(semaphore.value) + i32::from(operation.change);
        let is_blocked = if operation.change == 0 { semaphore.value != 0 } else { sum < 0 };
        if is_blocked {
            return Err(Obstacle::Blocked(index));
        }
        if sum > MAX_VALUE {
            return Err(Obstacle::Failed(Errno::ERANGE));
        }
        if operation.flags & UNDO != 0 {
            let row = undo.and_then(|id| self.undo.get_mut(&id));
            let adjustment = row.and_then(|row| row.get_mut(number)).ok_or(Obstacle::Failed(Errno::EIDRM))?;
            let changed = i32::from(*adjustment) - i32::from(operation.change);
            if !(-MAX_VALUE - 1..=MAX_VALUE).contains(&changed) {
                return Err(Obstacle::Failed(Errno::ERANGE));
            }
            *adjustment = changed as i16;
        }
        semaphore.value = sum as u16;
        Ok(())
    }

    /// Takes back what `apply` did.
    fn revert(&mut self, operation: &Operation, undo: Option<UndoId>) {
        let number = usize::from(operation.number);
        if let Some(semaphore) = self.semaphores.get_mut(number) {
            semaphore.value = (i32::from(semaphore.value) - i32::from(operation.change)) as u16;
        }
        let row = undo.filter(|_| operation.flags & UNDO != 0).and_then(|id| self.undo.get_mut(&id));
        if let Some(adjustment) = row.and_then(|row| row.get_mut(number)) {
            *adjustment = (i32::from(*adjustment) + i32::from(operation.change)) as i16;
        }
    }

    /// Does for those who wait what has become possible, the oldest first, until nothing more is.
    pub(super) fn wake_sleepers(&mut self) {
        let mut index = 0;
        while let Some(sleeper) = self.sleepers.get(index).cloned() {
            match self.attempt(&sleeper.operations, sleeper.undo, sleeper.pid) {
                Err(Obstacle::Blocked(blocked)) => {
                    sleeper.blocked.store(blocked, Ordering::Relaxed);
                    let gives_up =
                        sleeper.operations.get(blocked).is_some_and(|operation| operation.flags & NO_WAIT != 0);
                    if !gives_up {
                        index += 1;
                        continue;
                    }
                    self.sleepers.remove(index);
                    sleeper.finish(Err(Errno::EAGAIN));
                }
                outcome => {
                    self.sleepers.remove(index);
                    let outcome = outcome.map_err(|obstacle| match obstacle {
                        Obstacle::Failed(errno) => errno,
                        Obstacle::Blocked(_) => Errno::EAGAIN,
                    });
                    if outcome.is_ok() {
                        self.operated_at = now();
                        // What it has changed may be what an older one waits for.
                        index = 0;
                    }
                    sleeper.finish(outcome);
                }
            }
        }
    }
}
