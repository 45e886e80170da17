//! madvise(2), msync(2) and mincore(2).

use alloc::vec::Vec;

use super::change::{Coverage, page_range};
use super::fault::Populate;
use super::vma::{Area, AreaFlags};
use super::{AddressSpace, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::paging::Found;

/// What a program says of a range, as far as it means something here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Of no consequence: normal, random, sequential, cold, mergeable and the like.
    Hint,
    /// Not used for a while; not for what is locked.
    Cold,
    /// Will be used: cached pages of files may be read in.
    WillNeed,
    /// Not needed: anonymous pages become zeros, those of files are read again.
    DontNeed,
    /// The same, also for what is locked.
    DontNeedLocked,
    /// The part of the object that a shared mapping shows becomes a hole.
    Remove,
    /// Anonymous pages may become zeros until they are written.
    Free,
    /// Not in, or again in, a child of `fork`.
    DontFork(bool),
    /// Empty, or again not, in a child of `fork`.
    WipeOnFork(bool),
    /// Big pages where possible, or never.
    Big(bool),
    /// Not in, or again in, core dumps.
    DontDump(bool),
    /// All pages now, to be read.
    PopulateRead,
    /// All pages now, to be written.
    PopulateWrite,
}

/// Whether each page of a range is in memory.
pub type Residency = Vec<u8>;

impl AddressSpace {
    /// Follows `advice` for `len` bytes from `addr` on. The errors are madvise(2)'s.
    pub fn madvise(&self, addr: u64, len: u64, advice: Advice) -> Result<()> {
        let end = page_range(addr, len).map_err(|_| Errno::EINVAL)?;
        if addr == end {
            return Ok(());
        }
        match advice {
            Advice::DontNeed | Advice::DontNeedLocked | Advice::Free => self.discard(addr, end, advice),
            Advice::Remove => self.punch(addr, end),
            Advice::Cold => self.check_unlocked(addr, end),
            Advice::PopulateRead => self.populate_for_read(addr, end),
            Advice::PopulateWrite => self.populate_for_write(addr, end),
            Advice::DontFork(on) => self.set_flag(addr, end, AreaFlags::DONT_FORK, on),
            Advice::WipeOnFork(on) => self.wipe_on_fork(addr, end, on),
            Advice::DontDump(on) => self.set_flag(addr, end, AreaFlags::DONT_DUMP, on),
            Advice::Big(on) => {
                self.set_flag(addr, end, AreaFlags::BIG, on)?;
                self.set_flag(addr, end, AreaFlags::NO_BIG, !on)
            }
            Advice::Hint | Advice::WillNeed => self.check_mapped(addr, end),
        }
    }

    fn check_mapped(&self, start: u64, end: u64) -> Result<()> {
        let areas = self.areas.read();
        let mut coverage = Coverage::new(start);
        areas.vmas.overlapping(start, end).for_each(|area| coverage.add(area));
        if coverage.reaches(end) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn check_unlocked(&self, start: u64, end: u64) -> Result<()> {
        self.check_mapped(start, end)?;
        let areas = self.areas.read();
        let is_locked = areas.vmas.overlapping(start, end).any(|area| area.flags.contains(AreaFlags::LOCKED));
        if is_locked { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Makes a hole of what shared mappings show. EINVAL for what is locked or has no object, EACCES where nothing may be written.
    fn punch(&self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            // The lock is not held while a file changes: that takes pages away from here, too.
            let (source, first, count) = {
                let areas = self.areas.read();
                let area = areas.vmas.find(at).ok_or(Errno::ENOMEM)?;
                if area.flags.contains(AreaFlags::LOCKED) {
                    return Err(Errno::EINVAL);
                }
                let file = area.file.as_ref().ok_or(Errno::EINVAL)?;
                if !area.is_shared() || area.flags.contains(AreaFlags::NEVER_WRITE) {
                    return Err(Errno::EACCES);
                }
                let from = at;
                at = area.end.min(end);
                (file.source.clone(), area.page_index(from), (at - from) / PAGE)
            };
            source.punch(first, count)?;
        }
        Ok(())
    }

    fn populate_for_read(&self, start: u64, end: u64) -> Result<()> {
        {
            let areas = self.areas.read();
            if areas.vmas.overlapping(start, end).any(|area| !area.prot.contains(super::Prot::READ)) {
                return Err(Errno::EINVAL);
            }
        }
        self.populate(start, end, Populate::Read)
    }

    fn discard(&self, start: u64, end: u64, advice: Advice) -> Result<()> {
        let areas = self.areas.write();
        let mut coverage = Coverage::new(start);
        for area in areas.vmas.overlapping(start, end) {
            if area.flags.contains(AreaFlags::LOCKED) && advice != Advice::DontNeedLocked {
                return Err(Errno::EINVAL);
            }
            if advice == Advice::Free && (area.file.is_some() || area.is_shared()) {
                return Err(Errno::EINVAL);
            }
            let (from, to) = (area.start.max(start), area.end.min(end));
            // A big page that cannot be split for want of memory is zeroed in part instead.
            let _ = self.split_big_at(from).and_then(|()| self.split_big_at(to));
            self.unmap_pages(from, to);
            coverage.add(area);
        }
        if coverage.reaches(end) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn populate_for_write(&self, start: u64, end: u64) -> Result<()> {
        {
            let areas = self.areas.read();
            if areas.vmas.overlapping(start, end).any(|area| !area.prot.contains(super::Prot::WRITE)) {
                return Err(Errno::EINVAL);
            }
        }
        self.populate(start, end, Populate::Write)
    }

    fn wipe_on_fork(&self, start: u64, end: u64, on: bool) -> Result<()> {
        {
            let areas = self.areas.read();
            if on && areas.vmas.overlapping(start, end).any(|area| area.file.is_some() || area.is_shared()) {
                return Err(Errno::EINVAL);
            }
        }
        self.set_flag(start, end, AreaFlags::WIPE_ON_FORK, on)
    }

    fn set_flag(&self, start: u64, end: u64, flag: AreaFlags, on: bool) -> Result<()> {
        self.check_mapped(start, end)?;
        self.areas.write().vmas.change(start, end, |area| area.flags.set(flag, on))
    }

    /// Writes changed pages of shared mappings back to their files. The errors are msync(2)'s.
    pub fn msync(&self, addr: u64, len: u64) -> Result<()> {
        let end = page_range(addr, len)?;
        let mut at = addr;
        let mut is_whole = true;
        while at < end {
            // The lock is not held while a file is written.
            let (source, first, count) = {
                let areas = self.areas.read();
                let Some(area) = areas.vmas.overlapping(at, end).next() else { return Err(Errno::ENOMEM) };
                is_whole &= area.start <= at;
                let (from, to) = (area.start.max(at), area.end.min(end));
                at = to;
                let Some(file) = area.file.as_ref().filter(|_| area.is_shared()) else { continue };
                (file.source.clone(), area.page_index(from), (to - from) / PAGE)
            };
            source.sync(first, count)?;
        }
        if is_whole { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Says for each page of a range whether it is in memory: a byte each, 1 for yes. The errors are mincore(2)'s.
    pub fn mincore(&self, addr: u64, len: u64) -> Result<Residency> {
        let end = page_range(addr, len)?;
        let pages = usize::try_from((end - addr) / PAGE).map_err(|_| Errno::ENOMEM)?;
        let mut resident = Vec::new();
        resident.try_reserve_exact(pages).map_err(|_| Errno::ENOMEM)?;
        let areas = self.areas.read();
        let mut page = addr;
        while page < end {
            let area = areas.vmas.find(page).ok_or(Errno::ENOMEM)?;
            let stop = area.end.min(end);
            while page < stop {
                resident.push(u8::from(self.is_resident(area, page)));
                page += PAGE;
            }
        }
        Ok(resident)
    }

    fn is_resident(&self, area: &Area, page: u64) -> bool {
        match self.tables.find(page) {
            Found::Big(_) => true,
            Found::Page(slot) if !slot.get().is_empty() => true,
            _ => area.file.as_ref().is_some_and(|file| file.source.cached(area.page_index(page)).is_some()),
        }
    }
}
