//! The kernel's half of every address space.
//!
//! Built once, at boot, over the boot loader's page tables: all RAM at `DIRECT_MAP` in the largest pages that fit, never
//! executable; the kernel's image with its code read-only and executable, constants read-only, data not executable;
//! empty areas for stacks, device registers and the words of frames. Nothing is mapped in the lower half any
//! more, page 0 least of all. The top entries are complete from then on, so every address space copies them once and
//! shares all that comes later.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use super::frame::Frame;
use super::frame::pool::{self, Area};
use super::layout::{AP_TRAMPOLINE, DIRECT_MAP, KERNEL_BASE, MMIO, PAGE_SIZE, STACKS, TOP_ENTRY_BYTES, WORDS};
use super::paging::{Entry, Flags, Slot, TABLE_FLAGS, Table, index, table_at};
use super::phys::{BIG_PAGE_SIZE, page_down, page_up, to_virt};
use crate::arch::{self, BootInfo, MemoryKind, Module};
use crate::errno::{Errno, Result};
use crate::log;
use crate::sorting::sort_by;
use crate::sync::{Once, SpinLock};

const GIB: u64 = 1 << 30;
const BIG: u64 = BIG_PAGE_SIZE as u64;
/// Physical memory above this is left alone: more than the words of frames can count.
const MOST_RAM: u64 = 1 << 40;
/// Parts of RAM that are in use at boot: image, first page, what the app brought, modules.
const MAX_RESERVED: usize = 32;

/// Physical address of the kernel's own top table.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// End of the direct map, as a physical address.
static DIRECT_END: AtomicU64 = AtomicU64::new(0);
/// Held while tables of the kernel's half are added; the value is the next free address for device registers.
static TABLES: SpinLock<u64> = SpinLock::new(MMIO);

/// A page of zeros for everybody to read; in `.bss`, so it costs nothing in the image.
#[repr(C, align(4096))]
struct ZeroPage(core::cell::UnsafeCell<[u8; PAGE_SIZE]>);

// SAFETY:
// - nobody ever writes to it.
unsafe impl Sync for ZeroPage {}

static ZERO_PAGE: ZeroPage = ZeroPage(core::cell::UnsafeCell::new([0; PAGE_SIZE]));

/// Physical address of the page of zeros.
pub fn zero_page() -> u64 {
    // In host tests the fake RAM's first page, which is never handed out, stands in for it.
    if cfg!(test) { 0 } else { ZERO_PAGE.0.get() as u64 - KERNEL_BASE }
}

const KERNEL_DATA: Flags = Flags::PRESENT
    .union(Flags::WRITE)
    .union(Flags::GLOBAL)
    .union(Flags::NO_EXECUTE)
    .union(Flags::ACCESSED)
    .union(Flags::DIRTY);

/// The kernel's entries in every top table, with their numbers. There are few: one for each area, one or two for RAM.
static TOP_ENTRIES: Once<([(usize, Entry); MAX_TOP_ENTRIES], usize)> = Once::new();
const MAX_TOP_ENTRIES: usize = 16;

/// Copies the kernel's top entries into a new top table.
pub(super) fn share_with(root: &Frame) {
    let Some((entries, count)) = TOP_ENTRIES.get() else { return };
    // SAFETY:
    // - the new root is a table, which its owner has alone.
    let table = unsafe { table_at(root.phys()) };
    for &(number, entry) in &entries[..*count] {
        table[number].set(entry);
    }
}

/// Notes the top entries of the kernel's tables, which are complete.
fn note_top_entries(root: u64) -> Option<()> {
    let mut entries = [(0, Entry::EMPTY); MAX_TOP_ENTRIES];
    let mut count = 0;
    // SAFETY:
    // - the kernel's tables are never freed.
    for (number, slot) in unsafe { table_at(root) }.iter().enumerate() {
        if !slot.get().is_empty() {
            *entries.get_mut(count)? = (number, slot.get());
            count += 1;
        }
    }
    TOP_ENTRIES.call_once(|| (entries, count));
    Some(())
}

/// Physical address of the page tables that map nothing but the kernel.
pub fn kernel_root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// The table of `level` with the slot for `addr`, making tables with frames (zeroed) from `take`. `None` if a big page is in
/// the way.
fn table_for(root: u64, addr: u64, level: u32, take: &mut dyn FnMut() -> Option<u64>) -> Option<&'static Table> {
    // SAFETY:
    // - the kernel's tables are never freed.
    let mut table = unsafe { table_at(root) };
    for above in (level + 1..4).rev() {
        let slot = &table[index(addr, above)];
        if slot.get().is_empty() {
            slot.set(Entry::new(take()?, TABLE_FLAGS));
        }
        if slot.get().has(Flags::BIG) {
            return None;
        }
        // SAFETY:
        // - the entry is populated and not big, so it names a table.
        table = unsafe { table_at(slot.get().phys()) };
    }
    Some(table)
}

/// The slot for `addr` in that table.
fn slot_for(root: u64, addr: u64, level: u32, take: &mut dyn FnMut() -> Option<u64>) -> Option<&'static Slot> {
    Some(&table_for(root, addr, level, take)?[index(addr, level)])
}

/// Maps the addresses of `range`, whole pages of `level`, to the physical ones from `phys` on.
fn map_range(root: u64, range: Range<u64>, phys: u64, level: u32, flags: Flags, bump: &mut Bump) -> Option<()> {
    let size = (PAGE_SIZE as u64) << (9 * level);
    let flags = if level == 0 { flags } else { flags | Flags::BIG };
    let mut addr = range.start;
    while addr < range.end {
        let table = table_for(root, addr, level, &mut || bump.take())?;
        for slot in &table[index(addr, level)..] {
            if addr >= range.end {
                break;
            }
            slot.set(Entry::new(addr - range.start + phys, flags));
            addr += size;
        }
    }
    Some(())
}

#[cfg(not(test))]
/// Maps a page of the words of frames, with tables from `take`. Under the frame pool's lock, where nothing else may be
/// allocated.
pub(super) fn map_early(addr: u64, phys: u64, writable: bool, take: &mut dyn FnMut() -> u64) {
    let flags = if writable { KERNEL_DATA } else { KERNEL_DATA.difference(Flags::WRITE) };
    if let Some(slot) = slot_for(kernel_root(), addr, 0, &mut || Some(take())) {
        slot.set(Entry::new(phys, flags));
    }
}

/// Maps a page of kernel data at `addr`, where nothing is mapped.
pub(super) fn map_page(addr: u64, frame: Frame) -> Result<()> {
    let _tables = TABLES.lock();
    let mut take = || Frame::alloc_kernel().ok().map(Frame::into_raw);
    let slot = slot_for(kernel_root(), addr, 0, &mut take).ok_or(Errno::ENOMEM)?;
    slot.set(Entry::new(frame.into_raw(), KERNEL_DATA | Flags::COUNTED));
    Ok(())
}

/// Whether a page is mapped at `addr`, an address of the kernel's half that is not in the direct map.
pub(super) fn is_mapped(addr: u64) -> bool {
    let _tables = TABLES.lock();
    slot_for(kernel_root(), addr, 0, &mut || None).is_some_and(|slot| !slot.get().is_empty())
}

/// Maps `len` bytes of device registers at `phys`, uncached, and returns where. They stay mapped.
///
/// # Errors
/// EINVAL for RAM, for nothing and for what wraps; ENOMEM without room for page tables.
pub fn map_mmio(phys: u64, len: usize) -> Result<*mut u8> {
    let end = phys.checked_add(len as u64).and_then(page_up).filter(|_| len != 0).ok_or(Errno::EINVAL)?;
    if end > 1 << 52 || is_ram(phys, end) {
        return Err(Errno::EINVAL);
    }
    map_device(phys, end, Flags::UNCACHED)
}

/// Where the kernel can read `len` bytes of tables that firmware left at `phys`, in RAM or beside it.
pub fn map_firmware(phys: u64, len: usize) -> Result<*const u8> {
    let end = phys.checked_add(len as u64).and_then(page_up).filter(|_| len != 0).ok_or(Errno::EINVAL)?;
    if end <= DIRECT_END.load(Ordering::Relaxed) && is_direct(phys, end) {
        return Ok(to_virt(phys));
    }
    if end > 1 << 52 {
        return Err(Errno::EINVAL);
    }
    Ok(map_device(phys, end, Flags::empty())?.cast_const())
}

fn map_device(phys: u64, end: u64, caching: Flags) -> Result<*mut u8> {
    let mut next = TABLES.lock();
    let start = *next;
    let len = end - page_down(phys);
    if len > MMIO + TOP_ENTRY_BYTES - start {
        return Err(Errno::ENOMEM);
    }
    let mut take = || Frame::alloc_kernel().ok().map(Frame::into_raw);
    for offset in (0..len).step_by(PAGE_SIZE) {
        let slot = slot_for(kernel_root(), start + offset, 0, &mut take).ok_or(Errno::ENOMEM)?;
        slot.set(Entry::new(page_down(phys) + offset, KERNEL_DATA | caching));
    }
    *next = start + len;
    Ok((start + phys % PAGE_SIZE as u64) as *mut u8)
}

/// Whether the direct map has all of it.
fn is_direct(start: u64, end: u64) -> bool {
    let mut none = || None;
    (page_down(start)..end).step_by(PAGE_SIZE).all(|phys| {
        // SAFETY:
        // - the kernel's tables are never freed.
        let top = unsafe { table_at(kernel_root()) };
        let addr = DIRECT_MAP + phys;
        if top[index(addr, 3)].get().is_empty() {
            return false;
        }
        match slot_for(kernel_root(), addr, 2, &mut none) {
            Some(slot) if slot.get().has(Flags::BIG) => true,
            Some(slot) if !slot.get().is_empty() => {
                slot_for(kernel_root(), addr, 1, &mut none).is_some_and(|slot| !slot.get().is_empty())
            }
            _ => false,
        }
    })
}

/// RAM as the boot loader told of it, for [`map_mmio`] to refuse.
static RAM: SpinLock<([(u64, u64); 64], usize)> = SpinLock::new(([(0, 0); 64], 0));

fn is_ram(start: u64, end: u64) -> bool {
    let ram = RAM.lock();
    ram.0[..ram.1].iter().any(|&(from, to)| start < to && from < end)
}

/// Ranges of physical addresses that are in use at boot, sorted.
struct Reserved {
    ranges: [(u64, u64); MAX_RESERVED],
    len: usize,
}

impl Reserved {
    fn new(boot: &BootInfo) -> Reserved {
        let mut reserved = Reserved { ranges: [(0, 0); MAX_RESERVED], len: 0 };
        let image = arch::layout::kernel_image().physical();
        reserved.add(0, PAGE_SIZE as u64);
        reserved.add(AP_TRAMPOLINE, AP_TRAMPOLINE + PAGE_SIZE as u64);
        reserved.add(image.start, image.end);
        let handoff = &boot.handoff;
        for Module { start, end } in [handoff.app, handoff.bundle, handoff.config].iter().chain(boot.modules()) {
            reserved.add(*start, *end);
        }
        let len = reserved.len;
        sort_by(&mut reserved.ranges[..len], |a, b| a < b);
        reserved
    }

    fn add(&mut self, start: u64, end: u64) {
        if start < end && self.len < MAX_RESERVED {
            self.ranges[self.len] = (page_down(start), page_up(end).unwrap_or(end));
            self.len += 1;
        }
    }

    /// Calls `each` for the parts of `start` to `end` that are not reserved, in whole pages.
    fn free_parts(&self, start: u64, end: u64, mut each: impl FnMut(u64, u64)) {
        let mut from = page_up(start).unwrap_or(end);
        let end = page_down(end).min(MOST_RAM);
        for &(first, last) in &self.ranges[..self.len] {
            if from < first.min(end) {
                each(from, first.min(end));
            }
            from = from.max(last);
        }
        if from < end {
            each(from, end);
        }
    }
}

/// Frames for page tables before there is an allocator: taken from the start of one free part of RAM.
struct Bump {
    next: u64,
    end: u64,
}

impl Bump {
    /// Takes from the largest free part that the boot page tables map.
    fn new(boot: &BootInfo, reserved: &Reserved) -> Bump {
        let mut bump = Bump { next: 0, end: 0 };
        for region in boot.memory.usable() {
            reserved.free_parts(region.start, region.end.min(arch::layout::BOOT_MAPPED), |start, end| {
                if end - start > bump.end - bump.next {
                    bump = Bump { next: start, end };
                }
            });
        }
        bump
    }

    fn take(&mut self) -> Option<u64> {
        if self.next >= self.end {
            return None;
        }
        let phys = self.next;
        self.next += PAGE_SIZE as u64;
        // SAFETY:
        // - the frame is free RAM that the boot page tables map, and nobody else has been given it.
        unsafe { arch::zero_page(to_virt(phys)) };
        Some(phys)
    }
}

/// Builds the kernel's page tables, switches this CPU to them and hands all free RAM to the frame pool.
///
/// # Errors
/// ENOMEM if RAM is too small even for that.
pub(super) fn init(boot: &BootInfo) -> Result<()> {
    let mut reserved = Reserved::new(boot);
    let mut bump = Bump::new(boot, &reserved);
    let first_taken = bump.next;
    let root = bump.take().ok_or(Errno::ENOMEM)?;
    build(boot, root, &mut bump).and_then(|()| note_top_entries(root)).ok_or(Errno::ENOMEM)?;
    ROOT.store(root, Ordering::Relaxed);
    // SAFETY:
    // - the tables map the kernel's image, this stack (in its `.bss`) and all RAM as the boot page tables did.
    unsafe { arch::set_page_table(root) };
    arch::flush_tlb_global();

    reserved.add(first_taken, bump.next);
    let len = reserved.len;
    sort_by(&mut reserved.ranges[..len], |a, b| a < b);
    for region in boot.memory.usable() {
        reserved.free_parts(region.start, region.end, |start, end| {
            let area = Area { start: (start >> 12) as u32, end: (end >> 12) as u32 };
            if !pool::add_area(area) {
                log::warn!("memory map too long: {} KiB of RAM at {start:#x} stay unused", (end - start) >> 10);
            }
        });
    }
    Ok(())
}

fn build(boot: &BootInfo, root: u64, bump: &mut Bump) -> Option<()> {
    for area in [STACKS, MMIO, WORDS] {
        slot_for(root, area, 2, &mut || bump.take())?;
    }
    map_ram(boot, root, bump)?;
    map_image(root, bump)
}

/// Maps RAM and what firmware keeps beside it, in pages of 1 GiB where the whole of one is RAM, else of 2 MiB.
fn map_ram(boot: &BootInfo, root: u64, bump: &mut Bump) -> Option<()> {
    let has_gib_pages = arch::cpuid(0x8000_0001, 0).edx & 1 << 26 != 0;
    let mut mapped = 0;
    for region in boot.memory.regions() {
        let is_ram = matches!(region.kind, MemoryKind::Usable | MemoryKind::AcpiReclaimable | MemoryKind::AcpiNvs);
        // The first megabyte is firmware's tables and buffers, whatever the map says.
        if region.start >= MOST_RAM || !is_ram && region.end > 1 << 20 {
            continue;
        }
        if is_ram {
            note_ram(region.start, region.end);
        }
        let end = region.end.min(MOST_RAM).next_multiple_of(BIG);
        let mut at = mapped.max(region.start & !(BIG - 1));
        while at < end {
            let is_whole_gib = has_gib_pages && at % GIB == 0 && region.start <= at && at + GIB <= region.end;
            let level = if is_whole_gib { 2 } else { 1 };
            // Up to where a page of the other size may begin.
            let run_end = (at + 1).next_multiple_of(GIB).min(end);
            map_range(root, DIRECT_MAP + at..DIRECT_MAP + run_end, at, level, KERNEL_DATA, bump)?;
            at = run_end;
        }
        mapped = mapped.max(at);
    }
    DIRECT_END.store(mapped, Ordering::Relaxed);
    Some(())
}

fn note_ram(start: u64, end: u64) {
    let mut ram = RAM.lock();
    let len = ram.1;
    if let Some(slot) = ram.0.get_mut(len) {
        *slot = (start, end);
        ram.1 += 1;
    }
}

/// Maps the kernel's image in small pages, each part with the rights that it needs.
fn map_image(root: u64, bump: &mut Bump) -> Option<()> {
    let mut map = |addresses: arch::layout::Span, flags| {
        let start = page_down(addresses.start);
        map_range(root, start..addresses.end, start - KERNEL_BASE, 0, flags, bump)
    };
    let read_only = KERNEL_DATA.difference(Flags::WRITE);
    map(arch::layout::kernel_image(), KERNEL_DATA)?;
    map(arch::layout::kernel_text(), read_only.difference(Flags::NO_EXECUTE))?;
    map(arch::layout::kernel_rodata(), read_only)
}
