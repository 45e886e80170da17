//! mremap(2).

use alloc::sync::Arc;

use bitflags::bitflags;

use super::fault::Populate;
use super::map::{check_commit, check_fixed, find_place_near};
use super::vma::{Area, AreaFlags};
use super::{AddressSpace, Areas, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::layout::USER_END;
use crate::mem::paging::{Entry, Found, Slot, TABLE_BYTES};
use crate::mem::phys::page_up;
use crate::mem::tlb;

bitflags! {
    /// The flags of mremap(2) in Linux' bits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RemapFlags: u32 {
        /// It may be put elsewhere.
        const MAY_MOVE = 1;
        /// It is put at the new address, in place of what is there.
        const FIXED = 2;
        /// The old area stays, empty.
        const DONT_UNMAP = 4;
    }
}

/// What to move or resize.
#[derive(Clone, Copy, Debug)]
pub struct RemapRequest {
    /// Where it is.
    pub addr: u64,
    /// How long it is; 0 makes another mapping of the same shared object.
    pub old_len: u64,
    /// How long it is to be.
    pub new_len: u64,
    /// How.
    pub flags: RemapFlags,
    /// Where to, with FIXED (and DONT_UNMAP as a hint).
    pub new_addr: u64,
}

impl AddressSpace {
    /// Moves or resizes a mapping and returns where it is then. The errors are mremap(2)'s.
    pub fn mremap(self: &Arc<Self>, request: RemapRequest) -> Result<u64> {
        let addr = self.move_or_resize(request)?;
        let locked = AreaFlags::LOCKED | AreaFlags::LOCKED_ON_FAULT;
        let is_populated = |area: &Area| area.flags.intersection(locked) == AreaFlags::LOCKED;
        let has_grown = request.new_len > request.old_len;
        if has_grown && self.areas.read().vmas.find(addr).is_some_and(is_populated) {
            // What cannot be had now comes, or fails, when it is touched.
            let _ = self.populate(addr, addr.saturating_add(request.new_len), Populate::Own);
        }
        Ok(addr)
    }

    fn move_or_resize(self: &Arc<Self>, request: RemapRequest) -> Result<u64> {
        let RemapRequest { addr, flags, new_addr, .. } = request;
        let is_fixed = flags.contains(RemapFlags::FIXED);
        let keeps_old = flags.contains(RemapFlags::DONT_UNMAP);
        if flags.bits() & !RemapFlags::all().bits() != 0
            || (is_fixed || keeps_old) && !flags.contains(RemapFlags::MAY_MOVE)
            || !addr.is_multiple_of(PAGE)
        {
            return Err(Errno::EINVAL);
        }
        let old_len = page_up(request.old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(request.new_len).filter(|&len| len != 0 && len <= USER_END).ok_or(Errno::EINVAL)?;
        if keeps_old && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        let old_end = addr.checked_add(old_len).filter(|&end| end <= USER_END).ok_or(Errno::EINVAL)?;
        let mut areas = self.areas.write();
        if is_fixed || keeps_old {
            // A hint may be as low as it likes, but not overlap.
            let is_bad = check_fixed(new_addr, new_len).is_err_and(|error| is_fixed || error != Errno::EPERM);
            if is_bad || new_addr < old_end && addr < new_addr + new_len {
                return Err(Errno::EINVAL);
            }
        }
        if is_fixed {
            self.unmap_areas(&mut areas, new_addr, new_addr + new_len)?;
        } else if old_len >= new_len && !keeps_old && old_len != 0 {
            areas.vmas.find(addr).ok_or(Errno::EFAULT)?;
            self.unmap_areas(&mut areas, addr + new_len, old_end)?;
            return Ok(addr);
        }
        let area = areas.vmas.find(addr).ok_or(Errno::EFAULT)?;
        if old_len == 0 && !area.is_shared() {
            return Err(Errno::EINVAL);
        }
        if old_end > area.end {
            return Err(Errno::EFAULT);
        }
        let mut part = area.clone();
        if let Some(file) = &mut part.file {
            file.offset += addr - part.start;
        }
        (part.start, part.end) = (addr, old_end);
        let more = if keeps_old { new_len } else { new_len.saturating_sub(old_len) };
        self.check_limit(&areas, more)?;
        self.check_data_limit(&areas, more, part.prot, part.flags)?;
        check_commit(part.prot, part.flags, more)?;
        if !is_fixed && !keeps_old && old_len != 0 && self.grow_in_place(&mut areas, &part, new_len)? {
            return Ok(addr);
        }
        if !flags.contains(RemapFlags::MAY_MOVE) {
            return Err(Errno::ENOMEM);
        }
        let to = if is_fixed {
            new_addr
        } else {
            let align = if part.file.is_none() && new_len >= TABLE_BYTES { TABLE_BYTES } else { PAGE };
            let hint = if keeps_old { new_addr } else { 0 };
            find_place_near(&mut areas, hint, new_len, align)?
        };
        self.relocate(&mut areas, part, to, new_len.min(old_len), new_len, keeps_old)?;
        Ok(to)
    }

    /// Makes `part`, the end of an area, longer if there is room behind it.
    fn grow_in_place(&self, areas: &mut Areas, part: &Area, new_len: u64) -> Result<bool> {
        let new_end = part.start.checked_add(new_len).filter(|&end| end <= USER_END);
        let Some(new_end) = new_end else { return Ok(false) };
        let is_end = areas.vmas.find(part.start).is_some_and(|area| area.end == part.end);
        if !is_end || areas.vmas.overlapping(part.end, new_end).next().is_some() {
            return Ok(false);
        }
        let mut more = part.clone();
        if let Some(file) = &mut more.file {
            file.offset += part.bytes();
        }
        (more.start, more.end) = (part.end, new_end);
        areas.vmas.insert(more)?;
        Ok(true)
    }

    /// Makes an area like `part` of `new_len` bytes at `to` and moves the pages of its first `moved` bytes there.
    fn relocate(
        &self,
        areas: &mut Areas,
        part: Area,
        to: u64,
        moved: u64,
        new_len: u64,
        keeps_old: bool,
    ) -> Result<()> {
        let (from, old_end) = (part.start, part.end);
        areas.vmas.check_room(3)?;
        self.split_big_at(from)?;
        self.split_big_at(from + moved)?;
        self.split_big_pages(from, from + moved)?;
        self.make_tables(to, to + moved)?;
        let mut new = part;
        (new.start, new.end) = (to, to + new_len);
        new.flags.remove(AreaFlags::GROWS_DOWN);
        areas.vmas.insert(new)?;
        self.move_pages(from, to, moved);
        if !keeps_old {
            self.unmap_areas(areas, from, old_end)?;
        }
        Ok(())
    }

    /// Makes the page tables for a range, so that moving pages there cannot fail.
    fn make_tables(&self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            self.tables.big_slot(at)?;
            self.tables.find_or_make(at)?;
            at = (at | (TABLE_BYTES - 1)) + 1;
        }
        Ok(())
    }

    /// Moves the pages of `len` bytes, all small, from `from` to `to`, where there are tables and no pages.
    fn move_pages(&self, from: u64, to: u64, len: u64) {
        let mut has_moved = false;
        self.tables.for_each(from, from + len, |addr, slot: &Slot, _| {
            if let Found::Page(new) = self.tables.find(to + (addr - from)) {
                let entry: Entry = slot.take();
                new.set(entry);
                has_moved = true;
            }
        });
        if has_moved {
            tlb::flush(self, from, from + len);
        }
    }
}
