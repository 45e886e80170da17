//! Advisory locks: whole files (`flock`), and ranges that belong to a process (`F_SETLK`) or to an open file
//! description (`F_OFD_SETLK`).
//!
//! Locks belong to an inode, whichever name and description it was opened by, and are kept in one table by device and
//! inode number: few files are ever locked, and all others pay one load at `close`. A process that waits for a
//! range is entered in a graph of who waits for whom; one that would close a circle gets EDEADLK.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{FdTable, OFFSET_MAX, OpenFile};
use crate::errno::{Errno, Result};
use crate::sched::WaitQueue;
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// Whose a range lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Of the processes that share a descriptor table; gone when one of them closes any descriptor of the file.
    Table(usize),
    /// Of an open file description; gone with it.
    Description(usize),
}

/// How much a lock excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Others may share it.
    Shared,
    /// Nobody else may have one.
    Exclusive,
}

/// A range lock; the range includes `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whose it is.
    pub owner: Owner,
    /// What it excludes.
    pub mode: Mode,
    /// First byte.
    pub first: u64,
    /// Last byte; [`OFFSET_MAX`] for "to the end, wherever it comes to be".
    pub last: u64,
    /// The process to name to others; -1 for a description's lock.
    pub pid: i32,
}

impl Range {
    fn overlaps(&self, other: &Range) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn conflicts(&self, other: &Range) -> bool {
        self.owner != other.owner
            && self.overlaps(other)
            && (self.mode == Mode::Exclusive || other.mode == Mode::Exclusive)
    }

    fn touches(&self, other: &Range) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

type Key = (u64, u64);

/// All locks of one inode.
#[derive(Default)]
struct FileLocks {
    whole: SpinLock<Vec<(usize, Mode)>>,
    ranges: SpinLock<Vec<Range>>,
    waiters: WaitQueue,
}

static FILES: SpinLock<SortedMap<Key, Arc<FileLocks>>> = SpinLock::new(SortedMap::new());
/// How many entries `FILES` has; while it is 0, `close` looks no further.
static FILE_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Who waits for whom.
static WAITING: SpinLock<Vec<(Owner, Owner)>> = SpinLock::new(Vec::new());

fn key_of(file: &OpenFile) -> Result<Key> {
    let metadata = file.metadata()?;
    Ok((metadata.dev, metadata.ino))
}

/// The locks of a file, entered in the table while somebody uses them.
struct Locked {
    key: Key,
    locks: Arc<FileLocks>,
}

impl Locked {
    fn of(file: &OpenFile) -> Result<Locked> {
        let key = key_of(file)?;
        let mut files = FILES.lock();
        let locks = files.get_or_insert_with(key, Arc::default).clone();
        FILE_COUNT.store(files.len(), Ordering::SeqCst);
        Ok(Locked { key, locks })
    }

    fn known(file: &OpenFile) -> Option<Locked> {
        let key = key_of(file).ok()?;
        let locks = FILES.lock().get(&key)?.clone();
        Some(Locked { key, locks })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut files = FILES.lock();
        let is_idle = Arc::strong_count(&self.locks) == 2
            && self.locks.whole.lock().is_empty()
            && self.locks.ranges.lock().is_empty();
        let removed = if is_idle { files.remove(&self.key) } else { None };
        FILE_COUNT.store(files.len(), Ordering::SeqCst);
        drop(files);
        drop(removed);
    }
}

/// Takes or converts the lock of `file` on its whole inode, waiting for it unless told not to (EWOULDBLOCK).
pub fn lock_whole(file: &OpenFile, mode: Mode, waits: bool) -> Result<()> {
    let id = file.id();
    let locked = Locked::of(file)?;
    unlock_whole_in(&locked.locks, id);
    file.note_locks();
    let acquire = || try_whole(&locked.locks, id, mode).then_some(());
    if waits {
        return locked.locks.waiters.wait_interruptible(None, acquire);
    }
    acquire().ok_or(Errno::EAGAIN)
}

/// Gives up the lock of `file` on its whole inode.
pub fn unlock_whole(file: &OpenFile) {
    if let Some(locked) = Locked::known(file) {
        unlock_whole_in(&locked.locks, file.id());
    }
}

fn try_whole(locks: &FileLocks, id: usize, mode: Mode) -> bool {
    let mut whole = locks.whole.lock();
    let is_free = match mode {
        Mode::Shared => whole.iter().all(|&(_, held)| held == Mode::Shared),
        Mode::Exclusive => whole.is_empty(),
    };
    if is_free {
        whole.push((id, mode));
    }
    is_free
}

fn unlock_whole_in(locks: &FileLocks, id: usize) {
    let had_one = {
        let mut whole = locks.whole.lock();
        let before = whole.len();
        whole.retain(|&(owner, _)| owner != id);
        whole.len() != before
    };
    if had_one {
        locks.waiters.wake_all();
    }
}

/// The first lock that keeps `wanted` from being taken.
pub fn find_conflict(file: &OpenFile, wanted: &Range) -> Option<Range> {
    let locked = Locked::known(file)?;
    let ranges = locked.locks.ranges.lock();
    ranges.iter().find(|held| held.conflicts(wanted)).copied()
}

/// Takes or converts a range, waiting for it unless told not to (EAGAIN).
pub fn lock_range(file: &OpenFile, wanted: Range, waits: bool) -> Result<()> {
    let locked = Locked::of(file)?;
    if matches!(wanted.owner, Owner::Description(_)) {
        file.note_locks();
    }
    match try_range(&locked.locks, wanted) {
        Ok(()) => Ok(()),
        Err(_) if !waits => Err(Errno::EAGAIN),
        Err(_) => wait_for_range(&locked.locks, wanted),
    }
}

fn wait_for_range(locks: &FileLocks, wanted: Range) -> Result<()> {
    let waiter = wanted.owner;
    let outcome = locks.waiters.wait_interruptible(None, || match try_range(locks, wanted) {
        Ok(()) => Some(Ok(())),
        Err(holder) if would_deadlock(waiter, holder) => Some(Err(Errno::EDEADLK)),
        Err(_) => None,
    });
    WAITING.lock().retain(|&(owner, _)| owner != waiter);
    outcome?
}

/// Enters that `waiter` waits for `holder`, unless that closes a circle.
fn would_deadlock(waiter: Owner, holder: Owner) -> bool {
    if matches!(waiter, Owner::Description(_)) {
        return false;
    }
    let mut waiting = WAITING.lock();
    let mut at = holder;
    for _ in 0..=waiting.len() {
        if at == waiter {
            return true;
        }
        match waiting.iter().find(|&&(owner, _)| owner == at) {
            Some(&(_, next)) => at = next,
            None => break,
        }
    }
    waiting.retain(|&(owner, _)| owner != waiter);
    waiting.push((waiter, holder));
    false
}

/// Takes `wanted`, or names who keeps it from that.
fn try_range(locks: &FileLocks, wanted: Range) -> core::result::Result<(), Owner> {
    let mut ranges = locks.ranges.lock();
    if let Some(held) = ranges.iter().find(|held| held.conflicts(&wanted)) {
        return Err(held.owner);
    }
    let had_some = cut_out(&mut ranges, wanted.owner, wanted.first, wanted.last);
    join(&mut ranges, wanted);
    drop(ranges);
    if had_some && wanted.mode == Mode::Shared {
        locks.waiters.wake_all();
    }
    Ok(())
}

/// Gives up what `owner` holds from `first` to `last`.
pub fn unlock_range(file: &OpenFile, owner: Owner, first: u64, last: u64) {
    let Some(locked) = Locked::known(file) else { return };
    let had_some = cut_out(&mut locked.locks.ranges.lock(), owner, first, last);
    if had_some {
        locked.locks.waiters.wake_all();
    }
}

/// Takes `first..=last` out of `owner`'s ranges; what sticks out on either side stays.
fn cut_out(ranges: &mut Vec<Range>, owner: Owner, first: u64, last: u64) -> bool {
    let mut remains = Vec::new();
    let before = ranges.len();
    ranges.retain(|held| {
        let is_hit = held.owner == owner && held.first <= last && first <= held.last;
        if is_hit && held.first < first {
            remains.push(Range { last: first - 1, ..*held });
        }
        if is_hit && held.last > last {
            remains.push(Range { first: last + 1, ..*held });
        }
        !is_hit
    });
    let had_some = ranges.len() != before;
    ranges.append(&mut remains);
    had_some
}

/// Adds `new`, melted with its owner's equal neighbours; kept in the order of their first bytes.
fn join(ranges: &mut Vec<Range>, mut new: Range) {
    ranges.retain(|held| {
        let is_neighbour = held.owner == new.owner && held.mode == new.mode && held.touches(&new);
        if is_neighbour {
            new.first = new.first.min(held.first);
            new.last = new.last.max(held.last);
        }
        !is_neighbour
    });
    let place = ranges.partition_point(|held| held.first <= new.first);
    ranges.insert(place, new);
}

/// A descriptor of `file` in `table` was closed: the processes' range locks on the inode go.
#[inline]
pub(super) fn release_posix(table: &FdTable, file: &OpenFile) {
    if FILE_COUNT.load(Ordering::SeqCst) != 0 && !file.is_place() {
        release_owner(file, Owner::Table(table.id()));
    }
}

/// The description goes, and its locks with it.
pub(super) fn release_description(file: &OpenFile) {
    unlock_whole(file);
    release_owner(file, Owner::Description(file.id()));
}

#[cold]
fn release_owner(file: &OpenFile, owner: Owner) {
    let Some(locked) = Locked::known(file) else { return };
    if cut_out(&mut locked.locks.ranges.lock(), owner, 0, OFFSET_MAX) {
        locked.locks.waiters.wake_all();
    }
}

/// A line of `/proc/locks`.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Device and inode number.
    pub file: (u64, u64),
    /// Whether it is a whole-file lock; a range lock otherwise.
    pub is_whole: bool,
    /// The lock.
    pub range: Range,
}

/// All locks there are.
pub fn list() -> Vec<Listed> {
    let files: Vec<_> = FILES.lock().iter().map(|(key, locks)| (*key, locks.clone())).collect();
    let mut all = Vec::new();
    for (file, locks) in files {
        for &(id, mode) in locks.whole.lock().iter() {
            let range = Range { owner: Owner::Description(id), mode, first: 0, last: OFFSET_MAX, pid: -1 };
            all.push(Listed { file, is_whole: true, range });
        }
        all.extend(locks.ranges.lock().iter().map(|&range| Listed { file, is_whole: false, range }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(owner: usize, mode: Mode, first: u64, last: u64) -> Range {
        Range { owner: Owner::Table(owner), mode, first, last, pid: 1 }
    }

    fn spans(locks: &FileLocks) -> Vec<(u64, u64, Mode)> {
        locks.ranges.lock().iter().map(|held| (held.first, held.last, held.mode)).collect()
    }

    #[test]
    fn ranges_split_and_melt() {
        let locks = FileLocks::default();
        try_range(&locks, range(1, Mode::Exclusive, 0, 99)).unwrap();
        try_range(&locks, range(1, Mode::Shared, 40, 59)).unwrap();
        assert_eq!(spans(&locks), [(0, 39, Mode::Exclusive), (40, 59, Mode::Shared), (60, 99, Mode::Exclusive)]);
        try_range(&locks, range(1, Mode::Exclusive, 40, 59)).unwrap();
        assert_eq!(spans(&locks), [(0, 99, Mode::Exclusive)]);
        try_range(&locks, range(1, Mode::Exclusive, 100, OFFSET_MAX)).unwrap();
        assert_eq!(spans(&locks), [(0, OFFSET_MAX, Mode::Exclusive)]);
        assert!(cut_out(&mut locks.ranges.lock(), Owner::Table(1), 10, 19));
        assert_eq!(spans(&locks).len(), 2);
    }

    #[test]
    fn only_exclusive_ranges_conflict() {
        let locks = FileLocks::default();
        try_range(&locks, range(1, Mode::Shared, 0, 9)).unwrap();
        try_range(&locks, range(2, Mode::Shared, 5, 15)).unwrap();
        assert_eq!(try_range(&locks, range(3, Mode::Exclusive, 9, 9)), Err(Owner::Table(1)));
        assert_eq!(try_range(&locks, range(1, Mode::Exclusive, 0, 9)), Err(Owner::Table(2)));
        try_range(&locks, range(3, Mode::Exclusive, 16, 20)).unwrap();
    }

    #[test]
    fn circles_of_waiters_are_found() {
        let [a, b, c] = [901, 902, 903].map(Owner::Table);
        assert!(!would_deadlock(a, b));
        assert!(!would_deadlock(b, c));
        assert!(would_deadlock(c, a));
        WAITING.lock().retain(|&(owner, _)| owner != a && owner != b);
    }

    #[test]
    fn whole_locks_share_or_exclude() {
        let locks = FileLocks::default();
        assert!(try_whole(&locks, 1, Mode::Shared) && try_whole(&locks, 2, Mode::Shared));
        assert!(!try_whole(&locks, 3, Mode::Exclusive));
        unlock_whole_in(&locks, 1);
        unlock_whole_in(&locks, 2);
        assert!(try_whole(&locks, 3, Mode::Exclusive) && !try_whole(&locks, 1, Mode::Shared));
    }
}
