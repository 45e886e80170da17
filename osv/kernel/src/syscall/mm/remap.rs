//! `mremap(2)`.

use super::{Errno, SysResult, lock, space};
use crate::mem::layout::PAGE_SIZE;
use crate::mem::space::{RemapFlags, RemapRequest};

/// Moves or resizes a mapping. <https://man7.org/linux/man-pages/man2/mremap.2.html>
pub fn mremap(addr: u64, old_len: u64, new_len: u64, flags: u32, new_addr: u64) -> SysResult {
    let flags = RemapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let space = space()?;
    if space.locked_within(addr, addr.saturating_add(1)) != 0 {
        lock::check_new(new_len.saturating_sub(old_len), true)?;
    }
    space.mremap(RemapRequest { addr, old_len, new_len, flags, new_addr })
}

/// Shows another part of a file in a piece of a shared mapping of it.
/// <https://man7.org/linux/man-pages/man2/remap_file_pages.2.html>
pub fn remap_file_pages(addr: u64, len: u64, prot: u64, first: u64, _flags: u32) -> SysResult {
    let mask = !(PAGE_SIZE as u64 - 1);
    let (addr, len) = (addr & mask, len & mask);
    let end = addr.checked_add(len).filter(|&end| end > addr);
    let offset = first.checked_mul(PAGE_SIZE as u64).filter(|offset| offset.checked_add(len).is_some());
    let (Some(_), Some(offset), 0) = (end, offset, prot) else { return Err(Errno::EINVAL) };
    space()?.remap_file(addr, len, offset).map(|()| 0)
}
