//! `msync(2)` and `mincore(2)`.

use super::{Errno, SysResult, general, space};
use crate::mem::layout::PAGE_SIZE;
use crate::mem::user::UserPtr;

/// Writes changes of shared mappings back to their files. <https://man7.org/linux/man-pages/man2/msync.2.html>
pub fn msync(addr: u64, len: u64, flags: u32) -> SysResult {
    let known = general::MS_ASYNC | general::MS_INVALIDATE | general::MS_SYNC;
    let both = general::MS_ASYNC | general::MS_SYNC;
    if flags & !known != 0 || flags & both == both || !addr.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL);
    }
    if flags & general::MS_INVALIDATE != 0 && space()?.locked_within(addr, addr.saturating_add(len)) != 0 {
        return Err(Errno::EBUSY);
    }
    if flags & general::MS_SYNC == 0 {
        // Changes are in the page cache already, where all see them.
        return space()?.mincore(addr, len).map(|_| 0);
    }
    space()?.msync(addr, len).map(|()| 0)
}

/// Pages that are reported at once.
const CHUNK: u64 = 1024;

/// Says which pages of a range are in memory. <https://man7.org/linux/man-pages/man2/mincore.2.html>
pub fn mincore(addr: u64, len: u64, vector: UserPtr<u8>) -> SysResult {
    let page = PAGE_SIZE as u64;
    if !addr.is_multiple_of(page) {
        return Err(Errno::EINVAL);
    }
    let pages = len.div_ceil(page);
    let mut done = 0;
    while done < pages {
        let count = CHUNK.min(pages - done);
        let from = addr.checked_add(done * page).ok_or(Errno::ENOMEM)?;
        let resident = space()?.mincore(from, count * page)?;
        vector.at(done as usize).write_slice(&resident)?;
        done += count;
    }
    Ok(0)
}
