//! Files that run cannot be written, and files that are open for writing cannot be run (ETXTBSY).
//!
//! Who writes and who runs is counted per inode, for as long as somebody does: positive for open descriptions that may
//! write, negative for processes that run it. Whoever is counted keeps the inode alive, so its address names it.

use alloc::sync::Arc;

use super::Inode;
use crate::errno::{Errno, Result};
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

static COUNTS: SpinLock<SortedMap<usize, i32>> = SpinLock::new(SortedMap::new());

fn key(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).addr()
}

fn change(inode: &Arc<dyn Inode>, change: i32) -> Result<()> {
    let mut counts = COUNTS.lock();
    let count = counts.get_or_insert_with(key(inode), || 0);
    if *count != 0 && count.signum() != change.signum() {
        return Err(Errno::ETXTBSY);
    }
    *count += change;
    Ok(())
}

fn undo(inode: &Arc<dyn Inode>, change: i32) {
    let mut counts = COUNTS.lock();
    if let Some(count) = counts.get_mut(&key(inode)) {
        *count -= change;
        if *count == 0 {
            counts.remove(&key(inode));
        }
    }
}

/// ETXTBSY if somebody runs the file: asked before it is opened for writing, or cut off by its name.
pub fn check_writable(inode: &Arc<dyn Inode>) -> Result<()> {
    match COUNTS.lock().get(&key(inode)) {
        Some(..0) => Err(Errno::ETXTBSY),
        _ => Ok(()),
    }
}

/// Somebody who may write the file.
pub struct Writer(Arc<dyn Inode>);

impl Writer {
    /// Counts one more; nothing if somebody has begun to run the file since it was checked.
    pub fn new(inode: &Arc<dyn Inode>) -> Option<Writer> {
        change(inode, 1).ok().map(|()| Writer(inode.clone()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        undo(&self.0, 1);
    }
}

/// Somebody who runs the file.
pub struct Running(Arc<dyn Inode>);

impl Running {
    /// Counts one more; ETXTBSY if somebody may write the file.
    pub fn new(inode: &Arc<dyn Inode>) -> Result<Running> {
        change(inode, -1).map(|()| Running(inode.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        undo(&self.0, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileType, Metadata};
    use super::*;

    struct Nothing;

    impl Inode for Nothing {
        fn metadata(&self) -> Result<Metadata> {
            Ok(Metadata::new(0, 1, FileType::Regular, 0o755))
        }

        fn kind(&self) -> FileType {
            FileType::Regular
        }
    }

    #[test]
    fn writing_and_running_exclude_each_other() {
        let inode: Arc<dyn Inode> = Arc::new(Nothing);
        let writer = Writer::new(&inode).unwrap();
        assert_eq!(Running::new(&inode).err(), Some(Errno::ETXTBSY));
        assert_eq!(check_writable(&inode), Ok(()));
        drop(writer);
        let running = [Running::new(&inode).unwrap(), Running::new(&inode).unwrap()];
        assert_eq!(check_writable(&inode), Err(Errno::ETXTBSY));
        assert!(Writer::new(&inode).is_none());
        drop(running);
        assert_eq!(check_writable(&inode), Ok(()));
        assert!(COUNTS.lock().get(&key(&inode)).is_none());
    }
}
