//! `mlock(2)` and its family. Nothing is ever swapped out, so a locked page is one that is there.

use super::{Errno, SysResult, general, space};
use crate::errno::Result;
use crate::process::current_process;
use crate::process::limits::{INFINITY, Resource};

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
    check_limit(len)?;
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
    space()?.mlock_all(now, future, on_fault).map(|()| 0)
}

/// Lets go of all pages. <https://man7.org/linux/man-pages/man2/mlock.2.html>
pub fn munlockall() -> SysResult {
    space()?.mlock_all(false, false, false).map(|()| 0)
}

/// ENOMEM if `more` locked bytes are beyond RLIMIT_MEMLOCK, for those whom it binds; EPERM if it allows none.
fn check_limit(more: u64) -> Result<()> {
    let limit = current_process().limit(Resource::LockedMemory);
    let is_root = crate::process::current_task().credentials().user.effective == 0;
    if is_root || limit == INFINITY {
        return Ok(());
    }
    if limit == 0 {
        return Err(Errno::EPERM);
    }
    if space()?.locked_bytes().saturating_add(more) > limit { Err(Errno::ENOMEM) } else { Ok(()) }
}
