//! mprotect(2), and locking in memory.

use super::fault::{Populate, rights};
use super::vma::{Area, AreaFlags, Prot};
use super::{AddressSpace, Areas, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::layout::USER_END;
use crate::mem::paging::{Entry, Flags};
use crate::mem::phys::page_up;
use crate::mem::tlb;

/// The end of `len` bytes at `addr`, rounded up to pages. EINVAL for an address within a page, ENOMEM for a range that wraps
/// or leaves the lower half.
pub(super) fn page_range(addr: u64, len: u64) -> Result<u64> {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    page_up(len).and_then(|len| addr.checked_add(len)).filter(|&end| end <= USER_END).ok_or(Errno::ENOMEM)
}

/// The errors of a range with holes: what comes before the first hole is changed nonetheless, as on Linux.
pub(super) struct Coverage {
    next: u64,
    is_whole: bool,
}

impl Coverage {
    pub(super) fn new(start: u64) -> Self {
        Coverage { next: start, is_whole: true }
    }

    pub(super) fn add(&mut self, area: &Area) {
        self.is_whole &= area.start <= self.next;
        self.next = area.end;
    }

    pub(super) fn reaches(&self, end: u64) -> bool {
        self.is_whole && self.next >= end
    }
}

impl AddressSpace {
    /// Changes what the program may do from `addr` on for `len` bytes, rounded up to pages. With `grows_down` (PROT_GROWSDOWN)
    /// the range starts where the area does. The errors are mprotect(2)'s.
    pub fn mprotect(&self, addr: u64, len: u64, prot: Prot, grows_down: bool) -> Result<()> {
        let end = page_range(addr, len)?;
        if len == 0 {
            return Ok(());
        }
        let mut areas = self.areas.write();
        let start = if grows_down { start_of_stack(&areas, addr)? } else { addr };
        let mut coverage = Coverage::new(start);
        for area in areas.vmas.overlapping(start, end) {
            if area.start > coverage.next {
                break;
            }
            let wants_write = prot.contains(Prot::WRITE) && area.flags.contains(AreaFlags::NEVER_WRITE);
            let wants_exec = prot.contains(Prot::EXEC) && area.flags.contains(AreaFlags::NEVER_EXEC);
            if wants_write || wants_exec {
                return Err(Errno::EACCES);
            }
            if prot.contains(Prot::WRITE) && !area.prot.contains(Prot::WRITE) {
                let bytes = area.end.min(end) - area.start.max(start);
                self.check_data_limit(&areas, bytes, prot, area.flags)?;
            }
            coverage.add(area);
        }
        let covered = coverage.next.min(end);
        if covered > start {
            self.split_big_at(start)?;
            self.split_big_at(covered)?;
            areas.vmas.change(start, covered, |area| area.prot = prot)?;
            self.protect_pages(start, covered, prot);
        }
        if covered < end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Brings the entries from `start` up to `end` in line with `prot`. Rights are taken away here, and given when a page faults.
    fn protect_pages(&self, start: u64, end: u64, prot: Prot) {
        let sample = Area::new(start, end, prot, AreaFlags::empty(), None);
        let allowed = rights(&sample);
        let mut has_lost = false;
        self.tables.for_each(start, end, |_, slot, is_big| {
            let entry = slot.get();
            let mut flags = entry.flags();
            let keeps_write = flags.contains(Flags::WRITE) && allowed.contains(Flags::WRITE);
            // Big pages have one owner and can be written at once; they never fault for that.
            let may_write = keeps_write || is_big && allowed.contains(Flags::WRITE);
            flags.remove(Flags::PRESENT | Flags::WRITE | Flags::NO_EXECUTE);
            flags |= allowed.difference(Flags::WRITE);
            flags.set(Flags::WRITE, may_write);
            if flags == entry.flags() {
                return;
            }
            let lost = entry.flags().intersection(Flags::PRESENT | Flags::WRITE).difference(flags);
            has_lost |= !lost.is_empty() || flags.contains(Flags::NO_EXECUTE) && !entry.has(Flags::NO_EXECUTE);
            slot.set(Entry::new(entry.phys(), flags));
        });
        if has_lost {
            tlb::flush(self, start, end);
        }
    }

    /// Locks pages in memory, or unlocks them: nothing is ever swapped out, so locking means having them now. With `on_fault`
    /// (MLOCK_ONFAULT) not even that. The errors are mlock(2)'s.
    pub fn mlock(&self, addr: u64, len: u64, locks: bool, on_fault: bool) -> Result<()> {
        let start = addr & !(PAGE - 1);
        let len = len.checked_add(addr - start).ok_or(Errno::EINVAL)?;
        let end = page_up(len).and_then(|len| start.checked_add(len)).ok_or(Errno::EINVAL)?;
        if end > USER_END {
            return Err(Errno::ENOMEM);
        }
        if start == end {
            return Ok(());
        }
        let mut coverage = Coverage::new(start);
        {
            let mut areas = self.areas.write();
            areas.vmas.overlapping(start, end).for_each(|area| coverage.add(area));
            if !coverage.reaches(end) {
                return Err(Errno::ENOMEM);
            }
            areas.vmas.change(start, end, |area| area.set_locked(locks, on_fault))?;
        }
        if !locks || on_fault {
            return Ok(());
        }
        self.populate(start, end, Populate::Own)
            .map_err(|errno| if errno == Errno::EFAULT { Errno::ENOMEM } else { errno })
    }

    /// Locks all areas, now or in future, or unlocks them all.
    pub fn mlock_all(&self, now: bool, future: bool, on_fault: bool) -> Result<()> {
        {
            let mut areas = self.areas.write();
            areas.future.set(AreaFlags::LOCKED, future);
            areas.future.set(AreaFlags::LOCKED_ON_FAULT, future && on_fault);
            if now || !future {
                areas.vmas.change(0, USER_END, |area| area.set_locked(now, on_fault))?;
            }
        }
        if now && !on_fault { self.populate_accessible(0, USER_END) } else { Ok(()) }
    }

    /// Bytes that are locked.
    pub fn locked_bytes(&self) -> u64 {
        self.locked_within(0, USER_END)
    }

    /// Bytes of a range that are locked.
    pub fn locked_within(&self, start: u64, end: u64) -> u64 {
        let areas = self.areas.read();
        let locked = areas.vmas.overlapping(start, end).filter(|area| area.flags.contains(AreaFlags::LOCKED));
        locked.map(|area| area.end.min(end) - area.start.max(start)).sum()
    }

    /// Whether new areas are locked (MCL_FUTURE).
    #[inline(always)]
    pub fn locks_future(&self) -> bool {
        self.areas.read().future.contains(AreaFlags::LOCKED)
    }

    /// Bytes of all areas.
    pub fn total_bytes(&self) -> u64 {
        self.areas.read().vmas.total()
    }

    /// Populates what the program can access in a range; holes and forbidden areas are left out.
    fn populate_accessible(&self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            let (from, to) = {
                let areas = self.areas.read();
                let mut rest = areas.vmas.overlapping(at, end).filter(|area| !area.prot.is_empty());
                match rest.next() {
                    Some(area) => (area.start.max(at), area.end.min(end)),
                    None => return Ok(()),
                }
            };
            match self.populate(from, to, Populate::Own) {
                Err(Errno::EFAULT) | Ok(()) => {}
                Err(errno) => return Err(errno),
            }
            at = to;
        }
        Ok(())
    }
}

/// Where the area of `addr` starts, which has to grow down.
fn start_of_stack(areas: &Areas, addr: u64) -> Result<u64> {
    let area = areas.vmas.find(addr).ok_or(Errno::ENOMEM)?;
    if area.flags.contains(AreaFlags::GROWS_DOWN) { Ok(area.start) } else { Err(Errno::EINVAL) }
}
