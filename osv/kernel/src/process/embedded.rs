//! A program that came with the kernel: an image in memory, its segments laid out as they are to be mapped.

use alloc::sync::Arc;

use crate::errno::{Errno, Result};
use crate::mem::frame::Frame;
use crate::mem::object::PageSource;

const PAGE: u64 = 4096;

/// The physical memory that holds such an image; nobody gives it back.
struct EmbeddedImage {
    start: u64,
    end: u64,
}

/// The pages from `start` up to `end`, physical addresses of which the first has to begin a page. `None` if there are none.
pub fn pages(start: u64, end: u64) -> Option<Arc<dyn PageSource>> {
    let is_sound = start != 0 && start.is_multiple_of(PAGE) && start < end;
    is_sound.then(|| Arc::new(EmbeddedImage { start, end }) as Arc<dyn PageSource>)
}

impl PageSource for EmbeddedImage {
    fn size(&self) -> u64 {
        self.end - self.start
    }

    fn page(&self, index: u64, for_write: bool) -> Result<Frame> {
        if for_write {
            return Err(Errno::EACCES);
        }
        self.cached(index).ok_or(Errno::EFAULT)
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        let address = index.checked_mul(PAGE)?.checked_add(self.start)?;
        if address < self.end { Frame::from_phys_static(address) } else { None }
    }
}
