//! A file of an image as the VFS sees it.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::Volume;
use super::format::{self, BLOCK, DirBlock, INODE_LEN_MAX, SLOT, Storage, Xattr, split_xattrs, take_xattr};
use crate::errno::{Errno, Result};
use crate::fs::{DirEntry, FileType, Inode, Metadata, PATH_MAX, Timespec, XattrFlags};
use crate::mem::Frame;
use crate::mem::object::PageSource;
use crate::mem::page_cache::Pattern;
use crate::mem::phys::PAGE_SIZE;
use crate::mem::user::{Dest, Source};
use crate::sync::Once;

/// Cookies of directories start after those of `.` and `..`.
const COOKIE_SHIFT: u64 = 3;
/// A shared extended attribute: its head, name and value.
const SHARED_XATTR_MAX: usize = 4 + 255 + 65535;

/// A file of an image.
pub struct ErofsInode {
    volume: Arc<Volume>,
    nid: u64,
    kind: FileType,
    raw: format::Inode,
    /// Byte of the image at which what follows the inode starts.
    after_at: u64,
    /// The page with the part of the data that is stored with the inode.
    tail: Once<Frame>,
}

impl ErofsInode {
    pub(super) fn read(volume: Arc<Volume>, nid: u64) -> Result<Arc<Self>> {
        let at = volume.superblock.inode_at(nid).ok_or(Errno::EUCLEAN)?;
        let mut bytes = [0; INODE_LEN_MAX];
        // The last inode of an image may be a compact one, with nothing behind it.
        let (compact, rest) = bytes.split_at_mut(SLOT as usize);
        volume.image.read(at, compact)?;
        let _ = volume.image.read(at + SLOT, rest);
        let raw = format::Inode::parse(&bytes).ok_or(Errno::EUCLEAN)?;
        let kind = FileType::from_mode(raw.mode).ok_or(Errno::EUCLEAN)?;
        let inode = Self { after_at: at + raw.len, volume, nid, kind, raw, tail: Once::new() };
        inode.check()?;
        Ok(Arc::new(inode))
    }

    /// Refuses data that cannot be where the inode says.
    fn check(&self) -> Result<()> {
        let has_data = matches!(self.kind, FileType::Regular | FileType::Directory | FileType::Symlink);
        if has_data && i64::try_from(self.raw.size).is_err() {
            return Err(Errno::EUCLEAN);
        }
        if self.raw.storage == Storage::Inline && has_data {
            let tail = self.raw.size % BLOCK;
            let start = self.tail_at().ok_or(Errno::EUCLEAN)?;
            if start % BLOCK + tail > BLOCK {
                return Err(Errno::EUCLEAN);
            }
        }
        Ok(())
    }

    /// Byte of the image at which the data's inline part starts.
    fn tail_at(&self) -> Option<u64> {
        self.after_at.checked_add(self.raw.xattr_len)
    }

    /// Pages of data that are blocks of the image.
    fn block_pages(&self) -> u64 {
        match self.raw.storage {
            Storage::Inline => self.raw.size / BLOCK,
            _ => self.raw.size.div_ceil(BLOCK),
        }
    }

    /// The image's page that is page `index` of the data.
    #[inline(always)]
    fn block(&self, index: u64) -> Option<u64> {
        (index < self.block_pages()).then(|| u64::from(self.raw.block_or_device).checked_add(index))?
    }

    /// Page `index` of the data, which must be within its size.
    fn data_page(&self, index: u64, pattern: Pattern) -> Result<Frame> {
        match (self.raw.storage, self.block(index)) {
            (Storage::Unsupported, _) => Err(Errno::EOPNOTSUPP),
            (_, Some(block)) => self.volume.image.page(block, pattern),
            (_, None) => self.tail_page(),
        }
    }

    /// The page with the data's inline part, zeros behind it.
    fn tail_page(&self) -> Result<Frame> {
        if let Some(frame) = self.tail.get() {
            return Ok(frame.clone());
        }
        let mut bytes = vec![0; (self.raw.size % BLOCK) as usize];
        self.volume.image.read(self.tail_at().ok_or(Errno::EUCLEAN)?, &mut bytes)?;
        let frame = Frame::alloc_zeroed()?;
        frame.write(0, &bytes);
        Ok(self.tail.call_once(|| frame).clone())
    }

    /// Block `index` of this directory, shorter if it is the last.
    fn directory_block(&self, index: u64) -> Result<Vec<u8>> {
        let start = index.checked_mul(BLOCK).ok_or(Errno::EUCLEAN)?;
        let len = self.raw.size.saturating_sub(start).min(BLOCK);
        let mut bytes = vec![0; len as usize];
        self.data_page(index, Pattern::Mapped)?.read(0, &mut bytes);
        Ok(bytes)
    }

    /// The number of the inode that `name` in this directory leads to. Names ascend through all blocks, so the block is found
    /// by halving, too.
    fn find(&self, name: &[u8]) -> Result<u64> {
        let (mut low, mut high) = (0, self.raw.size.div_ceil(BLOCK));
        while low < high {
            let middle = low + (high - low) / 2;
            let bytes = self.directory_block(middle)?;
            let block = DirBlock::parse(&bytes).ok_or(Errno::EUCLEAN)?;
            let first = block.entry(0).ok_or(Errno::EUCLEAN)?.name;
            let last = block.entry(block.count() - 1).ok_or(Errno::EUCLEAN)?.name;
            if name < first {
                high = middle;
            } else if name > last {
                low = middle + 1;
            } else {
                return block.find(name).map(|entry| entry.nid).ok_or(Errno::ENOENT);
            }
        }
        Err(Errno::ENOENT)
    }

    /// Calls `each` with the extended attributes until it gives a value.
    fn find_xattr<T>(&self, mut each: impl FnMut(Xattr<'_>) -> Option<T>) -> Result<Option<T>> {
        let mut bytes = vec![0; usize::try_from(self.raw.xattr_len).map_err(|_| Errno::EUCLEAN)?];
        if bytes.is_empty() {
            return Ok(None);
        }
        self.volume.image.read(self.after_at, &mut bytes)?;
        let (shared, own) = split_xattrs(&bytes).ok_or(Errno::EUCLEAN)?;
        let mut rest = own;
        while !rest.is_empty() {
            let (attribute, next) = take_xattr(rest).ok_or(Errno::EUCLEAN)?;
            if let Some(value) = attribute.and_then(&mut each) {
                return Ok(Some(value));
            }
            rest = next;
        }
        for id in shared {
            let bytes = self.shared_xattr(id.get())?;
            let (attribute, _) = take_xattr(&bytes).ok_or(Errno::EUCLEAN)?;
            if let Some(value) = attribute.and_then(&mut each) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The bytes of a shared attribute, as far as they can be its own.
    fn shared_xattr(&self, id: u32) -> Result<Vec<u8>> {
        const HEAD: usize = 4;
        let at = self.volume.superblock.shared_xattrs_at + 4 * u64::from(id);
        let mut head = [0; HEAD];
        self.volume.image.read(at, &mut head)?;
        let [name_len, _, v0, v1] = head;
        let len = HEAD + usize::from(name_len) + usize::from(u16::from_le_bytes([v0, v1]));
        let mut bytes = vec![0; len.min(SHARED_XATTR_MAX)];
        self.volume.image.read(at, &mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for ErofsInode {
    fn drop(&mut self) {
        self.volume.inodes.forget(self.nid);
    }
}

impl PageSource for ErofsInode {
    fn size(&self) -> u64 {
        self.raw.size
    }

    fn page(&self, index: u64, for_write: bool) -> Result<Frame> {
        if for_write {
            return Err(Errno::EROFS);
        }
        if index >= self.raw.size.div_ceil(BLOCK) {
            return Err(Errno::EFAULT);
        }
        self.data_page(index, Pattern::Mapped)
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        match self.block(index) {
            _ if self.raw.storage == Storage::Unsupported => None,
            Some(block) => self.volume.image.cached(block),
            None if index == self.block_pages() => self.tail.get().cloned(),
            None => None,
        }
    }

    fn identity(&self) -> (u64, u64) {
        (self.volume.dev, self.nid)
    }
}

impl Inode for ErofsInode {
    fn metadata(&self) -> Result<Metadata> {
        let (sec, nsec) = self.raw.mtime.unwrap_or(self.volume.superblock.build_time);
        let time = Timespec { sec: sec as i64, nsec: nsec.min(999_999_999) };
        let is_device = matches!(self.kind, FileType::CharDevice | FileType::BlockDevice);
        Ok(Metadata {
            nlink: self.raw.nlink,
            uid: self.raw.uid,
            gid: self.raw.gid,
            rdev: if is_device { u64::from(self.raw.block_or_device) } else { 0 },
            size: if is_device { 0 } else { self.raw.size },
            blocks: if is_device { 0 } else { self.raw.size.div_ceil(BLOCK) * (BLOCK / 512) },
            atime: time,
            mtime: time,
            ctime: time,
            ..Metadata::new(self.volume.dev, self.nid, self.kind, (self.raw.mode & 0o7777) as u16)
        })
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn size(&self) -> Result<u64> {
        Ok(self.raw.size)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.volume.inode(self.find(name)?)?)
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let start = cookie.saturating_sub(COOKIE_SHIFT);
        let mut first = (start % BLOCK) as usize;
        for index in start / BLOCK..self.raw.size.div_ceil(BLOCK) {
            let bytes = self.directory_block(index)?;
            let block = DirBlock::parse(&bytes).ok_or(Errno::EUCLEAN)?;
            for number in first..block.count() {
                let entry = block.entry(number).ok_or(Errno::EUCLEAN)?;
                if matches!(entry.name, b"." | b".." | b"") {
                    continue;
                }
                let next = index * BLOCK + number as u64 + 1 + COOKIE_SHIFT;
                let kind = file_type(entry.kind).ok_or(Errno::EUCLEAN)?;
                if !emit(DirEntry { name: entry.name, ino: entry.nid, kind, next }) {
                    return Ok(());
                }
            }
            first = 0;
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        if self.kind != FileType::Symlink {
            return Err(Errno::EINVAL);
        }
        let len = usize::try_from(self.raw.size).ok().filter(|len| *len < PATH_MAX).ok_or(Errno::EUCLEAN)?;
        let mut target = vec![0; len];
        if len != 0 {
            self.data_page(0, Pattern::Mapped)?.read(0, &mut target);
        }
        Ok(target)
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        match self.kind {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        let before = dst.moved();
        let mut at = offset;
        while at < self.raw.size && !dst.is_full() {
            let within = (at % BLOCK) as usize;
            let len = (PAGE_SIZE - within).min(usize::try_from(self.raw.size - at).unwrap_or(PAGE_SIZE));
            let moved = self.data_page(at / BLOCK, Pattern::Read).and_then(|frame| frame.read_to(within, len, dst));
            match moved {
                Ok(0) => break,
                Ok(moved) => at += moved as u64,
                Err(errno) if dst.moved() == before => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(dst.moved() - before)
    }

    fn write_at(&self, _offset: u64, _src: &mut Source<'_>) -> Result<usize> {
        Err(Errno::EROFS)
    }

    fn truncate(&self, _len: u64) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn pages(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        if self.kind == FileType::Regular { Some(self) } else { None }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        let value = self.find_xattr(|attribute| attribute.is_named(name).then(|| attribute.value.to_vec()))?;
        value.ok_or(Errno::ENODATA)
    }

    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: XattrFlags) -> Result<()> {
        Err(Errno::EROFS)
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        self.find_xattr(|attribute| {
            names.extend_from_slice(attribute.prefix);
            names.extend_from_slice(attribute.suffix);
            names.push(0);
            None::<()>
        })?;
        Ok(names)
    }

    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EROFS)
    }
}

/// The type that an entry's number stands for.
fn file_type(number: u8) -> Option<FileType> {
    Some(match number {
        1 => FileType::Regular,
        2 => FileType::Directory,
        3 => FileType::CharDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => return None,
    })
}
