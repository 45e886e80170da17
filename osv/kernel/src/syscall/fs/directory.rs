//! Directories: reading, making, removing them, and being in them.

use linux_raw_sys::general;

use super::{CURRENT, as_caller, at, at_place, file, opened_place};
use crate::errno::{Errno, Result};
use crate::fs::access::capability;
use crate::fs::{Access, Caller, DirEntry, NewKind, PathRef};
use crate::mem::user::{UserAddr, UserSlice};
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// Bytes before the name in `struct linux_dirent64`.
const HEADER_64: usize = 19;
/// Bytes before the name in `struct linux_dirent`.
const HEADER: usize = 18;
/// Room for the largest entry of either kind.
const MAX_RECORD: usize = 288;

/// Reads entries of a directory. <https://man7.org/linux/man-pages/man2/getdents.2.html>
pub fn getdents64(fd: Fd, buffer: UserAddr, size: u32) -> SysResult {
    list(fd, buffer, size as usize, |entry, record| {
        let len = (HEADER_64 + entry.name.len() + 1).next_multiple_of(8);
        let record = record.get_mut(..len).ok_or(Errno::EINVAL)?;
        fill_header(record, entry, len);
        put(record, 18, &[entry.kind.dirent_type()]);
        put(record, HEADER_64, entry.name);
        Ok(len)
    })
}

/// As `getdents64`, with the type in the last byte. <https://man7.org/linux/man-pages/man2/getdents.2.html>
pub fn getdents(fd: Fd, buffer: UserAddr, size: u32) -> SysResult {
    list(fd, buffer, size as usize, |entry, record| {
        let len = (HEADER + entry.name.len() + 2).next_multiple_of(8);
        let record = record.get_mut(..len).ok_or(Errno::EINVAL)?;
        fill_header(record, entry, len);
        put(record, HEADER, entry.name);
        put(record, len - 1, &[entry.kind.dirent_type()]);
        Ok(len)
    })
}

fn fill_header(record: &mut [u8], entry: &DirEntry<'_>, len: usize) {
    put(record, 0, &entry.ino.to_le_bytes());
    put(record, 8, &entry.next.to_le_bytes());
    put(record, 16, &(len as u16).to_le_bytes());
}

fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = record.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

/// Copies encoded entries to the program until the next one does not fit.
fn list(
    fd: Fd,
    buffer: UserAddr,
    size: usize,
    encode: impl Fn(&DirEntry<'_>, &mut [u8]) -> Result<usize>,
) -> SysResult {
    let file = file(fd)?;
    file.check_readable()?;
    let mut filled = 0;
    let mut failure = None;
    file.read_dir(&mut |entry| {
        let mut record = [0; MAX_RECORD];
        let copied = encode(&entry, &mut record).and_then(|len| {
            let room = UserSlice::new(buffer.add(filled as u64).0, size - filled);
            let bytes = record.get(..len).unwrap_or_default();
            room.write_all(bytes).map(|()| len)
        });
        match copied {
            Ok(len) => filled += len,
            Err(error) => failure = Some(error),
        }
        failure.is_none()
    })?;
    match failure {
        Some(error) if filled == 0 => Err(error),
        _ => Ok(filled as u64),
    }
}

/// The path of the working directory. <https://man7.org/linux/man-pages/man2/getcwd.2.html>
pub fn getcwd(buffer: UserAddr, size: usize) -> SysResult {
    let context = current_task().fs();
    let current = context.current();
    if current.dentry().is_unlinked() {
        return Err(Errno::ENOENT);
    }
    let (mut path, is_reachable) = current.absolute_path(&context.root());
    if !is_reachable {
        path.splice(0..0, *b"(unreachable)");
    }
    path.push(0);
    if path.len() > general::PATH_MAX as usize {
        return Err(Errno::ENAMETOOLONG);
    }
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    UserSlice::new(buffer.0, size).write_all(&path)?;
    Ok(path.len() as u64)
}

/// Changes the working directory. <https://man7.org/linux/man-pages/man2/chdir.2.html>
pub fn chdir(path: UserAddr) -> SysResult {
    at_place(CURRENT, path, 0, go_to)
}

/// As `chdir`, to an open directory. <https://man7.org/linux/man-pages/man2/fchdir.2.html>
pub fn fchdir(fd: Fd) -> SysResult {
    let place = match opened_place(Fd(fd.0.max(-1))) {
        Err(Errno::EINVAL) => return Err(Errno::ENOTDIR),
        place => place?,
    };
    as_caller(|caller| go_to(caller, &place))
}

fn go_to(caller: &Caller<'_>, place: &PathRef) -> SysResult {
    check_enterable(caller, place)?;
    caller.context.set_current(place.clone());
    Ok(0)
}

fn check_enterable(caller: &Caller<'_>, place: &PathRef) -> Result<()> {
    if !place.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    caller.check(place, Access::EXECUTE)
}

/// Changes the root directory. <https://man7.org/linux/man-pages/man2/chroot.2.html>
pub fn chroot(path: UserAddr) -> SysResult {
    at_place(CURRENT, path, 0, |caller, place| {
        check_enterable(caller, place)?;
        if !caller.subject.has(capability::SYS_CHROOT) {
            return Err(Errno::EPERM);
        }
        caller.context.set_root(place.clone());
        Ok(0)
    })
}

/// Makes a directory. <https://man7.org/linux/man-pages/man2/mkdir.2.html>
pub fn mkdir(path: UserAddr, mode: u32) -> SysResult {
    mkdirat(CURRENT, path, mode)
}

/// As `mkdir`, relative to a directory. <https://man7.org/linux/man-pages/man2/mkdirat.2.html>
pub fn mkdirat(directory: Fd, path: UserAddr, mode: u32) -> SysResult {
    at(directory, path, |caller, start, path| {
        caller.create(start, path, NewKind::Directory, mode as u16 & 0o1777)?;
        Ok(0)
    })
}

/// Removes an empty directory. <https://man7.org/linux/man-pages/man2/rmdir.2.html>
pub fn rmdir(path: UserAddr) -> SysResult {
    super::name::unlinkat(CURRENT, path, general::AT_REMOVEDIR)
}
