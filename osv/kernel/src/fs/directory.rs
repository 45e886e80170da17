//! Reading directories: the entries `.` and `..` in front of those of the file system.

use super::{DirEntry, FileType, PathRef};
use crate::errno::Result;

/// Positions of a directory: the beginning, after `.`, and after `..`, where the file system's own entries begin.
const AFTER_DOT: u64 = 1;
const AFTER_DOT_DOT: u64 = 2;

/// Hands entries of `directory` from `position` on to `emit` until it returns false, and moves `position` along.
pub fn read_from(directory: &PathRef, position: &mut u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
    let inode = directory.inode();
    if *position == 0 {
        let ino = inode.metadata()?.ino;
        if !emit(DirEntry { name: b".", ino, kind: FileType::Directory, next: AFTER_DOT }) {
            return Ok(());
        }
        *position = AFTER_DOT;
    }
    if *position == AFTER_DOT {
        let above = directory.above(|_| false);
        let ino = above.as_ref().unwrap_or(directory).inode().metadata()?.ino;
        if !emit(DirEntry { name: b"..", ino, kind: FileType::Directory, next: AFTER_DOT_DOT }) {
            return Ok(());
        }
        *position = AFTER_DOT_DOT;
    }
    let cookie = if *position == AFTER_DOT_DOT { 0 } else { *position };
    inode.read_dir(cookie, &mut |entry| {
        let is_taken = emit(entry);
        if is_taken {
            *position = entry.next;
        }
        is_taken
    })
}
