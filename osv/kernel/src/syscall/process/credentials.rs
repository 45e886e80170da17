//! User and group ids: `getuid(2)`, `setuid(2)`, `setresuid(2)`, `getgroups(2)` and their like.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::mem::user::UserPtr;
use crate::process::credentials::{Credentials, Ids, MAX_GROUPS};
use crate::process::current_task;
use crate::syscall::SysResult;

/// The real user. <https://man7.org/linux/man-pages/man2/getuid.2.html>
pub fn getuid() -> SysResult {
    Ok(u64::from(current_task().credentials().user.real))
}

/// The effective user. <https://man7.org/linux/man-pages/man2/getuid.2.html>
pub fn geteuid() -> SysResult {
    Ok(u64::from(current_task().credentials().user.effective))
}

/// The real group. <https://man7.org/linux/man-pages/man2/getgid.2.html>
pub fn getgid() -> SysResult {
    Ok(u64::from(current_task().credentials().group.real))
}

/// The effective group. <https://man7.org/linux/man-pages/man2/getgid.2.html>
pub fn getegid() -> SysResult {
    Ok(u64::from(current_task().credentials().group.effective))
}

/// <https://man7.org/linux/man-pages/man2/getresuid.2.html>
pub fn getresuid(real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> SysResult {
    write_ids(&current_task().credentials().user, real, effective, saved)
}

/// <https://man7.org/linux/man-pages/man2/getresuid.2.html>
pub fn getresgid(real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> SysResult {
    write_ids(&current_task().credentials().group, real, effective, saved)
}

fn write_ids(ids: &Ids, real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> SysResult {
    real.write(&ids.real)?;
    effective.write(&ids.effective)?;
    saved.write(&ids.saved)?;
    Ok(0)
}

/// Puts new credentials in force. Whoever changes its user loses what its parent's end would have sent, and its core.
fn commit(new: Credentials) -> SysResult {
    let task = current_task();
    let old = task.credentials();
    if new.user.effective != old.user.effective || new.group.effective != old.group.effective {
        task.on_identity_change();
    }
    task.set_credentials(new);
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/setuid.2.html>
pub fn setuid(id: u32) -> SysResult {
    commit(current_task().credentials().set_user(id)?)
}

/// <https://man7.org/linux/man-pages/man2/setgid.2.html>
pub fn setgid(id: u32) -> SysResult {
    commit(current_task().credentials().set_group(id)?)
}

/// <https://man7.org/linux/man-pages/man2/setreuid.2.html>
pub fn setreuid(real: u32, effective: u32) -> SysResult {
    commit(current_task().credentials().set_real_effective_user(real, effective)?)
}

/// <https://man7.org/linux/man-pages/man2/setreuid.2.html>
pub fn setregid(real: u32, effective: u32) -> SysResult {
    commit(current_task().credentials().set_real_effective_group(real, effective)?)
}

/// <https://man7.org/linux/man-pages/man2/setresuid.2.html>
pub fn setresuid(real: u32, effective: u32, saved: u32) -> SysResult {
    commit(current_task().credentials().set_users(real, effective, saved)?)
}

/// <https://man7.org/linux/man-pages/man2/setresuid.2.html>
pub fn setresgid(real: u32, effective: u32, saved: u32) -> SysResult {
    commit(current_task().credentials().set_groups_ids(real, effective, saved)?)
}

/// Returns the old id, whether or not it changed. <https://man7.org/linux/man-pages/man2/setfsuid.2.html>
pub fn setfsuid(id: u32) -> SysResult {
    let old = current_task().credentials();
    commit(old.set_file_system_user(id))?;
    Ok(u64::from(old.user.file_system))
}

/// Returns the old id, whether or not it changed. <https://man7.org/linux/man-pages/man2/setfsgid.2.html>
pub fn setfsgid(id: u32) -> SysResult {
    let old = current_task().credentials();
    commit(old.set_file_system_group(id))?;
    Ok(u64::from(old.group.file_system))
}

/// <https://man7.org/linux/man-pages/man2/getgroups.2.html>
pub fn getgroups(size: i32, list: UserPtr<u32>) -> SysResult {
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    let credentials = current_task().credentials();
    if size != 0 {
        if credentials.groups.len() > size {
            return Err(Errno::EINVAL);
        }
        list.write_slice(&credentials.groups)?;
    }
    Ok(credentials.groups.len() as u64)
}

/// <https://man7.org/linux/man-pages/man2/getgroups.2.html>
pub fn setgroups(size: i32, list: UserPtr<u32>) -> SysResult {
    let credentials = current_task().credentials();
    credentials.set_groups(Vec::new())?;
    let size = usize::try_from(size).ok().filter(|&size| size <= MAX_GROUPS).ok_or(Errno::EINVAL)?;
    commit(credentials.set_groups(list.read_vec(size)?)?)
}
