//! The page cache: which frame holds which page of a file.
//!
//! One [`PageCache`] belongs to one inode. Reads, writes and mappings of the file all find the same frames in it. For a
//! ramfs the cache *is* the file: its pages are dirty for ever and a page that is missing is a hole. For a file with
//! a [`PageStore`] behind it, missing pages are read in runs (read-ahead for those who read on and on, read-around for
//! faults), and clean pages that nobody maps are given up when memory is short.
//!
//! The tree is under a spin lock, which is never held while data moves: whoever copies holds a count of the frame.
//! Filling holds a sleeping lock, so that one thread reads a page and the others wait for it.

mod tree;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::frame::Frame;
use super::mappers::Mappers;
use super::phys::{PAGE_SHIFT, PAGE_SIZE};
use super::user::{Dest, Source};
use crate::errno::{Errno, Result};
use crate::sched::Mutex;
use crate::sync::SpinLock;
use tree::Tree;

/// Storage behind a cache.
pub trait PageStore {
    /// Reads the pages from `first` on into `frames`, every byte of each: zeros after the end of the file. Returns how
    /// many frames were filled, at least one.
    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<usize>;
}

/// How a missing page is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// By `read`: what follows is wanted next if what came before was wanted last.
    Read,
    /// By a fault: what lies around is wanted next.
    Mapped,
}

/// The most pages that one read from a store fetches: 512 KiB.
const MOST_PAGES: u64 = 128;
/// Pages around a fault that are read with it.
const AROUND: u64 = 16;

/// Where reading is expected to go on.
struct ReadAhead {
    next: u64,
    window: u64,
}

/// The cached pages of one file.
pub struct PageCache {
    tree: SpinLock<Tree>,
    filling: Mutex<ReadAhead>,
    mappers: Mappers,
}

/// Frames in all page caches.
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// Frames in all page caches.
pub fn cached_frames() -> usize {
    CACHED.load(Ordering::Relaxed)
}

impl Default for PageCache {
    fn default() -> Self {
        PageCache::new()
    }
}

impl PageCache {
    /// A cache without pages.
    pub const fn new() -> PageCache {
        PageCache {
            tree: SpinLock::new(Tree::new()),
            filling: Mutex::new(ReadAhead { next: 0, window: 4 }),
            mappers: Mappers::new(),
        }
    }

    /// The address spaces that map the file.
    pub fn mappers(&self) -> &Mappers {
        &self.mappers
    }

    /// How many pages are cached.
    pub fn len(&self) -> usize {
        self.tree.lock().len()
    }

    /// Whether no page is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame of page `index`, if it is cached.
    #[inline]
    pub fn get(&self, index: u64) -> Option<Frame> {
        self.tree.lock().get(index)
    }

    /// Calls `found` for those of the `count` pages from `first` on that are cached.
    pub fn get_run(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, Frame)) {
        self.tree.lock().for_run(first, first.saturating_add(count as u64), found);
    }

    /// The frame of page `index`; a new one full of zeros if it is missing. Such a page counts as changed.
    pub fn get_or_zeroed(&self, index: u64) -> Result<Frame> {
        if let Some(frame) = self.get(index) {
            return Ok(frame);
        }
        let frame = Frame::alloc_zeroed()?;
        Ok(self.insert_dirty(index, frame))
    }

    /// Makes `frame` page `index`, changed, unless there is one already; the frame that is there then.
    fn insert_dirty(&self, index: u64, frame: Frame) -> Frame {
        let mut tree = self.tree.lock();
        let winner = Self::insert_if_missing(&mut tree, index, frame);
        tree.set_dirty(index);
        winner
    }

    fn insert_if_missing(tree: &mut Tree, index: u64, frame: Frame) -> Frame {
        match tree.get(index) {
            Some(present) => present,
            None => {
                tree.insert(index, frame.clone());
                CACHED.fetch_add(1, Ordering::Relaxed);
                frame
            }
        }
    }

    /// Puts `frame` in as page `index`, clean, unless there is one already; the frame that is there then.
    pub fn insert(&self, index: u64, frame: Frame) -> Frame {
        Self::insert_if_missing(&mut self.tree.lock(), index, frame)
    }

    /// The frame of page `index`, read from `store` with others around it if it is missing. `pages` is the file's length.
    pub fn get_or_read(&self, index: u64, pages: u64, pattern: Pattern, store: &dyn PageStore) -> Result<Frame> {
        if let Some(frame) = self.get(index) {
            return Ok(frame);
        }
        let mut ahead = self.filling.lock();
        if let Some(frame) = self.get(index) {
            return Ok(frame);
        }
        let (first, count) = self.run_to_read(&mut ahead, index, pages, pattern);
        let mut frames = Vec::new();
        frames.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        for _ in 0..count {
            match Frame::alloc_uninit() {
                Ok(frame) => frames.push(frame),
                Err(errno) if first + frames.len() as u64 <= index => return Err(errno),
                Err(_) => break,
            }
        }
        let filled = store.read_pages(first, &frames)?.min(frames.len());
        frames.truncate(filled);
        let mut wanted = None;
        let mut tree = self.tree.lock();
        for (at, frame) in (first..).zip(frames) {
            let frame = Self::insert_if_missing(&mut tree, at, frame);
            if at == index {
                wanted = Some(frame);
            }
        }
        wanted.ok_or(Errno::EIO)
    }

    /// Which run of missing pages to read when `index` is wanted.
    fn run_to_read(&self, ahead: &mut ReadAhead, index: u64, pages: u64, pattern: Pattern) -> (u64, usize) {
        let (start, end) = match pattern {
            Pattern::Read => {
                ahead.window = if index == ahead.next { (ahead.window * 2).min(MOST_PAGES) } else { 4 };
                (index, index + ahead.window)
            }
            Pattern::Mapped => {
                let start = index & !(AROUND - 1);
                (start, start + 2 * AROUND)
            }
        };
        let end = end.min(pages).max(index + 1);
        let tree = self.tree.lock();
        let is_missing = |at: &u64| !tree.contains(*at);
        let first = (start..index).rev().take_while(is_missing).last().unwrap_or(index);
        let last = (index + 1..end).take_while(is_missing).last().unwrap_or(index);
        ahead.next = last + 1;
        (first, (last - first + 1) as usize)
    }

    /// Notes that page `index` differs from what storage has: it stays until it is written back.
    pub fn mark_dirty(&self, index: u64) {
        self.tree.lock().set_dirty(index);
    }

    /// The changed ones of the `count` pages from `first` on, in order, at most 128, to be written back. They
    /// count as clean from now on, unless programs map them and may change them again at any time.
    pub fn take_dirty(&self, first: u64, count: u64) -> Vec<(u64, Frame)> {
        let mut taken = Vec::new();
        if taken.try_reserve_exact(MOST_PAGES as usize).is_err() {
            return taken;
        }
        let mut tree = self.tree.lock();
        let end = first.saturating_add(count);
        let mut at = first;
        while taken.len() < MOST_PAGES as usize {
            let Some(index) = tree.next_dirty(at, end) else { break };
            if tree.is_sole_owner(index) {
                tree.clear_dirty(index);
            }
            if let Some(frame) = tree.get(index) {
                taken.push((index, frame));
            }
            at = index + 1;
        }
        taken
    }

    /// Reads up to `size` (the file's length) from `offset` on; missing pages come from `store` or, without one, are
    /// holes and read as zeros. Returns what was read, short if a page or the program's memory fails half-way.
    pub fn read(&self, offset: u64, size: u64, dst: &mut Dest<'_>, store: Option<&dyn PageStore>) -> Result<usize> {
        let before = dst.moved();
        let mut at = offset;
        while at < size && !dst.is_full() {
            let within = (at % PAGE_SIZE as u64) as usize;
            let len = (PAGE_SIZE - within).min((size - at).try_into().unwrap_or(PAGE_SIZE)).min(dst.remaining());
            let step = match self.read_piece(at, within, len, size, dst, store) {
                Ok(step) => step,
                Err(errno) if dst.moved() == before => return Err(errno),
                Err(_) => break,
            };
            at += step as u64;
            if step < len {
                break;
            }
        }
        Ok(dst.moved() - before)
    }

    #[inline]
    fn read_piece(
        &self,
        at: u64,
        within: usize,
        len: usize,
        size: u64,
        dst: &mut Dest<'_>,
        store: Option<&dyn PageStore>,
    ) -> Result<usize> {
        let index = at >> PAGE_SHIFT;
        let frame = match store {
            None => self.get(index),
            Some(store) => Some(self.get_or_read(index, size.div_ceil(PAGE_SIZE as u64), Pattern::Read, store)?),
        };
        match frame {
            Some(frame) => frame.read_to(within, len, dst),
            None => dst.push_zeros(len),
        }
    }

    /// Writes all of `src` from `offset` on; pages become dirty. A page that is only written in part and missing is read
    /// from `store` first if it is within `size` (the file's length before), else starts as zeros. Returns what was
    /// written, short if memory or the program's memory fails half-way; the caller grows the file's length.
    pub fn write(&self, offset: u64, size: u64, src: &mut Source<'_>, store: Option<&dyn PageStore>) -> Result<usize> {
        let before = src.moved();
        let mut at = offset;
        while !src.is_empty() {
            let within = (at % PAGE_SIZE as u64) as usize;
            let len = (PAGE_SIZE - within).min(src.remaining());
            let step = match self.write_piece(at >> PAGE_SHIFT, within, len, size, src, store) {
                Ok(step) => step,
                Err(errno) if src.moved() == before => return Err(errno),
                Err(_) => break,
            };
            at += step as u64;
            if step < len {
                break;
            }
        }
        Ok(src.moved() - before)
    }

    #[inline]
    fn write_piece(
        &self,
        index: u64,
        within: usize,
        len: usize,
        size: u64,
        src: &mut Source<'_>,
        store: Option<&dyn PageStore>,
    ) -> Result<usize> {
        if let Some(frame) = self.get_for_write(index) {
            return frame.write_from(within, len, src);
        }
        let page_start = index << PAGE_SHIFT;
        if let Some(store) = store.filter(|_| len < PAGE_SIZE && page_start < size) {
            let frame = self.get_or_read(index, size.div_ceil(PAGE_SIZE as u64), Pattern::Read, store)?;
            self.mark_dirty(index);
            return frame.write_from(within, len, src);
        }
        let frame = Frame::alloc_uninit()?;
        frame.zero(0, within);
        let moved = frame.write_from(within, len, src)?;
        frame.zero(within + moved, PAGE_SIZE);
        let winner = self.insert_dirty(index, frame.clone());
        if winner != frame {
            // Another writer made the page meanwhile: the bytes go there.
            winner.copy_from(&frame, within, moved);
        }
        Ok(moved)
    }

    #[inline]
    fn get_for_write(&self, index: u64) -> Option<Frame> {
        let mut tree = self.tree.lock();
        let frame = tree.get(index)?;
        tree.set_dirty(index);
        Some(frame)
    }

    /// Cuts the file to `size` bytes: pages beyond are dropped here and unmapped everywhere, the rest of the last page
    /// becomes zeros. To be called after the file's length was changed.
    pub fn truncate(&self, size: u64) {
        let first = size.div_ceil(PAGE_SIZE as u64);
        let tail = (size % PAGE_SIZE as u64) as usize;
        if tail != 0
            && let Some(frame) = self.get(size >> PAGE_SHIFT)
        {
            frame.zero(tail, PAGE_SIZE);
        }
        self.remove(first, u64::MAX);
        self.mappers.unmap(first, u64::MAX);
    }

    /// Makes a hole of the bytes from `start` up to `end`: fallocate's PUNCH_HOLE.
    pub fn punch_hole(&self, start: u64, end: u64) {
        let (first, last) = (start.div_ceil(PAGE_SIZE as u64), end >> PAGE_SHIFT);
        self.zero_part(start, end.min(first << PAGE_SHIFT));
        if first <= last {
            self.zero_part((last << PAGE_SHIFT).max(start), end);
            self.remove(first, last);
            self.mappers.unmap(first, last);
        }
    }

    /// Zeros a range within one page, if that is cached.
    fn zero_part(&self, start: u64, end: u64) {
        if start < end
            && let Some(frame) = self.get(start >> PAGE_SHIFT)
        {
            let within = (start % PAGE_SIZE as u64) as usize;
            frame.zero(within, within + (end - start) as usize);
        }
    }

    /// Drops the pages from `first` up to `end` from the cache, in steps, so that nobody waits long for the lock.
    fn remove(&self, first: u64, end: u64) {
        const STEP: usize = 1024;
        loop {
            let removed = self.tree.lock().remove(first, end, STEP);
            CACHED.fetch_sub(removed, Ordering::Relaxed);
            if removed < STEP {
                return;
            }
        }
    }

    /// Drops the clean pages that nobody uses: for `posix_fadvise` and after a file changed on its server.
    pub fn drop_clean(&self) -> usize {
        let dropped = self.tree.lock().evict(usize::MAX, false);
        CACHED.fetch_sub(dropped, Ordering::Relaxed);
        dropped
    }

    /// Gives up to `frames` clean, unmapped pages back that were not used lately. Never waits.
    pub fn reclaim(&self, frames: usize) -> usize {
        let Some(mut tree) = self.tree.try_lock() else { return 0 };
        let mut evicted = tree.evict(frames, true);
        if evicted < frames {
            evicted += tree.evict(frames - evicted, true);
        }
        CACHED.fetch_sub(evicted, Ordering::Relaxed);
        evicted
    }

    /// The first cached page from `index` on, for SEEK_DATA.
    pub fn next_page(&self, index: u64) -> Option<u64> {
        self.tree.lock().next_present(index)
    }

    /// The first missing page from `index` on, for SEEK_HOLE.
    pub fn next_hole(&self, index: u64) -> u64 {
        let tree = self.tree.lock();
        let mut at = index;
        while tree.contains(at) {
            at += 1;
        }
        at
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        CACHED.fetch_sub(self.tree.get_mut().len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Pattern8;

    impl PageStore for Pattern8 {
        fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<usize> {
            for (index, frame) in (first..).zip(frames) {
                frame.write(0, &[index as u8; PAGE_SIZE]);
            }
            Ok(frames.len())
        }
    }

    #[test]
    fn holes_read_as_zeros() {
        let cache = PageCache::new();
        assert_eq!(cache.write(10_000, 0, &mut Source::from_slice(b"hello"), None), Ok(5));
        let mut all = vec![1; 20_000];
        assert_eq!(cache.read(0, 10_005, &mut Dest::from_slice(&mut all), None), Ok(10_005));
        assert!(all[..10_000].iter().all(|&byte| byte == 0));
        assert_eq!(&all[10_000..10_005], b"hello");
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.next_page(0), Some(2));
        assert_eq!(cache.next_hole(2), 3);
    }

    #[test]
    fn what_follows_is_read_ahead() {
        let cache = PageCache::new();
        let frame = cache.get_or_read(0, 1000, Pattern::Read, &Pattern8).unwrap();
        assert_eq!(cache.len(), 8);
        drop(frame);
        for index in 0..100 {
            let mut byte = [0];
            cache.get_or_read(index, 1000, Pattern::Read, &Pattern8).unwrap().read(7, &mut byte);
            assert_eq!(byte[0], index as u8);
        }
        assert!(cache.reclaim(usize::MAX) >= 100);
        assert_eq!(cache.len(), 0);
        cache.get_or_read(20, 30, Pattern::Mapped, &Pattern8).unwrap();
        assert_eq!(cache.len(), 14, "from 16 to the end of the file");
    }

    #[test]
    fn changed_and_used_pages_stay() {
        let cache = PageCache::new();
        let held = cache.get_or_read(0, 8, Pattern::Mapped, &Pattern8).unwrap();
        cache.mark_dirty(3);
        cache.reclaim(usize::MAX);
        assert!(cache.get(0).is_some() && cache.get(3).is_some() && cache.get(1).is_none());
        drop(held);
        assert_eq!(cache.take_dirty(0, 100).len(), 1);
        assert_eq!(cache.take_dirty(0, 100).len(), 0);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_vector(steps in prop::collection::vec((0u64..40_000, 0usize..9_000, 0u8..4), 1..40)) {
            let cache = PageCache::new();
            let mut model: Vec<u8> = Vec::new();
            for (number, (offset, len, what)) in steps.into_iter().enumerate() {
                let at = offset as usize;
                match what {
                    0 => {
                        model.truncate(at);
                        cache.truncate(model.len() as u64);
                    }
                    1 => {
                        let end = (at + len).min(model.len());
                        if at < end {
                            model[at..end].fill(0);
                            cache.punch_hole(offset, end as u64);
                        }
                    }
                    _ => {
                        let data = vec![number as u8 + 1; len];
                        let size = model.len() as u64;
                        prop_assert_eq!(cache.write(offset, size, &mut Source::from_slice(&data), None), Ok(len));
                        if len > 0 {
                            model.resize(model.len().max(at + len), 0);
                            model[at..at + len].copy_from_slice(&data);
                        }
                    }
                }
                let mut all = vec![0xff; model.len()];
                let read = cache.read(0, model.len() as u64, &mut Dest::from_slice(&mut all), None);
                prop_assert_eq!(read, Ok(model.len()));
                prop_assert!(all == model);
            }
        }
    }
}
