//! `brk(2)`.

use super::{SysResult, lock, space};

/// Moves the end of the heap; returns where it is then, whether it moved or not.
/// <https://man7.org/linux/man-pages/man2/brk.2.html>
pub fn brk(end: u64) -> SysResult {
    let space = space()?;
    if space.locks_future() {
        let now = space.brk(0);
        if end > now && lock::check_new(end - now, false).is_err() {
            return Ok(now);
        }
    }
    Ok(space.brk(end))
}
