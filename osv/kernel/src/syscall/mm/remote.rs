//! Memory of other processes: `process_vm_readv(2)`, `process_vm_writev(2)`, `process_madvise(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general;

use super::SysResult;
use super::advise;
use crate::errno::{Errno, Result};
use crate::mem::space::AddressSpace;
use crate::mem::user::{Dest, IOV_MAX, Source, USER_END, UserPtr, UserSlice};
use crate::process::pidfd::PidFd;
use crate::process::{current_task, tree};
use crate::syscall::Fd;

/// The most bytes that one call moves.
const MAX_COUNT: u64 = 0x7fff_f000;

/// A piece of memory: address and length, as `struct iovec` has them.
type Piece = [u64; 2];

/// <https://man7.org/linux/man-pages/man2/process_vm_readv.2.html>
pub fn process_vm_readv(
    pid: i32,
    local: UserPtr<Piece>,
    local_count: usize,
    remote: UserPtr<Piece>,
    remote_count: usize,
    flags: u64,
) -> SysResult {
    transfer(pid, (local, local_count), (remote, remote_count), flags, |space, local, remote| {
        space.read_remote(remote, &mut Dest::from_user(local))
    })
}

/// <https://man7.org/linux/man-pages/man2/process_vm_readv.2.html>
pub fn process_vm_writev(
    pid: i32,
    local: UserPtr<Piece>,
    local_count: usize,
    remote: UserPtr<Piece>,
    remote_count: usize,
    flags: u64,
) -> SysResult {
    transfer(pid, (local, local_count), (remote, remote_count), flags, |space, local, remote| {
        space.write_remote(remote, &mut Source::from_user(local))
    })
}

/// Calls `copy` for runs of bytes that lie in one piece on both sides, until one side is used up or a run is not moved in full.
/// An error counts only if nothing was moved before.
fn transfer(
    pid: i32,
    (local, local_count): (UserPtr<Piece>, usize),
    (remote, remote_count): (UserPtr<Piece>, usize),
    flags: u64,
    copy: impl Fn(&AddressSpace, UserSlice, u64) -> Result<usize>,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let local = pieces(local, local_count)?;
    if local.iter().any(|&[addr, len]| addr.checked_add(len).is_none_or(|end| end > USER_END)) {
        return Err(Errno::EFAULT);
    }
    if local.iter().all(|&[_, len]| len == 0) {
        return Ok(0);
    }
    let remote = pieces(remote, remote_count)?;
    if remote.iter().all(|&[_, len]| len == 0) {
        return Ok(0);
    }
    let space = space_of(pid)?;
    let (mut local, mut remote) = (local.into_iter(), remote.into_iter());
    let (mut here, mut there): (Piece, Piece) = ([0; 2], [0; 2]);
    let mut moved = 0;
    while moved < MAX_COUNT && fill(&mut here, &mut local) && fill(&mut there, &mut remote) {
        let len = here[1].min(there[1]).min(MAX_COUNT - moved);
        let count = match copy(&space, UserSlice::new(here[0], len as usize), there[0]) {
            Ok(count) => count as u64,
            Err(errno) if moved == 0 => return Err(errno),
            Err(_) => break,
        };
        moved += count;
        if count < len {
            break;
        }
        for piece in [&mut here, &mut there] {
            *piece = [piece[0].wrapping_add(len), piece[1] - len];
        }
    }
    Ok(moved)
}

/// Makes `piece` the next that is not empty, if it is used up. False if there is none.
fn fill(piece: &mut Piece, rest: &mut impl Iterator<Item = Piece>) -> bool {
    while piece[1] == 0 {
        match rest.next() {
            Some(next) => *piece = next,
            None => return false,
        }
    }
    true
}

/// The array of pieces at `addr` (EINVAL for too many or too long ones).
fn pieces(addr: UserPtr<Piece>, count: usize) -> Result<Vec<Piece>> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let pieces = addr.read_vec(count)?;
    if pieces.iter().any(|&[_, len]| i64::try_from(len).is_err()) { Err(Errno::EINVAL) } else { Ok(pieces) }
}

/// The memory of the process `pid`, if the caller may look into it (EPERM).
pub(super) fn space_of(pid: i32) -> Result<Arc<AddressSpace>> {
    let task = tree::find_task(u32::try_from(pid).map_err(|_| Errno::ESRCH)?)?;
    if !current_task().may_access(&task) {
        return Err(Errno::EPERM);
    }
    task.process().space()
}

/// Says how ranges of another process will be used. <https://man7.org/linux/man-pages/man2/process_madvise.2.html>
pub fn process_madvise(fd: Fd, ranges: UserPtr<Piece>, count: usize, advice: u32, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let ranges = pieces(ranges, count)?;
    let process = PidFd::process_of(&*current_task().files().get(fd.0)?)?;
    let task = process.first_task().ok_or(Errno::ESRCH)?;
    let is_harmless =
        matches!(advice, general::MADV_COLD | general::MADV_PAGEOUT | general::MADV_WILLNEED | general::MADV_COLLAPSE);
    if !is_harmless {
        return Err(Errno::EINVAL);
    }
    let own = current_task();
    if !own.may_access(&task) || !own.credentials().is_capable(general::CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let space = process.space()?;
    let mut advised = 0;
    for [addr, len] in ranges {
        match advise::apply(&space, addr, len, advice) {
            Ok(()) => advised += len,
            Err(errno) if advised == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(advised)
}
