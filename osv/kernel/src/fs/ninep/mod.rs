//! The 9P file system: directories of the host, by the protocol 9P2000.L over virtio.
//!
//! [`codec`] is the wire format, [`client`] a session with the server, `inode` what the VFS sees. What is cached, and for
//! how long a change on the host goes unnoticed:
//! - on a mount that the host shares read-only, names (those that exist and those that do not) stay cached as long as the VFS
//!   likes, since the host's programs and libraries are taken to be stable while a VM runs; attributes are asked for again
//!   after `ATTRIBUTES_STABLE_NS` (5 s);
//! - on a writable mount names are looked up anew each time, and attributes after `ATTRIBUTES_SHARED_NS` (1 s);
//! - file contents are cached by page, shared by reads and mappings, and dropped when new attributes show another size or
//!   modification time. Writes go through to the host before `write` returns; pages that are changed through a shared
//!   mapping go there at `msync`, `fsync`, `sync` and when the mount ends.

pub mod client;
pub mod codec;
mod inode;

use alloc::sync::Arc;
use alloc::vec::Vec;

use self::client::{Client, Fid};
use self::codec::{Attr, Qid};
use self::inode::NinePInode;
use super::inode_table::InodeTable;
use super::{FileSystem, FileType, Inode, StatFs, new_device_number};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// How long attributes are believed where only the host could change them.
const ATTRIBUTES_STABLE_NS: u64 = 5_000_000_000;
/// How long attributes are believed on a writable mount.
const ATTRIBUTES_SHARED_NS: u64 = 1_000_000_000;
/// The magic number of the file system type.
const MAGIC: u64 = 0x0102_1997;

/// What the inodes of a mount have in common.
struct Mount {
    dev: u64,
    is_writable: bool,
    inodes: InodeTable<u64, NinePInode>,
    /// Inodes with pages that were changed through mappings.
    dirty: SpinLock<Vec<Arc<NinePInode>>>,
}

/// A mounted directory of the host.
pub struct NinePFs {
    mount: Arc<Mount>,
    root: Arc<NinePInode>,
}

impl NinePFs {
    /// Mounts what the server of mount tag `tag` serves. ENODEV if there is no such server.
    pub fn mount(tag: &[u8], is_writable: bool) -> Result<Arc<Self>> {
        let (fid, qid) = Client::connect(tag, b"")?;
        let attr = fid.attributes()?;
        let mount = Arc::new(Mount {
            dev: new_device_number(),
            is_writable,
            inodes: InodeTable::new(),
            dirty: SpinLock::new(Vec::new()),
        });
        let root = mount.inode(fid, qid, attr)?;
        if root.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(Arc::new(Self { mount, root }))
    }
}

impl Mount {
    fn attributes_valid_ns(&self) -> u64 {
        if self.is_writable { ATTRIBUTES_SHARED_NS } else { ATTRIBUTES_STABLE_NS }
    }

    /// The inode of the file `qid`, whose fid and attributes were just fetched: the one that is in use already, or a new one.
    fn inode(self: &Arc<Self>, fid: Fid, qid: Qid, attr: Attr) -> Result<Arc<NinePInode>> {
        if let Some(present) = self.inodes.get(qid.path).filter(|inode| inode.is_same_file(&attr)) {
            present.learn(attr);
            return Ok(present);
        }
        let new = NinePInode::new(Arc::clone(self), fid, qid, attr)?;
        self.inodes.insert(qid.path, &new);
        Ok(new)
    }
}

impl FileSystem for NinePFs {
    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root) as Arc<dyn Inode>
    }

    fn statfs(&self) -> Result<StatFs> {
        let statistics = self.root.fid().statistics()?;
        Ok(StatFs {
            magic: MAGIC,
            block_size: u64::from(statistics.block_size),
            blocks: statistics.blocks,
            blocks_free: statistics.blocks_free,
            blocks_available: statistics.blocks_available,
            files: statistics.files,
            files_free: statistics.files_free,
            id: statistics.id,
            name_max: u64::from(statistics.name_max),
        })
    }

    fn name(&self) -> &'static str {
        "9p"
    }

    fn sync(&self) -> Result<()> {
        let dirty = core::mem::take(&mut *self.mount.dirty.lock());
        dirty.iter().try_for_each(|inode| inode.write_back(0, u64::MAX))
    }

    fn is_read_only(&self) -> bool {
        !self.mount.is_writable
    }

    fn show_options(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",trans=virtio,version=9p2000.L,cache=mmap");
    }
}
