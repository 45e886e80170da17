//! `execve(2)` and `execveat(2)`.

use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::{Caller, OpenFlags, PATH_MAX, PathRef, Start};
use crate::mem::user::{UserAddr, UserPtr, read_cstr};
use crate::process::exec::{Request, execute};
use crate::process::limits::Resource;
use crate::process::stack::{MAX_STRING_SIZE, Strings, arguments_limit};
use crate::process::{current_process, current_task};
use crate::syscall::{Fd, SysResult};

/// Runs a program. <https://man7.org/linux/man-pages/man2/execve.2.html>
pub fn execve(frame: &mut TrapFrame, path: UserAddr, arguments: UserPtr<u64>, environment: UserPtr<u64>) -> SysResult {
    run(frame, Fd(linux::AT_FDCWD), path, arguments, environment, 0)
}

/// Runs a program below a directory, or behind a descriptor.
/// <https://man7.org/linux/man-pages/man2/execveat.2.html>
pub fn execveat(
    frame: &mut TrapFrame,
    directory: Fd,
    path: UserAddr,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
    flags: u32,
) -> SysResult {
    run(frame, directory, path, arguments, environment, flags)
}

fn run(
    frame: &mut TrapFrame,
    directory: Fd,
    path: UserAddr,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
    flags: u32,
) -> SysResult {
    let path = read_cstr(path, PATH_MAX)?;
    if path.is_empty() && flags & linux::AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    if flags & !(linux::AT_EMPTY_PATH | linux::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let found = find(directory, path, flags)?;
    let limit = arguments_limit(current_process().limit(Resource::Stack));
    let arguments = read_strings(arguments, limit)?;
    let environment = read_strings(environment, limit)?;
    let request = Request { path: found.path, place: found.place, is_hidden: found.is_hidden, arguments, environment };
    execute(frame, request)?;
    Ok(0)
}

struct Found {
    path: Vec<u8>,
    place: PathRef,
    is_hidden: bool,
}

/// The file that is to be run, and the path under which its program knows it.
fn find(directory: Fd, path: Vec<u8>, flags: u32) -> Result<Found> {
    let task = current_task();
    let (fs, credentials) = (task.fs(), task.credentials());
    let subject = credentials.subject();
    let caller = Caller::new(&fs, &subject);
    let follows = flags & linux::AT_SYMLINK_NOFOLLOW == 0;
    if directory.0 == linux::AT_FDCWD || path.starts_with(b"/") {
        let place = checked(caller.resolve(Start::Current, &path, follows)?, follows)?;
        return Ok(Found { path, place, is_hidden: false });
    }
    let (file, is_hidden) = task.files().get_with_flag(directory.0)?;
    let base = file.path().ok_or(if path.is_empty() { Errno::EACCES } else { Errno::ENOTDIR })?;
    let is_hidden = is_hidden || file.flags().contains(OpenFlags::CLOEXEC);
    if path.is_empty() {
        let path = alloc::format!("/dev/fd/{}", directory.0).into_bytes();
        return Ok(Found { path, place: base.clone(), is_hidden });
    }
    let place = checked(caller.resolve(Start::At(base), &path, follows)?, follows)?;
    let path = [alloc::format!("/dev/fd/{}/", directory.0).as_bytes(), &path].concat();
    Ok(Found { path, place, is_hidden })
}

/// ELOOP for a symlink that was not to be followed.
fn checked(place: PathRef, follows: bool) -> Result<PathRef> {
    let is_link = place.kind() == crate::fs::FileType::Symlink;
    if is_link && !follows { Err(Errno::ELOOP) } else { Ok(place) }
}

/// The strings of an array of pointers that ends with a null pointer. A null array is an empty one, as on Linux.
fn read_strings(array: UserPtr<u64>, limit: u64) -> Result<Strings> {
    let mut strings = Strings::new();
    if array.is_null() {
        return Ok(strings);
    }
    for index in 0.. {
        let address = array.at(index).read()?;
        if address == 0 {
            break;
        }
        let string = read_cstr(UserAddr(address), MAX_STRING_SIZE).map_err(too_long)?;
        strings.push(&string)?;
        if (strings.size() + 8 * strings.count()) as u64 > limit {
            return Err(Errno::E2BIG);
        }
    }
    Ok(strings)
}

fn too_long(errno: Errno) -> Errno {
    if errno == Errno::ENAMETOOLONG { Errno::E2BIG } else { errno }
}
