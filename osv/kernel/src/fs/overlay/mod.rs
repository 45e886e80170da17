//! The file system that lays a writable tree over one that is never written.
//!
//! As Linux' overlayfs, and with its marks in the upper tree: a character device 0:0 is a *whiteout* that hides a name of
//! the lower tree, the attribute `trusted.overlay.opaque` says that a directory hides the lower one of its name. A file of
//! the lower tree is *copied up* when it is first opened for writing or changed; its inode number stays the lower
//! one's, which `trusted.overlay.origin` remembers. Unlike on Linux a file that was opened for reading before it was
//! copied up shows what is written afterwards. Renaming a directory that has a lower part is EXDEV, as on Linux without
//! `redirect_dir`.
//!
//! Several lower trees are overlays of each other without an upper one.
//!
//! Locking: the VFS serialises changes of a directory. `copying` of an inode is held while it is copied up, after the
//! same of the directories above it.

mod copy_up;
mod directory;
mod inode;
mod listing;

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inode_table::{self, InodeTable, spread};
use super::types::Request;
use super::{FileSystem, Inode, PathRef, Start, StatFs, new_device_number};
use crate::errno::{Errno, Result};
use inode::OverlayInode;

/// `f_type` of overlayfs.
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
/// On an upper directory: what is below it in the lower tree does not show.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// On an upper inode that was copied up: the inode number that it had.
const ORIGIN: &[u8] = b"trusted.overlay.origin";
/// What all attributes of this file system's own begin with.
const OWN_XATTRS: &[u8] = b"trusted.overlay.";
/// Added to numbers of inodes that were born in the upper tree, to keep them apart from the lower tree's.
const UPPER_INO: u64 = 1 << 46;

/// An overlay.
pub struct OverlayFs {
    shared: Arc<Shared>,
    root: Arc<OverlayInode>,
}

/// What all inodes of one overlay share.
struct Shared {
    device: u64,
    /// The upper root, where files without a name are made; `None` if nothing can be written.
    upper_root: Option<Arc<dyn Inode>>,
    inodes: InodeTable<Key, OverlayInode>,
}

/// What an inode in use is found by, so that there are never two of the same file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// By its number in the upper tree.
    Upper(u64),
    /// By its number in the lower tree and its place, since a second name of the same file is copied up on its own.
    Lower { ino: u64, device: u64, parent: u64, name_hash: u64 },
}

impl inode_table::Key for Key {
    fn hash(&self) -> u64 {
        match *self {
            Key::Upper(ino) => spread(ino),
            Key::Lower { ino, device, parent, name_hash } => {
                spread(ino ^ spread(device)) ^ spread(parent ^ spread(name_hash))
            }
        }
    }
}

impl OverlayFs {
    /// Lays the tree of `upper` over that of `lower`.
    pub fn new(lower: Arc<dyn Inode>, upper: Arc<dyn Inode>) -> Arc<OverlayFs> {
        OverlayFs::build(lower, Some(upper))
    }

    fn build(lower: Arc<dyn Inode>, upper: Option<Arc<dyn Inode>>) -> Arc<OverlayFs> {
        let device = new_device_number();
        let shared = Arc::new(Shared { device, upper_root: upper.clone(), inodes: InodeTable::new() });
        let root = OverlayInode::new_root(&shared, upper, lower);
        Arc::new(OverlayFs { shared, root })
    }
}

impl FileSystem for OverlayFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        let memory = crate::mem::stats();
        let pages = |bytes: u64| bytes / 4096;
        Ok(StatFs {
            magic: OVERLAYFS_MAGIC,
            block_size: 4096,
            blocks: pages(memory.total),
            blocks_free: pages(memory.available),
            blocks_available: pages(memory.available),
            files: pages(memory.total),
            files_free: pages(memory.available),
            id: self.shared.device,
            name_max: super::NAME_MAX as u64,
        })
    }

    fn name(&self) -> &'static str {
        "overlay"
    }

    fn sync(&self) -> Result<()> {
        match &self.shared.upper_root {
            Some(upper) => upper.sync(false),
            None => Ok(()),
        }
    }

    fn is_read_only(&self) -> bool {
        self.shared.upper_root.is_none()
    }
}

/// Mounts by the options `lowerdir=A:B…`, `upperdir=`, `workdir=`.
pub(super) fn make(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let (mut lowers, mut upper, mut work) = (Vec::new(), None, None);
    let find = |path: &[u8]| -> Result<PathRef> {
        let place = request.caller.resolve(Start::Current, path, true)?;
        if place.is_directory() { Ok(place) } else { Err(Errno::ENOTDIR) }
    };
    for option in request.options.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
        let equals = option.iter().position(|&byte| byte == b'=').unwrap_or(option.len());
        let (key, value) = option.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"lowerdir" => {
                for path in value.split(|&byte| byte == b':') {
                    lowers.push(find(path)?);
                }
            }
            b"upperdir" => upper = Some(find(value)?),
            b"workdir" => work = Some(find(value)?),
            b"index" | b"xino" | b"redirect_dir" | b"metacopy" | b"userxattr" | b"volatile" | b"nfs_export" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if upper.is_some() != work.is_some() {
        return Err(Errno::EINVAL);
    }
    let lowest = lowers.pop().ok_or(Errno::EINVAL)?;
    let lower = lowers.into_iter().rev().fold(lowest.inode().clone(), |below, layer| {
        let stacked = OverlayFs::build(below, Some(layer.inode().clone()));
        stacked.root()
    });
    Ok(OverlayFs::build(lower, upper.map(|place| place.inode().clone())))
}

#[cfg(test)]
mod tests;
