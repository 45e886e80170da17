//! The machine's memory map: whatever a boot loader reports, put in order.

use crate::sorting::sort_by;

/// Ranges that a boot loader may report; more are counted in [`MemoryMap::dropped`].
pub(super) const MAX_REPORTED: usize = 128;
/// Each border of a reported range can start a new one.
const MAX_REGIONS: usize = 2 * MAX_REPORTED;

/// What a range of physical memory is for. Of overlapping ranges the later variant wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryKind {
    /// Free RAM.
    #[default]
    Usable,
    /// Persistent memory.
    Persistent,
    /// ACPI tables; RAM once they are read.
    AcpiReclaimable,
    /// ACPI's own storage.
    AcpiNvs,
    /// Broken RAM.
    Unusable,
    /// Anything else.
    Reserved,
}

impl MemoryKind {
    /// From the numbers of E820, which PVH and the Linux protocol share.
    pub(super) const fn from_e820(n: u32) -> Self {
        match n {
            1 => Self::Usable,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            7 => Self::Persistent,
            _ => Self::Reserved,
        }
    }
}

/// A range of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First address.
    pub start: u64,
    /// First address after it; always above `start`.
    pub end: u64,
    /// What it is for.
    pub kind: MemoryKind,
}

/// The machine's memory: sorted, disjoint, adjacent regions of one kind merged.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    regions: [MemoryRegion; MAX_REGIONS],
    len: usize,
    /// Ranges that were reported and found no place.
    pub dropped: usize,
}

impl MemoryMap {
    /// No memory at all.
    pub const fn empty() -> Self {
        let none = MemoryRegion { start: 0, end: 0, kind: MemoryKind::Usable };
        Self { regions: [none; MAX_REGIONS], len: 0, dropped: 0 }
    }

    /// The regions in ascending order.
    pub fn regions(&self) -> &[MemoryRegion] {
        self.regions.get(..self.len).unwrap_or(&[])
    }

    /// Only the free RAM.
    pub fn usable(&self) -> impl Iterator<Item = &MemoryRegion> {
        self.regions().iter().filter(|region| region.kind == MemoryKind::Usable)
    }

    /// Adds a range as the boot loader reports it; the map is in order only after [`Self::normalise`].
    pub(super) fn report(&mut self, start: u64, size: u64, kind: MemoryKind) {
        let end = start.saturating_add(size);
        if start == end {
            return;
        }
        if self.len < MAX_REPORTED {
            self.regions[self.len] = MemoryRegion { start, end, kind };
            self.len += 1;
        } else {
            self.dropped += 1;
        }
    }

    /// Puts what was reported in order.
    ///
    /// Between two neighbouring borders the kind is the same everywhere, so it is enough to ask once per
    /// interval. Quadratic, over the dozen entries of a real machine.
    pub(super) fn normalise(&mut self) {
        let reported = self.regions;
        let reported = &reported[..self.len];
        let mut borders = [0; MAX_REGIONS];
        let borders = &mut borders[..2 * reported.len()];
        for (pair, region) in borders.chunks_exact_mut(2).zip(reported) {
            pair.copy_from_slice(&[region.start, region.end]);
        }
        sort_by(borders, |a, b| a < b);
        self.len = 0;
        for pair in borders.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            let covering = reported.iter().filter(|r| r.start <= start && end <= r.end);
            if let Some(kind) = covering.map(|r| r.kind).max()
                && start < end
            {
                self.append(MemoryRegion { start, end, kind });
            }
        }
    }

    /// Adds a region above all others, merging it with the last one where it continues that.
    fn append(&mut self, region: MemoryRegion) {
        match self.regions[..self.len].last_mut() {
            Some(last) if last.end == region.start && last.kind == region.kind => last.end = region.end,
            _ => {
                self.regions[self.len] = region;
                self.len += 1;
            }
        }
    }
}
