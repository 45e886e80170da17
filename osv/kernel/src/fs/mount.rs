//! Mounts: which file system, or which part of one, shows at which place.
//!
//! A [`SuperBlock`] is a file system instance with its dentry tree; a [`Mount`] shows the tree from one of its dentries
//! on at a place of another mount. A bind mount is a second mount of the same tree. Each mount holds a table of the
//! mounts on top of it, keyed by the covered dentry, so that crossing one costs a short search, and only at dentries
//! that are marked as mount points.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use linux_raw_sys::general;

use super::dentry::Dentry;
use super::name::Name;
use super::{FileSystem, PathRef};
use crate::errno::{Errno, Result};
use crate::sched::Mutex;
use crate::sorted_map::SortedMap;
use crate::sorting::sort_by;
use crate::sync::SpinLock;

bitflags::bitflags! {
    /// Properties of one mount, in the bits of `mount(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Refuse all writes (EROFS).
        const RDONLY = general::MS_RDONLY;
        /// Ignore set-id bits.
        const NOSUID = general::MS_NOSUID;
        /// Refuse device nodes.
        const NODEV = general::MS_NODEV;
        /// Refuse to execute.
        const NOEXEC = general::MS_NOEXEC;
        /// Do not update access times.
        const NOATIME = general::MS_NOATIME;
        /// Do not update access times of directories.
        const NODIRATIME = general::MS_NODIRATIME;
        /// Do not follow symlinks.
        const NOSYMFOLLOW = general::MS_NOSYMFOLLOW;
        /// Update access times only where they are older than changes.
        const RELATIME = general::MS_RELATIME;
    }
}

/// A file system instance and its tree of names.
pub struct SuperBlock {
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    source: Name,
    rename: Mutex<()>,
    is_read_only: AtomicBool,
    writers: AtomicU32,
    mounts: AtomicU32,
}

impl SuperBlock {
    /// Gives `file_system` a tree; `source` is what `/proc/mounts` shows as its device.
    pub fn new(file_system: Arc<dyn FileSystem>, source: &[u8]) -> Arc<SuperBlock> {
        let root = Dentry::new_root(file_system.root());
        Arc::new(SuperBlock {
            file_system,
            root,
            source: Name::new(source),
            rename: Mutex::new(()),
            is_read_only: AtomicBool::new(false),
            writers: AtomicU32::new(0),
            mounts: AtomicU32::new(0),
        })
    }

    /// How many mounts show it, in all namespaces and in none.
    pub fn mount_count(&self) -> u32 {
        self.mounts.load(Ordering::Relaxed)
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// The root of the tree.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// What it was made from.
    pub fn source(&self) -> &[u8] {
        self.source.as_bytes()
    }

    /// Whether nothing can be written, whichever mount shows it.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Relaxed) || self.file_system.is_read_only()
    }

    /// Refuses or allows all writes. EBUSY if a file is open for writing.
    pub fn set_read_only(&self, is_on: bool) -> Result<()> {
        if is_on && self.writers.load(Ordering::SeqCst) != 0 {
            return Err(Errno::EBUSY);
        }
        self.is_read_only.store(is_on, Ordering::Relaxed);
        Ok(())
    }

    /// The lock that holds the tree's shape still while a directory moves.
    pub(super) fn rename_lock(&self) -> &Mutex<()> {
        &self.rename
    }
}

impl Drop for SuperBlock {
    fn drop(&mut self) {
        self.root.forget_children();
    }
}

/// A tree, or part of one, at a place.
pub struct Mount {
    id: u64,
    super_block: Arc<SuperBlock>,
    root: Arc<Dentry>,
    flags: AtomicU32,
    propagation: AtomicU32,
    writers: AtomicU32,
    crossings: AtomicU64,
    expires_at: AtomicU64,
    attachment: SpinLock<Option<PathRef>>,
    children: SpinLock<SortedMap<usize, Arc<Mount>>>,
}

/// Serialises changes of the tree of mounts.
static TOPOLOGY: Mutex<()> = Mutex::new(());

impl Mount {
    /// A mount of `super_block` from `root` on, not attached anywhere.
    pub fn new(super_block: Arc<SuperBlock>, root: Arc<Dentry>, flags: MountFlags) -> Arc<Mount> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        super_block.mounts.fetch_add(1, Ordering::Relaxed);
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            super_block,
            root,
            flags: AtomicU32::new(flags.bits()),
            propagation: AtomicU32::new(general::MS_PRIVATE),
            writers: AtomicU32::new(0),
            crossings: AtomicU64::new(0),
            expires_at: AtomicU64::new(u64::MAX),
            attachment: SpinLock::new(None),
            children: SpinLock::new(SortedMap::new()),
        })
    }

    /// A mount of all of `file_system`, not attached anywhere.
    pub fn of(file_system: Arc<dyn FileSystem>, source: &[u8], flags: MountFlags) -> Arc<Mount> {
        let super_block = SuperBlock::new(file_system, source);
        let root = super_block.root.clone();
        Mount::new(super_block, root, flags)
    }

    /// Its number in `/proc/self/mountinfo`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The file system instance that it shows.
    pub fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    /// The file system that it shows.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.super_block.file_system
    }

    /// The dentry that shows at the mount point.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// The place of its root.
    pub fn root_path(self: &Arc<Self>) -> PathRef {
        PathRef::new(self.clone(), self.root.clone())
    }

    /// Its properties.
    #[inline]
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Changes its properties (`MS_REMOUNT`).
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// How it spreads to other mounts of the same tree, `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`: kept
    /// and shown, but nothing spreads.
    pub fn propagation(&self) -> u32 {
        self.propagation.load(Ordering::Relaxed)
    }

    /// Changes how it spreads.
    pub fn set_propagation(&self, kind: u32) {
        self.propagation.store(kind, Ordering::Relaxed);
    }

    /// A walk came to it.
    #[inline]
    pub(super) fn note_crossing(&self) {
        self.crossings.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks it for expiry; whether nobody has come by since it was marked before. The caller's own walk counts as one.
    pub(super) fn expire(&self) -> bool {
        let now = self.crossings.load(Ordering::Relaxed);
        self.expires_at.swap(now, Ordering::Relaxed) == now.wrapping_sub(1)
    }

    /// Whether files are open for writing through it.
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) != 0
    }

    /// Whether writes are refused, by the mount or by the file system (EROFS).
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().contains(MountFlags::RDONLY) || self.super_block.is_read_only() {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Where it is attached; `None` for the root of all and for detached ones.
    pub fn attachment(&self) -> Option<PathRef> {
        self.attachment.lock().clone()
    }

    /// The mount on top of `dentry` in this mount.
    pub fn mounted_on(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        self.children.lock().get(&key(dentry)).cloned()
    }

    /// Attaches `self` at `place`, over what shows there. EBUSY if it is attached already.
    pub fn attach(self: &Arc<Self>, place: &PathRef) -> Result<()> {
        let _topology = TOPOLOGY.lock();
        if self.attachment.lock().is_some() {
            return Err(Errno::EBUSY);
        }
        if place.dentry().is_unlinked() {
            return Err(Errno::ENOENT);
        }
        let mut mounted = place.mount().children.lock();
        if mounted.contains_key(&key(place.dentry())) {
            return Err(Errno::EBUSY);
        }
        mounted.insert(key(place.dentry()), self.clone());
        drop(mounted);
        *self.attachment.lock() = Some(place.clone());
        place.dentry().add_mount();
        Ok(())
    }

    /// Takes the mount away from where it is attached. EINVAL if it is not attached, EBUSY if somebody uses it and
    /// `is_lazy` does not say that this does not matter. `self` counts as one user.
    pub fn detach(self: &Arc<Self>, is_lazy: bool) -> Result<()> {
        let _topology = TOPOLOGY.lock();
        let place = self.attachment().ok_or(Errno::EINVAL)?;
        if !is_lazy && self.is_used() {
            return Err(Errno::EBUSY);
        }
        self.take_away(&place);
        Ok(())
    }

    /// Whether anybody but the tree of mounts and the caller holds it.
    pub(super) fn is_used(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 2 || !self.children.lock().is_empty()
    }

    fn take_away(&self, place: &PathRef) {
        let removed = place.mount().children.lock().remove(&key(place.dentry()));
        place.dentry().remove_mount();
        let attached = self.attachment.lock().take();
        drop((removed, attached));
    }

    /// Takes what is mounted in a mount that is attached nowhere apart, so that nothing keeps it but its users.
    pub fn dissolve(self: &Arc<Self>) {
        let _topology = TOPOLOGY.lock();
        for mount in self.tree().into_iter().skip(1).rev() {
            if let Some(place) = mount.attachment() {
                mount.take_away(&place);
            }
        }
    }

    /// Moves the mount to `place`. EINVAL if it is not attached, ELOOP if `place` lies in it.
    pub fn move_to(self: &Arc<Self>, place: &PathRef) -> Result<()> {
        let mut above = Some(place.mount().clone());
        while let Some(mount) = above {
            if Arc::ptr_eq(&mount, self) {
                return Err(Errno::ELOOP);
            }
            above = mount.attachment().map(|place| place.mount().clone());
        }
        if self.attachment().is_some() {
            self.detach(true)?;
        }
        self.attach(place)
    }

    /// Counts somebody who may write through it. EROFS if nobody may.
    pub fn writer(self: &Arc<Self>) -> Result<Writer> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        self.super_block.writers.fetch_add(1, Ordering::SeqCst);
        let writer = Writer(self.clone());
        self.check_writable()?;
        Ok(writer)
    }

    /// All mounts from this one on, parents before children, by age among siblings.
    pub fn tree(self: &Arc<Self>) -> Vec<Arc<Mount>> {
        let mut all = Vec::from([self.clone()]);
        let mut next = 0;
        while let Some(mount) = all.get(next).cloned() {
            let mut children: Vec<_> = mount.children.lock().values().cloned().collect();
            sort_by(&mut children, |a, b| a.id < b.id);
            all.extend(children);
            next += 1;
        }
        all
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.super_block.mounts.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody who has a file of a mount open for writing: the mount cannot become read-only meanwhile.
pub struct Writer(Arc<Mount>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::SeqCst);
        self.0.super_block.writers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn key(dentry: &Arc<Dentry>) -> usize {
    Arc::as_ptr(dentry).addr()
}
