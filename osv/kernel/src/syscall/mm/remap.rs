//! `mremap(2)`.

use super::{Errno, SysResult, space};
use crate::mem::space::{RemapFlags, RemapRequest};

/// Moves or resizes a mapping. <https://man7.org/linux/man-pages/man2/mremap.2.html>
pub fn mremap(addr: u64, old_len: u64, new_len: u64, flags: u32, new_addr: u64) -> SysResult {
    let flags = RemapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    space()?.mremap(RemapRequest { addr, old_len, new_len, flags, new_addr })
}
