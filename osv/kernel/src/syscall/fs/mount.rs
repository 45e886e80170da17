//! `mount(2)`, `umount(2)`, `pivot_root(2)`.

use linux_raw_sys::general;

use super::{CURRENT, at_place};
use crate::errno::{Errno, Result};
use crate::fs::access::capability;
use crate::fs::mounting::{self as mounts, Unmount};
use crate::fs::{Caller, MountFlags, PATH_MAX, PathRef, Start};
use crate::mem::user::{UserAddr, read_cstr};
use crate::process::tree;
use crate::syscall::SysResult;

/// How mounts spread.
const PROPAGATION: u32 = general::MS_SHARED | general::MS_PRIVATE | general::MS_SLAVE | general::MS_UNBINDABLE;
/// What says how access times are kept.
const ATIME: u32 = general::MS_NOATIME | general::MS_NODIRATIME | general::MS_RELATIME | general::MS_STRICTATIME;
/// The high half of the flags in programs of the last century.
const MAGIC: u64 = 0xc0ed_0000;
/// A flag that only the kernel uses.
const NO_USER: u32 = 1 << 31;

/// Mounts a file system, or changes a mount. <https://man7.org/linux/man-pages/man2/mount.2.html>
pub fn mount(source: UserAddr, target: UserAddr, kind: UserAddr, flags: u64, data: UserAddr) -> SysResult {
    let flags = if flags & 0xffff_0000 == MAGIC { flags & 0xffff } else { flags } as u32;
    let [kind, source] = [optional(kind)?, optional(source)?];
    let data = optional(data)?.unwrap_or_default();
    at_place(CURRENT, target, 0, |caller, place| {
        if flags & NO_USER != 0 {
            return Err(Errno::EINVAL);
        }
        check_privilege(caller)?;
        let has = |flag: u32| flags & flag != 0;
        if has(general::MS_REMOUNT) {
            return remount(place, flags, &data);
        }
        let source = source.as_deref();
        if has(general::MS_BIND) {
            return mounts::bind(caller, &named(caller, source)?, place, has(general::MS_REC));
        }
        if has(PROPAGATION) {
            return mounts::set_propagation(place, propagation(flags)?, has(general::MS_REC));
        }
        if has(general::MS_MOVE) {
            return mounts::move_mount(caller, &named(caller, source)?, place, false);
        }
        let kind = kind.as_deref().ok_or(Errno::EINVAL)?;
        mounts::mount_new(caller, kind, source.unwrap_or(b"none"), place, properties(flags), &data)
    })?;
    Ok(0)
}

fn remount(place: &PathRef, flags: u32, options: &[u8]) -> Result<()> {
    let mut new = properties(flags);
    if flags & ATIME == 0 {
        let kept = MountFlags::NOATIME | MountFlags::NODIRATIME | MountFlags::RELATIME;
        new = new.difference(kept) | (mounts::mount_root(place)?.flags() & kept);
    }
    if flags & general::MS_BIND == 0 {
        mounts::reconfigure(place, flags & general::MS_RDONLY != 0, options)?;
    }
    mounts::set_flags(place, new)
}

/// The properties of the mount that `flags` ask for: access times are kept the relative way if nothing else is said.
fn properties(flags: u32) -> MountFlags {
    let mut properties = MountFlags::from_bits_truncate(flags);
    let is_strict = flags & general::MS_STRICTATIME != 0;
    properties.set(MountFlags::RELATIME, !is_strict && !properties.contains(MountFlags::NOATIME));
    properties
}

/// The one kind of propagation in `flags`; nothing else may be asked for with it.
fn propagation(flags: u32) -> Result<u32> {
    let kind = flags & !(general::MS_REC | general::MS_SILENT);
    if kind & !PROPAGATION == 0 && kind.is_power_of_two() { Ok(kind) } else { Err(Errno::EINVAL) }
}

fn named(caller: &Caller<'_>, source: Option<&[u8]>) -> Result<PathRef> {
    let source = source.filter(|source| !source.is_empty()).ok_or(Errno::EINVAL)?;
    caller.resolve(Start::Current, source, true)
}

/// Takes a mount away. <https://man7.org/linux/man-pages/man2/umount2.2.html>
pub fn umount2(target: UserAddr, flags: u32) -> SysResult {
    let known = general::MNT_FORCE | general::MNT_DETACH | general::MNT_EXPIRE | general::UMOUNT_NOFOLLOW;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let nofollow = if flags & general::UMOUNT_NOFOLLOW != 0 { general::AT_SYMLINK_NOFOLLOW } else { 0 };
    let place = at_place(CURRENT, target, nofollow, |caller, place| {
        check_privilege(caller)?;
        Ok(place.clone())
    })?;
    let how = match flags & (general::MNT_DETACH | general::MNT_EXPIRE | general::MNT_FORCE) {
        general::MNT_EXPIRE => Unmount::Expired,
        expired if expired & general::MNT_EXPIRE != 0 => return Err(Errno::EINVAL),
        lazy if lazy & general::MNT_DETACH != 0 => Unmount::Lazily,
        _ => Unmount::Unused,
    };
    let namespace = super::as_caller(|caller| Ok(caller.context.namespace()))?;
    mounts::unmount(&namespace, place, how)?;
    Ok(0)
}

/// Makes another mount the root of all processes. <https://man7.org/linux/man-pages/man2/pivot_root.2.html>
pub fn pivot_root(new: UserAddr, put_old: UserAddr) -> SysResult {
    super::as_caller(check_privilege)?;
    let directory = |path: UserAddr| {
        let place = at_place(CURRENT, path, 0, |_, place| Ok(place.clone()))?;
        if place.is_directory() { Ok(place) } else { Err(Errno::ENOTDIR) }
    };
    let (new, put_old) = (directory(new)?, directory(put_old)?);
    let (old_root, new_root) = super::as_caller(|caller| mounts::pivot_root(caller, &new, &put_old))?;
    for context in tree::all().iter().flat_map(|process| process.tasks()).filter_map(|task| task.try_fs()) {
        if context.is_root(&old_root) {
            context.set_root(new_root.clone());
        }
        if context.current() == old_root {
            context.set_current(new_root.clone());
        }
    }
    Ok(0)
}

pub(super) fn check_privilege(caller: &Caller<'_>) -> Result<()> {
    if caller.subject.has(capability::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

fn optional(text: UserAddr) -> Result<Option<alloc::vec::Vec<u8>>> {
    if text.is_null() { Ok(None) } else { read_cstr(text, PATH_MAX).map(Some) }
}
