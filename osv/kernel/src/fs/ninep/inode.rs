//! A file of the host as the VFS sees it.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use linux_raw_sys::general;

use super::Mount;
use super::client::Fid;
use super::codec::{Attr, Entry, Qid, SetAttr, set};
use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::fs::{
    DirEntry, FileType, Inode, Metadata, NewInode, NewKind, RenameFlags, SetAttributes, SetTime, Timespec, XattrFlags,
    major, make_device, minor,
};
use crate::mem::Frame;
use crate::mem::mappers::Mappers;
use crate::mem::object::PageSource;
use crate::mem::page_cache::{PageCache, PageStore, Pattern};
use crate::mem::phys::PAGE_SIZE;
use crate::mem::reclaim::{self, Reclaim};
use crate::mem::user::{Dest, Source};
use crate::sched::Mutex;
use crate::sync::SpinLock;

const PAGE: u64 = PAGE_SIZE as u64;
/// Cookies of directories start after those of `.` and `..`.
const COOKIE_SHIFT: u64 = 3;

/// Attributes and when they were fetched.
struct Known {
    attr: Attr,
    fetched_ns: u64,
}

/// A file of the host.
pub struct NinePInode {
    mount: Arc<Mount>,
    this: Weak<NinePInode>,
    fid: Fid,
    path: u64,
    kind: FileType,
    known: SpinLock<Known>,
    /// The size, which reads and faults ask for all the time.
    size: AtomicU64,
    reader: Mutex<Option<Arc<Fid>>>,
    writer: Mutex<Option<Arc<Fid>>>,
    /// Held while the size changes.
    growth: Mutex<()>,
    cache: PageCache,
    is_dirty: AtomicBool,
}

fn timespec(time: (u64, u64)) -> Timespec {
    Timespec { sec: time.0 as i64, nsec: u32::try_from(time.1).unwrap_or(0).min(999_999_999) }
}

impl NinePInode {
    pub(super) fn new(mount: Arc<Mount>, fid: Fid, qid: Qid, attr: Attr) -> Result<Arc<Self>> {
        let kind = FileType::from_mode(attr.mode).ok_or(Errno::EIO)?;
        let inode = Arc::new_cyclic(|this| Self {
            mount,
            this: Weak::clone(this),
            fid,
            path: qid.path,
            kind,
            known: SpinLock::new(Known { attr, fetched_ns: clock::monotonic_ns() }),
            size: AtomicU64::new(attr.size),
            reader: Mutex::new(None),
            writer: Mutex::new(None),
            growth: Mutex::new(()),
            cache: PageCache::new(),
            is_dirty: AtomicBool::new(false),
        });
        if kind == FileType::Regular {
            let cache: Weak<NinePInode> = Arc::downgrade(&inode);
            reclaim::register(cache);
        }
        Ok(inode)
    }

    pub(super) fn fid(&self) -> &Fid {
        &self.fid
    }

    /// Whether the file that `attr` was fetched of can be this one. Servers that mix file systems may use a number
    /// twice, so where nothing but the host changes files, all that is known has to agree.
    pub(super) fn is_same_file(&self, attr: &Attr) -> bool {
        let known = self.known.lock().attr;
        let is_same_kind = known.mode & general::S_IFMT == attr.mode & general::S_IFMT;
        let is_unchanged = (known.size, known.mtime, known.ctime) == (attr.size, attr.mtime, attr.ctime);
        is_same_kind && (self.mount.is_writable || is_unchanged)
    }

    /// Takes over fresh attributes; cached pages go if they show that the contents have changed.
    pub(super) fn learn(&self, attr: Attr) {
        let mut known = self.known.lock();
        let has_changed = (known.attr.size, known.attr.mtime) != (attr.size, attr.mtime);
        *known = Known { attr, fetched_ns: clock::monotonic_ns() };
        self.size.store(attr.size, Ordering::Release);
        drop(known);
        if has_changed && self.kind == FileType::Regular {
            self.cache.drop_clean();
        }
    }

    /// Takes over attributes after a change of our own.
    fn refresh(&self) -> Result<Attr> {
        let attr = self.fid.attributes()?;
        *self.known.lock() = Known { attr, fetched_ns: clock::monotonic_ns() };
        self.size.store(attr.size, Ordering::Release);
        Ok(attr)
    }

    /// The attributes, asked for again if they are too old.
    fn attributes(&self) -> Result<Attr> {
        let known = self.known.lock();
        let (attr, age_ns) = (known.attr, clock::monotonic_ns().saturating_sub(known.fetched_ns));
        drop(known);
        if age_ns < self.mount.attributes_valid_ns() {
            return Ok(attr);
        }
        match self.fid.attributes() {
            Ok(fresh) => {
                self.learn(fresh);
                Ok(fresh)
            }
            // Its name is gone, but it is still in use here.
            Err(Errno::ENOENT) => {
                let mut known = self.known.lock();
                known.attr.nlink = known.attr.nlink.saturating_sub(1);
                known.fetched_ns = clock::monotonic_ns();
                Ok(known.attr)
            }
            Err(errno) => Err(errno),
        }
    }

    /// The fid that has the file (or directory) open for reading.
    fn reader(&self) -> Result<Arc<Fid>> {
        let flags = if self.kind == FileType::Directory { general::O_DIRECTORY } else { 0 };
        Self::opened(&self.reader, &self.fid, general::O_RDONLY | flags)
    }

    /// The fid that has the file open for reading and writing.
    fn writer(&self) -> Result<Arc<Fid>> {
        Self::opened(&self.writer, &self.fid, general::O_RDWR)
    }

    fn opened(slot: &Mutex<Option<Arc<Fid>>>, fid: &Fid, flags: u32) -> Result<Arc<Fid>> {
        let mut slot = slot.lock();
        if let Some(open) = &*slot {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(fid.open(flags | general::O_LARGEFILE)?);
        *slot = Some(Arc::clone(&open));
        Ok(open)
    }

    fn same_mount<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a NinePInode> {
        let other: &dyn core::any::Any = &**other;
        other.downcast_ref::<NinePInode>().filter(|other| Arc::ptr_eq(&self.mount, &other.mount)).ok_or(Errno::EXDEV)
    }

    /// The names or attributes of this directory have changed: its attributes are not believed any more.
    fn distrust(&self) {
        self.known.lock().fetched_ns = 0;
    }

    fn look_up(&self, name: &[u8]) -> Result<Arc<NinePInode>> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let (fid, qid) = self.fid.lookup(name)?;
        let attr = fid.attributes()?;
        self.mount.inode(fid, qid, attr)
    }

    /// Writes changed pages from `first` on back to the host.
    pub(super) fn write_back(&self, first: u64, count: u64) -> Result<()> {
        let mut at = first;
        let end = first.saturating_add(count);
        loop {
            let dirty = self.cache.take_dirty(at, end.saturating_sub(at));
            let Some((last, _)) = dirty.last() else { return Ok(()) };
            at = last + 1;
            let mut rest = &dirty[..];
            while let Some((start, _)) = rest.first() {
                let len = (*start..).zip(rest).take_while(|(index, page)| *index == page.0).count();
                let (run, later) = rest.split_at(len);
                let frames: Vec<Frame> = run.iter().map(|(_, frame)| frame.clone()).collect();
                if let Err(errno) = self.write_run(*start, &frames) {
                    dirty.iter().for_each(|(index, _)| self.cache.mark_dirty(*index));
                    return Err(errno);
                }
                rest = later;
            }
        }
    }

    /// Writes neighbouring pages, as far as the file goes.
    fn write_run(&self, first: u64, frames: &[Frame]) -> Result<()> {
        let writer = self.writer()?;
        let start = first * PAGE;
        let end = (start + frames.len() as u64 * PAGE).min(self.size.load(Ordering::Acquire));
        let mut at = start;
        while at < end {
            // A server may write less than a page: the page is then sent again from its start.
            let page = (at - start) / PAGE;
            let from = start + page * PAGE;
            let frames = frames.get(page as usize..).unwrap_or_default();
            let written = writer.write_pages(from, frames, (end - from) as usize)? as u64;
            if from + written <= at {
                return Err(Errno::EIO);
            }
            at = from + written;
        }
        Ok(())
    }
}

impl Drop for NinePInode {
    fn drop(&mut self) {
        self.mount.inodes.forget(self.path);
    }
}

impl Reclaim for NinePInode {
    fn reclaim(&self, frames: usize) -> usize {
        self.cache.reclaim(frames)
    }
}

impl PageStore for NinePInode {
    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<usize> {
        let reader = self.reader()?;
        let size = self.size.load(Ordering::Acquire);
        let start = first.checked_mul(PAGE).ok_or(Errno::EINVAL)?;
        let got = if start < size { reader.read_pages(start, frames)? } else { 0 };
        let is_end = start.saturating_add(got as u64) >= size || got == 0;
        let whole = got / PAGE_SIZE;
        if is_end {
            for (index, frame) in frames.iter().enumerate().skip(whole) {
                frame.zero(got.saturating_sub(index * PAGE_SIZE), PAGE_SIZE);
            }
            return Ok(frames.len());
        }
        match frames.first() {
            Some(frame) if whole == 0 => fill_rest(&reader, start, frame, got).map(|()| 1),
            _ => Ok(whole),
        }
    }
}

/// Reads the rest of a page of which the server gave only `got` bytes, though the file goes on.
fn fill_rest(reader: &Fid, start: u64, frame: &Frame, mut got: usize) -> Result<()> {
    while got < PAGE_SIZE {
        let part = reader.read(start + got as u64, PAGE_SIZE - got)?;
        if part.is_empty() {
            frame.zero(got, PAGE_SIZE);
            break;
        }
        got += frame.write(got, &part);
    }
    Ok(())
}

impl PageSource for NinePInode {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn page(&self, index: u64, for_write: bool) -> Result<Frame> {
        let pages = PageSource::size(self).div_ceil(PAGE);
        if index >= pages {
            return Err(Errno::EFAULT);
        }
        let frame = self.cache.get_or_read(index, pages, Pattern::Mapped, self)?;
        if for_write {
            PageSource::mark_dirty(self, index);
        }
        Ok(frame)
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        self.cache.get(index)
    }

    fn cached_run(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, Frame)) {
        self.cache.get_run(first, count, found);
    }

    fn mark_dirty(&self, index: u64) {
        self.cache.mark_dirty(index);
        if !self.is_dirty.swap(true, Ordering::AcqRel)
            && let Some(this) = self.this.upgrade()
        {
            self.mount.dirty.lock().push(this);
        }
    }

    fn sync(&self, first: u64, count: u64) -> Result<()> {
        self.write_back(first, count)
    }

    fn mappers(&self) -> Option<&Mappers> {
        Some(self.cache.mappers())
    }

    fn identity(&self) -> (u64, u64) {
        (self.mount.dev, self.path)
    }
}

impl Inode for NinePInode {
    fn metadata(&self) -> Result<Metadata> {
        let attr = self.attributes()?;
        Ok(Metadata {
            dev: self.mount.dev,
            ino: self.path,
            kind: self.kind,
            mode: (attr.mode & 0o7777) as u16,
            nlink: u32::try_from(attr.nlink).unwrap_or(u32::MAX),
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev,
            size: attr.size,
            blocks: attr.blocks,
            block_size: u32::try_from(attr.block_size).unwrap_or(PAGE_SIZE as u32),
            atime: timespec(attr.atime),
            mtime: timespec(attr.mtime),
            ctime: timespec(attr.ctime),
            btime: None,
        })
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let mut all = SetAttr { valid: set::CTIME, ..SetAttr::default() };
        let mut apply = |is_set: bool, bit| all.valid |= if is_set { bit } else { 0 };
        apply(change.mode.is_some(), set::MODE);
        apply(change.uid.is_some(), set::UID);
        apply(change.gid.is_some(), set::GID);
        apply(change.atime.is_some(), set::ATIME);
        apply(change.mtime.is_some(), set::MTIME);
        apply(matches!(change.atime, Some(SetTime::To(_))), set::ATIME_TO);
        apply(matches!(change.mtime, Some(SetTime::To(_))), set::MTIME_TO);
        let time = |time: Option<SetTime>| match time {
            Some(SetTime::To(time)) => (time.sec as u64, u64::from(time.nsec)),
            _ => (0, 0),
        };
        all.mode = u32::from(change.mode.unwrap_or(0));
        all.uid = change.uid.unwrap_or(0);
        all.gid = change.gid.unwrap_or(0);
        all.atime = time(change.atime);
        all.mtime = time(change.mtime);
        self.fid.set_attributes(&all)?;
        self.refresh().map(drop)
    }

    fn size(&self) -> Result<u64> {
        Ok(self.attributes()?.size)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.look_up(name)?)
    }

    fn is_cacheable(&self) -> bool {
        !self.mount.is_writable
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<dyn Inode>> {
        let mode = new.kind.file_type().mode_bits() | u32::from(new.mode);
        let node = |rdev| self.fid.mknod(name, mode, major(rdev), minor(rdev), new.gid);
        let mut opened = None;
        match new.kind {
            NewKind::Regular => {
                let flags = general::O_RDWR | general::O_CREAT | general::O_EXCL | general::O_LARGEFILE;
                opened = Some(self.fid.create(name, flags, u32::from(new.mode), new.gid)?);
            }
            NewKind::Directory => self.fid.mkdir(name, u32::from(new.mode), new.gid)?,
            NewKind::Symlink(target) => self.fid.symlink(name, target, new.gid)?,
            NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => node(rdev)?,
            NewKind::Fifo | NewKind::Socket => node(make_device(0, 0))?,
        }
        self.distrust();
        let inode = self.look_up(name)?;
        if let Some(opened) = opened {
            *inode.writer.lock() = Some(Arc::new(opened));
        }
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = self.same_mount(target)?;
        self.fid.link(&target.fid, name)?;
        self.distrust();
        target.distrust();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.fid.unlink(name, false)?;
        self.distrust();
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.fid.unlink(name, true)?;
        self.distrust();
        Ok(())
    }

    fn rename(&self, old: &[u8], new_dir: &Arc<dyn Inode>, new: &[u8], flags: RenameFlags) -> Result<()> {
        let new_dir = self.same_mount(new_dir)?;
        if flags == RenameFlags::NOREPLACE {
            match new_dir.fid.lookup(new) {
                Ok(_) => return Err(Errno::EEXIST),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        } else if !flags.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.fid.rename(old, &new_dir.fid, new)?;
        self.distrust();
        new_dir.distrust();
        Ok(())
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let reader = self.reader()?;
        let mut offset = server_offset(cookie);
        loop {
            let next = reader.read_dir(offset, |mut entries| {
                let mut last = None;
                while let Some(entry) = entries.next_entry() {
                    last = Some(entry.next);
                    if !self.emit_entry(&entry, emit) {
                        return Ok(None);
                    }
                }
                Ok(last)
            })?;
            match next {
                Some(next) if next != offset => offset = next,
                _ => return Ok(()),
            }
        }
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        if self.kind == FileType::Symlink { self.fid.read_link() } else { Err(Errno::EINVAL) }
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        match self.kind {
            FileType::Regular => {
                let size = Inode::size(self)?;
                self.cache.read(offset, size, dst, Some(self))
            }
            FileType::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn write_at(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        let _growth = self.growth.lock();
        self.write_locked(offset, src)
    }

    fn append(&self, src: &mut Source<'_>) -> Result<(usize, u64)> {
        let _growth = self.growth.lock();
        let end = self.refresh()?.size;
        let count = self.write_locked(end, src)?;
        Ok((count, end + count as u64))
    }

    fn truncate(&self, len: u64) -> Result<()> {
        if self.kind != FileType::Regular {
            return Err(Errno::EINVAL);
        }
        let _growth = self.growth.lock();
        let set = SetAttr { valid: set::SIZE | set::MTIME | set::CTIME, size: len, ..SetAttr::default() };
        self.fid.set_attributes(&set)?;
        self.refresh()?;
        self.cache.truncate(len);
        Ok(())
    }

    fn pages(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        if self.kind == FileType::Regular { Some(self) } else { None }
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        if self.kind == FileType::Regular && self.mount.is_writable {
            self.write_back(0, u64::MAX)?;
            return self.writer()?.sync(data_only);
        }
        Ok(())
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.fid.xattr(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        self.fid.set_xattr(name, value, flags.bits())
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        match self.fid.xattr(b"") {
            Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
            names => names,
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.fid.xattr(name)?;
        self.fid.set_xattr(name, b"", XattrFlags::REPLACE.bits())
    }
}

impl NinePInode {
    /// Writes while `growth` is held: into the cache, then through to the host.
    fn write_locked(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        if self.kind != FileType::Regular {
            return Err(if self.kind == FileType::Directory { Errno::EISDIR } else { Errno::EINVAL });
        }
        self.writer()?;
        let size = self.size.load(Ordering::Acquire);
        let count = self.cache.write(offset, size, src, Some(self))?;
        let end = offset.saturating_add(count as u64);
        self.size.fetch_max(end, Ordering::AcqRel);
        let first = offset / PAGE;
        self.write_back(first, end.div_ceil(PAGE).saturating_sub(first))?;
        let mut known = self.known.lock();
        known.attr.size = self.size.load(Ordering::Acquire);
        // The times are the host's: they are fetched when somebody asks.
        known.fetched_ns = 0;
        Ok(count)
    }

    fn emit_entry(&self, entry: &Entry<'_>, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> bool {
        if matches!(entry.name, b"." | b".." | b"") {
            return true;
        }
        let by_type = FileType::from_mode(u32::from(entry.kind) << 12);
        let kind = by_type.or_else(|| self.look_up(entry.name).ok().map(|inode| inode.kind));
        let next = entry.next.saturating_add(COOKIE_SHIFT).min(i64::MAX as u64);
        emit(DirEntry { name: entry.name, ino: entry.qid.path, kind: kind.unwrap_or(FileType::Regular), next })
    }
}

/// Where the server goes on for a cookie.
fn server_offset(cookie: u64) -> u64 {
    const END: u64 = i64::MAX as u64;
    if cookie == END { END } else { cookie.saturating_sub(COOKIE_SHIFT) }
}
