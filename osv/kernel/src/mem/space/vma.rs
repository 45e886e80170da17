//! Virtual memory areas: what a process has mapped where, apart from any page.
//!
//! [`Vmas`] is a sorted list in two levels: chunks of up to 64 areas. An area is found by two binary searches, and a
//! gap of a given size by skipping chunks whose largest gap is too small, from the top down as Linux places mappings.
//! A process with a handful of areas has one chunk; one with 65,530 has a thousand or two.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bitflags::bitflags;

use super::policy::Policy;
use crate::errno::{Errno, Result};
use crate::mem::layout::PAGE_SIZE;
use crate::mem::mappers::Mappers;
use crate::mem::object::{MappingName, PageSource};

bitflags! {
    /// What a program may do with a page. The bits are Linux'.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Prot: u8 {
        /// Read it.
        const READ = 1;
        /// Write it.
        const WRITE = 2;
        /// Execute it.
        const EXEC = 4;
    }
}

bitflags! {
    /// How an area behaves.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AreaFlags: u16 {
        /// Writes are seen by all who map the object, and by the object.
        const SHARED = 1;
        /// The file was not open for writing, so a shared area can never become writable.
        const NEVER_WRITE = 1 << 1;
        /// The file may not be executed (mounted `noexec`).
        const NEVER_EXEC = 1 << 2;
        /// Grows down to the address of a fault.
        const GROWS_DOWN = 1 << 3;
        /// Not in a child of `fork`.
        const DONT_FORK = 1 << 4;
        /// Empty in a child of `fork`.
        const WIPE_ON_FORK = 1 << 5;
        /// Never in big pages.
        const NO_BIG = 1 << 6;
        /// In big pages where possible.
        const BIG = 1 << 7;
        /// Locked in memory, as far as anybody can tell.
        const LOCKED = 1 << 8;
        /// Locked, but each page only from its first use on.
        const LOCKED_ON_FAULT = 1 << 11;
        /// Left out of core dumps.
        const DONT_DUMP = 1 << 9;
        /// Does not count against the commit limit.
        const NO_RESERVE = 1 << 10;
    }
}

/// The object that an area shows, from some offset on. There is one for each area: the object can count them.
pub struct FilePart {
    /// The pages.
    pub source: Arc<dyn PageSource>,
    /// What `/proc/PID/maps` calls it.
    pub name: Option<Arc<dyn MappingName>>,
    /// The byte of the object at the area's start; a multiple of the page size.
    pub offset: u64,
}

impl FilePart {
    /// What an area shows.
    pub fn new(source: Arc<dyn PageSource>, name: Option<Arc<dyn MappingName>>, offset: u64) -> FilePart {
        source.note_shown();
        FilePart { source, name, offset }
    }
}

impl Clone for FilePart {
    fn clone(&self) -> FilePart {
        FilePart::new(self.source.clone(), self.name.clone(), self.offset)
    }
}

impl Drop for FilePart {
    fn drop(&mut self) {
        self.source.note_hidden();
    }
}

/// A run of pages that are alike.
pub struct Area {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// What the program may do.
    pub prot: Prot,
    /// How it behaves.
    pub flags: AreaFlags,
    /// What it shows; anonymous memory without.
    pub file: Option<FilePart>,
    /// Where its memory shall be.
    pub policy: Option<Policy>,
    /// A private area of a file has pages of its own.
    has_own_pages: AtomicBool,
}

impl Clone for Area {
    fn clone(&self) -> Self {
        Area { has_own_pages: AtomicBool::new(self.has_own_pages()), file: self.file.clone(), ..*self }
    }
}

impl Area {
    /// An area with no pages yet.
    pub fn new(start: u64, end: u64, prot: Prot, flags: AreaFlags, file: Option<FilePart>) -> Area {
        Area { start, end, prot, flags, file, policy: None, has_own_pages: AtomicBool::new(false) }
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Locks it in memory, or unlocks it.
    pub fn set_locked(&mut self, is_locked: bool, on_fault: bool) {
        self.flags.set(AreaFlags::LOCKED, is_locked);
        self.flags.set(AreaFlags::LOCKED_ON_FAULT, is_locked && on_fault);
    }

    /// Whether writes go to the object.
    pub fn is_shared(&self) -> bool {
        self.flags.contains(AreaFlags::SHARED)
    }

    /// Whether it shows the object that `object` belongs to.
    pub fn shows(&self, object: &Mappers) -> bool {
        let mappers = self.file.as_ref().and_then(|file| file.source.mappers());
        mappers.is_some_and(|mappers| core::ptr::eq(mappers, object))
    }

    /// Whether pages may be here that can be had from nowhere else.
    pub fn has_own_pages(&self) -> bool {
        self.file.is_none() || self.has_own_pages.load(Ordering::Relaxed)
    }

    /// Notes that the program has changed a page of a private area.
    #[inline]
    pub fn note_own_page(&self) {
        if !self.has_own_pages.load(Ordering::Relaxed) {
            self.has_own_pages.store(true, Ordering::Relaxed);
        }
    }

    /// The page of the object that `addr` shows.
    #[inline]
    pub fn page_index(&self, addr: u64) -> u64 {
        let offset = self.file.as_ref().map_or(0, |file| file.offset);
        (offset + (addr - self.start)) / PAGE_SIZE as u64
    }

    /// Whether `next` continues this area in every respect.
    fn continues_with(&self, next: &Area) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && self.flags == next.flags
            && self.policy == next.policy
            && match (&self.file, &next.file) {
                (None, None) => true,
                (Some(a), Some(b)) => {
                    Arc::ptr_eq(&a.source, &b.source)
                        && a.offset + self.bytes() == b.offset
                        && match (&a.name, &b.name) {
                            (None, None) => true,
                            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || name_of(&**a) == name_of(&**b),
                            _ => false,
                        }
                }
                _ => false,
            }
    }

    /// Cuts the area at `addr`, which lies inside, and returns the upper part.
    fn cut(&mut self, addr: u64) -> Area {
        let mut upper = self.clone();
        if let Some(file) = &mut upper.file {
            file.offset += addr - self.start;
        }
        upper.start = addr;
        self.end = addr;
        upper
    }
}

fn name_of(name: &dyn MappingName) -> Vec<u8> {
    let mut text = Vec::new();
    name.write_name(&mut text);
    text
}

/// The most areas of one process, as Linux' `vm.max_map_count`.
pub const MAX_AREAS: usize = 65_530;

/// How many areas a process may have now (`vm.max_map_count`).
pub static AREA_LIMIT: AtomicUsize = AtomicUsize::new(MAX_AREAS);

const CHUNK: usize = 64;

/// Neighbouring areas. Never empty.
struct Chunk {
    areas: Vec<Area>,
    /// No gap before an area of this chunk is larger; it may be that none is as large.
    max_gap: u64,
}

/// Where an area is in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    chunk: usize,
    slot: usize,
}

/// All areas of a process, sorted, without overlaps.
#[derive(Default)]
pub struct Vmas {
    chunks: Vec<Chunk>,
    count: usize,
    /// Bytes in all areas.
    total: u64,
}

impl Vmas {
    /// No areas.
    pub const fn new() -> Vmas {
        Vmas { chunks: Vec::new(), count: 0, total: 0 }
    }

    /// How many areas there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes in all areas.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The area at `position`.
    pub fn get(&self, position: Position) -> Option<&Area> {
        self.chunks.get(position.chunk)?.areas.get(position.slot)
    }

    /// The area at `position`, to be changed in ways that keep its place.
    pub fn get_mut(&mut self, position: Position) -> Option<&mut Area> {
        self.chunks.get_mut(position.chunk)?.areas.get_mut(position.slot)
    }

    /// The position of the first area that ends after `addr`: the one that contains it or the next one.
    #[inline]
    pub fn position_after(&self, addr: u64) -> Position {
        let chunk = self.chunks.partition_point(|chunk| chunk.areas.last().is_some_and(|last| last.end <= addr));
        let slot = match self.chunks.get(chunk) {
            Some(chunk) => chunk.areas.partition_point(|area| area.end <= addr),
            None => 0,
        };
        Position { chunk, slot }
    }

    /// The area that contains `addr`.
    #[inline]
    pub fn find(&self, addr: u64) -> Option<&Area> {
        self.get(self.position_after(addr)).filter(|area| area.start <= addr)
    }

    /// The position after `position`.
    pub fn next(&self, position: Position) -> Position {
        match self.chunks.get(position.chunk) {
            Some(chunk) if position.slot + 1 < chunk.areas.len() => {
                Position { chunk: position.chunk, slot: position.slot + 1 }
            }
            _ => Position { chunk: position.chunk + 1, slot: 0 },
        }
    }

    /// The position before `position`, which may be the end.
    pub fn previous(&self, position: Position) -> Option<Position> {
        if position.slot > 0 {
            return Some(Position { chunk: position.chunk, slot: position.slot - 1 });
        }
        let chunk = position.chunk.checked_sub(1)?;
        Some(Position { chunk, slot: self.chunks.get(chunk)?.areas.len() - 1 })
    }

    /// Where the area before `position` ends; 0 if there is none.
    #[inline(always)]
    pub fn end_before(&self, position: Position) -> u64 {
        self.previous(position).and_then(|before| self.get(before)).map_or(0, |area| area.end)
    }

    /// The areas that overlap `start` to `end`, in order.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Area> {
        self.iter_from(self.position_after(start)).take_while(move |area| area.start < end)
    }

    /// All areas from `position` on.
    pub fn iter_from(&self, position: Position) -> impl Iterator<Item = &Area> {
        let mut skip = position.slot;
        self.chunks.iter().skip(position.chunk).flat_map(move |chunk| &chunk.areas[core::mem::take(&mut skip)..])
    }

    /// All areas.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.chunks.iter().flat_map(|chunk| &chunk.areas)
    }

    /// Makes sure that `more` areas can be inserted: ENOMEM if there would be too many.
    pub fn check_room(&self, more: usize) -> Result<()> {
        if self.count + more > AREA_LIMIT.load(Ordering::Relaxed) { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Puts in an area that overlaps none, joined with its neighbours where they are alike.
    pub fn insert(&mut self, area: Area) -> Result<()> {
        let position = self.position_after(area.start);
        let len = area.bytes();
        if self.join_with_neighbours(position, &area) {
            self.total += len;
            return Ok(());
        }
        self.check_room(1)?;
        self.insert_at(position, area)?;
        self.total += len;
        Ok(())
    }

    /// Extends the areas before or after `position` (or joins them) by `area`, if they are alike.
    fn join_with_neighbours(&mut self, position: Position, area: &Area) -> bool {
        let before = self.previous(position).filter(|&p| self.get(p).is_some_and(|b| b.continues_with(area)));
        let joins_after = self.get(position).is_some_and(|after| area.continues_with(after));
        let own = area.has_own_pages();
        match before {
            Some(before) => {
                let (mut end, mut own) = (area.end, own);
                if joins_after && let Some(after) = self.take_at(position) {
                    end = after.end;
                    own |= after.has_own_pages();
                }
                if let Some(before) = self.get_mut(before) {
                    before.end = end;
                    *before.has_own_pages.get_mut() |= own;
                }
                true
            }
            None if joins_after => {
                if let Some(after) = self.get_mut(position) {
                    if let (Some(file), Some(lower)) = (&mut after.file, &area.file) {
                        file.offset = lower.offset;
                    }
                    after.start = area.start;
                    *after.has_own_pages.get_mut() |= own;
                }
                true
            }
            None => false,
        }
    }

    fn insert_at(&mut self, position: Position, area: Area) -> Result<()> {
        let gap = area.start - self.end_before(position);
        // Past the end means behind the last area.
        let (mut index, mut slot) = (position.chunk, position.slot);
        if index == self.chunks.len() {
            match index.checked_sub(1) {
                Some(last) => (index, slot) = (last, self.chunks[last].areas.len()),
                None => {
                    let mut areas = Vec::new();
                    areas.try_reserve(4).map_err(|_| Errno::ENOMEM)?;
                    self.chunks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                    self.chunks.push(Chunk { areas, max_gap: 0 });
                }
            }
        }
        if self.chunks[index].areas.len() == CHUNK {
            self.split_chunk(index)?;
            if slot > CHUNK / 2 {
                (index, slot) = (index + 1, slot - CHUNK / 2);
            }
        }
        let chunk = &mut self.chunks[index];
        chunk.areas.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        chunk.areas.insert(slot, area);
        chunk.max_gap = chunk.max_gap.max(gap);
        self.count += 1;
        Ok(())
    }

    fn split_chunk(&mut self, index: usize) -> Result<()> {
        let mut upper = Vec::new();
        upper.try_reserve_exact(CHUNK).map_err(|_| Errno::ENOMEM)?;
        self.chunks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let chunk = &mut self.chunks[index];
        upper.extend(chunk.areas.drain(CHUNK / 2..));
        let max_gap = chunk.max_gap;
        self.chunks.insert(index + 1, Chunk { areas: upper, max_gap });
        Ok(())
    }

    /// Takes out the area at `position`; the next one is there then (or at the start of the next chunk).
    fn take_at(&mut self, position: Position) -> Option<Area> {
        let chunk = self.chunks.get_mut(position.chunk)?;
        if position.slot >= chunk.areas.len() {
            return None;
        }
        let area = chunk.areas.remove(position.slot);
        self.count -= 1;
        if chunk.areas.is_empty() {
            self.chunks.remove(position.chunk);
        }
        self.widen_gap_after(position);
        Some(area)
    }

    /// Accounts for the gap before the area that follows `position`, which has grown.
    #[inline(always)]
    fn widen_gap_after(&mut self, position: Position) {
        let at = match self.chunks.get(position.chunk) {
            Some(chunk) if position.slot < chunk.areas.len() => position,
            Some(_) => Position { chunk: position.chunk + 1, slot: 0 },
            None => return,
        };
        if let Some(start) = self.get(at).map(|area| area.start) {
            let gap = start - self.end_before(at);
            let chunk = &mut self.chunks[at.chunk];
            chunk.max_gap = chunk.max_gap.max(gap);
        }
    }

    /// Makes `addr` a border between areas, if it lies inside of one.
    pub fn split_at(&mut self, addr: u64) -> Result<()> {
        let position = self.position_after(addr);
        let Some(area) = self.get_mut(position).filter(|area| area.start < addr) else { return Ok(()) };
        let upper = area.cut(addr);
        let upper_end = upper.end;
        let result = self.check_room(1).and_then(|()| self.insert_at(self.next(position), upper));
        if result.is_err()
            && let Some(area) = self.get_mut(position)
        {
            area.end = upper_end;
        }
        result
    }

    /// Takes out everything from `start` up to `end`, cutting areas at the borders, and hands it to `removed`.
    /// ENOMEM, and nothing is changed, if cutting would make too many areas.
    pub fn remove(&mut self, start: u64, end: u64, mut removed: impl FnMut(Area)) -> Result<()> {
        let mut position = self.position_after(start);
        let Some(area) = self.get_mut(position).filter(|area| area.start < end) else { return Ok(()) };
        if area.start < start {
            // The lower part stays; the rest, whether it ends here or not, becomes an area of its own first. That may
            // split a chunk, so the position is a new one.
            if area.end > end {
                self.split_at(end)?;
                position = self.position_after(start);
            }
            if let Some(area) = self.get_mut(position) {
                let part = area.cut(start);
                self.total -= part.bytes();
                removed(part);
            }
            position = self.next(position);
            self.widen_gap_after(position);
        }
        while let Some(area) = self.get_mut(position).filter(|area| area.start < end) {
            if area.end > end {
                let upper = area.cut(end);
                let lower = core::mem::replace(area, upper);
                self.total -= lower.bytes();
                self.widen_gap_after(position);
                removed(lower);
                break;
            }
            if let Some(area) = self.take_at(position) {
                self.total -= area.bytes();
                removed(area);
            }
            if self.get(position).is_none() {
                position = Position { chunk: position.chunk + usize::from(position.slot != 0), slot: 0 };
            }
        }
        Ok(())
    }

    /// Calls `change` for each area from `start` up to `end`, cut at the borders, and joins what is alike then.
    pub fn change(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Area)) -> Result<()> {
        self.split_at(start)?;
        self.split_at(end)?;
        let mut position = self.position_after(start);
        while let Some(area) = self.get_mut(position).filter(|area| area.start < end) {
            change(area);
            position = self.next(position);
        }
        self.join(start, end);
        Ok(())
    }

    /// Joins neighbours that are alike, from the area before `start` to the one after `end`.
    fn join(&mut self, start: u64, end: u64) {
        let mut position = self.position_after(start.saturating_sub(1));
        loop {
            let next = self.next(position);
            let (Some(area), Some(following)) = (self.get(position), self.get(next)) else { return };
            if area.end > end {
                return;
            }
            if area.continues_with(following) {
                if let Some(following) = self.take_at(next)
                    && let Some(area) = self.get_mut(position)
                {
                    area.end = following.end;
                    *area.has_own_pages.get_mut() |= following.has_own_pages();
                }
            } else {
                position = next;
            }
        }
    }

    /// Moves the start of the area that contains or follows `addr` down to `addr`; the caller has checked the gap.
    pub fn grow_down(&mut self, addr: u64) {
        let position = self.position_after(addr);
        if let Some(area) = self.get_mut(position).filter(|area| addr < area.start) {
            let more = area.start - addr;
            if let Some(file) = &mut area.file {
                file.offset = file.offset.saturating_sub(more);
            }
            area.start = addr;
            self.total += more;
        }
    }

    /// The highest `len` free bytes that start at `low` or above and end at `high` or below, at a multiple of `align`.
    pub fn find_gap(&mut self, low: u64, high: u64, len: u64, align: u64) -> Option<u64> {
        let position = self.position_after(high.checked_sub(1)?);
        let mut top = self.get(position).map_or(high, |area| area.start.min(high));
        let mut above = position;
        loop {
            let bottom = self.end_before(above).max(low);
            if let Some(start) = fit(bottom, top, len, align) {
                return Some(start);
            }
            if bottom == low && self.end_before(above) <= low {
                return None;
            }
            above = self.skip_down(self.previous(above)?, len)?;
            top = self.get(above)?.start;
        }
    }

    /// From an area whose gap has not been looked at: the same, or the last one of a lower chunk that may have a gap of `len`.
    fn skip_down(&mut self, position: Position, len: u64) -> Option<Position> {
        let last = |chunks: &[Chunk], chunk: usize| Position { chunk, slot: chunks[chunk].areas.len() - 1 };
        if position != last(&self.chunks, position.chunk) {
            return Some(position);
        }
        let mut chunk = position.chunk;
        loop {
            if self.chunks[chunk].max_gap >= len {
                let exact = self.largest_gap(chunk);
                self.chunks[chunk].max_gap = exact;
                if exact >= len {
                    return Some(last(&self.chunks, chunk));
                }
            }
            chunk = match chunk.checked_sub(1) {
                Some(chunk) => chunk,
                // Nothing fits between areas; what is below the first one is left to look at.
                None => return Some(Position { chunk: 0, slot: 0 }),
            };
        }
    }

    fn largest_gap(&self, chunk: usize) -> u64 {
        let mut end = self.end_before(Position { chunk, slot: 0 });
        let mut largest = 0;
        for area in &self.chunks[chunk].areas {
            largest = largest.max(area.start - end);
            end = area.end;
        }
        largest
    }
}

fn fit(bottom: u64, top: u64, len: u64, align: u64) -> Option<u64> {
    let start = top.checked_sub(len)? & !(align - 1);
    (start >= bottom && bottom < top).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: u64 = PAGE_SIZE as u64;

    fn anon(start: u64, end: u64, prot: Prot) -> Area {
        Area::new(start * PAGE, end * PAGE, prot, AreaFlags::empty(), None)
    }

    fn ranges(vmas: &Vmas) -> Vec<(u64, u64)> {
        vmas.iter().map(|area| (area.start / PAGE, area.end / PAGE)).collect()
    }

    #[test]
    fn neighbours_that_are_alike_join() {
        let mut vmas = Vmas::new();
        vmas.insert(anon(10, 20, Prot::READ)).unwrap();
        vmas.insert(anon(30, 40, Prot::READ)).unwrap();
        vmas.insert(anon(40, 50, Prot::WRITE)).unwrap();
        vmas.insert(anon(20, 30, Prot::READ)).unwrap();
        assert_eq!(ranges(&vmas), [(10, 40), (40, 50)]);
        vmas.change(35 * PAGE, 45 * PAGE, |area| area.prot = Prot::EXEC).unwrap();
        assert_eq!(ranges(&vmas), [(10, 35), (35, 45), (45, 50)]);
        vmas.change(10 * PAGE, 50 * PAGE, |area| area.prot = Prot::EXEC).unwrap();
        assert_eq!(ranges(&vmas), [(10, 50)]);
        assert_eq!(vmas.total(), 40 * PAGE);
    }

    #[test]
    fn the_highest_gap_is_found() {
        let mut vmas = Vmas::new();
        let find =
            |vmas: &mut Vmas, len: u64| vmas.find_gap(16 * PAGE, 1000 * PAGE, len * PAGE, PAGE).map(|at| at / PAGE);
        assert_eq!(find(&mut vmas, 10), Some(990));
        vmas.insert(anon(990, 1000, Prot::READ)).unwrap();
        assert_eq!(find(&mut vmas, 10), Some(980));
        vmas.insert(anon(100, 985, Prot::READ)).unwrap();
        assert_eq!(find(&mut vmas, 5), Some(985));
        assert_eq!(find(&mut vmas, 6), Some(94));
        assert_eq!(find(&mut vmas, 84), Some(16));
        assert_eq!(find(&mut vmas, 85), None);
        assert_eq!(vmas.find_gap(0, 0x1000, 0x2000, PAGE), None);
    }

    #[test]
    fn there_is_a_limit() {
        let mut vmas = Vmas::new();
        for number in 0..MAX_AREAS as u64 {
            vmas.insert(anon(number * 2 + 16, number * 2 + 17, Prot::READ)).unwrap();
        }
        assert_eq!(vmas.insert(anon(500_000, 500_002, Prot::READ)).err(), Some(Errno::ENOMEM));
        assert_eq!(vmas.count(), MAX_AREAS);
        assert_eq!(vmas.find_gap(0, 131_076 * PAGE, 2 * PAGE, PAGE), Some(14 * PAGE));
        vmas.remove(0, !4095, |_| ()).unwrap();
        assert_eq!((vmas.count(), vmas.total(), vmas.chunks.len()), (0, 0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_behaves_like_an_array_of_pages(
            steps in prop::collection::vec((0u8..4, 16u64..900, prop_oneof![9 => 1u64..3, 1 => 1u64..60], 0u8..3), 1..400),
            piece in 4u64..9,
        ) {
            let mut vmas = Vmas::new();
            let mut model = vec![None::<Prot>; 1024];
            // Pieces that do not join, so that chunks are full and are split.
            for start in (16..900).step_by(piece as usize) {
                let prot = if start / piece % 2 == 0 { Prot::READ } else { Prot::EXEC };
                vmas.insert(anon(start, start + piece, prot)).unwrap();
                model[start as usize..(start + piece) as usize].fill(Some(prot));
            }
            for (what, start, len, prot) in steps {
                let (end, prot) = (start + len, Prot::from_bits_truncate(prot));
                let pages = start as usize..end as usize;
                match what {
                    0 | 1 => {
                        let mut bytes = 0;
                        vmas.remove(start * PAGE, end * PAGE, |area| bytes += area.bytes()).unwrap();
                        let there = model[pages.clone()].iter().flatten().count();
                        prop_assert_eq!(bytes, there as u64 * PAGE);
                        model[pages.clone()].fill(None);
                        if what == 1 {
                            vmas.insert(anon(start, end, prot)).unwrap();
                            model[pages].fill(Some(prot));
                        }
                    }
                    2 => {
                        vmas.change(start * PAGE, end * PAGE, |area| area.prot = prot).unwrap();
                        model[pages].iter_mut().flatten().for_each(|page| *page = prot);
                    }
                    _ => {
                        let found = vmas.find_gap(16 * PAGE, 960 * PAGE, len * PAGE, PAGE).map(|at| at / PAGE);
                        let expected = (16..=960 - len)
                            .rev()
                            .find(|&at| model[at as usize..(at + len) as usize].iter().all(Option::is_none));
                        prop_assert_eq!(found, expected);
                    }
                }
                for (page, expected) in model.iter().enumerate() {
                    prop_assert_eq!(vmas.find(page as u64 * PAGE).map(|area| area.prot), *expected);
                }
                let all = ranges(&vmas);
                prop_assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            }
        }
    }
}
