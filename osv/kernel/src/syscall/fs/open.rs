//! `open(2)`, `openat2(2)`, `creat(2)`.

use linux_raw_sys::general;
use zerocopy::FromBytes;

use super::{CURRENT, as_caller, at, install, opened_place, with_path};
use crate::errno::{Errno, Result};
use crate::fs::{Caller, OpenFlags, ResolveFlags, Start};
use crate::mem::user::{UserAddr, UserPtr, UserSlice};
use crate::syscall::{Fd, SysResult};

/// Flags that O_PATH leaves in force.
const WITH_PATH: OpenFlags =
    OpenFlags::PATH.union(OpenFlags::DIRECTORY).union(OpenFlags::NOFOLLOW).union(OpenFlags::CLOEXEC);

/// `struct open_how`.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens or makes a file. <https://man7.org/linux/man-pages/man2/open.2.html>
pub fn open(path: UserAddr, flags: u32, mode: u32) -> SysResult {
    openat(CURRENT, path, flags, mode)
}

/// Makes or empties a file. <https://man7.org/linux/man-pages/man2/creat.2.html>
pub fn creat(path: UserAddr, mode: u32) -> SysResult {
    openat(CURRENT, path, general::O_CREAT | general::O_WRONLY | general::O_TRUNC, mode)
}

/// As `open`, relative to a directory. <https://man7.org/linux/man-pages/man2/openat.2.html>
pub fn openat(directory: Fd, path: UserAddr, flags: u32, mode: u32) -> SysResult {
    let mut flags = OpenFlags::from_bits_truncate(flags);
    if flags.contains(OpenFlags::PATH) {
        flags &= WITH_PATH;
    }
    open_checked(directory, path, flags, mode as u16 & 0o7777, ResolveFlags::empty())
}

/// As `openat`, with limits for the walk. <https://man7.org/linux/man-pages/man2/openat2.2.html>
pub fn openat2(directory: Fd, path: UserAddr, how: UserAddr, size: usize) -> SysResult {
    let how = read_how(how, size)?;
    let flags = u32::try_from(how.flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::EINVAL)?;
    let limits = ResolveFlags::from_bits(how.resolve).ok_or(Errno::EINVAL)?;
    let makes = flags.contains(OpenFlags::CREAT) || flags.contains(OpenFlags::TMPFILE);
    if how.mode & !0o7777 != 0 || (how.mode != 0 && !makes) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(OpenFlags::PATH) && !WITH_PATH.contains(flags) {
        return Err(Errno::EINVAL);
    }
    if limits.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    let needs_io = makes || flags.contains(OpenFlags::TRUNC);
    if limits.contains(ResolveFlags::CACHED) && needs_io {
        return Err(Errno::EAGAIN);
    }
    open_checked(directory, path, flags, how.mode as u16, limits)
}

/// Reads a `struct open_how` of any size: missing fields are 0, unknown ones have to be (E2BIG).
fn read_how(addr: UserAddr, size: usize) -> Result<OpenHow> {
    const KNOWN: usize = size_of::<OpenHow>();
    if size < KNOWN {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    let bytes = UserSlice::new(addr.0, size).read_vec()?;
    if bytes.iter().skip(KNOWN).any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    UserPtr::<OpenHow>::new(addr.0).read()
}

fn open_checked(directory: Fd, path: UserAddr, flags: OpenFlags, mode: u16, limits: ResolveFlags) -> SysResult {
    let is_unnamed = flags.contains(OpenFlags::TMPFILE);
    if is_unnamed && flags.contains(OpenFlags::CREAT) {
        return Err(Errno::EINVAL);
    }
    if !is_unnamed && flags.bits() & (general::O_TMPFILE & !general::O_DIRECTORY) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    let kept = if flags.contains(OpenFlags::PATH) { flags } else { flags | OpenFlags::LARGEFILE };
    let open = |caller: &Caller<'_>, start: Start<'_>, path: &[u8]| caller.open(start, path, kept, mode, limits);
    let is_scoped = limits.contains(ResolveFlags::IN_ROOT) && directory != CURRENT;
    let file = if is_scoped {
        let root =
            opened_place(directory).map_err(|error| if error == Errno::EINVAL { Errno::ENOTDIR } else { error })?;
        with_path(path, |path| as_caller(|caller| open(caller, Start::At(&root), path)))?
    } else {
        at(directory, path, open)?
    };
    install(file, flags.contains(OpenFlags::CLOEXEC))
}
