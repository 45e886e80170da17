//! `inotify_init(2)`, `inotify_add_watch(2)`, `inotify_rm_watch(2)`.

use super::{file_flags, install};
use crate::errno::{Errno, Result};
use crate::event::Inotify;
use crate::event::inotify::NotifyMask;
use crate::fs::{Access, Caller, FileType, PATH_MAX, Start};
use crate::mem::user::{UserAddr, read_cstr_into};
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// A queue of what happens to files. <https://man7.org/linux/man-pages/man2/inotify_init1.2.html>
pub fn inotify_init1(flags: u32) -> SysResult {
    let flags = file_flags(flags, 0)?;
    install(Inotify::new(current_task().credentials().user.real)?, flags)
}

/// `inotify_init1` without flags. <https://man7.org/linux/man-pages/man2/inotify_init.2.html>
pub fn inotify_init() -> SysResult {
    inotify_init1(0)
}

/// Watches a file or directory. <https://man7.org/linux/man-pages/man2/inotify_add_watch.2.html>
pub fn inotify_add_watch(fd: Fd, path: UserAddr, mask: u32) -> SysResult {
    let mask = checked_mask(mask)?;
    let task = current_task();
    let file = task.files().get(fd.0)?;
    let inotify = file.downcast::<Inotify>().ok_or(Errno::EINVAL)?;
    let mut buffer = [0; PATH_MAX];
    let path = read_cstr_into(path, &mut buffer)?;
    let (context, credentials) = (task.fs(), task.credentials());
    let subject = credentials.subject();
    let caller = Caller::new(&context, &subject);
    let place = caller.resolve(Start::Current, path, !mask.contains(NotifyMask::DONT_FOLLOW))?;
    if mask.contains(NotifyMask::ONLYDIR) && place.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    caller.check(&place, Access::READ)?;
    Ok(inotify.add_watch(&place, mask)? as u64)
}

/// EINVAL unless some bit is set, and none that is unknown or contradictory.
fn checked_mask(mask: u32) -> Result<NotifyMask> {
    let mask = NotifyMask::from_bits(mask).ok_or(Errno::EINVAL)?;
    let is_contradictory = mask.contains(NotifyMask::MASK_ADD | NotifyMask::MASK_CREATE);
    if is_contradictory || mask.is_empty() {
        return Err(Errno::EINVAL);
    }
    Ok(mask)
}

/// Ends a watch. <https://man7.org/linux/man-pages/man2/inotify_rm_watch.2.html>
pub fn inotify_rm_watch(fd: Fd, watch: i32) -> SysResult {
    let file = current_task().files().get(fd.0)?;
    file.downcast::<Inotify>().ok_or(Errno::EINVAL)?.remove_watch(watch)?;
    Ok(0)
}
