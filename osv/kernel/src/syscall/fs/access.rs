//! `access(2)` and its family.

use linux_raw_sys::general;

use super::{CURRENT, at_place, known_flags};
use crate::errno::{Errno, Result};
use crate::fs::{Access, Caller, FileType, MountFlags, PathRef};
use crate::mem::user::UserAddr;
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// Whether the real user may do something with a file. <https://man7.org/linux/man-pages/man2/access.2.html>
pub fn access(path: UserAddr, mode: u32) -> SysResult {
    faccessat2(CURRENT, path, mode, 0)
}

/// As `access`, relative to a directory. <https://man7.org/linux/man-pages/man2/faccessat.2.html>
pub fn faccessat(directory: Fd, path: UserAddr, mode: u32) -> SysResult {
    faccessat2(directory, path, mode, 0)
}

/// As `faccessat`, with flags. <https://man7.org/linux/man-pages/man2/faccessat2.2.html>
pub fn faccessat2(directory: Fd, path: UserAddr, mode: u32, flags: u32) -> SysResult {
    let flags = known_flags(flags, general::AT_EACCESS | general::AT_SYMLINK_NOFOLLOW | general::AT_EMPTY_PATH)?;
    let wanted = u16::try_from(mode).ok().and_then(Access::from_bits).ok_or(Errno::EINVAL)?;
    at_place(directory, path, flags, |caller, place| {
        if flags & general::AT_EACCESS != 0 {
            return check(caller, place, wanted);
        }
        let credentials = current_task().credentials();
        check(&Caller::new(caller.context, &credentials.real_subject()), place, wanted)
    })
}

fn check(caller: &Caller<'_>, place: &PathRef, wanted: Access) -> SysResult {
    check_executable(place, wanted)?;
    caller.check(place, wanted)?;
    Ok(0)
}

fn check_executable(place: &PathRef, wanted: Access) -> Result<()> {
    let forbids = wanted.contains(Access::EXECUTE)
        && place.kind() == FileType::Regular
        && place.mount().flags().contains(MountFlags::NOEXEC);
    if forbids { Err(Errno::EACCES) } else { Ok(()) }
}
