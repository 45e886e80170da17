//! `brk(2)`.

use super::{SysResult, space};

/// Moves the end of the heap; returns where it is then, whether it moved or not.
/// <https://man7.org/linux/man-pages/man2/brk.2.html>
pub fn brk(end: u64) -> SysResult {
    Ok(space()?.brk(end))
}
