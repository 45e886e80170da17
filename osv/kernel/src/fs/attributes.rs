//! What `stat` and `statfs` tell: types, permissions, owners, sizes, times, and changes to them.
//!
//! Plain values in Linux' terms but not in its layouts; the system calls encode them. Device numbers are in the
//! encoding of `st_dev` in `struct stat` (12-bit major, 20-bit minor, interleaved).

use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general;

/// The type of an inode: it never changes during the inode's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum FileType {
    Fifo = 1,
    CharDevice = 2,
    Directory = 4,
    BlockDevice = 6,
    Regular = 8,
    Symlink = 10,
    Socket = 12,
}

impl FileType {
    /// The type's bits of `st_mode`.
    pub const fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }

    /// `d_type` of a directory entry.
    pub const fn dirent_type(self) -> u8 {
        self as u8
    }

    /// The type that the upper bits of an `st_mode` name.
    pub const fn from_mode(mode: u32) -> Option<FileType> {
        Some(match (mode & general::S_IFMT) >> 12 {
            1 => FileType::Fifo,
            2 => FileType::CharDevice,
            4 => FileType::Directory,
            6 => FileType::BlockDevice,
            8 => FileType::Regular,
            10 => FileType::Symlink,
            12 => FileType::Socket,
            _ => return None,
        })
    }
}

/// A point in time: seconds since 1970 and nanoseconds below one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: u32,
}

impl Timespec {
    /// The time `ns` nanoseconds after 1970 began.
    pub const fn from_nanos(ns: u64) -> Timespec {
        Timespec { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
    }
}

/// What `stat` tells of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Device number of the file system.
    pub dev: u64,
    /// Inode number; never changes while the inode exists.
    pub ino: u64,
    /// Type.
    pub kind: FileType,
    /// Permission bits, set-id and sticky bits (07777).
    pub mode: u16,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Storage in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of an access.
    pub block_size: u32,
    /// Last access.
    pub atime: Timespec,
    /// Last change of the contents.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
    /// Birth, where the file system knows it.
    pub btime: Option<Timespec>,
}

impl Metadata {
    /// Metadata of an object without history, for generated files and anonymous objects: one link, owned by root.
    pub const fn new(dev: u64, ino: u64, kind: FileType, mode: u16) -> Metadata {
        let epoch = Timespec { sec: 0, nsec: 0 };
        Metadata {
            dev,
            ino,
            kind,
            mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            block_size: 4096,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            btime: None,
        }
    }

    /// `st_mode`: type and permissions. Eventfds and their like have no type.
    pub const fn st_mode(&self) -> u32 {
        let is_typeless = self.dev == super::ANONYMOUS_DEVICE && matches!(self.kind, FileType::Regular);
        if is_typeless { self.mode as u32 } else { self.kind.mode_bits() | self.mode as u32 }
    }

    /// The part that permission checks need.
    pub const fn permissions(&self) -> Permissions {
        Permissions { mode: self.mode, uid: self.uid, gid: self.gid }
    }
}

/// Who may do what with an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A time to set: an explicit one or the moment of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The moment of the call.
    Now,
    /// This time.
    To(Timespec),
}

impl SetTime {
    /// The time that is meant, `present` being the moment of the call.
    pub fn resolve(self, present: Timespec) -> Timespec {
        match self {
            SetTime::Now => present,
            SetTime::To(time) => time,
        }
    }
}

/// Attributes to change; `None` leaves one as it is. The change time always becomes the present.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct SetAttributes {
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
}

/// What `statfs` tells of a file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatFs {
    /// Magic number of the type (`TMPFS_MAGIC` …).
    pub magic: u64,
    /// Unit of the counts below.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Blocks free for ordinary users.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
    /// File system identifier.
    pub id: u64,
    /// Longest name.
    pub name_max: u64,
}

/// Composes a device number.
pub const fn make_device(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

/// The major part of a device number.
pub const fn major(device: u64) -> u32 {
    (((device >> 8) & 0xfff) | ((device >> 32) & !0xfff)) as u32
}

/// The minor part of a device number.
pub const fn minor(device: u64) -> u32 {
    ((device & 0xff) | ((device >> 12) & !0xff)) as u32
}

/// A fresh device number for a file system instance that has no device of its own (major 0, as on Linux).
pub fn new_device_number() -> u64 {
    static NEXT_MINOR: AtomicU32 = AtomicU32::new(1);
    make_device(0, NEXT_MINOR.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_round_trip() {
        for (a, b) in [(1, 3), (5, 1), (0xfff, 0xfffff), (0, 300)] {
            let device = make_device(a, b);
            assert_eq!((major(device), minor(device)), (a, b));
        }
        assert_eq!(make_device(1, 3), 0x103);
    }

    #[test]
    fn types_and_mode_bits_agree() {
        assert_eq!(FileType::from_mode(0o100644), Some(FileType::Regular));
        assert_eq!(FileType::Directory.mode_bits(), 0o040000);
        assert_eq!(FileType::from_mode(0), None);
    }
}
