//! The pages of a ramfs file: frames by index, with holes.
//!
//! Runs of up to 512 pages hang in an ordered map, so that finding a page costs the same few steps at the end of a
//! gigabyte as in a sparse file; the first run, all that most files have, stands in front of the map. A run is only as
//! long as its last page.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::errno::{Errno, Result};
use crate::mem::frame::Frame;

/// Pages in a run.
const RUN: u64 = 512;

type Run = Vec<Option<Frame>>;

/// Frames by page index.
#[derive(Default)]
pub struct Pages {
    first: Run,
    rest: BTreeMap<u64, Run>,
    count: u64,
}

impl Pages {
    /// How many pages there are, holes not counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The frame of page `index`, unless it is a hole.
    #[inline]
    pub fn get(&self, index: u64) -> Option<&Frame> {
        let run = if index < RUN { &self.first } else { self.rest.get(&(index / RUN))? };
        run.get((index % RUN) as usize)?.as_ref()
    }

    /// Makes `frame` page `index`, which is a hole. ENOSPC if there is no memory for the tables.
    pub fn insert(&mut self, index: u64, frame: Frame) -> Result<()> {
        let run = if index < RUN { &mut self.first } else { self.rest.entry(index / RUN).or_default() };
        let at = (index % RUN) as usize;
        if run.len() <= at {
            run.try_reserve(at + 1 - run.len()).map_err(|_| Errno::ENOSPC)?;
            run.resize_with(at + 1, || None);
        }
        if let Some(slot) = run.get_mut(at) {
            *slot = Some(frame);
            self.count += 1;
        }
        Ok(())
    }

    /// Makes holes of the pages from `first` up to, not including, `end`, and hands their frames to `freed`.
    pub fn remove_range(&mut self, first: u64, end: u64, freed: &mut Vec<Frame>) {
        let mut taken = 0;
        let mut take = |run: &mut Run, base: u64| {
            let from = (first.saturating_sub(base)).min(run.len() as u64) as usize;
            let to = (end.saturating_sub(base)).min(run.len() as u64) as usize;
            let Some(slots) = run.get_mut(from..to) else { return };
            for frame in slots.iter_mut().filter_map(Option::take) {
                freed.push(frame);
                taken += 1;
            }
            while run.pop_if(|slot| slot.is_none()).is_some() {}
        };
        take(&mut self.first, 0);
        let last_run = end.div_ceil(RUN);
        if first / RUN < last_run {
            for (number, run) in self.rest.range_mut(first / RUN..last_run) {
                take(run, number * RUN);
            }
            self.rest.extract_if(first / RUN..last_run, |_, run| run.is_empty()).for_each(drop);
        }
        self.count -= taken;
    }

    /// The first page from `index` on that is not a hole.
    pub fn next_page(&self, index: u64) -> Option<u64> {
        let in_run = |run: &Run, base: u64| {
            let from = index.saturating_sub(base);
            let skipped = usize::try_from(from).ok()?;
            let found = run.iter().skip(skipped).position(Option::is_some)?;
            Some(base + from + found as u64)
        };
        if index < RUN
            && let Some(found) = in_run(&self.first, 0)
        {
            return Some(found);
        }
        self.rest.range(index / RUN..).find_map(|(number, run)| in_run(run, number * RUN))
    }

    /// The first hole from page `index` on.
    pub fn next_hole(&self, mut index: u64) -> u64 {
        while self.get(index).is_some() {
            index += 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(indices: &[u64]) -> Pages {
        let mut pages = Pages::default();
        for &index in indices {
            pages.insert(index, Frame::alloc_zeroed().unwrap()).unwrap();
        }
        pages
    }

    #[test]
    fn pages_are_found_across_holes() {
        let pages = with(&[0, 3, 511, 512, 5000, 1 << 50]);
        assert_eq!(pages.count(), 6);
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(index) = pages.next_page(at) {
            found.push(index);
            at = index + 1;
        }
        assert_eq!(found, [0, 3, 511, 512, 5000, 1 << 50]);
        assert_eq!((pages.next_hole(0), pages.next_hole(511), pages.next_hole(4)), (1, 513, 4));
        assert!(pages.get(4).is_none() && pages.get(512).is_some());
    }

    #[test]
    fn ranges_become_holes() {
        let mut pages = with(&[0, 1, 2, 511, 512, 513, 5000]);
        let mut freed = Vec::new();
        pages.remove_range(1, 513, &mut freed);
        assert_eq!((freed.len(), pages.count()), (4, 3));
        assert_eq!((pages.next_page(1), pages.next_page(514)), (Some(513), Some(5000)));
        pages.remove_range(0, u64::MAX, &mut freed);
        assert_eq!((pages.count(), pages.next_page(0)), (0, None));
    }
}
