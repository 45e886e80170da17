//! EROFS: the read-only root image, mapped in place.
//!
//! An image is a row of pages ([`Image`]): RAM that the boot loader filled, or a disk behind a page cache. Files of such an image
//! are whole blocks of it, so that a page of a file *is* a page of the image: nothing is copied or cached twice, and
//! a file's pages go straight into page tables. Only the last part of a file that is stored with its inode is copied
//! to a page of its own when it is first asked for. Compressed files and files in chunks are not supported (EOPNOTSUPP).
//!
//! Every number in an image is hostile: what leads outside of it, or cannot be, is EUCLEAN as on Linux. Own code instead
//! of the crate `erofs-rs`, whose reader copies and keeps file data in `bytes::Bytes`, where ours must give out pages.

pub mod format;
mod image;
mod inode;

use alloc::sync::Arc;

use self::format::Superblock;
pub use self::image::Image;
use self::inode::ErofsInode;
use super::inode_table::InodeTable;
use super::{FileSystem, FileType, Inode, StatFs, new_device_number};
use crate::errno::{Errno, Result};

/// What the inodes of a mounted image have in common.
struct Volume {
    image: Image,
    superblock: Superblock,
    dev: u64,
    inodes: InodeTable<u64, ErofsInode>,
}

/// A mounted image.
pub struct ErofsFs {
    volume: Arc<Volume>,
    root: Arc<ErofsInode>,
}

impl ErofsFs {
    /// Mounts an image: EINVAL if it is none, EUCLEAN if its root cannot be read.
    pub fn mount(image: Image) -> Result<Arc<Self>> {
        let mut bytes = [0; format::SUPERBLOCK_LEN];
        image.read(format::SUPERBLOCK_AT, &mut bytes).map_err(|_| Errno::EINVAL)?;
        let superblock = Superblock::parse(&bytes).ok_or(Errno::EINVAL)?;
        let volume = Arc::new(Volume { image, superblock, dev: new_device_number(), inodes: InodeTable::new() });
        let root = volume.inode(superblock.root)?;
        if root.kind() != FileType::Directory {
            return Err(Errno::EUCLEAN);
        }
        Ok(Arc::new(Self { volume, root }))
    }
}

impl Volume {
    /// The inode with number `nid`: the one that is in use already, or a new one.
    fn inode(self: &Arc<Self>, nid: u64) -> Result<Arc<ErofsInode>> {
        if let Some(present) = self.inodes.get(nid) {
            return Ok(present);
        }
        Ok(self.inodes.insert_or_get(nid, ErofsInode::read(Arc::clone(self), nid)?))
    }
}

impl FileSystem for ErofsFs {
    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root) as Arc<dyn Inode>
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs {
            magic: u64::from(format::MAGIC),
            block_size: format::BLOCK,
            blocks: self.volume.superblock.blocks,
            files: self.volume.superblock.inodes,
            id: self.volume.dev,
            name_max: super::NAME_MAX as u64,
            ..StatFs::default()
        })
    }

    fn name(&self) -> &'static str {
        "erofs"
    }

    fn is_read_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
