//! fork(2): a copy of an address space that shares its pages until one side writes.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::vma::{Area, AreaFlags};
use super::{AddressSpace, Areas, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::layout::USER_END;
use crate::mem::paging::{Entry, Flags, Found, Slot, TABLE_BYTES};
use crate::mem::tlb;

impl AddressSpace {
    /// A copy for a child: the same areas, the same pages, each copied when one of the two writes it. Pages that can be had
    /// from a file again are left to be faulted in.
    pub fn fork(&self) -> Result<Arc<AddressSpace>> {
        let mut child = AddressSpace::new(self.seed, self.limits())?;
        let fresh = Arc::get_mut(&mut child).ok_or(Errno::ENOMEM)?;
        let areas = self.areas.write();
        let mut has_protected = false;
        let copied = self.copy_areas(&areas, fresh, &mut has_protected);
        if has_protected {
            tlb::flush(self, 0, USER_END);
        }
        copied?;
        let pages = fresh.anonymous_pages.load(Ordering::Relaxed) + fresh.file_pages.load(Ordering::Relaxed);
        fresh.peak_pages.store(pages, Ordering::Relaxed);
        for area in areas.vmas.iter().filter(|area| !area.flags.contains(AreaFlags::DONT_FORK)) {
            child.note_mapper(area.file.as_ref())?;
        }
        Ok(child)
    }

    fn copy_areas(&self, areas: &Areas, child: &mut AddressSpace, has_protected: &mut bool) -> Result<()> {
        {
            let into = child.areas.get_mut();
            (into.brk_start, into.brk_end) = (areas.brk_start, areas.brk_end);
            into.mmap_top = areas.mmap_top;
            for area in areas.vmas.iter().filter(|area| !area.flags.contains(AreaFlags::DONT_FORK)) {
                let mut copy = area.clone();
                copy.set_locked(false, false);
                into.vmas.insert(copy)?;
            }
        }
        let has_pages = |area: &&Area| {
            area.has_own_pages()
                && !area.is_shared()
                && !area.flags.intersects(AreaFlags::DONT_FORK | AreaFlags::WIPE_ON_FORK)
        };
        for area in areas.vmas.iter().filter(has_pages) {
            // Big pages have one owner: they become small ones before they are shared.
            self.split_big_pages(area.start, area.end)?;
            self.share_pages(area, child, has_protected)?;
        }
        Ok(())
    }

    /// Maps the pages of `area` in `child`, too, and protects them against writing in both.
    fn share_pages(&self, area: &Area, child: &AddressSpace, has_protected: &mut bool) -> Result<()> {
        let mut result = Ok(());
        // The child's table of the lowest level for the addresses that are being copied.
        let mut table: (u64, *const Slot) = (u64::MAX, core::ptr::null());
        let mut anonymous = 0;
        self.tables.for_each(area.start, area.end, |addr, slot, is_big| {
            let entry = slot.get();
            if result.is_err() || is_big || !entry.has(Flags::COUNTED) {
                return;
            }
            let base = addr & !(TABLE_BYTES - 1);
            if table.0 != base {
                match child.tables.find_or_make(base) {
                    Ok(Found::Page(first)) => table = (base, first),
                    Ok(_) => return,
                    Err(errno) => {
                        result = Err(errno);
                        return;
                    }
                }
            }
            let shared = entry.without(Flags::WRITE);
            if entry.has(Flags::WRITE) {
                slot.set(shared);
                *has_protected = true;
            }
            // SAFETY:
            // - the entry stands in the parent's table, which this thread has alone.
            let frame = unsafe { entry.share_frame() };
            // SAFETY:
            // - the child's table has 512 slots, of which this is the one for `addr`; nobody else has the child yet.
            let child_slot = unsafe { &*table.1.add(((addr - base) / PAGE) as usize) };
            child_slot.set(Entry::owning(frame, shared.flags().difference(Flags::COUNTED)));
            if entry.has(Flags::FILE) {
                child.file_pages.fetch_add(1, Ordering::Relaxed);
            } else {
                anonymous += 1;
            }
        });
        child.anonymous_pages.fetch_add(anonymous, Ordering::Relaxed);
        result
    }
}
