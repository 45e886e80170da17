//! Modes and owners: `chmod(2)`, `chown(2)` and their families; `umask(2)`.

use linux_raw_sys::general;

use super::{CURRENT, as_caller, at_place, known_flags, usable_file};
use crate::errno::Result;
use crate::fs::{PathRef, anonymous};
use crate::mem::user::UserAddr;
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// Changes a mode. <https://man7.org/linux/man-pages/man2/chmod.2.html>
pub fn chmod(path: UserAddr, mode: u32) -> SysResult {
    fchmodat(CURRENT, path, mode)
}

/// As `chmod`, of an open file. <https://man7.org/linux/man-pages/man2/fchmod.2.html>
pub fn fchmod(fd: Fd, mode: u32) -> SysResult {
    let place = place_of(fd)?;
    as_caller(|caller| caller.change_mode(&place, mode as u16))?;
    Ok(0)
}

/// As `chmod`, relative to a directory. <https://man7.org/linux/man-pages/man2/fchmodat.2.html>
pub fn fchmodat(directory: Fd, path: UserAddr, mode: u32) -> SysResult {
    at_place(directory, path, 0, |caller, place| caller.change_mode(place, mode as u16))?;
    Ok(0)
}

/// Changes owners. <https://man7.org/linux/man-pages/man2/chown.2.html>
pub fn chown(path: UserAddr, uid: u32, gid: u32) -> SysResult {
    fchownat(CURRENT, path, uid, gid, 0)
}

/// As `chown`, of a symlink itself. <https://man7.org/linux/man-pages/man2/lchown.2.html>
pub fn lchown(path: UserAddr, uid: u32, gid: u32) -> SysResult {
    fchownat(CURRENT, path, uid, gid, general::AT_SYMLINK_NOFOLLOW)
}

/// As `chown`, of an open file. <https://man7.org/linux/man-pages/man2/fchown.2.html>
pub fn fchown(fd: Fd, uid: u32, gid: u32) -> SysResult {
    let place = place_of(fd)?;
    as_caller(|caller| caller.change_owner(&place, id(uid), id(gid)))?;
    Ok(0)
}

/// As `chown`, relative to a directory. <https://man7.org/linux/man-pages/man2/fchownat.2.html>
pub fn fchownat(directory: Fd, path: UserAddr, uid: u32, gid: u32, flags: u32) -> SysResult {
    let flags = known_flags(flags, general::AT_SYMLINK_NOFOLLOW | general::AT_EMPTY_PATH)?;
    at_place(directory, path, flags, |caller, place| caller.change_owner(place, id(uid), id(gid)))?;
    Ok(0)
}

/// Changes the bits that new files do not get. <https://man7.org/linux/man-pages/man2/umask.2.html>
pub fn umask(mask: u32) -> SysResult {
    Ok(u64::from(current_task().fs().set_umask(mask as u16)))
}

/// An id, or `None` for the one that says "leave as it is".
fn id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// The place of an open file; one is made up for a file that is in no tree.
fn place_of(fd: Fd) -> Result<PathRef> {
    anonymous::place_of(&usable_file(fd)?)
}
