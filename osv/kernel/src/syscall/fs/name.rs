//! Names: links, symlinks, renaming, removing, and nodes.

use linux_raw_sys::general;

use super::{CURRENT, at, at_place, from, known_flags, opened_place, with_path};
use crate::errno::{Errno, Result};
use crate::fs::access::capability;
use crate::fs::{FileType, NewKind, PathRef, RenameFlags, Start};
use crate::mem::user::{UserAddr, UserSlice};
use crate::syscall::{Fd, SysResult};

/// Removes a name. <https://man7.org/linux/man-pages/man2/unlink.2.html>
pub fn unlink(path: UserAddr) -> SysResult {
    unlinkat(CURRENT, path, 0)
}

/// As `unlink` or `rmdir`, relative to a directory. <https://man7.org/linux/man-pages/man2/unlinkat.2.html>
pub fn unlinkat(directory: Fd, path: UserAddr, flags: u32) -> SysResult {
    let removes_directory = known_flags(flags, general::AT_REMOVEDIR)? != 0;
    at(
        directory,
        path,
        |caller, start, path| {
            if removes_directory { caller.rmdir(start, path) } else { caller.unlink(start, path) }
        },
    )?;
    Ok(0)
}

/// Changes a name. <https://man7.org/linux/man-pages/man2/rename.2.html>
pub fn rename(old: UserAddr, new: UserAddr) -> SysResult {
    renameat2(CURRENT, old, CURRENT, new, 0)
}

/// As `rename`, relative to directories. <https://man7.org/linux/man-pages/man2/renameat.2.html>
pub fn renameat(old_directory: Fd, old: UserAddr, new_directory: Fd, new: UserAddr) -> SysResult {
    renameat2(old_directory, old, new_directory, new, 0)
}

/// As `renameat`, with flags. <https://man7.org/linux/man-pages/man2/renameat2.2.html>
pub fn renameat2(old_directory: Fd, old: UserAddr, new_directory: Fd, new: UserAddr, flags: u32) -> SysResult {
    let flags = RenameFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    with_path(old, |old| {
        with_path(new, |new| {
            let old_start = start_of(old_directory, old)?;
            from(new_directory, new, |caller, new_start| {
                caller.rename(as_start(&old_start), old, new_start, new, flags)
            })
        })
    })?;
    Ok(0)
}

/// The place where `path`, relative to `directory`, starts, unless that is the working directory.
fn start_of(directory: Fd, path: &[u8]) -> Result<Option<PathRef>> {
    if directory == CURRENT || path.first() == Some(&b'/') {
        return Ok(None);
    }
    match opened_place(directory) {
        Err(Errno::EINVAL) => Err(Errno::ENOTDIR),
        place => place.map(Some),
    }
}

fn as_start(place: &Option<PathRef>) -> Start<'_> {
    place.as_ref().map_or(Start::Current, Start::At)
}

/// Makes a second name. <https://man7.org/linux/man-pages/man2/link.2.html>
pub fn link(old: UserAddr, new: UserAddr) -> SysResult {
    linkat(CURRENT, old, CURRENT, new, 0)
}

/// As `link`, relative to directories. <https://man7.org/linux/man-pages/man2/linkat.2.html>
pub fn linkat(old_directory: Fd, old: UserAddr, new_directory: Fd, new: UserAddr, flags: u32) -> SysResult {
    let flags = known_flags(flags, general::AT_SYMLINK_FOLLOW | general::AT_EMPTY_PATH)?;
    let nofollow = if flags & general::AT_SYMLINK_FOLLOW == 0 { general::AT_SYMLINK_NOFOLLOW } else { 0 };
    let old = at_place(old_directory, old, nofollow | flags, |caller, place| {
        let is_by_descriptor = flags & general::AT_EMPTY_PATH != 0;
        if is_by_descriptor && !caller.subject.has(capability::DAC_READ_SEARCH) {
            return Err(Errno::ENOENT);
        }
        Ok(place.clone())
    })?;
    at(new_directory, new, |caller, start, new| caller.link(&old, start, new))?;
    Ok(0)
}

/// Makes a symlink. <https://man7.org/linux/man-pages/man2/symlink.2.html>
pub fn symlink(target: UserAddr, path: UserAddr) -> SysResult {
    symlinkat(target, CURRENT, path)
}

/// As `symlink`, relative to a directory. <https://man7.org/linux/man-pages/man2/symlinkat.2.html>
pub fn symlinkat(target: UserAddr, directory: Fd, path: UserAddr) -> SysResult {
    with_path(target, |target| {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        at(directory, path, |caller, start, path| caller.create(start, path, NewKind::Symlink(target), 0o777))
    })?;
    Ok(0)
}

/// The target of a symlink. <https://man7.org/linux/man-pages/man2/readlink.2.html>
pub fn readlink(path: UserAddr, buffer: UserAddr, size: i32) -> SysResult {
    readlinkat(CURRENT, path, buffer, size)
}

/// As `readlink`, relative to a directory. <https://man7.org/linux/man-pages/man2/readlinkat.2.html>
pub fn readlinkat(directory: Fd, path: UserAddr, buffer: UserAddr, size: i32) -> SysResult {
    let size = usize::try_from(size).ok().filter(|&size| size != 0).ok_or(Errno::EINVAL)?;
    let is_by_descriptor = with_path(path, |path| Ok(path.is_empty()))?;
    let flags = general::AT_SYMLINK_NOFOLLOW | general::AT_EMPTY_PATH;
    let target = at_place(directory, path, flags, |_, place| match place.kind() {
        FileType::Symlink => place.inode().read_link(),
        _ => Err(Errno::EINVAL),
    });
    let target = match target {
        Err(Errno::EINVAL) if is_by_descriptor => return Err(Errno::ENOENT),
        target => target?,
    };
    let shown = target.get(..size).unwrap_or(&target);
    UserSlice::new(buffer.0, size).write_all(shown)?;
    Ok(shown.len() as u64)
}

/// Makes a node. <https://man7.org/linux/man-pages/man2/mknod.2.html>
pub fn mknod(path: UserAddr, mode: u32, device: u32) -> SysResult {
    mknodat(CURRENT, path, mode, device)
}

/// As `mknod`, relative to a directory. <https://man7.org/linux/man-pages/man2/mknodat.2.html>
pub fn mknodat(directory: Fd, path: UserAddr, mode: u32, device: u32) -> SysResult {
    let device = u64::from(device);
    let kind = match FileType::from_mode(mode) {
        None if mode & general::S_IFMT == 0 => NewKind::Regular,
        Some(FileType::Regular) => NewKind::Regular,
        Some(FileType::CharDevice) => NewKind::CharDevice(device),
        Some(FileType::BlockDevice) => NewKind::BlockDevice(device),
        Some(FileType::Fifo) => NewKind::Fifo,
        Some(FileType::Socket) => NewKind::Socket,
        Some(FileType::Directory) => return Err(Errno::EPERM),
        Some(FileType::Symlink) | None => return Err(Errno::EINVAL),
    };
    at(directory, path, |caller, start, path| {
        // Whoever may make files may make a whiteout, the device 0:0.
        let is_device = matches!(kind, NewKind::CharDevice(1..) | NewKind::BlockDevice(_));
        if is_device && !caller.subject.has(capability::MKNOD) {
            return Err(Errno::EPERM);
        }
        caller.create(start, path, kind, mode as u16 & 0o7777)
    })?;
    Ok(0)
}
