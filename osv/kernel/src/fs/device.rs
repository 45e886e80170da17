//! Special inodes: what opening a device node leads to, by its type and number, on whatever file system it lies.

use alloc::sync::Arc;

use super::{File, FileType, Inode, OpenFlags};
use crate::errno::{Errno, Result};

/// Opens `inode` if it is a special one; `None` for regular files, directories and symlinks.
pub fn open_special(inode: &dyn Inode, _flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
    match inode.kind() {
        FileType::Regular | FileType::Directory | FileType::Symlink => Ok(None),
        FileType::CharDevice | FileType::BlockDevice | FileType::Socket | FileType::Fifo => Err(Errno::ENXIO),
    }
}
