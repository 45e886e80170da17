//! Files: what a path names and what a file descriptor acts on.
//!
//! Two traits are the contract of every file system and device. An [`Inode`] is one object of a [`FileSystem`]
//! (regular file, directory, symlink, device node …); it knows nothing of paths, descriptors or processes. A
//! [`File`] is what `read`, `write`, `poll` and `ioctl` act on when an inode alone is not enough: a pipe end, a
//! terminal, an eventfd, a socket, a generated file. Their default methods answer with the errno that Linux gives
//! for an object without that operation, so that an implementation states only what it can do.
//!
//! Everything above the traits is the same for all file systems and lives here once: the dentry cache and path walk,
//! mounts, permission checks, open file descriptions and descriptor tables, locks. File systems therefore check
//! neither permissions nor read-only mounts nor name lengths; they check existence and types (ENOENT, EEXIST,
//! ENOTDIR, EISDIR, ENOTEMPTY), because only they can do it atomically.
//!
//! Locking: no method is called with a spin lock held, so all of them may sleep. Directory-changing methods of one
//! directory (`create`, `link`, `unlink`, `rmdir`, `rename`) and its uncached `lookup`s are serialised by the VFS;
//! everything else comes from any CPU at any time.

#![forbid(unsafe_code)]

pub mod access;
pub mod anonymous;
mod attributes;
mod caller;
mod change;
pub mod clock;
pub mod console;
pub mod dentry;
pub mod devfs;
pub mod device;
pub mod devpts;
mod directory;
pub mod erofs;
mod fd_table;
mod file;
pub mod generated;
pub mod init;
mod inode;
mod inode_table;
pub mod locks;
mod memfd;
pub mod mount;
pub mod mount_builder;
pub mod mounting;
pub mod name;
mod namespace;
pub mod ninep;
pub mod nsfs;
mod open;
mod open_file;
pub mod overlay;
mod path;
pub mod pipe;
pub mod procfs;
pub mod ramfs;
mod rename;
pub mod signal_driven;
mod stream;
pub mod sysfs;
pub mod text;
pub mod tty;
pub mod types;
mod walk;

pub use access::{Access, Subject};
pub use attributes::{
    FileType, Metadata, Permissions, SetAttributes, SetTime, StatFs, Timespec, major, make_device, minor,
    new_device_number,
};
pub use caller::Caller;
pub use fd_table::{FdTable, MAX_FDS};
pub use file::{File, IoFlags, OpenFlags, SeekFrom};
pub use inode::{DirEntry, FileSystem, Inode, NewInode, NewKind, RenameFlags, XattrFlags};
pub use memfd::create_memfd;
pub use mount::{Mount, MountFlags, SuperBlock};
pub use namespace::MountNamespace;
pub use open_file::{OpenFile, checked_position};
pub use path::{FsContext, PathRef};
pub use stream::{Stream, flush_all as flush_streams};
pub use walk::{Follow, Last, LastKind, ResolveFlags, Start, Walker};

/// Longest path that a system call takes, the terminating NUL included.
pub const PATH_MAX: usize = 4096;
/// Longest name of one directory entry.
pub const NAME_MAX: usize = 255;
/// Largest file offset.
pub const OFFSET_MAX: u64 = i64::MAX as u64;
/// Device number of objects that are in no tree: pipes, sockets, eventfds.
pub const ANONYMOUS_DEVICE: u64 = make_device(0, 0xff);

#[cfg(test)]
mod tests;
