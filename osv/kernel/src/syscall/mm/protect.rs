//! `mprotect(2)` and the protection keys that there are none of.

use super::{Errno, SysResult, general, prot, space};

/// Changes what may be done with a range. <https://man7.org/linux/man-pages/man2/mprotect.2.html>
pub fn mprotect(addr: u64, len: u64, protection: u64) -> SysResult {
    let known = u64::from(general::PROT_READ | general::PROT_WRITE | general::PROT_EXEC | general::PROT_SEM);
    let (down, up) = (u64::from(general::PROT_GROWSDOWN), u64::from(general::PROT_GROWSUP));
    if protection & !(known | down | up) != 0 || protection & up != 0 {
        return Err(Errno::EINVAL);
    }
    space()?.mprotect(addr, len, prot(protection), protection & down != 0).map(|()| 0)
}

/// As [`mprotect`] with the key -1, which means none; no other can exist.
/// <https://man7.org/linux/man-pages/man2/pkey_mprotect.2.html>
pub fn pkey_mprotect(addr: u64, len: u64, protection: u64, key: i32) -> SysResult {
    if key == -1 { mprotect(addr, len, protection) } else { Err(Errno::EINVAL) }
}

/// Protection keys bind user pages, and no page is one here: the processor has none to give.
/// <https://man7.org/linux/man-pages/man2/pkey_alloc.2.html>
pub fn pkey_alloc(flags: u64, rights: u64) -> SysResult {
    if flags != 0 || rights & !3 != 0 { Err(Errno::EINVAL) } else { Err(Errno::ENOSPC) }
}

/// No key was ever given. <https://man7.org/linux/man-pages/man2/pkey_alloc.2.html>
pub fn pkey_free(_key: i32) -> SysResult {
    Err(Errno::EINVAL)
}
