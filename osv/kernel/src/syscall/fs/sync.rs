//! Writing back and reading ahead: `fsync(2)`, `sync(2)`, `readahead(2)`, `posix_fadvise(2)`.

use linux_raw_sys::general;

use super::{file, usable_file};
use crate::errno::Errno;
use crate::fs::FileType;
use crate::fs::pipe::PipeEnd;
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// Writes a file back. <https://man7.org/linux/man-pages/man2/fsync.2.html>
pub fn fsync(fd: Fd) -> SysResult {
    usable_file(fd)?.sync(false)?;
    Ok(0)
}

/// Writes a file's data back. <https://man7.org/linux/man-pages/man2/fdatasync.2.html>
pub fn fdatasync(fd: Fd) -> SysResult {
    usable_file(fd)?.sync(true)?;
    Ok(0)
}

/// Writes everything back. <https://man7.org/linux/man-pages/man2/sync.2.html>
pub fn sync() -> SysResult {
    let root = current_task().fs().root();
    for mount in crate::fs::mounting::top_mount(&root).tree() {
        // As on Linux, nobody hears of failures here.
        let _ = mount.file_system().sync();
    }
    Ok(0)
}

/// Writes a file system back. <https://man7.org/linux/man-pages/man2/syncfs.2.html>
pub fn syncfs(fd: Fd) -> SysResult {
    if let Some(place) = usable_file(fd)?.path() {
        place.mount().file_system().sync()?;
    }
    Ok(0)
}

/// Writes part of a file back. <https://man7.org/linux/man-pages/man2/sync_file_range.2.html>
pub fn sync_file_range(fd: Fd, offset: i64, len: i64, flags: u32) -> SysResult {
    let known =
        general::SYNC_FILE_RANGE_WAIT_BEFORE | general::SYNC_FILE_RANGE_WRITE | general::SYNC_FILE_RANGE_WAIT_AFTER;
    let file = usable_file(fd)?;
    if flags & !known != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    match file.inode().map(|inode| inode.kind()) {
        Some(FileType::Regular | FileType::Directory | FileType::BlockDevice | FileType::Symlink) => {}
        _ => return Err(Errno::ESPIPE),
    }
    if file.has_positions() && file.file().is_none() {
        file.sync(true)?;
    }
    Ok(0)
}

/// Says that part of a file will be needed. <https://man7.org/linux/man-pages/man2/readahead.2.html>
pub fn readahead(fd: Fd, _offset: i64, _count: usize) -> SysResult {
    let file = file(fd)?;
    file.check_readable()?;
    match file.inode().map(|inode| inode.kind()) {
        Some(FileType::Regular) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// Says how a file will be used; nothing has to follow from it. <https://man7.org/linux/man-pages/man2/posix_fadvise.2.html>
pub fn fadvise64(fd: Fd, _offset: i64, len: i64, advice: u32) -> SysResult {
    let file = usable_file(fd)?;
    if file.downcast::<PipeEnd>().is_some() {
        return Err(Errno::ESPIPE);
    }
    if len < 0 || advice > general::POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}
