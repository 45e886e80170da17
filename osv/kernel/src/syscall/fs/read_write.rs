//! Reading and writing: `read(2)`, `pread(2)`, `readv(2)` and their writing counterparts; `lseek(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general;

use super::{file, hot_file};
use crate::errno::{Errno, Result};
use crate::fs::{FileType, IoFlags, OpenFile, OpenFlags, SeekFrom};
use crate::mem::user::{Dest, Iovecs, Source, UserAddr, UserSlice};
use crate::process::current_process;
use crate::process::limits::{INFINITY, Resource};
use crate::syscall::{Fd, SysResult};

/// The most bytes that one call moves.
const MAX_COUNT: usize = 0x7fff_f000;

/// Per-call flags of `preadv2` and `pwritev2` that mean something here.
const RWF_KNOWN: u32 =
    general::RWF_HIPRI | general::RWF_DSYNC | general::RWF_SYNC | general::RWF_NOWAIT | general::RWF_APPEND;

/// Reads from a file. <https://man7.org/linux/man-pages/man2/read.2.html>
pub fn read(fd: Fd, buffer: UserAddr, count: usize) -> SysResult {
    let file = hot_file(fd)?;
    let slice = checked_slice(buffer, count).or_else(|error| file.check_readable().and(Err(error)))?;
    let mut dest = Dest::from_user(slice);
    // Straight to what is no file on a disk.
    if let Some(stream) = file.stream() {
        file.check_readable()?;
        return Ok(stream.read(&mut dest, file.io_flags())? as u64);
    }
    Ok(file.read(&mut dest)? as u64)
}

/// Writes to a file. <https://man7.org/linux/man-pages/man2/write.2.html>
pub fn write(fd: Fd, buffer: UserAddr, count: usize) -> SysResult {
    let file = hot_file(fd)?;
    let slice = checked_slice(buffer, count).or_else(|error| file.check_writable().and(Err(error)))?;
    let mut source = Source::from_user(slice);
    if let Some(stream) = file.stream() {
        file.check_writable()?;
        return finish_stream(stream.write(&mut source, file.io_flags()));
    }
    write_all(&file, &mut source)
}

/// Reads at an offset. <https://man7.org/linux/man-pages/man2/pread.2.html>
pub fn pread64(fd: Fd, buffer: UserAddr, count: usize, offset: i64) -> SysResult {
    let offset = checked_offset(offset)?;
    let file = hot_file(fd)?;
    let slice = checked_slice(buffer, count)?;
    Ok(file.read_at(offset, &mut Dest::from_user(slice))? as u64)
}

/// Writes at an offset. <https://man7.org/linux/man-pages/man2/pwrite.2.html>
pub fn pwrite64(fd: Fd, buffer: UserAddr, count: usize, offset: i64) -> SysResult {
    let offset = checked_offset(offset)?;
    let file = hot_file(fd)?;
    let slice = checked_slice(buffer, count)?;
    write_at(&file, offset, &mut Source::from_user(slice))
}

/// Reads into several buffers. <https://man7.org/linux/man-pages/man2/readv.2.html>
pub fn readv(fd: Fd, pieces: UserAddr, count: usize) -> SysResult {
    let file = file(fd)?;
    file.check_readable()?;
    let pieces = Iovecs::import(pieces.0, count)?;
    Ok(file.read(&mut pieces.dest())? as u64)
}

/// Writes from several buffers. <https://man7.org/linux/man-pages/man2/writev.2.html>
pub fn writev(fd: Fd, pieces: UserAddr, count: usize) -> SysResult {
    let file = file(fd)?;
    file.check_writable()?;
    let pieces = Iovecs::import(pieces.0, count)?;
    write_all(&file, &mut pieces.source())
}

/// Reads into several buffers, at an offset. <https://man7.org/linux/man-pages/man2/preadv.2.html>
pub fn preadv(fd: Fd, pieces: UserAddr, count: usize, offset: i64) -> SysResult {
    let offset = checked_offset(offset)?;
    let file = file(fd)?;
    let pieces = Iovecs::import(pieces.0, count)?;
    Ok(file.read_at(offset, &mut pieces.dest())? as u64)
}

/// Writes from several buffers, at an offset. <https://man7.org/linux/man-pages/man2/pwritev.2.html>
pub fn pwritev(fd: Fd, pieces: UserAddr, count: usize, offset: i64) -> SysResult {
    let offset = checked_offset(offset)?;
    let file = file(fd)?;
    let pieces = Iovecs::import(pieces.0, count)?;
    write_at(&file, offset, &mut pieces.source())
}

/// As `preadv`, with flags; offset -1 means the position. <https://man7.org/linux/man-pages/man2/preadv2.2.html>
pub fn preadv2(fd: Fd, pieces: UserAddr, count: usize, offset: i64, _high: u64, flags: u32) -> SysResult {
    let file = file(fd)?;
    let io_flags = checked_flags(&file, flags)?;
    let pieces = Iovecs::import(pieces.0, count)?;
    if offset == -1 {
        return Ok(file.read_with(&mut pieces.dest(), io_flags)? as u64);
    }
    Ok(file.read_at(checked_offset(offset)?, &mut pieces.dest())? as u64)
}

/// As `pwritev`, with flags; offset -1 means the position. <https://man7.org/linux/man-pages/man2/pwritev2.2.html>
pub fn pwritev2(fd: Fd, pieces: UserAddr, count: usize, offset: i64, _high: u64, flags: u32) -> SysResult {
    let file = file(fd)?;
    let io_flags = checked_flags(&file, flags)?;
    let pieces = Iovecs::import(pieces.0, count)?;
    let mut source = pieces.source();
    let written = if flags & general::RWF_APPEND != 0 {
        limit_append(&file, &mut source)?;
        file.append(&mut source, offset == -1)? as u64
    } else if offset == -1 && file.file().is_some() {
        finish_stream(file.write_with(&mut source, io_flags))?
    } else if offset == -1 {
        write_all(&file, &mut source)?
    } else {
        write_at(&file, checked_offset(offset)?, &mut source)?
    };
    if flags & (general::RWF_DSYNC | general::RWF_SYNC) != 0 && file.has_positions() {
        file.sync(flags & general::RWF_SYNC == 0)?;
    }
    Ok(written)
}

/// Moves the position. <https://man7.org/linux/man-pages/man2/lseek.2.html>
pub fn lseek(fd: Fd, offset: i64, whence: u32) -> SysResult {
    let from = match whence {
        general::SEEK_SET => SeekFrom::Start(offset),
        general::SEEK_CUR => SeekFrom::Current(offset),
        general::SEEK_END => SeekFrom::End(offset),
        general::SEEK_DATA => SeekFrom::Data(offset),
        general::SEEK_HOLE => SeekFrom::Hole(offset),
        _ => return file(fd).and(Err(Errno::EINVAL)),
    };
    file(fd)?.seek(from)
}

#[inline(always)]
fn checked_slice(buffer: UserAddr, count: usize) -> Result<UserSlice> {
    buffer.check(count)?;
    Ok(UserSlice::new(buffer.0, count.min(MAX_COUNT)))
}

fn checked_offset(offset: i64) -> Result<u64> {
    u64::try_from(offset).map_err(|_| Errno::EINVAL)
}

fn checked_flags(file: &Arc<OpenFile>, flags: u32) -> Result<IoFlags> {
    if flags & !RWF_KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut io_flags = file.io_flags();
    io_flags.set(IoFlags::NONBLOCK, io_flags.contains(IoFlags::NONBLOCK) || flags & general::RWF_NOWAIT != 0);
    Ok(io_flags)
}

/// Writes at the position; what the largest file size of the process (RLIMIT_FSIZE) forbids is cut off.
pub(super) fn write_all(file: &Arc<OpenFile>, source: &mut Source<'_>) -> SysResult {
    if file.file().is_some() {
        return finish_stream(file.write(source));
    }
    let limit = current_process().limit(Resource::FileSize);
    if limit != INFINITY {
        let start = if file.flags().contains(OpenFlags::APPEND) { end_of(file)? } else { file.position() };
        limit_size(file, start, source, limit)?;
    }
    finish(file, file.write(source))
}

pub(super) fn write_at(file: &Arc<OpenFile>, offset: u64, source: &mut Source<'_>) -> SysResult {
    let limit = current_process().limit(Resource::FileSize);
    if limit != INFINITY {
        limit_size(file, offset, source, limit)?;
    }
    finish(file, file.write_at(offset, source))
}

/// What RLIMIT_FSIZE forbids of an append is cut off.
fn limit_append(file: &OpenFile, source: &mut Source<'_>) -> Result<()> {
    match current_process().limit(Resource::FileSize) {
        INFINITY => Ok(()),
        limit => limit_size(file, end_of(file)?, source, limit),
    }
}

fn end_of(file: &OpenFile) -> Result<u64> {
    file.inode().map_or(Ok(0), |inode| inode.size())
}

fn limit_size(file: &OpenFile, start: u64, source: &mut Source<'_>, limit: u64) -> Result<()> {
    let is_limited = file.file().is_none() && file.inode().is_some_and(|inode| inode.kind() == FileType::Regular);
    if !is_limited || source.remaining() == 0 {
        return Ok(());
    }
    if start >= limit {
        super::size::too_large();
        return Err(Errno::EFBIG);
    }
    source.truncate(usize::try_from(limit - start).unwrap_or(usize::MAX));
    Ok(())
}

/// Changed contents lose their set-id bits.
#[inline(always)]
fn finish(file: &Arc<OpenFile>, result: Result<usize>) -> SysResult {
    if let (Ok(1..), None, Some(place)) = (&result, file.file(), file.path()) {
        super::size::contents_changed(place)?;
    }
    finish_stream(result)
}

/// A writer to a pipe or socket without reader gets SIGPIPE.
#[inline(always)]
fn finish_stream(result: Result<usize>) -> SysResult {
    match result {
        Ok(count) => Ok(count as u64),
        Err(error) => {
            if error == Errno::EPIPE {
                super::size::broken_pipe();
            }
            Err(error)
        }
    }
}
