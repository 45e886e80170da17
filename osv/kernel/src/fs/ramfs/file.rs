//! Contents of regular files in a ramfs: reads, writes, sizes, holes and mappings.

use alloc::vec::Vec;

use linux_raw_sys::general;

use super::{Content, PAGE_SIZE, Pages, RamInode, State};
use crate::errno::{Errno, Result};
use crate::fs::clock::now;
use crate::fs::{FileType, OFFSET_MAX};
use crate::mem::frame::Frame;
use crate::mem::mappers::Mappers;
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};
use crate::sched;

impl State {
    /// Somebody reads or maps the file: the time is kept as `relatime` does.
    pub(super) fn note_access(&mut self) {
        if self.atime <= self.mtime || self.atime <= self.ctime {
            self.atime = now();
        }
    }

    fn file(&self) -> Result<(u64, &Pages)> {
        match &self.content {
            Content::File { size, pages } => Ok((*size, pages)),
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn file_mut(&mut self) -> Result<(&mut u64, &mut Pages)> {
        match &mut self.content {
            Content::File { size, pages } => Ok((size, pages)),
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// EPERM if a seal forbids what `seal` stands for.
    fn check_seal(&self, seal: u32) -> Result<()> {
        if self.seals.is_some_and(|seals| seals & seal != 0) { Err(Errno::EPERM) } else { Ok(()) }
    }
}

/// A page to write into.
struct Writable {
    frame: Frame,
    /// Nobody has written to it before, not even zeros.
    is_raw: bool,
}

impl RamInode {
    pub(super) fn read(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        let mut at = offset;
        while !dst.is_full() {
            let within = (at % PAGE_SIZE) as usize;
            let (frame, size) = self.page_to_read(at)?;
            if at >= size {
                break;
            }
            let len = (size - at).min(PAGE_SIZE - within as u64).min(dst.remaining() as u64) as usize;
            let moved = match frame {
                Some(frame) => frame.read_to(within, len, dst),
                None => dst.push_zeros(len),
            };
            match moved {
                Ok(moved) => at += moved as u64,
                Err(error) if at == offset => return Err(error),
                Err(_) => break,
            }
            if moved != Ok(len) {
                break;
            }
        }
        Ok((at - offset) as usize)
    }

    /// The frame at byte `at`, unless it is a hole, and the file's size.
    #[inline]
    fn page_to_read(&self, at: u64) -> Result<(Option<Frame>, u64)> {
        let mut state = self.state.lock();
        state.note_access();
        let (size, pages) = state.file()?;
        Ok((pages.get(at / PAGE_SIZE).cloned(), size))
    }

    /// Writes at `offset`; the caller holds `writer`.
    pub(super) fn write(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        if offset >= OFFSET_MAX {
            return Err(Errno::EFBIG);
        }
        let room = usize::try_from(OFFSET_MAX - offset).unwrap_or(usize::MAX);
        let total = src.remaining().min(room);
        let mut done = 0;
        let mut failure = None;
        while done < total && failure.is_none() {
            let at = offset + done as u64;
            let within = (at % PAGE_SIZE) as usize;
            let want = (PAGE_SIZE as usize - within).min(total - done);
            let moved = match self.page_to_write(at, want) {
                Ok(page) => page.fill(within, want, src),
                Err(error) => Err(error),
            };
            match moved {
                Ok(moved) => {
                    done += moved;
                    if moved < want {
                        break;
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if done == 0 => Err(error),
            _ => {
                self.finish_write(offset + done as u64)?;
                Ok(done)
            }
        }
    }

    /// The page at byte `at`, made if it is a hole.
    #[inline]
    fn page_to_write(&self, at: u64, want: usize) -> Result<Writable> {
        let mut state = self.state.lock();
        if state.seals.is_some() {
            state.check_seal(general::F_SEAL_WRITE | general::F_SEAL_FUTURE_WRITE)?;
            if at + want as u64 > state.file()?.0 {
                state.check_seal(general::F_SEAL_GROW)?;
            }
        }
        let (size, pages) = state.file_mut()?;
        let index = at / PAGE_SIZE;
        if let Some(frame) = pages.get(index) {
            return Ok(Writable { frame: frame.clone(), is_raw: false });
        }
        // Behind the end nobody sees the page before the write is finished, so it need not be zeroed first.
        let is_raw = index * PAGE_SIZE >= *size && want == PAGE_SIZE as usize;
        let frame = self.new_page(pages, index, is_raw)?;
        Ok(Writable { frame, is_raw })
    }

    fn new_page(&self, pages: &mut Pages, index: u64, is_raw: bool) -> Result<Frame> {
        self.shared.take_page()?;
        let made = if is_raw { Frame::alloc_uninit() } else { Frame::alloc_zeroed() };
        let entered = made.map_err(|_| Errno::ENOSPC).and_then(|frame| {
            pages.insert(index, frame.clone())?;
            Ok(frame)
        });
        if entered.is_err() {
            self.shared.give_pages(1);
        }
        entered
    }

    fn finish_write(&self, end: u64) -> Result<()> {
        let time = now();
        let mut state = self.state.lock();
        let (size, _) = state.file_mut()?;
        *size = end.max(*size);
        (state.mtime, state.ctime) = (time, time);
        Ok(())
    }

    /// Sets the size; the caller holds `writer`.
    pub(super) fn set_size(&self, len: u64) -> Result<()> {
        if len > OFFSET_MAX {
            return Err(Errno::EFBIG);
        }
        let time = now();
        let mut freed = Vec::new();
        let (old, tail) = {
            let mut state = self.state.lock();
            let old = state.file()?.0;
            if len < old {
                state.check_seal(general::F_SEAL_SHRINK)?;
            }
            if len > old {
                state.check_seal(general::F_SEAL_GROW)?;
            }
            let (size, pages) = state.file_mut()?;
            *size = len;
            let kept = len.div_ceil(PAGE_SIZE);
            pages.remove_range(kept, old.div_ceil(PAGE_SIZE).max(kept), &mut freed);
            let tail = if len < old { pages.get(len / PAGE_SIZE).cloned() } else { None };
            (state.mtime, state.ctime) = (time, time);
            (old, tail)
        };
        if let Some(frame) = tail.filter(|_| !len.is_multiple_of(PAGE_SIZE)) {
            frame.zero((len % PAGE_SIZE) as usize, PAGE_SIZE as usize);
        }
        self.shared.give_pages(freed.len() as u64);
        if len < old {
            self.forget_mapped(len.div_ceil(PAGE_SIZE), u64::MAX);
        }
        Ok(())
    }

    /// `fallocate`; the caller holds `writer`.
    pub(super) fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        const PUNCH: u32 = general::FALLOC_FL_PUNCH_HOLE | general::FALLOC_FL_KEEP_SIZE;
        let end = offset.checked_add(len).filter(|&end| end <= OFFSET_MAX).ok_or(Errno::EFBIG)?;
        if self.kind != FileType::Regular {
            return Err(Errno::ENODEV);
        }
        match mode {
            PUNCH => self.punch(offset, end),
            0 | general::FALLOC_FL_KEEP_SIZE => self.reserve(offset, end, mode == 0),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn reserve(&self, offset: u64, end: u64, grows: bool) -> Result<()> {
        self.shared.check_room((end - offset) / PAGE_SIZE)?;
        /// So many pages are made before others are let run.
        const STEP: u64 = 256;
        let mut made = Vec::new();
        for index in offset / PAGE_SIZE..end.div_ceil(PAGE_SIZE) {
            if index.is_multiple_of(STEP) {
                sched::relax();
                if sched::has_signal() {
                    self.take_back(&made);
                    return Err(Errno::EINTR);
                }
            }
            let mut state = self.state.lock();
            if end > state.file()?.0 {
                state.check_seal(general::F_SEAL_GROW)?;
            }
            let (_, pages) = state.file_mut()?;
            if pages.get(index).is_some() {
                continue;
            }
            let result = made.try_reserve(1).map_err(|_| Errno::ENOSPC);
            if let Err(error) = result.and_then(|()| self.new_page(pages, index, false)) {
                drop(state);
                self.take_back(&made);
                return Err(error);
            }
            made.push(index);
        }
        let mut state = self.state.lock();
        state.ctime = now();
        let (size, _) = state.file_mut()?;
        if grows {
            *size = end.max(*size);
        }
        Ok(())
    }

    /// Frees pages that a `reserve` has made that cannot be finished.
    fn take_back(&self, made: &[u64]) {
        made.chunk_by(|a, b| a + 1 == *b).for_each(|run| {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                self.free_pages(*first, last + 1);
            }
        });
    }

    fn punch(&self, offset: u64, end: u64) -> Result<()> {
        self.state.lock().check_seal(general::F_SEAL_WRITE | general::F_SEAL_FUTURE_WRITE)?;
        let (first, last) = (offset.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
        if first > last {
            self.zero_within(offset, end);
            return Ok(());
        }
        self.zero_within(offset, first * PAGE_SIZE);
        self.zero_within(last * PAGE_SIZE, end);
        self.free_pages(first, last);
        self.forget_mapped(first, last);
        let time = now();
        let mut state = self.state.lock();
        (state.mtime, state.ctime) = (time, time);
        Ok(())
    }

    /// Zeroes bytes that lie in one page.
    fn zero_within(&self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let index = from / PAGE_SIZE;
        let frame = self.state.lock().file().ok().and_then(|(_, pages)| pages.get(index).cloned());
        if let Some(frame) = frame {
            frame.zero((from - index * PAGE_SIZE) as usize, (to - index * PAGE_SIZE) as usize);
        }
    }

    fn free_pages(&self, first: u64, end: u64) {
        let mut freed = Vec::new();
        if let Ok((_, pages)) = self.state.lock().file_mut() {
            pages.remove_range(first, end, &mut freed);
        }
        self.shared.give_pages(freed.len() as u64);
    }

    /// Takes pages that are no longer the file's away from all mappings.
    fn forget_mapped(&self, first: u64, end: u64) {
        self.mappers.unmap(first, end);
    }

    pub(super) fn next_data(&self, offset: u64) -> Result<u64> {
        let state = self.state.lock();
        let (size, pages) = state.file()?;
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let page = pages.next_page(offset / PAGE_SIZE).ok_or(Errno::ENXIO)?;
        let at = offset.max(page * PAGE_SIZE);
        if at < size { Ok(at) } else { Err(Errno::ENXIO) }
    }

    pub(super) fn next_hole(&self, offset: u64) -> Result<u64> {
        let state = self.state.lock();
        let (size, pages) = state.file()?;
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let page = pages.next_hole(offset / PAGE_SIZE);
        Ok(offset.max(page * PAGE_SIZE).min(size))
    }
}

impl Writable {
    /// Moves bytes into the page. What a raw page does not get becomes zero.
    #[inline]
    fn fill(&self, within: usize, want: usize, src: &mut Source<'_>) -> Result<usize> {
        let moved = self.frame.write_from(within, want, src);
        if self.is_raw && moved != Ok(want) {
            self.frame.zero(within + moved.unwrap_or(0), PAGE_SIZE as usize);
        }
        moved
    }
}

impl PageSource for RamInode {
    fn size(&self) -> u64 {
        self.state.lock().file().map_or(0, |(size, _)| size)
    }

    fn page(&self, index: u64, _for_write: bool) -> Result<Frame> {
        let mut state = self.state.lock();
        let (size, pages) = state.file_mut()?;
        if index >= size.div_ceil(PAGE_SIZE) {
            return Err(Errno::EFAULT);
        }
        match pages.get(index) {
            Some(frame) => Ok(frame.clone()),
            None => self.new_page(pages, index, false),
        }
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        let state = self.state.lock();
        let (size, pages) = state.file().ok()?;
        if index < size.div_ceil(PAGE_SIZE) { pages.get(index).cloned() } else { None }
    }

    fn cached_run(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, Frame)) {
        let mut batch = Vec::new();
        {
            let state = self.state.lock();
            let Ok((size, pages)) = state.file() else { return };
            let end = first.saturating_add(count as u64).min(size.div_ceil(PAGE_SIZE));
            batch.extend((first..end).filter_map(|index| Some((index, pages.get(index)?.clone()))));
        }
        batch.into_iter().for_each(|(index, frame)| found(index, frame));
    }

    fn punch(&self, first: u64, count: u64) -> Result<()> {
        const MODE: u32 = linux_raw_sys::general::FALLOC_FL_PUNCH_HOLE | linux_raw_sys::general::FALLOC_FL_KEEP_SIZE;
        crate::fs::Inode::fallocate(self, MODE, first * PAGE_SIZE, count * PAGE_SIZE)
    }

    fn mark_dirty(&self, _index: u64) {
        let time = now();
        let mut state = self.state.lock();
        (state.mtime, state.ctime) = (time, time);
    }

    fn mappers(&self) -> Option<&Mappers> {
        Some(&self.mappers)
    }

    fn identity(&self) -> (u64, u64) {
        (self.shared.device, self.ino)
    }
}
