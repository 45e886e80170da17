//! Special inodes: what opening a device node, FIFO or socket leads to, by its type and number, on whatever file
//! system it lies.
//!
//! Drivers register an opener for their major number; the rest of the numbers belong to nobody (ENXIO).

use alloc::sync::Arc;

use super::{File, FileType, OpenFlags, PathRef, major, pipe};
use crate::errno::{Errno, Result};
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// Opens the device with the given number at the given place.
pub type Opener = fn(device: u64, place: &PathRef, flags: OpenFlags) -> Result<Arc<dyn File>>;

static OPENERS: SpinLock<SortedMap<(FileType, u32), Opener>> = SpinLock::new(SortedMap::new());

/// Makes `opener` responsible for all character or block devices (`kind`) with the given major number.
pub fn register(kind: FileType, major: u32, opener: Opener) {
    OPENERS.lock().insert((kind, major), opener);
}

/// Opens the special inode at `place`; `None` for regular files, directories and symlinks.
pub fn open_special(place: &PathRef, flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
    let kind = place.kind();
    let device = match kind {
        FileType::Regular | FileType::Directory | FileType::Symlink => return Ok(None),
        FileType::Socket => return Err(Errno::ENXIO),
        FileType::Fifo => {
            let metadata = place.inode().metadata()?;
            return Ok(Some(pipe::open_fifo(metadata.dev, metadata.ino, flags)?));
        }
        FileType::CharDevice | FileType::BlockDevice => place.inode().metadata()?.rdev,
    };
    let opener = OPENERS.lock().get(&(kind, major(device))).copied().ok_or(Errno::ENXIO)?;
    opener(device, place, flags).map(Some)
}
