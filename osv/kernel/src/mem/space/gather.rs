//! Taking pages away: entries first, then every CPU's memory of them, then the frames.

use core::sync::atomic::Ordering;

use super::{AddressSpace, Areas, PAGE};
use crate::errno::Result;
use crate::mem::frame::pool;
use crate::mem::paging::{Entry, Flags, Found, Slot, TABLE_BYTES};
use crate::mem::{Frame, tlb};

/// Frames that are freed at once.
const BATCH: usize = 128;

/// Entries that have been taken out, whose frames may be freed once no CPU knows them any more.
struct Gather<'a> {
    space: &'a AddressSpace,
    entries: [Entry; BATCH],
    count: usize,
    /// What has to be forgotten.
    start: u64,
    end: u64,
}

impl<'a> Gather<'a> {
    fn new(space: &'a AddressSpace) -> Self {
        Gather { space, entries: [Entry::EMPTY; BATCH], count: 0, start: u64::MAX, end: 0 }
    }

    #[inline(always)]
    fn add(&mut self, entry: Entry, addr: u64, len: u64) {
        if self.count == BATCH {
            self.finish();
        }
        self.entries[self.count] = entry;
        self.count += 1;
        self.start = self.start.min(addr);
        self.end = self.end.max(addr + len);
    }

    fn finish(&mut self) {
        if self.count == 0 {
            return;
        }
        tlb::flush(self.space, self.start, self.end);
        self.free_entries();
        (self.count, self.start, self.end) = (0, u64::MAX, 0);
    }

    /// Frees what the entries own; no CPU has them cached.
    fn free_entries(&self) {
        let mut frames = [0; BATCH];
        let mut count = 0;
        let (mut anonymous, mut file) = (0, 0);
        for &entry in &self.entries[..self.count] {
            if entry.has(Flags::BIG) {
                anonymous += (TABLE_BYTES / PAGE) as usize;
                self.space.big_pages.fetch_sub(1, Ordering::Relaxed);
                // SAFETY:
                // - the entry was taken out of its table.
                drop(unsafe { entry.into_big_frame() });
                continue;
            }
            if entry.has(Flags::FILE) {
                file += usize::from(entry.has(Flags::COUNTED));
            } else {
                anonymous += 1;
            }
            // SAFETY:
            // - the entry was taken out of its table.
            if let Some(number) = unsafe { entry.into_frame() }.release() {
                frames[count] = number;
                count += 1;
            }
        }
        pool::free_many(&frames[..count]);
        self.space.anonymous_pages.fetch_sub(anonymous, Ordering::Relaxed);
        self.space.file_pages.fetch_sub(file, Ordering::Relaxed);
    }
}

impl AddressSpace {
    /// Makes `addr` a border of pages: a big page that it cuts becomes small ones. The areas' lock is held alone.
    #[inline(always)]
    pub(super) fn split_big_at(&self, addr: u64) -> Result<()> {
        if addr.is_multiple_of(TABLE_BYTES) || self.big_pages.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        match self.tables.find(addr) {
            Found::Big(slot) => self.split_big(slot),
            _ => Ok(()),
        }
    }

    /// Makes small pages of the big one in `slot`. The areas' lock is held alone.
    pub(super) fn split_big(&self, slot: &Slot) -> Result<()> {
        self.tables.split_big(slot)?;
        self.big_pages.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes all big pages that touch `start` to `end` small ones. The areas' lock is held alone.
    pub(super) fn split_big_pages(&self, start: u64, end: u64) -> Result<()> {
        if self.big_pages.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let mut at = start;
        while at < end {
            at = match self.tables.find(at) {
                Found::Hole(next) => next,
                Found::Big(slot) => {
                    self.split_big(slot)?;
                    (at | (TABLE_BYTES - 1)) + 1
                }
                Found::Page(_) => (at | (TABLE_BYTES - 1)) + 1,
            };
        }
        Ok(())
    }

    /// Takes all pages from `start` up to `end` out and frees them. Big pages that lie across a border have been split,
    /// or else stay, and their part in the range becomes zeros. The areas' lock is held alone.
    pub(super) fn unmap_pages(&self, start: u64, end: u64) {
        // The peak is noted when it is about to be over.
        self.resident_usage();
        // Most ranges that are unmapped were never touched.
        let mut gather = None;
        self.tables.for_each(start, end, |addr, slot, is_big| {
            let gather = gather.get_or_insert_with(|| Gather::new(self));
            if !is_big {
                gather.add(slot.take(), addr, PAGE);
            } else if start <= addr && addr + TABLE_BYTES <= end {
                gather.add(slot.take(), addr, TABLE_BYTES);
            } else {
                let (from, to) = (start.max(addr), end.min(addr + TABLE_BYTES));
                // SAFETY:
                // - the big page is this process' own, and stays while the areas' lock is held alone.
                unsafe { crate::mem::phys::zero_frames(slot.get().phys() + (from - addr), (to - from) as usize) };
            }
        });
        if let Some(mut gather) = gather {
            gather.finish();
        }
    }

    /// Frees page tables around `start` to `end`, where nothing is mapped any more, between areas that end at `floor` and
    /// start at `ceiling`. The areas' lock is held alone.
    pub(super) fn free_tables(&self, areas: &Areas, start: u64, end: u64, floor: u64, ceiling: u64) {
        // Small mappings come and go at the same places: their tables are kept as long as there are not many.
        if end - start < TABLE_BYTES && self.tables.count() < 32 + 2 * areas.vmas.count() {
            return;
        }
        let (below, above) = (start & !(TABLE_BYTES - 1), end.next_multiple_of(TABLE_BYTES));
        let first = if below >= floor { below } else { below + TABLE_BYTES };
        let last = if above <= ceiling { above } else { above - TABLE_BYTES };
        if first >= last {
            return;
        }
        let mut frames: [Option<Frame>; 16] = [const { None }; 16];
        let mut count = 0;
        self.tables.take_tables(start, end, floor, ceiling, &mut |frame| {
            if count == frames.len() {
                tlb::flush_tables(self, start, end);
                frames.fill(None);
                count = 0;
            }
            frames[count] = Some(frame);
            count += 1;
        });
        if count != 0 {
            // CPUs cache upper entries, too; forgetting any page of the range forgets those.
            tlb::flush_tables(self, start, end);
        }
    }

    /// Frees all pages and tables of a space that no CPU uses any more.
    pub(super) fn free_all_pages(&mut self) {
        let vmas = core::mem::take(&mut self.areas.get_mut().vmas);
        let mut areas = vmas.iter().peekable();
        let mut frames = [0; BATCH];
        let mut count = 0;
        while let Some(area) = areas.next() {
            self.tables.for_each(area.start, area.end, |_, slot, is_big| {
                if is_big {
                    // SAFETY:
                    // - the entry is taken out of its table.
                    drop(unsafe { slot.take().into_big_frame() });
                    return;
                }
                // The table goes next, so the entry need not be cleared.
                // SAFETY:
                // - nobody uses the table any more: this takes the entry out.
                if let Some(number) = unsafe { slot.get().into_frame() }.release() {
                    frames[count] = number;
                    count += 1;
                    if count == BATCH {
                        pool::free_many(&frames);
                        count = 0;
                    }
                }
            });
            // What lies below is gone already: a table goes with the last area that it serves.
            let ceiling = areas.peek().map_or(1 << 47, |next| next.start);
            self.tables.take_tables(area.start, area.end, 0, ceiling, &mut drop);
        }
        pool::free_many(&frames[..count]);
    }
}
