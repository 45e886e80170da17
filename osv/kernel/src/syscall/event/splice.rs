//! `splice(2)`, `tee(2)`, `vmsplice(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general;

use crate::errno::{Errno, Result};
use crate::fs::pipe::{PipeEnd, Place};
use crate::fs::{FileType, IoFlags, OpenFile, OpenFlags};
use crate::mem::user::{Dest, Iovecs, Source, UserAddr, UserPtr};
use crate::process::limits::{INFINITY, Resource};
use crate::process::{current_process, current_task};
use crate::syscall::{Fd, SysResult};

const ALL_FLAGS: u32 =
    general::SPLICE_F_MOVE | general::SPLICE_F_NONBLOCK | general::SPLICE_F_MORE | general::SPLICE_F_GIFT;

/// Moves data between a pipe and another file. <https://man7.org/linux/man-pages/man2/splice.2.html>
pub fn splice(
    input: Fd,
    input_offset: UserPtr<i64>,
    output: Fd,
    output_offset: UserPtr<i64>,
    len: usize,
    flags: u32,
) -> SysResult {
    check_flags(flags)?;
    if len == 0 {
        return Ok(0);
    }
    let files = current_task().files();
    let (input, output) = (files.get(input.0)?, files.get(output.0)?);
    if input.is_place() || output.is_place() {
        return Err(Errno::EBADF);
    }
    let (from, to) = (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>());
    if (from.is_some() && !input_offset.is_null()) || (to.is_some() && !output_offset.is_null()) {
        return Err(Errno::ESPIPE);
    }
    input.check_readable()?;
    output.check_writable()?;
    if input.inode().is_some_and(|inode| inode.kind() == FileType::Directory) {
        return Err(Errno::EINVAL);
    }
    let count = match (from, to) {
        (None, None) => Err(Errno::EINVAL),
        (Some(from), Some(to)) => between_pipes(from, to, len, false, io_flags(flags, &[&input, &output])),
        (Some(from), None) => {
            if output.flags().contains(OpenFlags::APPEND) {
                return Err(Errno::EINVAL);
            }
            with_place(&output, output_offset, |place| {
                let len = allowed(place, len)?;
                from.drain_to(place, len, io_flags(flags, &[&input]))
            })
        }
        (None, Some(to)) => {
            with_place(&input, input_offset, |place| to.fill_from(place, len, io_flags(flags, &[&output])))
        }
    };
    Ok(count? as u64)
}

/// Copies data from one pipe to another. <https://man7.org/linux/man-pages/man2/tee.2.html>
pub fn tee(input: Fd, output: Fd, len: usize, flags: u32) -> SysResult {
    check_flags(flags)?;
    if len == 0 {
        return Ok(0);
    }
    let files = current_task().files();
    let (input, output) = (files.get(input.0)?, files.get(output.0)?);
    input.check_readable()?;
    output.check_writable()?;
    let (Some(from), Some(to)) = (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>()) else {
        return Err(Errno::EINVAL);
    };
    Ok(between_pipes(from, to, len, true, io_flags(flags, &[&input, &output]))? as u64)
}

/// Moves data between a program's memory and a pipe. The pages are copied, never given away.
/// <https://man7.org/linux/man-pages/man2/vmsplice.2.html>
pub fn vmsplice(fd: Fd, vectors: UserAddr, count: usize, flags: u32) -> SysResult {
    check_flags(flags)?;
    let file = current_task().files().get(fd.0)?;
    if file.downcast::<PipeEnd>().is_none() {
        return Err(Errno::EBADF);
    }
    let vectors = Iovecs::import(vectors.0, count)?;
    let flags = io_flags(flags, &[&file]);
    let count = if file.flags().is_writable() {
        file.write_with(&mut Source::from_user_slices(vectors.slices()), flags)
    } else {
        file.read_with(&mut Dest::from_user_slices(vectors.slices()), flags)
    };
    Ok(count? as u64)
}

fn check_flags(flags: u32) -> Result<()> {
    if flags & !ALL_FLAGS == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A pipe is not waited for if the call says so or one of the pipes was opened so.
fn io_flags(flags: u32, pipes: &[&Arc<OpenFile>]) -> IoFlags {
    let asked = if flags & general::SPLICE_F_NONBLOCK != 0 { IoFlags::NONBLOCK } else { IoFlags::empty() };
    pipes.iter().fold(asked, |flags, pipe| flags | pipe.io_flags())
}

fn between_pipes(from: &PipeEnd, to: &PipeEnd, len: usize, is_copy: bool, flags: IoFlags) -> Result<usize> {
    if from.is_same_pipe(to) {
        return Err(Errno::EINVAL);
    }
    from.transfer_to(to, len, is_copy, flags)
}

/// Moves what a file without positions has to a pipe: `sendfile` from a socket.
pub fn splice_whole(input: &Arc<OpenFile>, output: &Arc<OpenFile>, len: usize) -> SysResult {
    let to = output.downcast::<PipeEnd>().ok_or(Errno::EINVAL)?;
    if input.downcast::<PipeEnd>().is_some() || len == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(to.fill_from(&mut Place { file: input, offset: None }, len, io_flags(0, &[output]))? as u64)
}

/// How much of `len` the largest file size of the process (RLIMIT_FSIZE) lets `place` take.
fn allowed(place: &Place<'_>, len: usize) -> Result<usize> {
    let is_regular = place.file.file().is_none();
    let limit = current_process().limit(Resource::FileSize);
    if !is_regular || limit == INFINITY {
        return Ok(len);
    }
    let start = place.offset.unwrap_or_else(|| place.file.position());
    match limit.checked_sub(start).filter(|&room| room != 0) {
        Some(room) => Ok(len.min(usize::try_from(room).unwrap_or(usize::MAX))),
        None => {
            super::super::fs::too_large();
            Err(Errno::EFBIG)
        }
    }
}

/// Runs `transfer` with a file and the offset that lies at `offset`, which moves along.
fn with_place(
    file: &Arc<OpenFile>,
    offset: UserPtr<i64>,
    transfer: impl FnOnce(&mut Place<'_>) -> Result<usize>,
) -> Result<usize> {
    let Some(pointer) = offset.non_null() else {
        return transfer(&mut Place { file, offset: None });
    };
    if !file.takes_offsets() {
        return Err(Errno::EINVAL);
    }
    let start = u64::try_from(pointer.read()?).map_err(|_| Errno::EINVAL)?;
    let mut place = Place { file, offset: Some(start) };
    let count = transfer(&mut place)?;
    pointer.write(&((start + count as u64) as i64))?;
    Ok(count)
}
