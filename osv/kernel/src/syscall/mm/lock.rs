//! `mlock(2)` and its family. Nothing is ever swapped out, so a locked page is one that is there.

use super::{Errno, SysResult, general, space};
use crate::errno::Result;
use crate::mem::layout::PAGE_SIZE;
use crate::mem::phys::page_up;
use crate::process::limits::{INFINITY, Resource};
use crate::process::{current_process, current_task};

/// Has the pages of a range in memory. <https://man7.org/linux/man-pages/man2/mlock.2.html>
pub fn mlock(addr: u64, len: u64) -> SysResult {
    mlock2(addr, len, 0)
}

/// As [`mlock`], or (MLOCK_ONFAULT) each page from its first use on.
/// <https://man7.org/linux/man-pages/man2/mlock2.2.html>
pub fn mlock2(addr: u64, len: u64, flags: u32) -> SysResult {
    if flags & !general::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    check_limit(addr, len)?;
    space()?.mlock(addr, len, true, flags & general::MLOCK_ONFAULT != 0).map(|()| 0)
}

/// Lets go of a range. <https://man7.org/linux/man-pages/man2/mlock.2.html>
pub fn munlock(addr: u64, len: u64) -> SysResult {
    space()?.mlock(addr, len, false, false).map(|()| 0)
}

/// Has all pages in memory, now or as they are mapped. <https://man7.org/linux/man-pages/man2/mlock.2.html>
pub fn mlockall(flags: u32) -> SysResult {
    let known = general::MCL_CURRENT | general::MCL_FUTURE | general::MCL_ONFAULT;
    if flags & !known != 0 || flags & (general::MCL_CURRENT | general::MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL);
    }
    let has = |flag| flags & flag != 0;
    let (now, future, on_fault) = (has(general::MCL_CURRENT), has(general::MCL_FUTURE), has(general::MCL_ONFAULT));
    let (space, limit) = (space()?, limit()?);
    if now && limit.is_some_and(|limit| space.total_bytes() > limit) {
        return Err(Errno::ENOMEM);
    }
    space.mlock_all(now, future, on_fault).map(|()| 0)
}

/// Lets go of all pages. <https://man7.org/linux/man-pages/man2/mlock.2.html>
pub fn munlockall() -> SysResult {
    space()?.mlock_all(false, false, false).map(|()| 0)
}

/// RLIMIT_MEMLOCK, for those whom it binds; EPERM if it allows nothing.
fn limit() -> Result<Option<u64>> {
    let limit = current_process().limit(Resource::LockedMemory);
    if current_task().credentials().is_capable(general::CAP_IPC_LOCK) || limit == INFINITY {
        return Ok(None);
    }
    if limit == 0 { Err(Errno::EPERM) } else { Ok(Some(limit)) }
}

/// ENOMEM if the range were too much with what is locked already.
fn check_limit(addr: u64, len: u64) -> Result<()> {
    let Some(limit) = limit()? else { return Ok(()) };
    let start = addr & !(PAGE_SIZE as u64 - 1);
    let end = addr.checked_add(len).and_then(page_up).unwrap_or(u64::MAX);
    let space = space()?;
    let locked = space.locked_bytes() - space.locked_within(start, end);
    if locked.saturating_add(end - start) > limit { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// For what makes a mapping of `len` bytes more: EPERM or EAGAIN if it is to be locked and that is too much.
pub(super) fn check_new(len: u64, is_locked: bool) -> Result<()> {
    let space = space()?;
    if !is_locked && !space.locks_future() {
        return Ok(());
    }
    let limit = match limit() {
        Err(errno) if is_locked => return Err(errno),
        Err(_) => Some(0),
        Ok(limit) => limit,
    };
    let len = page_up(len).unwrap_or(u64::MAX);
    let is_too_much = limit.is_some_and(|limit| space.locked_bytes().saturating_add(len) > limit);
    if is_too_much { Err(Errno::EAGAIN) } else { Ok(()) }
}
