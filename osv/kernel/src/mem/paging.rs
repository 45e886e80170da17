//! Page tables: four levels of 512 entries, walked through the direct map.
//!
//! An entry that is not zero is *populated*: it names a frame, whether or not the CPU may use it ([`Flags::PRESENT`]). A
//! page whose protection forbids all access stays populated without being present, so that it keeps its contents.
//! Entries change atomically: page faults of several threads fill different or even the same entries at the
//! same time (the first one wins), and the CPU sets accessed and dirty bits by itself. Taking entries away and freeing
//! tables is for whoever holds the address space alone.
//!
//! Programs run in ring 0, so the user bit is never set and means nothing.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bitflags::bitflags;

use super::frame::{BigFrame, Frame};
use super::phys::{BIG_PAGE_SIZE, PAGE_SHIFT, PAGE_SIZE, to_virt};
use crate::errno::Result;

bitflags! {
    /// The bits of an entry beside the address.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Flags: u64 {
        /// The CPU may use the entry.
        const PRESENT = 1 << 0;
        /// Writes are allowed.
        const WRITE = 1 << 1;
        /// Uncached: device registers.
        const UNCACHED = 1 << 3 | 1 << 4;
        /// Set by the CPU on every access.
        const ACCESSED = 1 << 5;
        /// Set by the CPU on every write.
        const DIRTY = 1 << 6;
        /// The entry maps 2 MiB (or 1 GiB) itself instead of naming a table.
        const BIG = 1 << 7;
        /// The same in all address spaces: outlives a change of CR3.
        const GLOBAL = 1 << 8;
        /// The entry owns a count of its frame.
        const COUNTED = 1 << 9;
        /// The frame belongs to a page cache, not to this process.
        const FILE = 1 << 10;
        /// Instructions may not be fetched.
        const NO_EXECUTE = 1 << 63;
    }
}

const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Bytes that one page table of the lowest level maps.
pub const TABLE_BYTES: u64 = BIG_PAGE_SIZE as u64;

/// The value of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(pub u64);

impl Entry {
    /// Nothing is there.
    pub const EMPTY: Entry = Entry(0);

    /// An entry for the frame at `phys`.
    #[inline]
    pub const fn new(phys: u64, flags: Flags) -> Entry {
        Entry(phys | flags.bits())
    }

    /// Whether nothing is there.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The physical address of the frame or table.
    #[inline]
    pub const fn phys(self) -> u64 {
        self.0 & ADDRESS_MASK
    }

    /// The other bits.
    #[inline]
    pub const fn flags(self) -> Flags {
        Flags::from_bits_retain(self.0 & !ADDRESS_MASK)
    }

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn has(self, flags: Flags) -> bool {
        self.0 & flags.bits() == flags.bits()
    }

    /// The entry with `flags` set as well.
    #[inline]
    pub const fn with(self, flags: Flags) -> Entry {
        Entry(self.0 | flags.bits())
    }

    /// The entry without `flags`.
    #[inline]
    pub const fn without(self, flags: Flags) -> Entry {
        Entry(self.0 & !flags.bits())
    }

    /// An entry that owns `frame`.
    #[inline]
    pub fn owning(frame: Frame, flags: Flags) -> Entry {
        let counted = if frame.is_counted() { Flags::COUNTED } else { Flags::empty() };
        Entry::new(frame.into_raw(), flags.union(counted))
    }

    /// The frame that a populated entry of the lowest level owns.
    ///
    /// # Safety
    /// - The entry was taken out of its table, or never stood there: the frame has one owner again.
    #[inline]
    pub unsafe fn into_frame(self) -> Frame {
        // SAFETY:
        // - `owning` gave the frame up with the same flag.
        unsafe { Frame::from_raw(self.phys(), self.has(Flags::COUNTED)) }
    }

    /// The 2 MiB that a populated big entry owns.
    ///
    /// # Safety
    /// - As for [`Entry::into_frame`].
    pub unsafe fn into_big_frame(self) -> BigFrame {
        // SAFETY:
        // - big entries of programs own a `BigFrame`.
        unsafe { BigFrame::from_raw(self.phys()) }
    }

    /// Another handle of the frame that this entry of the lowest level owns.
    ///
    /// # Safety
    /// - The entry stands in its table and stays there during the call.
    pub unsafe fn share_frame(self) -> Frame {
        // SAFETY:
        // - the handle of the entry itself is not dropped here.
        let frame = core::mem::ManuallyDrop::new(unsafe { self.into_frame() });
        Frame::clone(&frame)
    }
}

/// A place for an entry in a table.
#[repr(transparent)]
pub struct Slot(AtomicU64);

impl Slot {
    /// What is there now.
    #[inline]
    pub fn get(&self) -> Entry {
        Entry(self.0.load(Ordering::Acquire))
    }

    /// Puts `entry` there, whatever was there before.
    #[inline]
    pub fn set(&self, entry: Entry) {
        self.0.store(entry.0, Ordering::Release);
    }

    /// Puts `new` there if `old` still is; else says what is there.
    #[inline]
    pub fn replace(&self, old: Entry, new: Entry) -> Result<(), Entry> {
        match self.0.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(seen) => Err(Entry(seen)),
        }
    }

    /// Takes out what is there.
    #[inline]
    pub fn take(&self) -> Entry {
        if self.0.load(Ordering::Relaxed) == 0 {
            return Entry::EMPTY;
        }
        Entry(self.0.swap(0, Ordering::AcqRel))
    }
}

/// One table: 512 slots.
pub type Table = [Slot; 512];

/// The table at `phys`.
///
/// # Safety
/// - A table lies there, and is not freed while the reference lives.
#[inline]
pub(super) unsafe fn table_at(phys: u64) -> &'static Table {
    // SAFETY:
    // - the caller vouches for the table; slots are atomic, so it may be shared.
    unsafe { &*to_virt(phys).cast::<Table>() }
}

/// The index of `addr`'s entry in a table of `level` (0 is the lowest).
#[inline]
pub(super) const fn index(addr: u64, level: u32) -> usize {
    (addr >> (PAGE_SHIFT + 9 * level) & 511) as usize
}

/// Flags of entries that name tables.
pub(super) const TABLE_FLAGS: Flags = Flags::PRESENT.union(Flags::WRITE).union(Flags::ACCESSED);

/// What the tables have for an address.
pub enum Found<'a> {
    /// An entry of the lowest level, populated or not.
    Page(&'a Slot),
    /// An entry that maps 2 MiB.
    Big(&'a Slot),
    /// No table of the lowest level; nothing from the address up to the one given.
    Hole(u64),
}

/// The page tables of one address space: the lower half, and the kernel's half shared with all others.
pub struct PageTables {
    root: Frame,
    /// Tables below the root.
    count: AtomicUsize,
}

impl PageTables {
    /// Tables that map only the kernel.
    pub fn new() -> Result<PageTables> {
        let root = Frame::alloc_zeroed()?;
        super::kernel_map::share_with(&root);
        Ok(PageTables { root, count: AtomicUsize::new(0) })
    }

    /// The physical address of the top table, for CR3.
    #[inline]
    pub fn root(&self) -> u64 {
        self.root.phys()
    }

    /// How many tables there are below the top one.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    #[inline]
    fn top(&self) -> &Table {
        // SAFETY:
        // - the root is a table and lives as long as `self`.
        unsafe { table_at(self.root.phys()) }
    }

    /// What is there for `addr`, an address of the lower half.
    #[inline]
    pub fn find(&self, addr: u64) -> Found<'_> {
        let mut table = self.top();
        for level in (1..4).rev() {
            let slot = &table[index(addr, level)];
            let entry = slot.get();
            if entry.is_empty() {
                let span = 1u64 << (PAGE_SHIFT + 9 * level);
                return Found::Hole((addr | (span - 1)) + 1);
            }
            if level == 1 && entry.has(Flags::BIG) {
                return Found::Big(slot);
            }
            // SAFETY:
            // - a populated entry above the lowest level that is not big names a table, which lives until somebody with
            //   the address space to himself frees it.
            table = unsafe { table_at(entry.phys()) };
        }
        Found::Page(&table[index(addr, 0)])
    }

    /// As [`PageTables::find`], making the tables that are missing.
    #[inline(always)]
    pub fn find_or_make(&self, addr: u64) -> Result<Found<'_>> {
        let mut table = self.top();
        for level in (1..4).rev() {
            let slot = &table[index(addr, level)];
            let mut entry = slot.get();
            if entry.is_empty() {
                entry = self.make_table(slot)?;
            }
            if level == 1 && entry.has(Flags::BIG) {
                return Ok(Found::Big(slot));
            }
            // SAFETY:
            // - as in `find`.
            table = unsafe { table_at(entry.phys()) };
        }
        Ok(Found::Page(&table[index(addr, 0)]))
    }

    /// Puts a new table into `slot`, unless another CPU was faster; the entry that is there then.
    #[cold]
    fn make_table(&self, slot: &Slot) -> Result<Entry> {
        let entry = Entry::new(Frame::alloc_zeroed()?.into_raw(), TABLE_FLAGS);
        match slot.replace(Entry::EMPTY, entry) {
            Ok(()) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Ok(entry)
            }
            Err(seen) => {
                // SAFETY:
                // - the entry never stood in a table.
                drop(unsafe { Frame::from_raw(entry.phys(), true) });
                Ok(seen)
            }
        }
    }

    /// The slot for 2 MiB at `addr`, with the tables above it: whatever is in it.
    pub fn big_slot(&self, addr: u64) -> Result<&Slot> {
        let mut table = self.top();
        for level in (2..4).rev() {
            let slot = &table[index(addr, level)];
            let mut entry = slot.get();
            if entry.is_empty() {
                entry = self.make_table(slot)?;
            }
            // SAFETY:
            // - as in `find`; programs have no pages of 1 GiB.
            table = unsafe { table_at(entry.phys()) };
        }
        Ok(&table[index(addr, 1)])
    }

    /// Calls `visit` for every populated entry from `start` up to `end`, with its address, in order, and whether it is
    /// big (then it may begin before `start` or end after `end`). Skips empty parts table by table.
    #[inline]
    pub fn for_each(&self, start: u64, end: u64, mut visit: impl FnMut(u64, &Slot, bool)) {
        let mut addr = start;
        while addr < end {
            match self.find(addr) {
                Found::Hole(next) => addr = next,
                Found::Big(slot) => {
                    visit(addr & !(TABLE_BYTES - 1), slot, true);
                    addr = (addr | (TABLE_BYTES - 1)) + 1;
                }
                Found::Page(first) => {
                    let stop = end.min((addr | (TABLE_BYTES - 1)) + 1);
                    let count = ((stop - addr) >> PAGE_SHIFT) as usize;
                    // SAFETY:
                    // - `first` stands in a table at the index of `addr`; `stop` lies in the same table or at its end.
                    let slots = unsafe { core::slice::from_raw_parts(first, count) };
                    for slot in slots {
                        if !slot.get().is_empty() {
                            visit(addr, slot, false);
                        }
                        addr += PAGE_SIZE as u64;
                    }
                }
            }
        }
    }

    /// Replaces the big entry in `slot` by a table of 512 entries for the same frames with the same flags. For whoever
    /// holds the address space alone; translations have to be flushed if the CPU may use the table differently.
    pub fn split_big(&self, slot: &Slot) -> Result<()> {
        let table_frame = Frame::alloc_kernel()?;
        let big = slot.take();
        // SAFETY:
        // - the new table is this function's own until it stands in `slot`.
        let table = unsafe { table_at(table_frame.phys()) };
        // SAFETY:
        // - the entry was taken out of its table.
        let first = unsafe { big.into_big_frame() }.split_raw();
        let flags = big.flags().difference(Flags::BIG).union(Flags::COUNTED);
        for (number, slot) in table.iter().enumerate() {
            slot.set(Entry::new(first + (number * PAGE_SIZE) as u64, flags));
        }
        slot.set(Entry::new(table_frame.into_raw(), TABLE_FLAGS));
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes out the tables that map nothing but addresses from `floor` up to `ceiling`, as long as they touch `start`
    /// to `end`, where no entry is populated any more, and hands each to `freed`. For whoever holds the space alone.
    pub fn take_tables(&self, start: u64, end: u64, floor: u64, ceiling: u64, freed: &mut dyn FnMut(Frame)) {
        take_tables_below(self.top(), 3, 0, (start, end), (floor, ceiling), &mut |frame| {
            self.count.fetch_sub(1, Ordering::Relaxed);
            freed(frame);
        });
    }
}

/// Takes tables out of `table`, which has `level` and maps from `base` on; see [`PageTables::take_tables`].
fn take_tables_below(
    table: &Table,
    level: u32,
    base: u64,
    (start, end): (u64, u64),
    limits: (u64, u64),
    freed: &mut dyn FnMut(Frame),
) {
    if start >= end {
        return;
    }
    let span = 1u64 << (PAGE_SHIFT + 9 * level);
    for number in (start - base) / span..=(end - 1 - base) / span {
        let Some(slot) = table.get(number as usize) else { return };
        let entry = slot.get();
        if entry.is_empty() || entry.has(Flags::BIG) {
            continue;
        }
        let from = base + number * span;
        if level > 1 {
            // SAFETY:
            // - a populated entry above the lowest level that is not big names a table.
            let below = unsafe { table_at(entry.phys()) };
            take_tables_below(below, level - 1, from, (start.max(from), end.min(from + span)), limits, freed);
        }
        if limits.0 <= from && from + span <= limits.1 {
            // SAFETY:
            // - the entry is taken out of its table, and tables have one owner.
            freed(unsafe { Frame::from_raw(slot.take().phys(), true) });
        }
    }
}

impl Drop for PageTables {
    /// Frees the tables of the lower half; whatever they mapped has been taken out before.
    fn drop(&mut self) {
        if *self.count.get_mut() != 0 {
            free_tables(self.top(), 3, 256);
        }
    }
}

fn free_tables(table: &Table, level: u32, entries: usize) {
    for slot in &table[..entries] {
        let entry = slot.take();
        if entry.is_empty() || entry.has(Flags::BIG) {
            continue;
        }
        if level > 1 {
            // SAFETY:
            // - the entry names a table that nobody else uses: the address space is gone.
            free_tables(unsafe { table_at(entry.phys()) }, level - 1, 512);
        }
        // SAFETY:
        // - the entry was taken out of its table.
        drop(unsafe { Frame::from_raw(entry.phys(), true) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_flags() -> Flags {
        Flags::PRESENT | Flags::WRITE
    }

    #[test]
    fn entries_own_frames() {
        let tables = PageTables::new().unwrap();
        let frame = Frame::alloc_zeroed().unwrap();
        let addr = 0x5555_5555_4000;
        assert!(matches!(tables.find(addr), Found::Hole(0x5580_0000_0000)));
        let Ok(Found::Page(slot)) = tables.find_or_make(addr) else { panic!() };
        slot.set(Entry::owning(frame.clone(), page_flags()));
        assert!(!frame.is_sole_owner());
        let mut seen = Vec::new();
        tables.for_each(0, 1 << 47, |addr, slot, is_big| seen.push((addr, slot.get().phys(), is_big)));
        assert_eq!(seen, [(addr, frame.phys(), false)]);
        // SAFETY: it is taken out.
        drop(unsafe { slot.take().into_frame() });
        assert!(frame.is_sole_owner());
    }

    #[test]
    fn a_big_page_can_be_split() {
        let tables = PageTables::new().unwrap();
        let big = BigFrame::alloc_zeroed().unwrap();
        let phys = big.phys();
        let slot = tables.big_slot(0x4000_0000).unwrap();
        slot.set(Entry::new(big.into_raw(), page_flags() | Flags::BIG));
        tables.split_big(slot).unwrap();
        let mut count = 0;
        tables.for_each(0, 1 << 47, |addr, slot, is_big| {
            assert!(!is_big && slot.get().phys() - phys == addr - 0x4000_0000);
            // SAFETY: it is taken out.
            drop(unsafe { slot.take().into_frame() });
            count += 1;
        });
        assert_eq!(count, 512);
    }

    #[test]
    fn tables_between_neighbours_stay() {
        let tables = PageTables::new().unwrap();
        for addr in [0x10_0000, 0x4000_0000, 0x4020_0000] {
            tables.find_or_make(addr).unwrap();
        }
        let mut freed = 0;
        tables.take_tables(0x4000_0000, 0x4020_0000, 0x20_0000, 0x4020_0000, &mut |_| freed += 1);
        assert_eq!(freed, 1, "the neighbour shares the upper tables");
        tables.take_tables(0x4020_0000, 0x4021_0000, 0x20_0000, 1 << 47, &mut |_| freed += 1);
        assert_eq!(freed, 3, "its own table and the one above; the first gigabyte needs the rest");
    }
}
