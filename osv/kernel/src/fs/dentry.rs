//! The dentry cache: names that were looked up, and those that were not found.
//!
//! A [`Dentry`] is a name's place in the tree of one file system and the inode there, if any; it never changes its
//! inode. A directory's dentry holds the table of the entries known so far, so that a cached step of a walk is one
//! hash lookup under that table's spin lock, without allocation and without asking the file system. Open files and
//! working directories hold dentries, which is how they keep their path through renames.
//!
//! Locking: `modify` serialises changes of a directory and uncached lookups in it, so that the table never keeps what
//! the file system no longer has. `children` and `location` are leaf locks, held for a few instructions.
//!
//! Entries hold their parents and tables hold their entries; [`Dentry::forget_children`] cuts the circle when a file system goes.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hashbrown::HashTable;

use super::name::{Name, hash_name};
use super::{FileType, Inode, Metadata, NAME_MAX};
use crate::errno::{Errno, Result};
use crate::mem::user::Dest;
use crate::sched::{Mutex, MutexGuard};
use crate::sync::{Once, SpinLock};

/// The entry is no longer in its directory.
const UNLINKED: u32 = 1;
/// It was found by a walk since the cache was last trimmed.
const REFERENCED: u32 = 2;
/// It must stay in its table, since something is mounted on it.
const PINNED: u32 = 4;

/// A name in a directory, and the inode that it names.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    kind: Option<FileType>,
    is_cacheable: bool,
    state: AtomicU32,
    mount_count: AtomicU32,
    location: SpinLock<Location>,
    children: SpinLock<HashTable<Child>>,
    modify: Mutex<()>,
}

struct Location {
    parent: Option<Arc<Dentry>>,
    name: Name,
}

struct Child {
    hash: u64,
    name: Name,
    dentry: Arc<Dentry>,
}

/// It has no name yet, but may get one (O_TMPFILE).
const LINKABLE: u32 = 8;

/// What is under the name of a negative entry.
struct Absent;

impl Inode for Absent {
    fn metadata(&self) -> Result<Metadata> {
        Err(Errno::ENOENT)
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn read_at(&self, _offset: u64, _dst: &mut Dest<'_>) -> Result<usize> {
        Err(Errno::ENOENT)
    }
}

fn absent_inode() -> Arc<dyn Inode> {
    static ABSENT: Once<Arc<Absent>> = Once::new();
    ABSENT.call_once(|| Arc::new(Absent)).clone()
}

/// Proof that a directory's `modify` lock is held.
pub struct ModifyGuard<'a> {
    directory: &'a Arc<Dentry>,
    _guard: MutexGuard<'a, ()>,
}

impl Dentry {
    /// The root of a file system.
    pub fn new_root(inode: Arc<dyn Inode>) -> Arc<Dentry> {
        Dentry::new(None, Name::new(b""), Some(inode))
    }

    fn new(parent: Option<Arc<Dentry>>, name: Name, inode: Option<Arc<dyn Inode>>) -> Arc<Dentry> {
        let kind = inode.as_ref().map(|inode| inode.kind());
        let inode = inode.unwrap_or_else(absent_inode);
        let is_cacheable = kind == Some(FileType::Directory) && inode.is_cacheable();
        Arc::new(Dentry {
            inode,
            kind,
            is_cacheable,
            state: AtomicU32::new(0),
            mount_count: AtomicU32::new(0),
            location: SpinLock::new(Location { parent, name }),
            children: SpinLock::new(HashTable::new()),
            modify: Mutex::new(()),
        })
    }

    /// The inode; one that answers everything with ENOENT if the name is known not to exist.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The type of the inode; `None` if the name is known not to exist.
    #[inline]
    pub fn kind(&self) -> Option<FileType> {
        self.kind
    }

    /// Whether it is a directory.
    #[inline]
    pub fn is_directory(&self) -> bool {
        self.kind == Some(FileType::Directory)
    }

    /// Whether it was removed from its directory.
    #[inline]
    pub fn is_unlinked(&self) -> bool {
        self.state.load(Ordering::Acquire) & UNLINKED != 0
    }

    /// Whether it never had a name and may be given one.
    pub fn is_linkable(&self) -> bool {
        self.state.load(Ordering::Acquire) & LINKABLE != 0
    }

    /// Whether something is mounted on it, in any mount of its file system.
    #[inline]
    pub fn is_mount_point(&self) -> bool {
        self.mount_count.load(Ordering::Acquire) != 0
    }

    /// The directory that it is in; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.location.lock().parent.clone()
    }

    /// Its present name.
    pub fn name(&self) -> Name {
        self.location.lock().name.clone()
    }

    /// Whether `self` is `other` or lies above it.
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = other.clone();
        loop {
            if Arc::ptr_eq(self, &at) {
                return true;
            }
            let Some(parent) = at.parent() else { return false };
            at = parent;
        }
    }

    /// The entry `name` of this directory: a negative one if it is known not to exist.
    #[inline(always)]
    pub fn child(self: &Arc<Self>, name: &[u8], hash: u64) -> Result<Arc<Dentry>> {
        match self.cached_child(name, hash) {
            Some(child) => Ok(child),
            None => self.uncached_child(name, hash),
        }
    }

    #[cold]
    fn uncached_child(self: &Arc<Self>, name: &[u8], hash: u64) -> Result<Arc<Dentry>> {
        self.lock_for_change()?.child(name, hash)
    }

    #[inline(always)]
    fn cached_child(&self, name: &[u8], hash: u64) -> Option<Arc<Dentry>> {
        let children = self.children.lock();
        let child = children.find(hash, |child| child.hash == hash && child.name.is(name))?;
        if child.dentry.state.load(Ordering::Relaxed) & REFERENCED == 0 {
            child.dentry.state.fetch_or(REFERENCED, Ordering::Relaxed);
        }
        Some(child.dentry.clone())
    }

    /// Locks the directory for changes; ENOENT if it was removed meanwhile.
    pub fn lock_for_change(self: &Arc<Self>) -> Result<ModifyGuard<'_>> {
        let guard = ModifyGuard { directory: self, _guard: self.modify.lock() };
        if self.is_unlinked() { Err(Errno::ENOENT) } else { Ok(guard) }
    }

    /// Locks two directories for a rename between them; the caller holds the file system's rename lock, so that the
    /// tree keeps its shape. The second guard is absent if they are the same.
    pub fn lock_two<'a>(a: &'a Arc<Dentry>, b: &'a Arc<Dentry>) -> Result<(ModifyGuard<'a>, Option<ModifyGuard<'a>>)> {
        if Arc::ptr_eq(a, b) {
            return Ok((a.lock_for_change()?, None));
        }
        let is_b_first = b.is_ancestor_of(a) || (!a.is_ancestor_of(b) && Arc::as_ptr(b) < Arc::as_ptr(a));
        if is_b_first {
            let second = b.lock_for_change()?;
            return Ok((a.lock_for_change()?, Some(second)));
        }
        let first = a.lock_for_change()?;
        Ok((first, Some(b.lock_for_change()?)))
    }

    /// An entry without a directory, for files that were never linked (O_TMPFILE, memfd).
    /// `is_linkable` says whether it may be given a name later.
    pub fn new_unlinked(parent: &Arc<Dentry>, name: &[u8], inode: Arc<dyn Inode>, is_linkable: bool) -> Arc<Dentry> {
        let dentry = Dentry::new(Some(parent.clone()), Name::new(name), Some(inode));
        let state = if is_linkable { UNLINKED | LINKABLE } else { UNLINKED };
        dentry.state.fetch_or(state, Ordering::Release);
        dentry
    }

    /// Something is mounted here: keep the entry where walks find it.
    pub(super) fn add_mount(self: &Arc<Self>) {
        self.mount_count.fetch_add(1, Ordering::AcqRel);
        self.state.fetch_or(PINNED, Ordering::AcqRel);
        if let Some(parent) = self.parent() {
            let name = self.name();
            parent.enter(hash_name(name.as_bytes()), name, self.clone());
        }
    }

    /// What was mounted here is gone.
    pub(super) fn remove_mount(&self) {
        self.mount_count.fetch_sub(1, Ordering::AcqRel);
    }

    /// Forgets all entries below, so that nothing keeps them but their users.
    pub(super) fn forget_children(self: &Arc<Self>) {
        let mut pending = Vec::from([self.clone()]);
        while let Some(dentry) = pending.pop() {
            let children = core::mem::take(&mut *dentry.children.lock());
            COUNT.fetch_sub(children.len(), Ordering::Relaxed);
            pending.extend(children.into_iter().map(|child| child.dentry));
        }
    }

    fn enter(&self, hash: u64, name: Name, dentry: Arc<Dentry>) {
        let replaced = {
            let mut children = self.children.lock();
            match children.find_mut(hash, |child| child.hash == hash && child.name.is(name.as_bytes())) {
                Some(child) => Some(core::mem::replace(&mut child.dentry, dentry)),
                None => {
                    children.insert_unique(hash, Child { hash, name, dentry }, |child| child.hash);
                    COUNT.fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        };
        drop(replaced);
    }

    fn remove(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        let hash = hash_name(name);
        let mut children = self.children.lock();
        let entry = children.find_entry(hash, |child| child.hash == hash && child.name.is(name)).ok()?;
        let (child, _) = entry.remove();
        drop(children);
        COUNT.fetch_sub(1, Ordering::Relaxed);
        Some(child.dentry)
    }
}

impl ModifyGuard<'_> {
    /// The entry `name`, asked of the file system where the cache does not know it.
    pub fn child(&self, name: &[u8], hash: u64) -> Result<Arc<Dentry>> {
        if let Some(child) = self.directory.cached_child(name, hash) {
            return Ok(child);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let inode = match self.directory.inode.lookup(name) {
            Ok(inode) => Some(inode),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        Ok(self.enter_new(name, hash, inode))
    }

    /// Enters a new inode that the file system has just got under `name`; the entry that is now true.
    pub fn enter_new(&self, name: &[u8], hash: u64, inode: Option<Arc<dyn Inode>>) -> Arc<Dentry> {
        let name = Name::new(name);
        let dentry = Dentry::new(Some(self.directory.clone()), name.clone(), inode);
        if self.directory.is_cacheable {
            self.directory.enter(hash, name, dentry.clone());
            keep_count_bounded(&dentry);
        }
        dentry
    }

    /// The entry was removed from the file system: `dentry` stays with its users only.
    pub fn unlinked(&self, dentry: &Arc<Dentry>) {
        dentry.state.fetch_or(UNLINKED, Ordering::AcqRel);
        self.directory.remove(dentry.name().as_bytes());
        dentry.forget_children();
    }

    /// `dentry` of this directory has become the entry `new_name` of `new_directory`, replacing what was there.
    pub fn moved(&self, dentry: &Arc<Dentry>, new_directory: &Arc<Dentry>, new_name: &[u8]) {
        self.directory.remove(dentry.name().as_bytes());
        if let Some(replaced) = new_directory.remove(new_name) {
            replaced.state.fetch_or(UNLINKED, Ordering::AcqRel);
        }
        settle(dentry, new_directory, Name::new(new_name));
    }

    /// `dentry` of this directory and `other` of `other_directory` have changed places.
    pub fn exchanged(&self, dentry: &Arc<Dentry>, other: &Arc<Dentry>, other_directory: &Arc<Dentry>) {
        let (name, other_name) = (dentry.name(), other.name());
        self.directory.remove(name.as_bytes());
        other_directory.remove(other_name.as_bytes());
        settle(dentry, other_directory, other_name);
        settle(other, self.directory, name);
    }
}

fn settle(dentry: &Arc<Dentry>, directory: &Arc<Dentry>, name: Name) {
    let old_parent = {
        let mut location = dentry.location.lock();
        location.name = name.clone();
        location.parent.replace(directory.clone())
    };
    drop(old_parent);
    if directory.is_cacheable {
        directory.enter(hash_name(name.as_bytes()), name, dentry.clone());
    }
}

/// Entries in all tables.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// How many there may be before unused ones are forgotten.
static LIMIT: AtomicUsize = AtomicUsize::new(16 * 1024);
/// Candidates for forgetting, the oldest first.
static CLOCK: SpinLock<VecDeque<Weak<Dentry>>> = SpinLock::new(VecDeque::new());

/// Sets how many entries the cache keeps before it forgets unused ones.
pub fn set_cache_limit(entries: usize) {
    LIMIT.store(entries, Ordering::Relaxed);
}

/// Puts a new entry under the clock and, when the cache is full, forgets some that nobody has used since the clock
/// last passed them. Candidates that died meanwhile are swept out before they outnumber the living.
fn keep_count_bounded(new: &Arc<Dentry>) {
    {
        let mut clock = CLOCK.lock();
        if clock.try_reserve(1).is_err() {
            return;
        }
        clock.push_back(Arc::downgrade(new));
    }
    for _ in 0..4 {
        let Some(candidate) = next_candidate() else { return };
        let Some(dentry) = candidate.upgrade() else { continue };
        let is_full = COUNT.load(Ordering::Relaxed) > LIMIT.load(Ordering::Relaxed);
        if !(is_full && forget_if_unused(&dentry)) {
            CLOCK.lock().push_back(candidate);
        }
    }
}

fn next_candidate() -> Option<Weak<Dentry>> {
    let count = COUNT.load(Ordering::Relaxed);
    let mut clock = CLOCK.lock();
    if count > LIMIT.load(Ordering::Relaxed) || clock.len() > 2 * count + 64 { clock.pop_front() } else { None }
}

/// Takes `dentry` out of its table if only the table and the caller hold it and no walk has found it lately.
fn forget_if_unused(dentry: &Arc<Dentry>) -> bool {
    if dentry.is_unlinked() {
        return true;
    }
    let state = dentry.state.fetch_and(!REFERENCED, Ordering::Relaxed);
    let Some(parent) = dentry.parent() else { return true };
    if state & (REFERENCED | PINNED) != 0 || !dentry.children.lock().is_empty() {
        return false;
    }
    let name = dentry.name();
    let mut children = parent.children.lock();
    if Arc::strong_count(dentry) > 2 {
        return false;
    }
    let hash = hash_name(name.as_bytes());
    let Ok(entry) = children.find_entry(hash, |child| Arc::ptr_eq(&child.dentry, dentry)) else { return true };
    let (child, _) = entry.remove();
    drop(children);
    COUNT.fetch_sub(1, Ordering::Relaxed);
    drop(child);
    true
}
