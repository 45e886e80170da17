//! Files: the calls on paths and on descriptors of files.
//!
//! What these handlers share is here: finding the file behind a descriptor, reading a path, and the caller in whose
//! name a path is walked.

mod access;
mod attributes;
mod control;
mod copy;
mod descriptor;
mod directory;
mod lock;
mod memfd;
mod mount;
mod mount_steps;
mod name;
mod open;
mod read_write;
mod size;
mod stat;
mod statfs;
mod sync;
mod times;
mod xattr;

pub use access::{access, faccessat, faccessat2};
pub use attributes::{chmod, chown, fchmod, fchmodat, fchown, fchownat, lchown, umask};
pub use control::ioctl;
pub use copy::{copy_file_range, sendfile};
pub use descriptor::{close, close_range, dup, dup2, dup3, fcntl};
pub use directory::{chdir, chroot, fchdir, getcwd, getdents, getdents64, mkdir, mkdirat, rmdir};
pub use lock::flock;
pub use memfd::memfd_create;
pub use mount::{mount, pivot_root, umount2};
pub use mount_steps::{fsconfig, fsmount, fsopen, fspick, mount_setattr, move_mount, open_tree};
pub use name::{
    link, linkat, mknod, mknodat, readlink, readlinkat, rename, renameat, renameat2, symlink, symlinkat, unlink,
    unlinkat,
};
pub use open::{creat, open, openat, openat2};
pub use read_write::{lseek, pread64, preadv, preadv2, pwrite64, pwritev, pwritev2, read, readv, write, writev};
pub(super) use size::too_large;
pub use size::{fallocate, ftruncate, truncate};
pub use stat::{fstat, lstat, newfstatat, stat, statx};
pub use statfs::{fstatfs, statfs, sysfs, ustat};
pub use sync::{fadvise64, fdatasync, fsync, readahead, sync, sync_file_range, syncfs};
pub use times::{futimesat, utime, utimensat, utimes};
pub use xattr::{
    fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, lgetxattr, listxattr, llistxattr, lremovexattr,
    lsetxattr, removexattr, setxattr,
};

use alloc::sync::Arc;

use linux_raw_sys::general;

use super::{Fd, SysResult};
use crate::errno::{Errno, Result};
use crate::fs::{Caller, OpenFile, PATH_MAX, PathRef, Start};
use crate::mem::user::{UserAddr, read_cstr, read_cstr_into};
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};

/// Paths up to here are read into the stack; longer ones onto the heap.
const SHORT_PATH: usize = 128;

/// The description behind `fd` (EBADF).
#[inline(never)]
pub(super) fn file(fd: Fd) -> Result<Arc<OpenFile>> {
    hot_file(fd)
}

/// As [`file`], without a call: for what programs do all the time.
#[inline(always)]
fn hot_file(fd: Fd) -> Result<Arc<OpenFile>> {
    current_task().files().get(fd.0)
}

/// As [`file`], but EBADF also if it stands for a place only (O_PATH).
#[inline]
fn usable_file(fd: Fd) -> Result<Arc<OpenFile>> {
    let file = file(fd)?;
    if file.is_place() { Err(Errno::EBADF) } else { Ok(file) }
}

/// Gives `file` the lowest free descriptor.
fn install(file: Arc<OpenFile>, closes_on_exec: bool) -> SysResult {
    let limit = current_process().limit(Resource::OpenFiles);
    let fd = current_task().files().install(file, closes_on_exec, limit)?;
    Ok(fd as u64)
}

/// Acts in the name of the calling task.
#[inline(always)]
pub(super) fn as_caller<T>(act: impl FnOnce(&Caller<'_>) -> Result<T>) -> Result<T> {
    let task = current_task();
    let context = task.fs();
    let credentials = task.credentials();
    let subject = credentials.subject();
    act(&Caller::new(&context, &subject))
}

/// Reads the path at `addr` and acts on it.
#[inline]
pub(super) fn with_path<T>(addr: UserAddr, act: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let mut short = [0; SHORT_PATH];
    match read_cstr_into(addr, &mut short) {
        Ok(path) => act(path),
        Err(Errno::ENAMETOOLONG) => act(&read_cstr(addr, PATH_MAX)?),
        Err(error) => Err(error),
    }
}

/// Acts on the path at `path`, relative to the directory `directory`.
#[inline]
fn at<T>(directory: Fd, path: UserAddr, act: impl FnOnce(&Caller<'_>, Start<'_>, &[u8]) -> Result<T>) -> Result<T> {
    with_path(path, |path| from(directory, path, |caller, start| act(caller, start, path)))
}

/// Acts with the place where `path`, relative to `directory`, starts.
#[inline]
fn from<T>(directory: Fd, path: &[u8], act: impl FnOnce(&Caller<'_>, Start<'_>) -> Result<T>) -> Result<T> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    if directory.0 == general::AT_FDCWD || path.first() == Some(&b'/') {
        return as_caller(|caller| act(caller, Start::Current));
    }
    let directory = file(directory)?;
    let place = directory.path().ok_or(Errno::ENOTDIR)?;
    as_caller(|caller| act(caller, Start::At(place)))
}

/// Acts on the existing place that `path` names relative to `directory`. With AT_EMPTY_PATH in `flags` an empty path
/// names what `directory` stands for; AT_SYMLINK_NOFOLLOW leaves a symlink at the end alone.
fn at_place<T>(
    directory: Fd,
    path: UserAddr,
    flags: u32,
    act: impl FnOnce(&Caller<'_>, &PathRef) -> Result<T>,
) -> Result<T> {
    with_path(path, |path| {
        if path.is_empty() && flags & general::AT_EMPTY_PATH != 0 {
            return as_caller(|caller| act(caller, &opened_place(directory)?));
        }
        from(directory, path, |caller, start| {
            let place = caller.resolve(start, path, flags & general::AT_SYMLINK_NOFOLLOW == 0)?;
            act(caller, &place)
        })
    })
}

/// What `fd` stands for in the tree; the working directory for AT_FDCWD.
fn opened_place(fd: Fd) -> Result<PathRef> {
    if fd.0 == general::AT_FDCWD {
        return Ok(current_task().fs().current());
    }
    file(fd)?.path().cloned().ok_or(Errno::EINVAL)
}

/// `flags` if no other than `known` ones are set (EINVAL).
fn known_flags(flags: u32, known: u32) -> Result<u32> {
    if flags & !known == 0 { Ok(flags) } else { Err(Errno::EINVAL) }
}

/// The directory of calls without one.
const CURRENT: Fd = Fd(general::AT_FDCWD);
