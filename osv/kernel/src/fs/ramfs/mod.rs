//! The file system that lives in memory: `tmpfs`, the root of images without one, the upper layer of overlays, memfd.
//!
//! Inodes are objects, directories hold them by name, file contents are frames that reads, writes and mappings share
//! (`pages`). Nothing is copied or scanned on the way to a page, so that appends and small writes cost the same however
//! large the file is. An inode lives as long as a name, an open file or a mapping holds it, and its number is never used
//! again.
//!
//! Locking: `state` of an inode is a leaf spin lock, never held while bytes move to or from programs. `writer` serialises
//! what changes a file's contents; page faults do not take it, so a write from a mapping of the same file is safe.

mod directory;
mod file;
mod pages;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general;

use super::clock::now;
use super::{
    DirEntry, FileSystem, FileType, Inode, Metadata, NAME_MAX, NewInode, NewKind, Permissions, RenameFlags,
    SetAttributes, StatFs, Timespec, XattrFlags, new_device_number,
};
use crate::errno::{Errno, Result};
use crate::mem::mappers::Mappers;
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};
use crate::sched::Mutex;
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;
use directory::Entries;
use pages::Pages;

const PAGE_SIZE: u64 = 4096;
/// `f_type` of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// All names and values of one inode's extended attributes, in bytes.
const MAX_XATTR_BYTES: usize = 64 * 1024;

/// How a ramfs is set up: the mount options of tmpfs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes of file contents.
    pub size: u64,
    /// Most inodes.
    pub inodes: u64,
    /// Mode of the root directory.
    pub mode: u16,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { size: u64::MAX, inodes: u64::MAX, mode: 0o1777, uid: 0, gid: 0 }
    }
}

impl Options {
    /// Reads mount options, for a machine with `memory` bytes of RAM. EINVAL for what tmpfs does not know.
    pub fn parse(text: &[u8], memory: u64) -> Result<Options> {
        // As on Linux: half of the memory, and an inode for each page of it.
        let half = memory / 2;
        Options { size: half, inodes: half / PAGE_SIZE, ..Options::default() }.changed(text, memory)
    }

    /// These options with what `text` changes.
    fn changed(self, text: &[u8], memory: u64) -> Result<Options> {
        let mut options = self;
        for option in text.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            let mut parts = option.splitn(2, |&byte| byte == b'=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match key {
                b"size" => options.size = parse_size(value, memory)?,
                b"nr_blocks" => options.size = parse_size(value, memory)?.saturating_mul(PAGE_SIZE),
                b"nr_inodes" => options.inodes = parse_size(value, memory)?,
                b"mode" => options.mode = parse_number(value, 8)? as u16 & 0o7777,
                b"uid" => options.uid = parse_number(value, 10)? as u32,
                b"gid" => options.gid = parse_number(value, 10)? as u32,
                b"huge" | b"inode32" | b"inode64" | b"mpol" | b"noswap" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        for limit in [&mut options.size, &mut options.inodes] {
            if *limit == 0 {
                *limit = u64::MAX;
            }
        }
        Ok(options)
    }
}

fn parse_number(text: &[u8], radix: u32) -> Result<u64> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    u64::from_str_radix(text, radix).map_err(|_| Errno::EINVAL)
}

fn parse_size(text: &[u8], memory: u64) -> Result<u64> {
    let (digits, unit) = match text.split_last() {
        Some((b'k' | b'K', digits)) => (digits, 1 << 10),
        Some((b'm' | b'M', digits)) => (digits, 1 << 20),
        Some((b'g' | b'G', digits)) => (digits, 1 << 30),
        Some((b'%', digits)) => return Ok(memory / 100 * parse_number(digits, 10)?.min(100)),
        _ => (text, 1),
    };
    parse_number(digits, 10)?.checked_mul(unit).ok_or(Errno::EINVAL)
}

/// A file system in memory.
pub struct RamFs {
    root: Arc<RamInode>,
    shared: Arc<Shared>,
}

/// What all inodes of one file system share.
struct Shared {
    device: u64,
    options: Options,
    /// Most pages, most inodes: those of `options` until they are changed.
    most_pages: AtomicU64,
    most_inodes: AtomicU64,
    next_ino: AtomicU64,
    pages: AtomicU64,
    inodes: AtomicU64,
}

impl RamFs {
    /// An empty one.
    pub fn new(options: Options) -> Arc<RamFs> {
        let shared = Arc::new(Shared {
            device: new_device_number(),
            options,
            most_pages: AtomicU64::new(pages_of(options.size)),
            most_inodes: AtomicU64::new(options.inodes),
            next_ino: AtomicU64::new(1),
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(1),
        });
        let new = NewInode { kind: NewKind::Directory, mode: options.mode, uid: options.uid, gid: options.gid };
        let root = Arc::new(RamInode::new(&shared, &new, shared.next_ino.fetch_add(1, Ordering::Relaxed)));
        Arc::new(RamFs { root, shared })
    }

    /// A regular file that belongs to no directory and can be sealed: the inode of `memfd_create`.
    pub fn new_memfd(&self, mode: u16, seals: u32) -> Result<Arc<dyn Inode>> {
        let inode = self.root.make(&NewInode { kind: NewKind::Regular, mode, uid: 0, gid: 0 })?;
        {
            let mut state = inode.state.lock();
            state.nlink = 0;
            state.seals = Some(seals);
        }
        Ok(inode)
    }
}

impl FileSystem for RamFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        let Shared { pages, inodes, device, .. } = &*self.shared;
        let (most_pages, most_inodes) = self.shared.most();
        let memory = crate::mem::stats();
        let (used, used_inodes) = (pages.load(Ordering::Relaxed), inodes.load(Ordering::Relaxed));
        let is_limited = most_pages != UNLIMITED;
        let blocks = if is_limited { most_pages } else { used + memory.available / PAGE_SIZE };
        let free = blocks.saturating_sub(used);
        let files = most_inodes.min(memory.total / PAGE_SIZE).max(used_inodes);
        Ok(StatFs {
            magic: TMPFS_MAGIC,
            block_size: PAGE_SIZE,
            blocks,
            blocks_free: free,
            blocks_available: free,
            files,
            files_free: files - used_inodes,
            id: *device,
            name_max: NAME_MAX as u64,
        })
    }

    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn show_options(&self, out: &mut Vec<u8>) {
        let options = &self.shared.options;
        let (pages, inodes) = self.shared.most();
        let half = crate::mem::stats().total / 2;
        if pages != UNLIMITED && pages != pages_of(half) {
            out.extend_from_slice(alloc::format!(",size={}k", pages * PAGE_SIZE / 1024).as_bytes());
        }
        if inodes != u64::MAX && inodes != half / PAGE_SIZE {
            out.extend_from_slice(alloc::format!(",nr_inodes={inodes}").as_bytes());
        }
        if options.mode != 0o1777 {
            out.extend_from_slice(alloc::format!(",mode={:o}", options.mode).as_bytes());
        }
        for (name, id) in [("uid", options.uid), ("gid", options.gid)].into_iter().filter(|&(_, id)| id != 0) {
            out.extend_from_slice(alloc::format!(",{name}={id}").as_bytes());
        }
    }

    /// Limits can be moved, but not below what is used, and only where there were some.
    fn reconfigure(&self, text: &[u8]) -> Result<()> {
        let (pages, inodes) = self.shared.most();
        let size = if pages == UNLIMITED { u64::MAX } else { pages * PAGE_SIZE };
        let now = Options { size, inodes, ..self.shared.options };
        let new = now.changed(text, crate::mem::stats().total)?;
        let (new_pages, new_inodes) = (pages_of(new.size), new.inodes);
        let used = (self.shared.pages.load(Ordering::Relaxed), self.shared.inodes.load(Ordering::Relaxed));
        let is_introduced =
            pages == UNLIMITED && new_pages != UNLIMITED || inodes == u64::MAX && new_inodes != u64::MAX;
        if is_introduced || new_pages < used.0 || new_inodes < used.1 {
            return Err(Errno::EINVAL);
        }
        self.shared.most_pages.store(new_pages, Ordering::Relaxed);
        self.shared.most_inodes.store(new_inodes, Ordering::Relaxed);
        Ok(())
    }
}

/// No limit of pages.
const UNLIMITED: u64 = u64::MAX / PAGE_SIZE;

/// How many pages `size` bytes are.
const fn pages_of(size: u64) -> u64 {
    if size == u64::MAX { UNLIMITED } else { size.div_ceil(PAGE_SIZE) }
}

impl Shared {
    /// Most pages, most inodes.
    fn most(&self) -> (u64, u64) {
        (self.most_pages.load(Ordering::Relaxed), self.most_inodes.load(Ordering::Relaxed))
    }

    /// Counts one page more; ENOSPC at the limit.
    fn take_page(&self) -> Result<()> {
        if self.pages.fetch_add(1, Ordering::Relaxed) >= self.most_pages.load(Ordering::Relaxed) {
            self.pages.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    /// ENOSPC for what cannot be had whatever the file has already.
    fn check_room(&self, pages: u64) -> Result<()> {
        let most = (crate::mem::stats().total / PAGE_SIZE).min(self.most().0);
        if pages <= most { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// Counts one inode more; ENOSPC at the limit.
    fn take_inode(&self) -> Result<()> {
        if self.inodes.fetch_add(1, Ordering::Relaxed) >= self.most_inodes.load(Ordering::Relaxed) {
            self.give_inode();
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    fn give_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }

    fn give_pages(&self, count: u64) {
        self.pages.fetch_sub(count, Ordering::Relaxed);
    }
}

/// An inode in memory.
pub struct RamInode {
    shared: Arc<Shared>,
    ino: u64,
    kind: FileType,
    state: SpinLock<State>,
    writer: Mutex<()>,
    mappers: Mappers,
}

struct State {
    mode: u16,
    nlink: u32,
    uid: u32,
    gid: u32,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
    btime: Timespec,
    seals: Option<u32>,
    xattrs: Option<Box<Xattrs>>,
    content: Content,
}

type Xattrs = SortedMap<Vec<u8>, Vec<u8>>;

enum Content {
    File { size: u64, pages: Pages },
    Directory(Box<Entries>),
    Symlink(Box<[u8]>),
    Special { rdev: u64 },
}

impl RamInode {
    fn new(shared: &Arc<Shared>, new: &NewInode<'_>, ino: u64) -> RamInode {
        let content = match new.kind {
            NewKind::Regular => Content::File { size: 0, pages: Pages::default() },
            NewKind::Directory => Content::Directory(Box::default()),
            NewKind::Symlink(target) => Content::Symlink(Box::from(target)),
            NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => Content::Special { rdev },
            NewKind::Fifo | NewKind::Socket => Content::Special { rdev: 0 },
        };
        let kind = new.kind.file_type();
        let time = now();
        RamInode {
            shared: shared.clone(),
            ino,
            kind,
            state: SpinLock::new(State {
                mode: new.mode,
                nlink: if kind == FileType::Directory { 2 } else { 1 },
                uid: new.uid,
                gid: new.gid,
                atime: time,
                mtime: time,
                ctime: time,
                btime: time,
                seals: None,
                xattrs: None,
                content,
            }),
            writer: Mutex::new(()),
            mappers: Mappers::default(),
        }
    }

    /// A new inode of the same file system, not in any directory.
    fn make(&self, new: &NewInode<'_>) -> Result<Arc<RamInode>> {
        self.shared.take_inode()?;
        let ino = self.shared.next_ino.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(RamInode::new(&self.shared, new, ino)))
    }

    /// Counts links up or down.
    fn change_links(&self, by: i32, time: Timespec) {
        let mut state = self.state.lock();
        state.nlink = state.nlink.saturating_add_signed(by);
        state.ctime = time;
    }
}

impl Drop for RamInode {
    fn drop(&mut self) {
        if let Content::File { pages, .. } = &self.state.get_mut().content {
            self.shared.give_pages(pages.count());
        }
        self.shared.give_inode();
    }
}

impl Inode for RamInode {
    fn metadata(&self) -> Result<Metadata> {
        let state = self.state.lock();
        let (size, pages, rdev) = match &state.content {
            Content::File { size, pages } => (*size, pages.count(), 0),
            Content::Directory(entries) => (entries.apparent_size(), 0, 0),
            Content::Symlink(target) => (target.len() as u64, 0, 0),
            Content::Special { rdev } => (0, 0, *rdev),
        };
        Ok(Metadata {
            dev: self.shared.device,
            ino: self.ino,
            kind: self.kind,
            mode: state.mode,
            nlink: state.nlink,
            uid: state.uid,
            gid: state.gid,
            rdev,
            size,
            blocks: pages * (PAGE_SIZE / 512),
            block_size: PAGE_SIZE as u32,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: Some(state.btime),
        })
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn permissions(&self) -> Result<Permissions> {
        let state = self.state.lock();
        Ok(Permissions { mode: state.mode, uid: state.uid, gid: state.gid })
    }

    fn size(&self) -> Result<u64> {
        match &self.state.lock().content {
            Content::File { size, .. } => Ok(*size),
            Content::Directory(entries) => Ok(entries.apparent_size()),
            Content::Symlink(target) => Ok(target.len() as u64),
            Content::Special { .. } => Ok(0),
        }
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let time = now();
        let mut state = self.state.lock();
        state.mode = change.mode.unwrap_or(state.mode);
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        state.atime = change.atime.map_or(state.atime, |to| to.resolve(time));
        state.mtime = change.mtime.map_or(state.mtime, |to| to.resolve(time));
        state.ctime = time;
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.entry(name)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let inode = self.make(new)?;
        self.enter(name, inode.clone())?;
        Ok(inode)
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let inode = self.make(new)?;
        inode.state.lock().nlink = 0;
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = downcast(target)?;
        // As on Linux every name but the first counts as an inode.
        let is_counted = target.state.lock().nlink != 0;
        if is_counted {
            self.shared.take_inode()?;
        }
        if let Err(error) = self.enter(name, target.clone()) {
            if is_counted {
                self.shared.give_inode();
            }
            return Err(error);
        }
        target.change_links(1, now());
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove_file(name)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.remove_directory(name)
    }

    fn rename(&self, old: &[u8], new_dir: &Arc<dyn Inode>, new: &[u8], flags: RenameFlags) -> Result<()> {
        self.move_entry(old, &*downcast(new_dir)?, new, flags)
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        self.list(cookie, emit)
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match &self.state.lock().content {
            Content::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        self.read(offset, dst)
    }

    fn write_at(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        let _writer = self.writer.lock();
        self.write(offset, src)
    }

    fn append(&self, src: &mut Source<'_>) -> Result<(usize, u64)> {
        let _writer = self.writer.lock();
        let end = Inode::size(self)?;
        let count = self.write(end, src)?;
        Ok((count, end + count as u64))
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let _writer = self.writer.lock();
        self.set_size(len)
    }

    fn fallocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        let _writer = self.writer.lock();
        self.allocate(mode, offset, len)
    }

    fn seek_data(&self, offset: u64) -> Result<u64> {
        self.next_data(offset)
    }

    fn seek_hole(&self, offset: u64) -> Result<u64> {
        self.next_hole(offset)
    }

    fn pages(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        if self.kind != FileType::Regular {
            return None;
        }
        self.state.lock().note_access();
        Some(self)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        let state = self.state.lock();
        state.xattrs.as_ref().and_then(|xattrs| xattrs.get(name)).cloned().ok_or(Errno::ENODATA)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        let mut state = self.state.lock();
        let xattrs = state.xattrs.get_or_insert_default();
        let exists = xattrs.contains_key(name);
        if exists && flags.contains(XattrFlags::CREATE) {
            return Err(Errno::EEXIST);
        }
        if !exists && flags.contains(XattrFlags::REPLACE) {
            return Err(Errno::ENODATA);
        }
        let used: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if used + name.len() + value.len() > MAX_XATTR_BYTES {
            return Err(Errno::ENOSPC);
        }
        xattrs.insert(name.to_vec(), value.to_vec());
        state.ctime = now();
        Ok(())
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let state = self.state.lock();
        let mut names = Vec::new();
        for name in state.xattrs.iter().flat_map(|xattrs| xattrs.keys()) {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        let removed = state.xattrs.as_mut().and_then(|xattrs| xattrs.remove(name));
        state.ctime = now();
        removed.map(drop).ok_or(Errno::ENODATA)
    }

    fn seals(&self) -> Option<u32> {
        self.state.lock().seals
    }

    fn add_seals(&self, seals: u32) -> Result<()> {
        let is_closed = |present: u32| present & general::F_SEAL_SEAL != 0;
        if self.state.lock().seals.is_some_and(is_closed) {
            return Err(Errno::EPERM);
        }
        if seals & general::F_SEAL_WRITE != 0 && self.mappers.has_writers() {
            return Err(Errno::EBUSY);
        }
        let mut state = self.state.lock();
        let present = state.seals.as_mut().ok_or(Errno::EINVAL)?;
        if is_closed(*present) {
            return Err(Errno::EPERM);
        }
        *present |= seals;
        Ok(())
    }
}

/// The inode as one of ours; EXDEV if it is another file system's.
fn downcast(inode: &Arc<dyn Inode>) -> Result<Arc<RamInode>> {
    let any: Arc<dyn Any + Send + Sync> = inode.clone();
    any.downcast().map_err(|_| Errno::EXDEV)
}

#[cfg(test)]
mod tests;
