//! Inodes of an overlay: which layer answers.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use super::listing::Listing;
use super::{Key, ORIGIN, OWN_XATTRS, Shared, UPPER_INO};
use crate::errno::{Errno, Result};
use crate::fs::name::Name;
use crate::fs::{
    DirEntry, File, FileType, Inode, Metadata, NewInode, OpenFlags, Permissions, RenameFlags, SetAttributes, XattrFlags,
};
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};
use crate::sched::Mutex;
use crate::sync::SpinLock;

/// An inode of an overlay.
pub struct OverlayInode {
    this: Weak<OverlayInode>,
    pub(super) shared: Arc<Shared>,
    pub(super) kind: FileType,
    pub(super) ino: u64,
    pub(super) state: SpinLock<State>,
    pub(super) copying: Mutex<()>,
    pub(super) listing: Mutex<Listing>,
}

pub(super) struct State {
    /// The inode in the upper tree, if it is there.
    pub(super) upper: Option<Arc<dyn Inode>>,
    /// The inode in the lower tree: of a directory also beside the upper one, unless that is opaque.
    pub(super) lower: Option<Arc<dyn Inode>>,
    /// Where it is; `None` for the root and what has lost its name.
    pub(super) place: Option<(Arc<OverlayInode>, Name)>,
    /// It has lost its name while it was only in the lower tree.
    pub(super) is_removed: bool,
    /// By what it is entered in the table of inodes.
    pub(super) keys: [Option<Key>; 2],
}

impl OverlayInode {
    pub(super) fn new_root(
        shared: &Arc<Shared>,
        upper: Option<Arc<dyn Inode>>,
        lower: Arc<dyn Inode>,
    ) -> Arc<OverlayInode> {
        let ino = lower.metadata().map_or(1, |metadata| metadata.ino);
        OverlayInode::build(shared, ino, FileType::Directory, upper, Some(lower), None)
    }

    pub(super) fn build(
        shared: &Arc<Shared>,
        ino: u64,
        kind: FileType,
        upper: Option<Arc<dyn Inode>>,
        lower: Option<Arc<dyn Inode>>,
        place: Option<(Arc<OverlayInode>, Name)>,
    ) -> Arc<OverlayInode> {
        Arc::new_cyclic(|this| OverlayInode {
            this: this.clone(),
            shared: shared.clone(),
            kind,
            ino,
            state: SpinLock::new(State { upper, lower, place, is_removed: false, keys: [None; 2] }),
            copying: Mutex::new(()),
            listing: Mutex::new(Listing::default()),
        })
    }

    /// A counted reference, for those who keep it.
    pub(super) fn myself(&self) -> Result<Arc<OverlayInode>> {
        self.this.upgrade().ok_or(Errno::EIO)
    }

    /// The inode in the upper tree, if it is there.
    #[inline(always)]
    pub(super) fn upper(&self) -> Option<Arc<dyn Inode>> {
        self.state.lock().upper.clone()
    }

    /// The directory or file in the lower tree, as far as it shows.
    pub(super) fn lower(&self) -> Option<Arc<dyn Inode>> {
        self.state.lock().lower.clone()
    }

    /// The inode that answers: the upper one where there are two.
    #[inline(always)]
    pub(super) fn top(&self) -> Result<Arc<dyn Inode>> {
        let state = self.state.lock();
        state.upper.as_ref().or(state.lower.as_ref()).cloned().ok_or(Errno::EIO)
    }

    /// Enters the inode in the table by one more key.
    pub(super) fn enter(self: &Arc<Self>, key: Key) {
        self.shared.inodes.insert(key, self);
        let mut state = self.state.lock();
        if let Some(free) = state.keys.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(key);
        }
    }
}

impl Drop for OverlayInode {
    fn drop(&mut self) {
        for key in self.state.get_mut().keys.into_iter().flatten() {
            self.shared.inodes.forget(key);
        }
    }
}

/// The number under which an inode of the upper tree shows.
pub(super) fn upper_number(upper: &Arc<dyn Inode>) -> Result<u64> {
    if let Ok(origin) = upper.get_xattr(ORIGIN)
        && let Ok(bytes) = <[u8; 8]>::try_from(origin.as_slice())
    {
        return Ok(u64::from_le_bytes(bytes));
    }
    Ok(upper.metadata()?.ino.wrapping_add(UPPER_INO))
}

/// An inode of the VFS as one of ours (EXDEV).
pub(super) fn downcast(inode: &Arc<dyn Inode>) -> Result<Arc<OverlayInode>> {
    let any: Arc<dyn Any + Send + Sync> = inode.clone();
    any.downcast().map_err(|_| Errno::EXDEV)
}

impl Inode for OverlayInode {
    fn metadata(&self) -> Result<Metadata> {
        let (top, is_removed) = {
            let state = self.state.lock();
            let top = state.upper.as_ref().or(state.lower.as_ref()).cloned();
            (top.ok_or(Errno::EIO)?, state.is_removed && state.upper.is_none())
        };
        // Changed in place: these are many bytes to move.
        let mut result = top.metadata();
        if let Ok(metadata) = &mut result {
            (metadata.dev, metadata.ino) = (self.shared.device, self.ino);
            if is_removed {
                metadata.nlink = 0;
            }
        }
        result
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn permissions(&self) -> Result<Permissions> {
        self.top()?.permissions()
    }

    fn size(&self) -> Result<u64> {
        self.top()?.size()
    }

    fn is_cacheable(&self) -> bool {
        self.lower().is_none_or(|lower| lower.is_cacheable())
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.copy_up()?.set_attributes(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.myself()?.find(name)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Ok(self.myself()?.make(name, new)?)
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let upper = self.shared.upper_root.as_ref().ok_or(Errno::EROFS)?.create_unnamed(new)?;
        let ino = upper_number(&upper)?;
        Ok(OverlayInode::build(&self.shared, ino, FileType::Regular, Some(upper), None, None))
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        self.myself()?.link_to(name, &*downcast(target)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.myself()?.remove_file(name)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.myself()?.remove_directory(name)
    }

    fn rename(&self, old: &[u8], new_dir: &Arc<dyn Inode>, new: &[u8], flags: RenameFlags) -> Result<()> {
        self.myself()?.move_entry(old, &downcast(new_dir)?, new, flags)
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        self.list(cookie, emit)
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.top()?.read_link()
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        if flags.is_writable() && self.kind == FileType::Regular {
            self.copy_up()?;
        }
        Ok(None)
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        self.top()?.read_at(offset, dst)
    }

    fn write_at(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        self.copy_up()?.write_at(offset, src)
    }

    fn append(&self, src: &mut Source<'_>) -> Result<(usize, u64)> {
        self.copy_up()?.append(src)
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.copy_up_to(len)?.truncate(len)
    }

    fn fallocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.copy_up()?.fallocate(mode, offset, len)
    }

    fn seek_data(&self, offset: u64) -> Result<u64> {
        self.top()?.seek_data(offset)
    }

    fn seek_hole(&self, offset: u64) -> Result<u64> {
        self.top()?.seek_hole(offset)
    }

    fn pages(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        self.top().ok()?.pages()
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        self.upper().map_or(Ok(()), |upper| upper.sync(data_only))
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        if name.starts_with(OWN_XATTRS) { Err(Errno::EOPNOTSUPP) } else { self.top()?.get_xattr(name) }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        if name.starts_with(OWN_XATTRS) {
            return Err(Errno::EPERM);
        }
        self.copy_up()?.set_xattr(name, value, flags)
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let names = self.top()?.list_xattrs()?;
        let shown = names.split_inclusive(|&byte| byte == 0).filter(|name| !name.starts_with(OWN_XATTRS));
        Ok(shown.flatten().copied().collect())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        if name.starts_with(OWN_XATTRS) {
            return Err(Errno::EPERM);
        }
        self.top()?.get_xattr(name)?;
        self.copy_up()?.remove_xattr(name)
    }
}
