//! What `/proc/PID/maps`, `smaps`, `statm` and `status` tell of an address space.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::policy::{PageState, Policy};
use super::vma::{Area, AreaFlags, Prot};
use super::{AddressSpace, Areas, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::paging::{Flags, TABLE_BYTES};

/// One area, as `/proc/PID/maps` and `smaps` show it.
#[derive(Clone, Debug)]
pub struct AreaInfo {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// What the program may do.
    pub prot: Prot,
    /// How it behaves.
    pub flags: AreaFlags,
    /// The byte of the file at its start.
    pub offset: u64,
    /// Device and inode of the file.
    pub identity: (u64, u64),
    /// The file's path, or a name in brackets, or nothing.
    pub name: Vec<u8>,
    /// Where its memory shall be.
    pub policy: Option<Policy>,
    /// Bytes that are in memory: of the process alone, and of files.
    pub resident_anonymous: u64,
    /// Bytes of page caches that are mapped.
    pub resident_file: u64,
}

/// One page, as `/proc/PID/pagemap` shows it.
#[derive(Clone, Copy, Debug)]
pub struct PageInfo {
    /// Where it lies in memory, if it is there.
    pub phys: Option<u64>,
    /// It belongs to a file, or to shared memory.
    pub is_file: bool,
}

/// How much memory a process uses, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// All areas.
    pub total: u64,
    /// In memory, of its own.
    pub anonymous: u64,
    /// In memory, of files.
    pub file: u64,
    /// The most that ever was in memory.
    pub peak_resident: u64,
    /// Areas that can be executed.
    pub code: u64,
    /// Private areas that can be written.
    pub data: u64,
    /// Areas that grow down.
    pub stack: u64,
    /// The heap.
    pub heap: u64,
}

impl AddressSpace {
    /// All areas, with what is in memory of each if `counts_pages` (which takes a walk through the page tables).
    pub fn vmas(&self, counts_pages: bool) -> Result<Vec<AreaInfo>> {
        let areas = self.areas.read();
        let mut list = Vec::new();
        list.try_reserve_exact(areas.vmas.count()).map_err(|_| Errno::ENOMEM)?;
        for area in areas.vmas.iter() {
            list.push(self.describe(&areas, area, counts_pages));
        }
        Ok(list)
    }

    fn describe(&self, areas: &Areas, area: &Area, counts_pages: bool) -> AreaInfo {
        let mut name = Vec::new();
        let (mut offset, mut identity) = (0, (0, 0));
        if let Some(file) = &area.file {
            (offset, identity) = (file.offset, file.source.identity());
            if let Some(path) = &file.name {
                path.write_name(&mut name);
            }
        } else if (area.start..area.end).contains(&(self.stack_top() - 1)) {
            name.extend_from_slice(b"[stack]");
        } else if area.start < areas.brk_end && area.end > areas.brk_start {
            name.extend_from_slice(b"[heap]");
        }
        let (resident_anonymous, resident_file) = if counts_pages { self.resident(area) } else { (0, 0) };
        let Area { start, end, prot, flags, policy, .. } = *area;
        AreaInfo { start, end, prot, flags, offset, identity, name, policy, resident_anonymous, resident_file }
    }

    fn resident(&self, area: &Area) -> (u64, u64) {
        let (mut anonymous, mut file) = (0, 0);
        self.tables.for_each(area.start, area.end, |_, slot, is_big| {
            let entry = slot.get();
            if is_big {
                anonymous += TABLE_BYTES;
            } else if entry.has(Flags::FILE) {
                file += if entry.has(Flags::COUNTED) { PAGE } else { 0 };
            } else {
                anonymous += PAGE;
            }
        });
        (anonymous, file)
    }

    /// What there is of the page at `addr`, if something is mapped there.
    pub fn page_info(&self, addr: u64) -> Option<PageInfo> {
        let areas = self.areas.read();
        areas.vmas.find(addr)?;
        let (state, entry) = self.state_in(addr);
        let within = if entry.has(Flags::BIG) { addr % TABLE_BYTES } else { 0 };
        let phys = matches!(state, PageState::Present | PageState::Zero).then(|| entry.phys() + within);
        Some(PageInfo { phys, is_file: phys.is_some() && entry.has(Flags::FILE | Flags::COUNTED) })
    }

    /// The most memory that was ever used is what is used now.
    pub fn reset_peak(&self) {
        self.peak_pages.store(0, Ordering::Relaxed);
        self.resident_usage();
    }

    /// How much memory the process uses.
    pub fn usage(&self) -> Usage {
        let areas = self.areas.read();
        let mut usage = Usage { heap: areas.brk_end - areas.brk_start, ..self.resident_usage() };
        for area in areas.vmas.iter() {
            usage.total += area.bytes();
            if area.flags.contains(AreaFlags::GROWS_DOWN) {
                usage.stack += area.bytes();
            } else if area.prot.contains(Prot::EXEC) {
                usage.code += area.bytes();
            } else if area.prot.contains(Prot::WRITE) && !area.is_shared() {
                usage.data += area.bytes();
            }
        }
        usage
    }

    /// What of it is in memory, without looking at the areas.
    pub fn resident_usage(&self) -> Usage {
        let anonymous = self.anonymous_pages.load(Ordering::Relaxed);
        let file = self.file_pages.load(Ordering::Relaxed);
        let peak = self.peak_pages.fetch_max(anonymous + file, Ordering::Relaxed).max(anonymous + file);
        let bytes = |pages: usize| pages as u64 * PAGE;
        Usage { anonymous: bytes(anonymous), file: bytes(file), peak_resident: bytes(peak), ..Usage::default() }
    }
}
