//! What a mapping can show: [`PageSource`], the pages of a file or of shared memory.
//!
//! A source hands out frames of its own cache: all mappings of a page and all reads of it see the same memory. Faults
//! call it with the address space's lock shared and may sleep in it; it must therefore never touch program memory.

use alloc::vec::Vec;

use super::frame::Frame;
use super::mappers::Mappers;
use super::page_cache::PageCache;
use super::phys::PAGE_SIZE;
use crate::errno::{Errno, Result};

/// Where the pages of a mapped object come from.
pub trait PageSource: Send + Sync {
    /// Size of the object in bytes.
    fn size(&self) -> u64;

    /// The frame of page `index`, read from storage if need be. With `for_write` the page is about to be changed through
    /// a shared mapping: it must not be a hole's common zero page, and stays in the cache from now on. Called for
    /// pages within [`PageSource::size`]; one that has been cut off meanwhile is EFAULT. ENOMEM and EIO travel on.
    fn page(&self, _index: u64, _for_write: bool) -> Result<Frame> {
        Err(Errno::ENODEV)
    }

    /// Whether [`PageSource::page`] may wait for storage: then faults call it first without holding the areas' lock.
    fn is_slow(&self) -> bool {
        false
    }

    /// The frame of page `index` if it can be had at once, without sleeping or allocating.
    fn cached(&self, _index: u64) -> Option<Frame> {
        None
    }

    /// Calls `found` for those of the `count` pages from `first` on that can be had at once. To be implemented where one
    /// look-up serves for all.
    fn cached_run(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, Frame)) {
        for index in first..first.saturating_add(count as u64) {
            if let Some(frame) = self.cached(index) {
                found(index, frame);
            }
        }
    }

    /// Page `index` may change through a shared mapping from now until it is written back.
    fn mark_dirty(&self, _index: u64) {}

    /// Writes the changed ones of the `count` pages from `first` on back to storage: `msync`.
    fn sync(&self, _first: u64, _count: u64) -> Result<()> {
        Ok(())
    }

    /// Makes a hole of the `count` pages from `first` on: MADV_REMOVE. EOPNOTSUPP where there are no holes.
    fn punch(&self, _first: u64, _count: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The address spaces that map the object, so that truncation can take pages away from them. A source whose
    /// size never shrinks needs none.
    fn mappers(&self) -> Option<&Mappers> {
        None
    }

    /// Device and inode number, for `/proc/PID/maps`.
    fn identity(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Whether it is a System V segment, which `shmdt` may unmap.
    fn is_segment(&self) -> bool {
        false
    }

    /// An area has come that shows it, in whatever process. For sources that count them; called with areas' locks held.
    fn note_shown(&self) {}

    /// Such an area, or a part of it that had become one of its own, has gone.
    fn note_hidden(&self) {}

    /// Whether a private mapping of it is nothing but anonymous memory: `/dev/zero`.
    fn is_zero(&self) -> bool {
        false
    }
}

/// How a mapping is called in `/proc/PID/maps`: the path of the file that was mapped.
pub trait MappingName: Send + Sync {
    /// Appends the name to `out`.
    fn write_name(&self, out: &mut Vec<u8>);
}

impl<T: AsRef<[u8]> + Send + Sync> MappingName for T {
    fn write_name(&self, out: &mut Vec<u8>) {
        if out.try_reserve(self.as_ref().len()).is_ok() {
            out.extend_from_slice(self.as_ref());
        }
    }
}

/// Memory that processes share without a file: MAP_SHARED|MAP_ANONYMOUS. Pages come as they are touched.
pub struct SharedMemory {
    pages: PageCache,
    size: u64,
}

impl SharedMemory {
    /// `size` bytes of zeros.
    pub fn new(size: u64) -> SharedMemory {
        SharedMemory { pages: PageCache::new(), size }
    }

    /// Bytes that are there.
    pub fn resident(&self) -> u64 {
        (self.pages.len() * PAGE_SIZE) as u64
    }
}

impl PageSource for SharedMemory {
    fn size(&self) -> u64 {
        self.size
    }

    fn page(&self, index: u64, _for_write: bool) -> Result<Frame> {
        self.pages.get_or_zeroed(index)
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        self.pages.get(index)
    }

    fn cached_run(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, Frame)) {
        self.pages.get_run(first, count, found);
    }
}

/// Pages that the kernel made for programs to see: the vDSO and its data.
pub struct FixedPages {
    frames: Vec<Frame>,
}

impl FixedPages {
    /// These frames, in order.
    pub fn new(frames: Vec<Frame>) -> FixedPages {
        FixedPages { frames }
    }
}

impl PageSource for FixedPages {
    fn size(&self) -> u64 {
        (self.frames.len() * PAGE_SIZE) as u64
    }

    fn page(&self, index: u64, _for_write: bool) -> Result<Frame> {
        self.cached(index).ok_or(Errno::EFAULT)
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        self.frames.get(usize::try_from(index).ok()?).cloned()
    }
}
