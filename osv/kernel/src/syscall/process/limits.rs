//! `getrlimit(2)`, `setrlimit(2)`, `prlimit64(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;

use super::ids::positive;
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::limits::{Limit, Resource};
use crate::process::{Process, current_process, current_task, tree};
use crate::syscall::SysResult;

/// <https://man7.org/linux/man-pages/man2/getrlimit.2.html>
pub fn getrlimit(resource: u32, limit: UserPtr<Limit>) -> SysResult {
    let resource = Resource::from_number(resource)?;
    limit.write(&current_process().limits().get(resource))?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/getrlimit.2.html>
pub fn setrlimit(resource: u32, limit: UserPtr<Limit>) -> SysResult {
    let new = limit.read()?;
    set(current_process(), Resource::from_number(resource)?, new)?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/prlimit.2.html>
pub fn prlimit64(pid: i32, resource: u32, new: UserPtr<Limit>, old: UserPtr<Limit>) -> SysResult {
    let resource = Resource::from_number(resource)?;
    let new = new.non_null().map(UserPtr::read).transpose()?;
    let process = match positive(pid)? {
        0 => Arc::clone(current_process()),
        pid => tree::find_by_any_id(pid)?,
    };
    check_access(&process)?;
    let before = match new {
        Some(new) => set(&process, resource, new)?,
        None => process.limits().get(resource),
    };
    if let Some(old) = old.non_null() {
        old.write(&before)?;
    }
    Ok(0)
}

/// Another's limits are for those who could trace it.
fn check_access(process: &Arc<Process>) -> Result<()> {
    if Arc::ptr_eq(process, current_process()) {
        return Ok(());
    }
    let own = current_task().credentials();
    let Some(other) = process.first_task().map(|task| task.credentials()) else { return Ok(()) };
    let is_same = [other.user.real, other.user.effective, other.user.saved].iter().all(|&id| id == own.user.real)
        && [other.group.real, other.group.effective, other.group.saved].iter().all(|&id| id == own.group.real);
    if is_same || own.is_capable(linux::CAP_SYS_RESOURCE) { Ok(()) } else { Err(Errno::EPERM) }
}

fn set(process: &Arc<Process>, resource: Resource, new: Limit) -> Result<Limit> {
    let is_privileged = current_task().credentials().is_capable(linux::CAP_SYS_RESOURCE);
    process.set_limit(resource, new, is_privileged)
}
