//! Places of files that are in no tree.
//!
//! `/proc/PID/fd` has a link for every open file, and programs follow these links: `/dev/stdin` is one. For a pipe or
//! a terminal that nobody opened by a path, a place is made up: the root of a tree of its own that holds nothing
//! else and that no path leads to.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use super::dentry::Dentry;
use super::nsfs::NamespaceFile;
use super::pipe::PipeEnd;
use super::{
    File, FileSystem, FileType, Inode, Metadata, Mount, MountFlags, OpenFile, OpenFlags, PathRef, SetAttributes,
    StatFs, Stream, SuperBlock,
};
use crate::errno::{Errno, Result};
use crate::process::current_task;
use crate::sync::Once;

/// What `fdinfo` shows as the mount of files that are in no tree.
pub const MOUNT_ID: u64 = 0;

/// Magic number of the file system of such files (`ANON_INODE_FS_MAGIC`).
const MAGIC: u64 = 0x0904_1934;

/// The place of an open file; one is made up if it has none.
pub fn place_of(file: &Arc<OpenFile>) -> Result<PathRef> {
    if let Some(place) = file.path() {
        return Ok(place.clone());
    }
    if let Some(end) = file.downcast::<PipeEnd>() {
        end.make_reachable();
    }
    let inode = Arc::new(Anonymous { metadata: file.metadata()?, file: file.clone() });
    Ok(PathRef::new(mount(), Dentry::new_root(inode)))
}

/// Whether a place has been made up.
pub fn is_made_up(place: &PathRef) -> bool {
    Arc::ptr_eq(place.mount(), &mount())
}

/// The inode at such a place. It lives as long as somebody is about to open it.
struct Anonymous {
    metadata: Metadata,
    file: Arc<OpenFile>,
}

impl Inode for Anonymous {
    fn metadata(&self) -> Result<Metadata> {
        self.file.metadata()
    }

    fn kind(&self) -> FileType {
        self.metadata.kind
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        match self.file.file() {
            Some(file) => file.set_attributes(change),
            None => Err(Errno::EOPNOTSUPP),
        }
    }

    /// A pipe gets a new end, as a FIFO does; a port of the runner's is the same however often it is opened, and
    /// so is a namespace.
    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        if self.file.downcast::<PipeEnd>().is_some() {
            return Ok(None);
        }
        let is_reopened = self.file.downcast::<Stream>().is_some() || self.file.downcast::<NamespaceFile>().is_some();
        if !is_reopened {
            return Err(Errno::ENXIO);
        }
        Ok(self.file.file().cloned())
    }
}

/// Mode and owners of a pipe or socket, which has no file system to keep them.
pub struct Attributes {
    mode: AtomicU16,
    uid: AtomicU32,
    gid: AtomicU32,
}

impl Attributes {
    /// Root's, with `mode`.
    pub const fn new(mode: u16) -> Attributes {
        Attributes { mode: AtomicU16::new(mode), uid: AtomicU32::new(0), gid: AtomicU32::new(0) }
    }

    /// Changes mode and owners; times are not kept.
    pub fn set(&self, change: &SetAttributes) {
        if let Some(mode) = change.mode {
            self.mode.store(mode, Ordering::Relaxed);
        }
        for (owner, new) in [(&self.uid, change.uid), (&self.gid, change.gid)] {
            if let Some(new) = new {
                owner.store(new, Ordering::Relaxed);
            }
        }
    }

    /// `metadata` with what is kept here.
    pub fn apply(&self, metadata: Metadata) -> Metadata {
        let [uid, gid] = [&self.uid, &self.gid].map(|owner| owner.load(Ordering::Relaxed));
        Metadata { mode: self.mode.load(Ordering::Relaxed), uid, gid, ..metadata }
    }
}

/// Makes an object that nobody can reach yet the property of the caller.
pub fn give_to_caller(file: &dyn File) {
    let credentials = current_task().credentials();
    let (uid, gid) = (credentials.user.file_system, credentials.group.file_system);
    if (uid, gid) != (0, 0) {
        // Nothing can fail: pipes and sockets keep their owners themselves.
        let _ = file.set_attributes(&SetAttributes { uid: Some(uid), gid: Some(gid), ..SetAttributes::default() });
    }
}

fn mount() -> Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT
        .call_once(|| {
            let super_block = SuperBlock::new(Arc::new(Nowhere), b"anon_inodefs");
            let root = super_block.root().clone();
            Mount::new(super_block, root, MountFlags::empty())
        })
        .clone()
}

/// The file system of files that are in none.
struct Nowhere;

impl FileSystem for Nowhere {
    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(Empty)
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs { magic: MAGIC, block_size: 4096, name_max: 255, ..StatFs::default() })
    }

    fn name(&self) -> &'static str {
        "anon_inodefs"
    }
}

struct Empty;

impl Inode for Empty {
    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(super::ANONYMOUS_DEVICE, 1, FileType::Directory, 0o500))
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }
}
