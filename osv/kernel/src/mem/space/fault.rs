//! Page faults: giving a page to an address that an area allows.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::vma::{Area, AreaFlags, Prot};
use super::{AddressSpace, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::frame::{BigFrame, Frame};
use crate::mem::kernel_map;
use crate::mem::layout::USER_END;
use crate::mem::object::PageSource;
use crate::mem::paging::{Entry, Flags, Found, Slot, TABLE_BYTES};
use crate::mem::tlb;
use crate::sched::relax;

/// What the program was about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Fetch an instruction.
    Execute,
}

impl Access {
    /// From the error code of the CPU's page fault.
    pub const fn from_error_code(code: u64) -> Access {
        if code & 1 << 4 != 0 {
            Access::Execute
        } else if code & 1 << 1 != 0 {
            Access::Write
        } else {
            Access::Read
        }
    }
}

/// Which pages `populate` brings in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Populate {
    /// Those that can be read.
    Read,
    /// The same; where a write would make a copy, that copy.
    Own,
    /// Those that can be written, as if all were.
    Write,
}

/// Why an access is impossible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The mapping does not allow it: SIGSEGV, SEGV_ACCERR.
    Forbidden,
    /// Past the end of the file, or the file could not be read: SIGBUS, BUS_ADRERR.
    NoData,
    /// No memory is left: the process has to die.
    OutOfMemory,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        if errno == Errno::ENOMEM { Fault::OutOfMemory } else { Fault::NoData }
    }
}

/// How many pages a growing stack keeps away from what lies below it.
const STACK_GUARD: u64 = 256 * PAGE;

/// Pages of a file that are mapped together if they are cached.
const AROUND: u64 = 16;

impl AddressSpace {
    /// Makes `addr` accessible, or says why it is not. May sleep to read a file.
    pub fn handle_fault(&self, addr: u64, access: Access) -> Result<(), Fault> {
        if addr >= USER_END {
            return Err(Fault::NotMapped);
        }
        let page = addr & !(PAGE - 1);
        let slow = {
            let areas = self.areas.read();
            match areas.vmas.find(page) {
                Some(area) => match self.slow_page(area, page) {
                    None => return self.fault_in(area, page, access),
                    slow => slow,
                },
                None => None,
            }
        };
        if let Some((source, index)) = slow {
            // The frame stays in the cache as long as it is held here; errors come again, and are told, below.
            let _frame = source.page(index, false);
            let areas = self.areas.read();
            let area = areas.vmas.find(page).ok_or(Fault::NotMapped)?;
            return self.fault_in(area, page, access);
        }
        self.grow_stack(page)?;
        let areas = self.areas.read();
        let area = areas.vmas.find(page).ok_or(Fault::NotMapped)?;
        self.fault_in(area, page, access)
    }

    /// The page of a file behind `page`, if it has yet to be read from storage. That takes long, so nobody shall wait for
    /// the areas' lock meanwhile.
    #[inline]
    fn slow_page(&self, area: &Area, page: u64) -> Option<(Arc<dyn PageSource>, u64)> {
        let source = &area.file.as_ref().filter(|file| file.source.is_slow())?.source;
        let index = area.page_index(page);
        let is_there = matches!(self.tables.find(page), Found::Page(slot) if !slot.get().is_empty());
        let is_past_end = index >= source.size().div_ceil(PAGE);
        (!is_there && !is_past_end && source.cached(index).is_none()).then(|| (source.clone(), index))
    }

    /// Lets an area that grows down reach `page`, if the next one above is such, and may.
    #[cold]
    fn grow_stack(&self, page: u64) -> Result<(), Fault> {
        let mut areas = self.areas.write();
        let position = areas.vmas.position_after(page);
        let area = areas.vmas.get(position).ok_or(Fault::NotMapped)?;
        if area.start <= page {
            return Ok(());
        }
        let is_too_large = area.end - page > self.limits().stack;
        if !area.flags.contains(AreaFlags::GROWS_DOWN) || is_too_large {
            return Err(Fault::NotMapped);
        }
        let below = areas.vmas.previous(position).and_then(|below| areas.vmas.get(below));
        let guard_ends = match below {
            Some(below) if below.prot.is_empty() || below.flags.contains(AreaFlags::GROWS_DOWN) => below.end,
            Some(below) => below.end + STACK_GUARD,
            None => crate::mem::layout::MMAP_MIN_ADDR,
        };
        if page < guard_ends || self.check_limit(&areas, area.start - page).is_err() {
            return Err(Fault::NotMapped);
        }
        areas.vmas.grow_down(page);
        Ok(())
    }

    /// Gives `page`, which lies in `area`, what `access` needs. The areas' lock is held.
    pub(super) fn fault_in(&self, area: &Area, page: u64, access: Access) -> Result<(), Fault> {
        let is_allowed = match access {
            Access::Read => !area.prot.is_empty(),
            Access::Write => area.prot.contains(Prot::WRITE),
            Access::Execute => area.prot.contains(Prot::EXEC),
        };
        if !is_allowed {
            return Err(Fault::Forbidden);
        }
        self.bring_in(area, page, access)
    }

    /// As [`AddressSpace::handle_fault`], for a debugger: it reads what is mapped without any right, and writes what is only read,
    /// which gets the page a copy of its own. What others would see stays forbidden.
    pub(super) fn force_fault(&self, addr: u64, access: Access) -> Result<(), Fault> {
        match self.handle_fault(addr, access) {
            Err(Fault::Forbidden) => {}
            outcome => return outcome,
        }
        let page = addr & !(PAGE - 1);
        let areas = self.areas.read();
        let area = areas.vmas.find(page).ok_or(Fault::NotMapped)?;
        if access == Access::Write && area.is_shared() {
            return Err(Fault::Forbidden);
        }
        self.bring_in(area, page, access)
    }

    /// Gives `page` what `access` needs but for the right to it. The areas' lock is held.
    fn bring_in(&self, area: &Area, page: u64, access: Access) -> Result<(), Fault> {
        if self.try_big_page(area, page, access)? {
            return Ok(());
        }
        let slot = match self.tables.find_or_make(page)? {
            Found::Page(slot) => slot,
            // It was made big by another thread just now, or this CPU had an old translation.
            _ => return Ok(()),
        };
        loop {
            let entry = slot.get();
            let done = if entry.is_empty() {
                match &area.file {
                    None => self.fill_anonymous(area, slot, access)?,
                    Some(_) => self.fill_from_file(area, page, slot, access)?,
                }
            } else if access == Access::Write && !entry.has(Flags::WRITE) {
                self.make_writable(area, page, slot, entry)?
            } else {
                self.restore_rights(area, slot, entry)
            };
            if done {
                return Ok(());
            }
        }
    }

    /// Puts a new entry into an empty slot; `false` if another thread was faster.
    #[inline(always)]
    fn fill(&self, slot: &Slot, entry: Entry) -> bool {
        match slot.replace(Entry::EMPTY, entry) {
            Ok(()) => {
                self.count_page(entry, 1);
                true
            }
            Err(_) => {
                // SAFETY:
                // - the entry never stood in a table.
                drop(unsafe { entry.into_frame() });
                false
            }
        }
    }

    #[inline]
    fn fill_anonymous(&self, area: &Area, slot: &Slot, access: Access) -> Result<bool, Fault> {
        if access != Access::Write {
            // Reads see the one page of zeros until something is written.
            return Ok(self
                .fill(slot, Entry::new(kernel_map::zero_page(), rights(area).difference(Flags::WRITE) | Flags::FILE)));
        }
        let frame = Frame::alloc_zeroed()?;
        Ok(self.fill(slot, Entry::owning(frame, rights(area) | Flags::DIRTY)))
    }

    fn fill_from_file(&self, area: &Area, page: u64, slot: &Slot, access: Access) -> Result<bool, Fault> {
        let Some(file) = &area.file else { return Err(Fault::NoData) };
        let index = area.page_index(page);
        if index >= file.source.size().div_ceil(PAGE) {
            return Err(Fault::NoData);
        }
        let is_write = access == Access::Write;
        if area.is_shared() {
            let frame = file.source.page(index, is_write)?;
            let mut flags = rights(area) | Flags::FILE;
            if is_write {
                file.source.mark_dirty(index);
            } else {
                flags.remove(Flags::WRITE);
            }
            return Ok(self.fill(slot, Entry::owning(frame, flags)));
        }
        if is_write {
            let copy = file.source.page(index, false)?.duplicate()?;
            area.note_own_page();
            return Ok(self.fill(slot, Entry::owning(copy, rights(area) | Flags::DIRTY)));
        }
        let flags = rights(area).difference(Flags::WRITE) | Flags::FILE;
        self.map_around(area, page, slot, flags);
        if !slot.get().is_empty() {
            return Ok(true);
        }
        let frame = file.source.page(index, false)?;
        Ok(self.fill(slot, Entry::owning(frame, flags)))
    }

    /// Maps the cached neighbours of a page of a file, and the page itself: they are likely to be wanted next.
    fn map_around(&self, area: &Area, page: u64, slot: &Slot, flags: Flags) {
        let Some(file) = &area.file else { return };
        let window = page & !(AROUND * PAGE - 1);
        let (start, end) = (window.max(area.start), (window + AROUND * PAGE).min(area.end));
        let first = area.page_index(start);
        let last = (area.page_index(start) + (end - start) / PAGE).min(file.source.size().div_ceil(PAGE));
        if first >= last {
            return;
        }
        let slot: *const Slot = slot;
        let start_slot = slot.wrapping_sub(((page - start) / PAGE) as usize);
        file.source.cached_run(first, (last - first) as usize, &mut |index, frame| {
            if index < first || index >= last {
                return;
            }
            // SAFETY:
            // - a window of 16 aligned pages has its entries in one table, and `start_slot` is that of page `first`.
            let slot = unsafe { &*start_slot.add((index - first) as usize) };
            if slot.get().is_empty() {
                self.fill(slot, Entry::owning(frame, flags));
            }
        });
    }

    /// Lets a page be written that is mapped for reading only; `false` if it has changed meanwhile.
    fn make_writable(&self, area: &Area, page: u64, slot: &Slot, entry: Entry) -> Result<bool, Fault> {
        let flags = rights(area) | Flags::DIRTY;
        if area.is_shared() {
            let Some(file) = &area.file else { return Err(Fault::NoData) };
            let index = area.page_index(page);
            if index >= file.source.size().div_ceil(PAGE) {
                return Err(Fault::NoData);
            }
            let frame = file.source.page(index, true)?;
            file.source.mark_dirty(index);
            return Ok(self.replace(slot, entry, Entry::owning(frame, flags | Flags::FILE), page));
        }
        // Only the entry itself owns the frame: nobody else can see it, so it need not be copied.
        let frame = {
            let _replacing = self.replacing.lock();
            let now = slot.get();
            if !is_same(now, entry) {
                return Ok(false);
            }
            if !entry.has(Flags::COUNTED) && entry.phys() == kernel_map::zero_page() {
                None
            } else {
                // SAFETY:
                // - populated entries are only replaced under `replacing`, and only taken out with the areas' lock held alone.
                let frame = unsafe { now.share_frame() };
                if !entry.has(Flags::FILE) && frame.has_owners(2) {
                    slot.set(Entry::new(now.phys(), flags | Flags::COUNTED));
                    return Ok(true);
                }
                Some(frame)
            }
        };
        let copy = match &frame {
            Some(frame) => frame.duplicate()?,
            None => Frame::alloc_zeroed()?,
        };
        area.note_own_page();
        Ok(self.replace(slot, entry, Entry::owning(copy, flags), page))
    }

    /// Puts `new` in the place of `old`; `false`, and `new` is freed, if that has changed.
    fn replace(&self, slot: &Slot, old: Entry, new: Entry, page: u64) -> bool {
        let replaced = {
            let _replacing = self.replacing.lock();
            let now = slot.get();
            let is_same = is_same(now, old);
            if is_same {
                slot.set(new);
            }
            is_same
        };
        let gone = if replaced {
            self.count_page(old, -1);
            self.count_page(new, 1);
            if old.phys() != new.phys() {
                tlb::flush(self, page, page + PAGE);
            }
            old
        } else {
            new
        };
        // SAFETY:
        // - `old` was taken out of its table and no CPU has it cached, or `new` never stood in one.
        drop(unsafe { gone.into_frame() });
        replaced
    }

    /// Gives a populated entry the rights that its area has but for writing: after `mprotect` took and gave them back.
    fn restore_rights(&self, area: &Area, slot: &Slot, entry: Entry) -> bool {
        let wanted = entry.flags().difference(Flags::NO_EXECUTE) | rights(area).difference(Flags::WRITE);
        if wanted == entry.flags() {
            return true;
        }
        let _replacing = self.replacing.lock();
        if is_same(slot.get(), entry) {
            slot.set(Entry::new(entry.phys(), wanted));
        }
        true
    }

    /// Maps 2 MiB at once where that is likely to be used whole: an anonymous area that wants it, or one that is touched for
    /// the first time at the very start of 2 MiB, as who goes through memory from front to back does.
    #[inline]
    fn try_big_page(&self, area: &Area, page: u64, access: Access) -> Result<bool, Fault> {
        let start = page & !(TABLE_BYTES - 1);
        let wants = page == start || area.flags.contains(AreaFlags::BIG);
        if !wants
            || area.file.is_some()
            || access != Access::Write
            || area.flags.contains(AreaFlags::NO_BIG)
            || start < area.start
            || start + TABLE_BYTES > area.end
        {
            return Ok(false);
        }
        let slot = self.tables.big_slot(start)?;
        if !slot.get().is_empty() {
            return Ok(false);
        }
        let Some(frame) = BigFrame::alloc_zeroed() else { return Ok(false) };
        let entry = Entry::new(frame.into_raw(), rights(area) | Flags::DIRTY | Flags::BIG | Flags::COUNTED);
        match slot.replace(Entry::EMPTY, entry) {
            Ok(()) => {
                self.big_pages.fetch_add(1, Ordering::Relaxed);
                self.anonymous_pages.fetch_add((TABLE_BYTES / PAGE) as usize, Ordering::Relaxed);
            }
            // SAFETY:
            // - the entry never stood in a table.
            Err(_) => drop(unsafe { entry.into_big_frame() }),
        }
        Ok(true)
    }

    /// Gives all pages from `start` up to `end` to their areas. ENOMEM where nothing is mapped or nothing is left.
    pub(super) fn populate(&self, start: u64, end: u64, wanted: Populate) -> Result<()> {
        let mut page = start;
        while page < end {
            let areas = self.areas.read();
            let area = areas.vmas.find(page).ok_or(Errno::ENOMEM)?;
            let writes = match wanted {
                Populate::Read => false,
                Populate::Own => area.prot.contains(Prot::WRITE) && !area.is_shared(),
                Populate::Write => true,
            };
            let access = if writes { Access::Write } else { Access::Read };
            // A step at a time, so that others get at the lock.
            let stop = end.min(area.end).min(page + 64 * PAGE);
            while page < stop {
                self.fault_in(area, page, access).map_err(|fault| match fault {
                    Fault::NoData => Errno::EFAULT,
                    _ => Errno::ENOMEM,
                })?;
                page += PAGE;
            }
            drop(areas);
            relax();
        }
        Ok(())
    }
}

/// The flags of a page that an area maps with all its rights.
#[inline]
pub(super) fn rights(area: &Area) -> Flags {
    let mut flags = Flags::ACCESSED;
    if !area.prot.is_empty() {
        flags |= Flags::PRESENT;
    }
    if area.prot.contains(Prot::WRITE) {
        flags |= Flags::WRITE;
    }
    if !area.prot.contains(Prot::EXEC) {
        flags |= Flags::NO_EXECUTE;
    }
    flags
}

/// Whether two entries differ at most in what the CPU sets by itself.
fn is_same(a: Entry, b: Entry) -> bool {
    let by_cpu = Flags::ACCESSED | Flags::DIRTY;
    a.without(by_cpu) == b.without(by_cpu)
}
