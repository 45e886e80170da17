//! Locks: `flock(2)`, and the locking commands of `fcntl(2)`.

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::usable_file;
use crate::errno::{Errno, Result};
use crate::fs::locks::{self, Mode, Owner, Range};
use crate::fs::{FdTable, OFFSET_MAX, OpenFile, checked_position};
use crate::mem::user::UserPtr;
use crate::process::current_process;
use crate::syscall::{Fd, SysResult};

/// `struct flock`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawLock {
    kind: u16,
    whence: u16,
    padding: u32,
    start: i64,
    len: i64,
    pid: i32,
    padding_2: u32,
}

/// Locks or unlocks a whole file. <https://man7.org/linux/man-pages/man2/flock.2.html>
pub fn flock(fd: Fd, operation: u32) -> SysResult {
    if operation & general::LOCK_MAND != 0 {
        // Locks of Windows' kind never did anything on Linux: since 5.18 they are ignored.
        return Ok(0);
    }
    let waits = operation & general::LOCK_NB == 0;
    let mode = match operation & !general::LOCK_NB {
        general::LOCK_SH => Some(Mode::Shared),
        general::LOCK_EX => Some(Mode::Exclusive),
        general::LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let file = usable_file(fd)?;
    match mode {
        Some(mode) => locks::lock_whole(&file, mode, waits)?,
        None => locks::unlock_whole(&file),
    }
    Ok(0)
}

/// F_GETLK, F_OFD_GETLK
pub(super) fn test(files: &FdTable, file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let address = UserPtr::<RawLock>::new(arg);
    let mut raw = address.read()?;
    let is_open_file = command == general::F_OFD_GETLK;
    let mode = mode_of(&raw)?.ok_or(Errno::EINVAL)?;
    let (first, last) = range_of(file, &raw)?;
    if is_open_file && raw.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let wanted = Range { owner: owner_of(files, file, is_open_file), mode, first, last, pid: 0 };
    match locks::find_conflict(file, &wanted) {
        None => raw.kind = general::F_UNLCK as u16,
        Some(held) => {
            raw.kind = if held.mode == Mode::Shared { general::F_RDLCK } else { general::F_WRLCK } as u16;
            raw.whence = general::SEEK_SET as u16;
            raw.start = held.first as i64;
            raw.len = if held.last == OFFSET_MAX { 0 } else { (held.last - held.first + 1) as i64 };
            raw.pid = held.pid;
        }
    }
    address.write(&raw)?;
    Ok(0)
}

/// F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
pub(super) fn set(files: &FdTable, file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let raw = UserPtr::<RawLock>::new(arg).read()?;
    let is_open_file = matches!(command, general::F_OFD_SETLK | general::F_OFD_SETLKW);
    let waits = matches!(command, general::F_SETLKW | general::F_OFD_SETLKW);
    if is_open_file && raw.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let (first, last) = range_of(file, &raw)?;
    let owner = owner_of(files, file, is_open_file);
    match mode_of(&raw)? {
        None => locks::unlock_range(file, owner, first, last),
        Some(mode) => {
            match mode {
                Mode::Shared => file.check_readable()?,
                Mode::Exclusive => file.check_writable()?,
            }
            let pid = if is_open_file { -1 } else { current_process().pid() as i32 };
            locks::lock_range(file, Range { owner, mode, first, last, pid }, waits)?;
        }
    }
    Ok(0)
}

fn owner_of(files: &FdTable, file: &OpenFile, is_open_file: bool) -> Owner {
    if is_open_file { Owner::Description(file.id()) } else { Owner::Table(files.id()) }
}

fn mode_of(raw: &RawLock) -> Result<Option<Mode>> {
    match u32::from(raw.kind) {
        general::F_RDLCK => Ok(Some(Mode::Shared)),
        general::F_WRLCK => Ok(Some(Mode::Exclusive)),
        general::F_UNLCK => Ok(None),
        _ => Err(Errno::EINVAL),
    }
}

/// First and last byte: a negative length counts backwards, 0 means "to the end".
fn range_of(file: &OpenFile, raw: &RawLock) -> Result<(u64, u64)> {
    let base = match u32::from(raw.whence) {
        general::SEEK_SET => 0,
        general::SEEK_CUR => file.position(),
        general::SEEK_END => file.metadata()?.size,
        _ => return Err(Errno::EINVAL),
    };
    let start = checked_position(base, raw.start)?;
    match raw.len {
        0 => Ok((start, OFFSET_MAX)),
        len @ 1.. => Ok((start, checked_position(start, len - 1)?)),
        len => {
            let first = checked_position(start, len)?;
            Ok((first, start - 1))
        }
    }
}
