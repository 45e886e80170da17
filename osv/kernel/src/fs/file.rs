//! The contract of what a file descriptor acts on: [`File`].

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux_raw_sys::general;

use super::generated::Text;
use super::{Metadata, SetAttributes, attributes::FileType};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};

bitflags::bitflags! {
    /// The flags of `open(2)`: access mode, creation flags and status flags in Linux' bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Write only (together with `RDWR` the access mode).
        const WRONLY = general::O_WRONLY;
        /// Read and write.
        const RDWR = general::O_RDWR;
        /// Create if missing.
        const CREAT = general::O_CREAT;
        /// Fail if present.
        const EXCL = general::O_EXCL;
        /// Do not become the controlling terminal.
        const NOCTTY = general::O_NOCTTY;
        /// Empty the file.
        const TRUNC = general::O_TRUNC;
        /// Write at the end always.
        const APPEND = general::O_APPEND;
        /// Never wait.
        const NONBLOCK = general::O_NONBLOCK;
        /// Data reaches storage before a write returns.
        const DSYNC = general::O_DSYNC;
        /// Signal-driven I/O.
        const ASYNC = general::FASYNC;
        /// Past the page cache.
        const DIRECT = general::O_DIRECT;
        /// Large files; always so, shown by F_GETFL as on Linux never.
        const LARGEFILE = general::O_LARGEFILE;
        /// Only a directory will do.
        const DIRECTORY = general::O_DIRECTORY;
        /// Do not follow a final symlink.
        const NOFOLLOW = general::O_NOFOLLOW;
        /// Do not update the access time.
        const NOATIME = general::O_NOATIME;
        /// Close on exec.
        const CLOEXEC = general::O_CLOEXEC;
        /// Like DSYNC, with metadata (the bit beside DSYNC).
        const SYNC = general::O_SYNC;
        /// A place in the tree, not its contents.
        const PATH = general::O_PATH;
        /// An unnamed file in this directory (the bit beside DIRECTORY).
        const TMPFILE = general::O_TMPFILE;
    }

    /// How one read or write behaves.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IoFlags: u32 {
        /// Return EAGAIN instead of waiting.
        const NONBLOCK = 1;
    }
}

impl OpenFlags {
    /// Whether the access mode allows reading.
    #[inline(always)]
    pub const fn is_readable(self) -> bool {
        self.bits() & (general::O_ACCMODE | general::O_PATH) == general::O_RDONLY
            || self.bits() & (general::O_ACCMODE | general::O_PATH) == general::O_RDWR
    }

    /// Whether the access mode allows writing.
    #[inline(always)]
    pub const fn is_writable(self) -> bool {
        let mode = self.bits() & (general::O_ACCMODE | general::O_PATH);
        mode == general::O_WRONLY || mode == general::O_RDWR
    }
}

/// A new position as `lseek` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// From the beginning.
    Start(i64),
    /// From the current position.
    Current(i64),
    /// From the end.
    End(i64),
    /// The next data.
    Data(i64),
    /// The next hole.
    Hole(i64),
}

/// What `read`, `write`, `poll` and `ioctl` act on. One `File` serves all descriptors of one open file description; it is
/// dropped when the last of them is closed.
pub trait File: Any + Send + Sync {
    /// Whether the file has positions: then reads and writes arrive by `read_at` and `write_at` and the description
    /// keeps the position; otherwise by `read` and `write`.
    fn is_positioned(&self) -> bool {
        false
    }

    /// Whether `read_at` and `write_at` work. Files without positions may have them, too: `/dev/zero`.
    fn takes_offsets(&self) -> bool {
        self.is_positioned()
    }

    /// Reads what comes next, waiting for it unless NONBLOCK (EAGAIN).
    fn read(&self, _dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes, waiting for room unless NONBLOCK (EAGAIN).
    fn write(&self, _src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Reads at `offset`.
    fn read_at(&self, _offset: u64, _dst: &mut Dest<'_>) -> Result<usize> {
        Err(Errno::ESPIPE)
    }

    /// Writes at `offset`.
    fn write_at(&self, _offset: u64, _src: &mut Source<'_>) -> Result<usize> {
        Err(Errno::ESPIPE)
    }

    /// The position that `from` means when the present one is `current`.
    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64> {
        Err(Errno::ESPIPE)
    }

    /// Device control; `arg` is a number or an address in the program, as `command` defines.
    fn ioctl(&self, _command: u32, _arg: u64) -> Result<u64> {
        Err(Errno::ENOTTY)
    }

    /// What would not block now.
    fn readiness(&self) -> PollEvents {
        PollEvents::ALWAYS_READY
    }

    /// Where to wait for changes of the readiness; `None` if it never changes.
    fn pollee(&self) -> Option<&Pollee> {
        None
    }

    /// Whether readiness may be told by signals (O_ASYNC).
    fn can_signal(&self) -> bool {
        false
    }

    /// The pages that a mapping of this file shows.
    fn mapping(&self) -> Result<Arc<dyn PageSource>> {
        Err(Errno::ENODEV)
    }

    /// What `fstat` tells of a file that is not in the tree; one in the tree is asked through its inode.
    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(super::ANONYMOUS_DEVICE, 1, FileType::Regular, 0o600))
    }

    /// Changes mode or owners of a file that is not in the tree.
    fn set_attributes(&self, _change: &SetAttributes) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The text of the link in `/proc/self/fd` of a file that is not in the tree, as `anon_inode:[eventfd]`.
    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[unknown]");
    }

    /// What `/proc/PID/fdinfo` says beyond what it says of all files.
    fn describe(&self, _out: &mut Text) {}

    /// The description was opened with these status flags, or they changed by F_SETFL.
    fn set_status(&self, _flags: OpenFlags) {}

    /// The last descriptor was closed.
    fn on_close(&self) {}
}
