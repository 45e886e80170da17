//! `memfd_create(2)`.

use linux_raw_sys::general;

use super::install;
use crate::errno::Errno;
use crate::fs;
use crate::mem::user::{UserAddr, read_cstr};
use crate::syscall::SysResult;

/// Longest name, its NUL included: what is left of NAME_MAX behind `memfd:`.
const MAX_NAME: usize = 250;

/// Makes a file without a name. There are no huge pages to ask for (ENOSYS), as on a Linux without hugetlbfs.
/// <https://man7.org/linux/man-pages/man2/memfd_create.2.html>
pub fn memfd_create(name: UserAddr, flags: u32) -> SysResult {
    if flags & general::MFD_HUGETLB != 0 {
        return Err(Errno::ENOSYS);
    }
    let known = general::MFD_CLOEXEC | general::MFD_ALLOW_SEALING;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_cstr(name, MAX_NAME).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        error => error,
    })?;
    let seals = if flags & general::MFD_ALLOW_SEALING == 0 { general::F_SEAL_SEAL } else { 0 };
    install(fs::create_memfd(&name, seals)?, flags & general::MFD_CLOEXEC != 0)
}
