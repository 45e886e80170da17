//! The contract of file systems: [`Inode`] and [`FileSystem`].

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux_raw_sys::general;

use super::{File, FileType, Metadata, OpenFlags, PathRef, Permissions, SetAttributes, StatFs};
use crate::errno::{Errno, Result};
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};

/// One object of a file system. See the module's introduction for who checks what.
pub trait Inode: Any + Send + Sync {
    /// What `stat` tells.
    fn metadata(&self) -> Result<Metadata>;

    /// The type; constant for the life of the inode.
    fn kind(&self) -> FileType;

    /// Mode and owners; implement it where it is cheaper than the whole metadata.
    fn permissions(&self) -> Result<Permissions> {
        Ok(self.metadata()?.permissions())
    }

    /// Size in bytes; implement it where it is cheaper than the whole metadata.
    fn size(&self) -> Result<u64> {
        Ok(self.metadata()?.size)
    }

    /// Changes mode, owners or times; the caller has checked permissions.
    fn set_attributes(&self, _change: &SetAttributes) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// The entry `name` of this directory (ENOENT). Never asked for `.` and `..`.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOTDIR)
    }

    /// Whether the dentry cache may keep what `lookup` of this directory finds or does not find.
    fn is_cacheable(&self) -> bool {
        true
    }

    /// Makes a new inode and enters it as `name` (EEXIST).
    fn create(&self, _name: &[u8], new: &NewInode) -> Result<Arc<dyn Inode>> {
        Err(if matches!(new.kind, NewKind::Regular) { Errno::EACCES } else { Errno::EPERM })
    }

    /// Makes a regular file without a name (O_TMPFILE); `link` may give it one later.
    fn create_unnamed(&self, _new: &NewInode) -> Result<Arc<dyn Inode>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Enters `target`, an inode of the same file system and no directory, as `name` (EEXIST).
    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes the entry `name`, which is no directory.
    fn unlink(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes the empty directory `name` (ENOTEMPTY).
    fn rmdir(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Moves the entry `old` to `new_name` of `new_dir` (same file system, perhaps the same directory), replacing what is
    /// there unless `flags` says otherwise. The caller has made sure that no directory moves into itself.
    fn rename(&self, _old: &[u8], _new_dir: &Arc<dyn Inode>, _new: &[u8], _flags: RenameFlags) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Hands entries from `cookie` on to `emit` until that returns false (the entry was not taken) or the end is reached.
    ///
    /// `cookie` is 0 for the beginning or the `next` of an entry handed out before. The entries `.` and `..` are the
    /// VFS's: skip them.
    fn read_dir(&self, _cookie: u64, _emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }

    /// The target of a symlink.
    fn read_link(&self) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    /// Where a magic link of procfs leads, whatever its text says.
    fn follow(&self) -> Option<Result<PathRef>> {
        None
    }

    /// Opens: generated files and the like bring a [`File`] of their own; `None` says that the inode's own `read_at`,
    /// `write_at`, `read_dir` … serve, or, for device nodes and FIFOs, what [`super::device`] knows by the number.
    /// O_TRUNC and O_APPEND are the VFS's affair.
    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        Ok(None)
    }

    /// Reads at `offset`; 0 at or after the end.
    fn read_at(&self, _offset: u64, _dst: &mut Dest<'_>) -> Result<usize> {
        Err(if self.kind() == FileType::Directory { Errno::EISDIR } else { Errno::EINVAL })
    }

    /// Writes at `offset`, growing the file as needed.
    fn write_at(&self, _offset: u64, _src: &mut Source<'_>) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes at the end, atomically with respect to other appends; the count and the position after it.
    fn append(&self, src: &mut Source<'_>) -> Result<(usize, u64)> {
        let end = self.size()?;
        let count = self.write_at(end, src)?;
        Ok((count, end + count as u64))
    }

    /// Sets the size.
    fn truncate(&self, _len: u64) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// Allocates or frees storage; `mode` has `FALLOC_FL_*` bits.
    fn fallocate(&self, _mode: u32, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The first offset from `offset` on that has data (ENXIO at or after the end).
    fn seek_data(&self, offset: u64) -> Result<u64> {
        if offset < self.size()? { Ok(offset) } else { Err(Errno::ENXIO) }
    }

    /// The first offset from `offset` on that is a hole; the end counts as one (ENXIO at or after the end).
    fn seek_hole(&self, offset: u64) -> Result<u64> {
        let size = self.size()?;
        if offset < size { Ok(size) } else { Err(Errno::ENXIO) }
    }

    /// The pages of a regular file, for mappings and execution; `None` if it cannot be mapped.
    fn pages(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        None
    }

    /// Writes back what is only in memory.
    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }

    /// The value of an extended attribute (ENODATA).
    fn get_xattr(&self, _name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets an extended attribute.
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: XattrFlags) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The names of all extended attributes, each ended by NUL.
    fn list_xattrs(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Removes an extended attribute (ENODATA).
    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The seals of a memfd (`F_SEAL_*`); `None` if the file knows none.
    fn seals(&self) -> Option<u32> {
        None
    }

    /// Adds seals.
    fn add_seals(&self, _seals: u32) -> Result<()> {
        Err(Errno::EINVAL)
    }
}

/// One mounted or mountable file system instance.
pub trait FileSystem: Send + Sync {
    /// Its root directory; always the same inode.
    fn root(&self) -> Arc<dyn Inode>;

    /// What `statfs` tells.
    fn statfs(&self) -> Result<StatFs>;

    /// The type's name as in `/proc/filesystems`.
    fn name(&self) -> &'static str;

    /// Writes back everything that is only in memory.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Changes mount options (`MS_REMOUNT`): a list as `mount` takes it. EINVAL for what cannot be changed so.
    fn reconfigure(&self, _options: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Whether nothing in it can ever be written (EROFS whatever the mount says).
    fn is_read_only(&self) -> bool {
        false
    }

    /// Options to show in `/proc/mounts` after `rw` or `ro`, each with a leading comma.
    fn show_options(&self, _out: &mut Vec<u8>) {}
}

/// One entry that [`Inode::read_dir`] hands out.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its inode number.
    pub ino: u64,
    /// Its type.
    pub kind: FileType,
    /// The cookie that continues after this entry: at least 3 and at most `i64::MAX`.
    pub next: u64,
}

/// An inode to make.
#[derive(Clone, Copy, Debug)]
pub struct NewInode<'a> {
    /// What it is.
    pub kind: NewKind<'a>,
    /// Permission bits, the umask already taken off.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The type of an inode to make, with what belongs to it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum NewKind<'a> {
    Regular,
    Directory,
    Symlink(&'a [u8]),
    CharDevice(u64),
    BlockDevice(u64),
    Fifo,
    Socket,
}

impl NewKind<'_> {
    /// The type that the new inode will have.
    pub const fn file_type(&self) -> FileType {
        match self {
            NewKind::Regular => FileType::Regular,
            NewKind::Directory => FileType::Directory,
            NewKind::Symlink(_) => FileType::Symlink,
            NewKind::CharDevice(_) => FileType::CharDevice,
            NewKind::BlockDevice(_) => FileType::BlockDevice,
            NewKind::Fifo => FileType::Fifo,
            NewKind::Socket => FileType::Socket,
        }
    }
}

bitflags::bitflags! {
    /// Flags of `renameat2`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        /// Refuse to replace (EEXIST).
        const NOREPLACE = general::RENAME_NOREPLACE;
        /// Swap the two.
        const EXCHANGE = general::RENAME_EXCHANGE;
        /// Leave a whiteout behind.
        const WHITEOUT = general::RENAME_WHITEOUT;
    }

    /// Flags of `setxattr`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct XattrFlags: u32 {
        /// Refuse to replace (EEXIST).
        const CREATE = 1;
        /// Refuse to create (ENODATA).
        const REPLACE = 2;
    }
}
