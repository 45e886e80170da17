//! Extended attributes: `setxattr(2)`, `getxattr(2)`, `listxattr(2)`, `removexattr(2)` and their families.

use alloc::vec::Vec;

use linux_raw_sys::general;

use super::{CURRENT, as_caller, at_place, usable_file};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};
use crate::fs::access::capability;
use crate::fs::{Access, Caller, FileType, PathRef, XattrFlags, anonymous};
use crate::mem::user::{UserAddr, UserSlice, read_cstr};
use crate::syscall::{Fd, SysResult};

/// Longest name.
const NAME_MAX: usize = 255;
/// Longest value.
const VALUE_MAX: usize = 65536;
/// Longest list of names.
const LIST_MAX: usize = 65536;

/// Acts on the file that `path` names; a symlink itself if `flags` say so.
fn named<T>(path: UserAddr, flags: u32, act: impl FnOnce(&Caller<'_>, &PathRef) -> Result<T>) -> Result<T> {
    at_place(CURRENT, path, flags, act)
}

/// Acts on an open file.
fn opened<T>(fd: Fd, act: impl FnOnce(&Caller<'_>, &PathRef) -> Result<T>) -> Result<T> {
    let file = usable_file(fd)?;
    let place = anonymous::place_of(&file)?;
    as_caller(|caller| act(caller, &place))
}

const NOFOLLOW: u32 = general::AT_SYMLINK_NOFOLLOW;

/// Sets an attribute. <https://man7.org/linux/man-pages/man2/setxattr.2.html>
pub fn setxattr(path: UserAddr, name: UserAddr, value: UserAddr, size: usize, flags: u32) -> SysResult {
    let new = New::read(name, value, size, flags)?;
    named(path, 0, |caller, place| new.set(caller, place))
}

/// As `setxattr`, of a symlink itself. <https://man7.org/linux/man-pages/man2/lsetxattr.2.html>
pub fn lsetxattr(path: UserAddr, name: UserAddr, value: UserAddr, size: usize, flags: u32) -> SysResult {
    let new = New::read(name, value, size, flags)?;
    named(path, NOFOLLOW, |caller, place| new.set(caller, place))
}

/// As `setxattr`, of an open file. <https://man7.org/linux/man-pages/man2/fsetxattr.2.html>
pub fn fsetxattr(fd: Fd, name: UserAddr, value: UserAddr, size: usize, flags: u32) -> SysResult {
    let new = New::read(name, value, size, flags)?;
    opened(fd, |caller, place| new.set(caller, place))
}

/// The value of an attribute. <https://man7.org/linux/man-pages/man2/getxattr.2.html>
pub fn getxattr(path: UserAddr, name: UserAddr, value: UserAddr, size: usize) -> SysResult {
    let name = read_name(name)?;
    let found = named(path, 0, |caller, place| get(caller, place, &name))?;
    hand_out(&found, value, size, VALUE_MAX)
}

/// As `getxattr`, of a symlink itself. <https://man7.org/linux/man-pages/man2/lgetxattr.2.html>
pub fn lgetxattr(path: UserAddr, name: UserAddr, value: UserAddr, size: usize) -> SysResult {
    let name = read_name(name)?;
    let found = named(path, NOFOLLOW, |caller, place| get(caller, place, &name))?;
    hand_out(&found, value, size, VALUE_MAX)
}

/// As `getxattr`, of an open file. <https://man7.org/linux/man-pages/man2/fgetxattr.2.html>
pub fn fgetxattr(fd: Fd, name: UserAddr, value: UserAddr, size: usize) -> SysResult {
    let name = read_name(name)?;
    let found = opened(fd, |caller, place| get(caller, place, &name))?;
    hand_out(&found, value, size, VALUE_MAX)
}

/// The names of all attributes. <https://man7.org/linux/man-pages/man2/listxattr.2.html>
pub fn listxattr(path: UserAddr, list: UserAddr, size: usize) -> SysResult {
    let names = named(path, 0, list_names)?;
    hand_out(&names, list, size, LIST_MAX)
}

/// As `listxattr`, of a symlink itself. <https://man7.org/linux/man-pages/man2/llistxattr.2.html>
pub fn llistxattr(path: UserAddr, list: UserAddr, size: usize) -> SysResult {
    let names = named(path, NOFOLLOW, list_names)?;
    hand_out(&names, list, size, LIST_MAX)
}

/// As `listxattr`, of an open file. <https://man7.org/linux/man-pages/man2/flistxattr.2.html>
pub fn flistxattr(fd: Fd, list: UserAddr, size: usize) -> SysResult {
    let names = opened(fd, list_names)?;
    hand_out(&names, list, size, LIST_MAX)
}

/// Removes an attribute. <https://man7.org/linux/man-pages/man2/removexattr.2.html>
pub fn removexattr(path: UserAddr, name: UserAddr) -> SysResult {
    let name = read_name(name)?;
    named(path, 0, |caller, place| remove(caller, place, &name))
}

/// As `removexattr`, of a symlink itself. <https://man7.org/linux/man-pages/man2/lremovexattr.2.html>
pub fn lremovexattr(path: UserAddr, name: UserAddr) -> SysResult {
    let name = read_name(name)?;
    named(path, NOFOLLOW, |caller, place| remove(caller, place, &name))
}

/// As `removexattr`, of an open file. <https://man7.org/linux/man-pages/man2/fremovexattr.2.html>
pub fn fremovexattr(fd: Fd, name: UserAddr) -> SysResult {
    let name = read_name(name)?;
    opened(fd, |caller, place| remove(caller, place, &name))
}

/// An attribute to set.
struct New {
    name: Vec<u8>,
    value: Vec<u8>,
    flags: XattrFlags,
}

impl New {
    fn read(name: UserAddr, value: UserAddr, size: usize, flags: u32) -> Result<New> {
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
        let name = read_name(name)?;
        if size > VALUE_MAX {
            return Err(Errno::E2BIG);
        }
        Ok(New { name, value: UserSlice::new(value.0, size).read_vec()?, flags })
    }

    fn set(&self, caller: &Caller<'_>, place: &PathRef) -> SysResult {
        place.mount().check_writable()?;
        check(caller, place, &self.name, true)?;
        place.inode().set_xattr(&self.name, &self.value, self.flags)?;
        inotify::on_file(place, NotifyMask::ATTRIB);
        Ok(0)
    }
}

fn read_name(name: UserAddr) -> Result<Vec<u8>> {
    match read_cstr(name, NAME_MAX + 1) {
        Ok(name) if name.is_empty() => Err(Errno::ERANGE),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        name => name,
    }
}

fn get(caller: &Caller<'_>, place: &PathRef, name: &[u8]) -> Result<Vec<u8>> {
    check(caller, place, name, false)?;
    place.inode().get_xattr(name)
}

fn remove(caller: &Caller<'_>, place: &PathRef, name: &[u8]) -> SysResult {
    place.mount().check_writable()?;
    check(caller, place, name, true)?;
    place.inode().remove_xattr(name)?;
    inotify::on_file(place, NotifyMask::ATTRIB);
    Ok(0)
}

/// All names that the caller may see: those of `trusted.` are for the privileged.
fn list_names(caller: &Caller<'_>, place: &PathRef) -> Result<Vec<u8>> {
    let mut names = place.inode().list_xattrs()?;
    if !caller.subject.has(capability::SYS_ADMIN) {
        let seen = names.split_inclusive(|&byte| byte == 0).filter(|name| !name.starts_with(b"trusted."));
        names = seen.flatten().copied().collect();
    }
    Ok(names)
}

/// Who may do what in which name space: xattr(7).
fn check(caller: &Caller<'_>, place: &PathRef, name: &[u8], writes: bool) -> Result<()> {
    let refusal = if writes { Errno::EPERM } else { Errno::ENODATA };
    let is_privileged = caller.subject.has(capability::SYS_ADMIN);
    let wanted = if writes { Access::WRITE } else { Access::READ };
    let dot = name.iter().position(|&byte| byte == b'.').ok_or(Errno::EOPNOTSUPP)?;
    let (space, rest) = name.split_at(dot);
    let is_bare = rest == b".";
    match space {
        b"user" if !matches!(place.kind(), FileType::Regular | FileType::Directory) => Err(refusal),
        b"user" | b"trusted" | b"security" if is_bare => Err(Errno::EINVAL),
        b"user" => caller.check(place, wanted),
        b"trusted" if is_privileged => Ok(()),
        b"trusted" => Err(refusal),
        b"security" if is_privileged || !writes => Ok(()),
        b"security" => Err(Errno::EPERM),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Copies a value or list to the program; its length alone if there is no room offered.
fn hand_out(bytes: &[u8], address: UserAddr, size: usize, most: usize) -> SysResult {
    if size == 0 {
        return Ok(bytes.len() as u64);
    }
    if bytes.len() > size {
        return Err(if size >= most { Errno::E2BIG } else { Errno::ERANGE });
    }
    UserSlice::new(address.0, size).write_all(bytes)?;
    Ok(bytes.len() as u64)
}
