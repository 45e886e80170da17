//! Where an image's pages come from.

use alloc::sync::Arc;

use super::format::BLOCK;
use crate::errno::{Errno, Result};
use crate::mem::Frame;
use crate::mem::page_cache::{PageCache, PageStore, Pattern};
use crate::mem::phys::PAGE_SIZE;
use crate::mem::reclaim::{self, Reclaim};

/// The pages of an image.
pub struct Image {
    pages: u64,
    source: Source,
}

enum Source {
    /// In RAM that nothing else uses, from this physical address on.
    Memory(u64),
    /// On a disk.
    Disk(Arc<Disk>),
}

/// A disk and what of it is in memory.
struct Disk {
    cache: PageCache,
    store: Arc<dyn PageStore + Send + Sync>,
}

impl Reclaim for Disk {
    fn reclaim(&self, frames: usize) -> usize {
        self.cache.reclaim(frames)
    }
}

impl Image {
    /// The image of `len` bytes that lies at physical address `start` in RAM, for ever; EINVAL unless that is at the
    /// start of a page. What is beyond its last whole page is cut off.
    pub fn in_memory(start: u64, len: u64) -> Result<Self> {
        if !start.is_multiple_of(BLOCK) || start.checked_add(len).is_none() {
            return Err(Errno::EINVAL);
        }
        Ok(Self { pages: len / BLOCK, source: Source::Memory(start) })
    }

    /// The image on a disk of `len` bytes, whose pages `store` reads.
    pub fn on_disk(store: Arc<dyn PageStore + Send + Sync>, len: u64) -> Self {
        let disk = Arc::new(Disk { cache: PageCache::new(), store });
        let cache = Arc::downgrade(&disk);
        reclaim::register(cache);
        Self { pages: len / BLOCK, source: Source::Disk(disk) }
    }

    /// Page `index`, read with others that `pattern` lets expect. EUCLEAN beyond the end.
    pub fn page(&self, index: u64, pattern: Pattern) -> Result<Frame> {
        if index >= self.pages {
            return Err(Errno::EUCLEAN);
        }
        match &self.source {
            Source::Memory(start) => Frame::from_phys_static(start + index * BLOCK).ok_or(Errno::EUCLEAN),
            Source::Disk(disk) => disk.cache.get_or_read(index, self.pages, pattern, &*disk.store),
        }
    }

    /// Page `index` if it is in memory.
    pub fn cached(&self, index: u64) -> Option<Frame> {
        if index >= self.pages {
            return None;
        }
        match &self.source {
            Source::Memory(start) => Frame::from_phys_static(start + index * BLOCK),
            Source::Disk(disk) => disk.cache.get(index),
        }
    }

    /// Copies the bytes from `offset` on into `out`; EUCLEAN if the image ends before.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.checked_add(done as u64).ok_or(Errno::EUCLEAN)?;
            let within = (at % BLOCK) as usize;
            let len = rest.len().min(PAGE_SIZE - within);
            let piece = rest.get_mut(..len).unwrap_or_default();
            done += self.page(at / BLOCK, Pattern::Mapped)?.read(within, piece);
        }
        Ok(())
    }
}
