//! Sizes and storage: `truncate(2)`, `ftruncate(2)`, `fallocate(2)`; what changes of contents bring along.

use linux_raw_sys::general;

use super::{CURRENT, as_caller, at_place, file};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};
use crate::fs::pipe::PipeEnd;
use crate::fs::{FileType, PathRef};
use crate::mem::user::UserAddr;
use crate::process::limits::Resource;
use crate::process::signal::{Signal, SignalInfo, send};
use crate::process::{current_process, current_task};
use crate::syscall::{Fd, SysResult};

/// Sets the size of a file. <https://man7.org/linux/man-pages/man2/truncate.2.html>
pub fn truncate(path: UserAddr, len: i64) -> SysResult {
    let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
    at_place(CURRENT, path, 0, |caller, place| {
        check_limit(len)?;
        caller.truncate(place, len)
    })?;
    Ok(0)
}

/// As `truncate`, of an open file. <https://man7.org/linux/man-pages/man2/ftruncate.2.html>
pub fn ftruncate(fd: Fd, len: i64) -> SysResult {
    let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
    let file = file(fd)?;
    if file.is_place() {
        return Err(Errno::EBADF);
    }
    let inode = file.inode().filter(|inode| inode.kind() == FileType::Regular).ok_or(Errno::EINVAL)?;
    if !file.flags().is_writable() {
        return Err(Errno::EINVAL);
    }
    check_limit(len)?;
    inode.truncate(len)?;
    file.path().map_or(Ok(0), changed)
}

/// Allocates or frees storage. <https://man7.org/linux/man-pages/man2/fallocate.2.html>
pub fn fallocate(fd: Fd, mode: u32, offset: i64, len: i64) -> SysResult {
    let file = file(fd)?;
    if offset < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    let (offset, len) = (offset as u64, len as u64);
    let punches = mode & general::FALLOC_FL_PUNCH_HOLE != 0;
    if punches && mode & general::FALLOC_FL_KEEP_SIZE == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    file.check_writable()?;
    let Some(inode) = file.inode() else {
        return Err(if file.downcast::<PipeEnd>().is_some() { Errno::ESPIPE } else { Errno::ENODEV });
    };
    match inode.kind() {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE),
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    let end = offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EFBIG)?;
    if mode & general::FALLOC_FL_KEEP_SIZE == 0 {
        check_limit(end)?;
    }
    inode.fallocate(mode, offset, len)?;
    file.path().map_or(Ok(0), changed)
}

fn changed(place: &PathRef) -> SysResult {
    contents_changed(place)?;
    inotify::on_file(place, NotifyMask::MODIFY);
    Ok(0)
}

/// SIGXFSZ and EFBIG for a size that the process may not give to files (RLIMIT_FSIZE).
fn check_limit(len: u64) -> Result<()> {
    if len <= current_process().limit(Resource::FileSize) {
        return Ok(());
    }
    too_large();
    Err(Errno::EFBIG)
}

/// Tells the task that it has tried to make a file larger than it may.
pub(in crate::syscall) fn too_large() {
    let info = SignalInfo::from_kernel(Signal::SIGXFSZ);
    // It fails only if the queue of real-time signals is full, and this is none.
    let _ = send::to_task(current_task().task(), Signal::SIGXFSZ, info);
}

/// Tells the task that nobody reads what it writes.
pub(super) fn broken_pipe() {
    send::broken_pipe();
}

/// The contents of the file at `place` have changed through a descriptor.
#[inline(always)]
pub(super) fn contents_changed(place: &PathRef) -> Result<()> {
    as_caller(|caller| caller.drop_set_id(place))
}
