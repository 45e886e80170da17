//! `mount(2)`, `umount(2)`.

use linux_raw_sys::general;

use super::{CURRENT, as_caller, at_place};
use crate::errno::{Errno, Result};
use crate::fs::access::capability;
use crate::fs::{Caller, MountFlags, PATH_MAX, Start, mounting as mounts};
use crate::mem::user::{UserAddr, read_cstr};
use crate::syscall::SysResult;

/// Changes of how mounts spread to other namespaces, of which there are none.
const PROPAGATION: u64 = (general::MS_SHARED | general::MS_PRIVATE | general::MS_SLAVE | general::MS_UNBINDABLE) as u64;
/// The high half of the flags in programs of the last century.
const MAGIC: u64 = 0xc0ed_0000;

/// Mounts a file system, or changes a mount. <https://man7.org/linux/man-pages/man2/mount.2.html>
pub fn mount(source: UserAddr, target: UserAddr, kind: UserAddr, flags: u64, data: UserAddr) -> SysResult {
    let flags = if flags & 0xffff_0000 == MAGIC { flags & 0xffff } else { flags };
    let [kind, source, data] = [optional(kind)?, optional(source)?, optional(data)?];
    at_place(CURRENT, target, 0, |caller, place| {
        check_privilege(caller)?;
        let properties = MountFlags::from_bits_truncate(flags as u32);
        let has = |flag: u32| flags & u64::from(flag) != 0;
        if has(general::MS_REMOUNT) {
            return mounts::remount(place, properties);
        }
        if flags & PROPAGATION != 0 {
            return if has(general::MS_PRIVATE) { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let source = source.as_deref();
        if has(general::MS_BIND) {
            let source = caller.resolve(Start::Current, source.ok_or(Errno::EINVAL)?, true)?;
            return mounts::bind(&source, place, has(general::MS_REC));
        }
        if has(general::MS_MOVE) {
            let source = caller.resolve(Start::Current, source.ok_or(Errno::EINVAL)?, true)?;
            return mounts::move_mount(&source, place);
        }
        let kind = kind.as_deref().ok_or(Errno::EINVAL)?;
        mounts::mount_new(caller, kind, source.unwrap_or(b"none"), place, properties, data.as_deref().unwrap_or(b""))
    })?;
    Ok(0)
}

/// Takes a mount away. <https://man7.org/linux/man-pages/man2/umount2.2.html>
pub fn umount2(target: UserAddr, flags: u32) -> SysResult {
    let known = general::MNT_FORCE | general::MNT_DETACH | general::MNT_EXPIRE | general::UMOUNT_NOFOLLOW;
    if flags & !known != 0 || flags & general::MNT_EXPIRE != 0 && flags & !general::MNT_EXPIRE != 0 {
        return Err(Errno::EINVAL);
    }
    as_caller(check_privilege)?;
    let nofollow = if flags & general::UMOUNT_NOFOLLOW != 0 { general::AT_SYMLINK_NOFOLLOW } else { 0 };
    let place = at_place(CURRENT, target, nofollow, |_, place| Ok(place.clone()))?;
    mounts::unmount(place, flags & general::MNT_DETACH != 0)?;
    Ok(0)
}

fn check_privilege(caller: &Caller<'_>) -> Result<()> {
    if caller.subject.has(capability::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

fn optional(text: UserAddr) -> Result<Option<alloc::vec::Vec<u8>>> {
    if text.is_null() { Ok(None) } else { read_cstr(text, PATH_MAX).map(Some) }
}
