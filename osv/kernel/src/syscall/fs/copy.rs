//! From file to file inside the kernel: `sendfile(2)`, `copy_file_range(2)`.

use alloc::vec::Vec;

use super::read_write::{write_all, write_at};
use super::{file, usable_file};
use crate::errno::{Errno, Result};
use crate::event::EventFd;
use crate::fs::pipe::PipeEnd;
use crate::fs::{FileType, OFFSET_MAX, OpenFile, OpenFlags, SeekFrom};
use crate::mem::user::{Dest, Source, UserPtr};
use crate::syscall::{Fd, SysResult};

/// Bytes that travel at once.
const CHUNK: usize = 64 * 1024;
/// The most bytes that one call moves.
const MAX_COUNT: usize = 0x7fff_f000;

/// Copies from a file to any descriptor. <https://man7.org/linux/man-pages/man2/sendfile.2.html>
pub fn sendfile(output: Fd, input: Fd, offset: UserPtr<u64>, count: usize) -> SysResult {
    let input = file(input)?;
    input.check_readable()?;
    let output = file(output)?;
    output.check_writable()?;
    if !offset.is_null() && !input.takes_offsets() {
        return Err(Errno::ESPIPE);
    }
    if output.downcast::<PipeEnd>().is_some() && !input.has_positions() {
        return super::super::event::splice_whole(&input, &output, count);
    }
    if output.downcast::<EventFd>().is_some() {
        return Err(Errno::EINVAL);
    }
    if !input.has_positions() && !input.takes_offsets() || output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    if input.inode().is_some_and(|inode| inode.kind() == FileType::Directory) {
        return Err(Errno::EINVAL);
    }
    let start = start_of(&input, offset)?;
    let moved = transfer(count, |done, buffer| {
        let filled = input.read_at(start + done, &mut Dest::from_slice(buffer))?;
        let filled = buffer.get(..filled).unwrap_or_default();
        write_all(&output, &mut Source::from_slice(filled)).map(|count| count as usize)
    })?;
    finish(&input, offset, start + moved)?;
    Ok(moved)
}

/// Copies from file to file. <https://man7.org/linux/man-pages/man2/copy_file_range.2.html>
pub fn copy_file_range(
    input: Fd,
    input_offset: UserPtr<u64>,
    output: Fd,
    output_offset: UserPtr<u64>,
    count: usize,
    flags: u32,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let input = usable_file(input)?;
    let output = usable_file(output)?;
    let from = start_of(&input, input_offset).map_err(overflow)?;
    let to = start_of(&output, output_offset).map_err(overflow)?;
    for file in [&input, &output] {
        match file.inode().map(|inode| inode.kind()) {
            Some(FileType::Regular) => {}
            Some(FileType::Directory) => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    input.check_readable()?;
    output.check_writable()?;
    if output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    if !is_same_file_system(&input, &output) {
        return Err(Errno::EXDEV);
    }
    if to >= OFFSET_MAX && count != 0 {
        return Err(Errno::EFBIG);
    }
    let size = input.metadata()?.size;
    let count = count.min(usize::try_from(size.saturating_sub(from)).unwrap_or(usize::MAX));
    if is_same_file(&input, &output) && from < to + count as u64 && to < from + count as u64 {
        return Err(Errno::EINVAL);
    }
    let moved = transfer(count, |done, buffer| {
        let filled = input.read_at(from + done, &mut Dest::from_slice(buffer))?;
        let filled = buffer.get(..filled).unwrap_or_default();
        write_at(&output, to + done, &mut Source::from_slice(filled)).map(|count| count as usize)
    })?;
    finish(&input, input_offset, from + moved)?;
    finish(&output, output_offset, to + moved)?;
    Ok(moved)
}

fn is_same_file_system(a: &OpenFile, b: &OpenFile) -> bool {
    let block = |file: &OpenFile| file.path().map(|place| alloc::sync::Arc::as_ptr(place.mount().super_block()));
    block(a) == block(b)
}

fn is_same_file(a: &OpenFile, b: &OpenFile) -> bool {
    matches!((a.inode(), b.inode()), (Some(a), Some(b)) if alloc::sync::Arc::ptr_eq(a, b))
}

/// Offsets that cannot be are EOVERFLOW to `copy_file_range`.
fn overflow(error: Errno) -> Errno {
    if error == Errno::EINVAL { Errno::EOVERFLOW } else { error }
}

/// The offset to start at: where `offset` points to, or the position if it is null.
fn start_of(file: &OpenFile, offset: UserPtr<u64>) -> Result<u64> {
    match offset.non_null() {
        None => Ok(file.position()),
        Some(offset) => Some(offset.read()?).filter(|&offset| offset <= OFFSET_MAX).ok_or(Errno::EINVAL),
    }
}

/// Tells where the copy ended: at `offset`, or in the position if it is null.
fn finish(file: &OpenFile, offset: UserPtr<u64>, end: u64) -> Result<()> {
    match offset.non_null() {
        Some(offset) => offset.write(&end),
        None => file.seek(SeekFrom::Start(end as i64)).map(drop),
    }
}

/// Calls `step` with what is done and a buffer for more, until `count` bytes are moved or a step moves less than
/// it could. An error counts only if nothing was moved before.
fn transfer(count: usize, mut step: impl FnMut(u64, &mut [u8]) -> Result<usize>) -> Result<u64> {
    let count = count.min(MAX_COUNT);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(CHUNK.min(count)).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(CHUNK.min(count), 0);
    let mut done = 0;
    while done < count {
        let want = CHUNK.min(count - done);
        match step(done as u64, buffer.get_mut(..want).unwrap_or_default()) {
            Ok(moved) => {
                done += moved;
                if moved < want {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        crate::sched::relax();
    }
    Ok(done as u64)
}
