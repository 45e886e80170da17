//! mmap(2) and munmap(2).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use bitflags::bitflags;

use super::fault::Populate;
use super::vma::{Area, AreaFlags, FilePart, Prot};
use super::{AddressSpace, Areas, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::frame::pool;
use crate::mem::layout::{MMAP_MIN_ADDR, USER_END};
use crate::mem::object::SharedMemory;
use crate::mem::paging::TABLE_BYTES;
use crate::mem::phys::page_up;

bitflags! {
    /// The flags of mmap(2), but for its type, in Linux' bits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 {
        /// Writes are seen by all who map the object.
        const SHARED = 0x01;
        /// Exactly at the address, in place of what is there.
        const FIXED = 0x10;
        /// Below 2 GiB.
        const BELOW_2G = 0x40;
        /// Grows down when touched below.
        const GROWS_DOWN = 0x0100;
        /// In memory for good.
        const LOCKED = 0x2000;
        /// Not counted against what is there.
        const NO_RESERVE = 0x4000;
        /// All pages at once.
        const POPULATE = 0x8000;
        /// Populate, but without reading.
        const NON_BLOCK = 0x1_0000;
        /// A thread's stack.
        const STACK = 0x2_0000;
        /// Exactly at the address, or not at all.
        const FIXED_NO_REPLACE = 0x10_0000;
    }
}

/// What to map.
pub struct MapRequest {
    /// Where, if it can be there; 0 for anywhere.
    pub addr: u64,
    /// How many bytes; rounded up to pages.
    pub len: u64,
    /// What the program may do.
    pub prot: Prot,
    /// How.
    pub flags: MapFlags,
    /// The object; anonymous memory without.
    pub file: Option<FilePart>,
    /// A shared mapping of this file can never become writable: it is not open for writing.
    pub never_write: bool,
    /// The file lies where nothing may be executed.
    pub never_exec: bool,
}

impl MapRequest {
    /// Private anonymous memory, anywhere.
    pub fn anonymous(len: u64, prot: Prot) -> MapRequest {
        let (addr, flags) = (0, MapFlags::empty());
        MapRequest { addr, len, prot, flags, file: None, never_write: false, never_exec: false }
    }

    fn is_fixed(&self) -> bool {
        self.flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NO_REPLACE)
    }

    fn area_flags(&self, areas: &Areas) -> AreaFlags {
        let mut flags = AreaFlags::empty();
        flags.set(AreaFlags::SHARED, self.flags.contains(MapFlags::SHARED));
        flags.set(AreaFlags::NEVER_WRITE, self.never_write && self.flags.contains(MapFlags::SHARED));
        flags.set(AreaFlags::NEVER_EXEC, self.never_exec);
        flags.set(AreaFlags::GROWS_DOWN, self.flags.contains(MapFlags::GROWS_DOWN));
        flags.set(AreaFlags::NO_RESERVE, self.flags.contains(MapFlags::NO_RESERVE));
        // A stack is touched from the top, a page or two at a time.
        flags.set(AreaFlags::NO_BIG, self.flags.intersects(MapFlags::STACK | MapFlags::GROWS_DOWN));
        flags.set(AreaFlags::LOCKED, self.flags.contains(MapFlags::LOCKED));
        flags | areas.future
    }
}

impl AddressSpace {
    /// Maps what `request` says and returns where. The errors are mmap(2)'s.
    pub fn mmap(self: &Arc<Self>, mut request: MapRequest) -> Result<u64> {
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(request.len).filter(|&len| len <= USER_END).ok_or(Errno::ENOMEM)?;
        if request.file.is_none() && request.flags.contains(MapFlags::SHARED) {
            let name = Arc::new(b"/dev/zero (deleted)".as_slice());
            request.file = Some(FilePart::new(Arc::new(SharedMemory::new(len)), Some(name), 0));
        }
        check_file(&request, len)?;
        let mut counted = AreaFlags::empty();
        counted.set(AreaFlags::SHARED, request.flags.contains(MapFlags::SHARED));
        counted.set(AreaFlags::NO_RESERVE, request.flags.contains(MapFlags::NO_RESERVE));
        check_commit(request.prot, counted, len)?;
        let mut populates = request.flags.contains(MapFlags::POPULATE) && !request.flags.contains(MapFlags::NON_BLOCK);
        let addr = {
            let mut areas = self.areas.write();
            let addr = self.place(&mut areas, &request, len)?;
            let flags = request.area_flags(&areas);
            self.check_data_limit(&areas, len, request.prot, flags)?;
            populates |= flags.intersection(AreaFlags::LOCKED | AreaFlags::LOCKED_ON_FAULT) == AreaFlags::LOCKED;
            let file = request.file;
            self.note_mapper(file.as_ref())?;
            areas.vmas.insert(Area::new(addr, addr + len, request.prot, flags, file))?;
            addr
        };
        if populates {
            // What cannot be had now comes, or fails, when it is touched.
            let _ = self.populate(addr, addr + len, Populate::Own);
        }
        Ok(addr)
    }

    pub(super) fn note_mapper(self: &Arc<Self>, file: Option<&FilePart>) -> Result<()> {
        match file.and_then(|file| file.source.mappers()) {
            Some(mappers) => mappers.add(self),
            None => Ok(()),
        }
    }

    /// Finds the place for a mapping, and makes it empty.
    fn place(&self, areas: &mut Areas, request: &MapRequest, len: u64) -> Result<u64> {
        if request.is_fixed() {
            check_fixed(request.addr, len)?;
            let end = request.addr + len;
            let is_taken = areas.vmas.overlapping(request.addr, end).next().is_some();
            if is_taken && request.flags.contains(MapFlags::FIXED_NO_REPLACE) {
                return Err(Errno::EEXIST);
            }
            if is_taken {
                self.unmap_areas(areas, request.addr, end)?;
            }
            self.check_limit(areas, len)?;
            return Ok(request.addr);
        }
        self.check_limit(areas, len)?;
        // Areas of 2 MiB and more begin where a big page can.
        let align = if request.file.is_none() && len >= TABLE_BYTES { TABLE_BYTES } else { PAGE };
        if request.flags.contains(MapFlags::BELOW_2G) {
            return areas.vmas.find_gap(MMAP_MIN_ADDR, 1 << 31, len, PAGE).ok_or(Errno::ENOMEM);
        }
        find_place_near(areas, request.addr, len, align)
    }

    /// Shows the object of a shared mapping from `offset` on in `len` bytes at `addr`, which lie within that mapping (EINVAL).
    pub fn remap_file(self: &Arc<Self>, addr: u64, len: u64, offset: u64) -> Result<()> {
        let request = {
            let areas = self.areas.read();
            let area = areas.vmas.find(addr).filter(|area| area.is_shared()).ok_or(Errno::EINVAL)?;
            let file = area.file.as_ref().ok_or(Errno::EINVAL)?;
            let is_same = |other: &Area| {
                let shows = other.file.as_ref().is_some_and(|other| Arc::ptr_eq(&other.source, &file.source));
                shows && other.flags == area.flags && other.prot == area.prot
            };
            let mut next = addr;
            for other in areas.vmas.overlapping(addr, addr + len) {
                if other.start > next || !is_same(other) {
                    return Err(Errno::EINVAL);
                }
                next = other.end;
            }
            if next < addr + len {
                return Err(Errno::EINVAL);
            }
            let mut flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE;
            flags.set(MapFlags::LOCKED, area.flags.contains(AreaFlags::LOCKED));
            MapRequest {
                addr,
                flags,
                file: Some(FilePart::new(Arc::clone(&file.source), file.name.clone(), offset)),
                never_write: area.flags.contains(AreaFlags::NEVER_WRITE),
                never_exec: area.flags.contains(AreaFlags::NEVER_EXEC),
                ..MapRequest::anonymous(len, area.prot)
            }
        };
        self.mmap(request).map(|_| ())
    }

    /// Unmaps everything from `addr` on for `len` bytes, rounded up to pages. The errors are munmap(2)'s.
    #[inline(always)]
    pub fn munmap(&self, addr: u64, len: u64) -> Result<()> {
        let end = page_up(len).and_then(|len| addr.checked_add(len)).ok_or(Errno::EINVAL)?;
        if !addr.is_multiple_of(PAGE) || len == 0 || end > USER_END {
            return Err(Errno::EINVAL);
        }
        self.unmap_areas(&mut self.areas.write(), addr, end)
    }

    /// Unmaps what shows the System V segment that was attached at `addr`, as far as it is still in its place. EINVAL if
    /// none was.
    pub fn detach_segment(&self, addr: u64) -> Result<()> {
        if !addr.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let mut areas = self.areas.write();
        let shows_segment = |area: &&Area| area.file.as_ref().is_some_and(|file| file.source.is_segment());
        let is_in_place = |area: &&Area| area.file.as_ref().is_some_and(|file| addr + file.offset == area.start);
        let first = areas.vmas.overlapping(addr, USER_END).filter(shows_segment).find(is_in_place);
        let first = first.and_then(|area| area.file.as_ref()).ok_or(Errno::EINVAL)?;
        let source = Arc::clone(&first.source);
        let end = addr.saturating_add(source.size()).min(USER_END);
        let shows_it = |area: &&Area| area.file.as_ref().is_some_and(|file| Arc::ptr_eq(&file.source, &source));
        let parts = areas.vmas.overlapping(addr, end).filter(shows_it).filter(is_in_place);
        let parts: alloc::vec::Vec<(u64, u64)> = parts.map(|area| (area.start, area.end)).collect();
        for (start, end) in parts {
            self.unmap_areas(&mut areas, start, end)?;
        }
        Ok(())
    }

    /// Takes out areas and their pages from `start` up to `end`.
    pub(super) fn unmap_areas(&self, areas: &mut Areas, start: u64, end: u64) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        self.split_big_at(start)?;
        self.split_big_at(end)?;
        let mut is_any = false;
        areas.vmas.remove(start, end, |_| is_any = true)?;
        if is_any {
            self.unmap_pages(start, end);
            let next = areas.vmas.position_after(start);
            let ceiling = areas.vmas.get(next).map_or(1 << 47, |area| area.start);
            let floor = areas.vmas.end_before(next);
            self.free_tables(areas, start, end, floor, ceiling);
        }
        Ok(())
    }
}

/// Where `hint` says, if there is room.
pub(super) fn find_place_near(areas: &mut Areas, hint: u64, len: u64, align: u64) -> Result<u64> {
    let hint = hint & !(PAGE - 1);
    if hint >= MMAP_MIN_ADDR
        && hint.checked_add(len).is_some_and(|end| end <= USER_END)
        && areas.vmas.overlapping(hint, hint + len).next().is_none()
    {
        return Ok(hint);
    }
    find_place(areas, len, align)
}

/// A place for `len` bytes below the stack; above it only if there is none.
#[inline(always)]
fn find_place(areas: &mut Areas, len: u64, align: u64) -> Result<u64> {
    let top = areas.mmap_top;
    areas
        .vmas
        .find_gap(MMAP_MIN_ADDR, top, len, align)
        .or_else(|| areas.vmas.find_gap(MMAP_MIN_ADDR, top, len, PAGE))
        .or_else(|| areas.vmas.find_gap(top, USER_END, len, PAGE))
        .ok_or(Errno::ENOMEM)
}

/// EINVAL, ENOMEM or EPERM for a fixed address that cannot be.
pub(super) fn check_fixed(addr: u64, len: u64) -> Result<()> {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if addr.checked_add(len).is_none_or(|end| end > USER_END) {
        return Err(Errno::ENOMEM);
    }
    if addr < MMAP_MIN_ADDR {
        return Err(Errno::EPERM);
    }
    Ok(())
}

fn check_file(request: &MapRequest, len: u64) -> Result<()> {
    let Some(file) = &request.file else { return Ok(()) };
    if !file.offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if file.offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno::EOVERFLOW);
    }
    if request.flags.contains(MapFlags::SHARED) && request.never_write && request.prot.contains(Prot::WRITE) {
        return Err(Errno::EACCES);
    }
    if request.never_exec && request.prot.contains(Prot::EXEC) {
        return Err(Errno::EPERM);
    }
    if request.flags.contains(MapFlags::GROWS_DOWN) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// `vm.overcommit_memory` is 1: everything is promised.
pub static ALWAYS_OVERCOMMITS: AtomicBool = AtomicBool::new(false);

/// Linux' heuristic overcommit: ENOMEM only for what could never be there at once.
pub(super) fn check_commit(prot: Prot, flags: AreaFlags, len: u64) -> Result<()> {
    let is_counted = prot.contains(Prot::WRITE) && !flags.intersects(AreaFlags::SHARED | AreaFlags::NO_RESERVE);
    let is_too_much = is_counted && len / PAGE > pool::total() as u64;
    if is_too_much && !ALWAYS_OVERCOMMITS.load(Ordering::Relaxed) { Err(Errno::ENOMEM) } else { Ok(()) }
}
