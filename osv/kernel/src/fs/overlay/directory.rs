//! Directories of an overlay: looking up in both layers, and changing the upper one so that it hides the lower.

use alloc::sync::Arc;

use super::inode::{OverlayInode, upper_number};
use super::{Key, OPAQUE};
use crate::errno::{Errno, Result};
use crate::fs::name::{Name, hash_name};
use crate::fs::{FileType, Inode, NewInode, NewKind, RenameFlags, XattrFlags};

/// Whether an inode of the upper tree only says that there is nothing.
pub(super) fn is_whiteout(inode: &Arc<dyn Inode>) -> bool {
    inode.kind() == FileType::CharDevice && inode.metadata().is_ok_and(|metadata| metadata.rdev == 0)
}

fn is_opaque(upper: &Arc<dyn Inode>) -> bool {
    upper.get_xattr(OPAQUE).is_ok_and(|value| value == b"y")
}

fn make_whiteout(directory: &Arc<dyn Inode>, name: &[u8]) -> Result<()> {
    let new = NewInode { kind: NewKind::CharDevice(0), mode: 0, uid: 0, gid: 0 };
    directory.create(name, &new).map(drop)
}

/// `None` instead of ENOENT.
fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

impl OverlayInode {
    fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// The entry `name` of the lower directory, as far as that shows.
    fn lower_entry(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>> {
        match self.lower() {
            Some(lower) => optional(lower.lookup(name)),
            None => Ok(None),
        }
    }

    /// The entry `name` of the upper directory, a whiteout perhaps.
    fn upper_entry(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>> {
        match self.upper() {
            Some(upper) => optional(upper.lookup(name)),
            None => Ok(None),
        }
    }

    /// The inode that shows under `name`.
    pub(super) fn find(self: Arc<Self>, name: &[u8]) -> Result<Arc<OverlayInode>> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let Some(upper) = self.upper_entry(name)? else {
            let lower = self.lower_entry(name)?.ok_or(Errno::ENOENT)?;
            return self.lower_inode(name, lower);
        };
        if is_whiteout(&upper) {
            return Err(Errno::ENOENT);
        }
        let is_merged = upper.kind() == FileType::Directory && !is_opaque(&upper);
        let lower = if is_merged { self.lower_entry(name)? } else { None };
        let lower = lower.filter(|lower| lower.kind() == FileType::Directory);
        self.upper_inode(name, upper, lower)
    }

    fn lower_inode(self: Arc<Self>, name: &[u8], lower: Arc<dyn Inode>) -> Result<Arc<OverlayInode>> {
        let metadata = lower.metadata()?;
        let (ino, device) = (metadata.ino, metadata.dev);
        let key = Key::Lower { ino, device, parent: self.ino, name_hash: hash_name(name) };
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let shared = self.shared.clone();
        let place = Some((self, Name::new(name)));
        let inode = OverlayInode::build(&shared, ino, metadata.kind, None, Some(lower), place);
        inode.enter(key);
        Ok(inode)
    }

    fn upper_inode(
        self: Arc<Self>,
        name: &[u8],
        upper: Arc<dyn Inode>,
        lower: Option<Arc<dyn Inode>>,
    ) -> Result<Arc<OverlayInode>> {
        let key = Key::Upper(upper.metadata()?.ino);
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let shared = self.shared.clone();
        let (ino, kind) = (upper_number(&upper)?, upper.kind());
        let place = Some((self, Name::new(name)));
        let inode = OverlayInode::build(&shared, ino, kind, Some(upper), lower, place);
        inode.enter(key);
        Ok(inode)
    }

    fn known(&self, key: Key) -> Option<Arc<OverlayInode>> {
        self.shared.inodes.get(key)
    }

    /// Makes `name` free in the upper directory, where a whiteout may be in the way.
    fn clear_whiteout(&self, upper: &Arc<dyn Inode>, name: &[u8]) -> Result<()> {
        match self.upper_entry(name)? {
            Some(entry) if is_whiteout(&entry) => upper.unlink(name),
            _ => Ok(()),
        }
    }

    /// Makes sure that a directory of the upper tree hides what the lower one has under `name`.
    fn make_opaque_over(&self, name: &[u8], directory: &Arc<dyn Inode>) -> Result<()> {
        if self.lower_entry(name)?.is_some() {
            directory.set_xattr(OPAQUE, b"y", XattrFlags::empty())?;
        }
        Ok(())
    }

    /// `create`
    pub(super) fn make(self: Arc<Self>, name: &[u8], new: &NewInode<'_>) -> Result<Arc<OverlayInode>> {
        let directory = self.copy_up()?;
        self.clear_whiteout(&directory, name)?;
        let upper = directory.create(name, new)?;
        if matches!(new.kind, NewKind::Directory) {
            self.make_opaque_over(name, &upper)?;
        }
        self.upper_inode(name, upper, None)
    }

    /// `link`
    pub(super) fn link_to(self: Arc<Self>, name: &[u8], target: &OverlayInode) -> Result<()> {
        let (target, directory) = (target.copy_up()?, self.copy_up()?);
        self.clear_whiteout(&directory, name)?;
        directory.link(name, &target)
    }

    /// `unlink`
    pub(super) fn remove_file(self: Arc<Self>, name: &[u8]) -> Result<()> {
        let target = self.clone().find(name)?;
        if target.is_directory() {
            return Err(Errno::EISDIR);
        }
        self.hide(name, |directory| directory.unlink(name))?;
        target.lose_name(&self, name);
        Ok(())
    }

    /// `rmdir`
    pub(super) fn remove_directory(self: Arc<Self>, name: &[u8]) -> Result<()> {
        let target = self.clone().find(name)?;
        target.check_empty()?;
        self.hide(name, |directory| {
            target.clear_whiteouts()?;
            directory.rmdir(name)
        })?;
        target.lose_name(&self, name);
        Ok(())
    }

    /// Takes `name` out of the upper directory, if it is there, and leaves a whiteout if the lower one has it.
    fn hide(&self, name: &[u8], remove: impl FnOnce(&Arc<dyn Inode>) -> Result<()>) -> Result<()> {
        let is_below = self.lower_entry(name)?.is_some();
        let is_above = self.upper_entry(name)?.is_some();
        if !is_below && !is_above {
            return Err(Errno::ENOENT);
        }
        let directory = self.copy_up()?;
        if is_above {
            remove(&directory)?;
        }
        if is_below { make_whiteout(&directory, name) } else { Ok(()) }
    }

    fn lose_name(&self, directory: &Arc<OverlayInode>, name: &[u8]) {
        let mut state = self.state.lock();
        let is_here =
            |(parent, own): &(Arc<OverlayInode>, Name)| Arc::ptr_eq(parent, directory) && own.as_bytes() == name;
        if state.upper.is_none() && state.place.as_ref().is_some_and(is_here) {
            state.is_removed = true;
            let place = state.place.take();
            drop(state);
            drop(place);
        }
    }

    fn check_empty(&self) -> Result<()> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if self.has_entries()? { Err(Errno::ENOTEMPTY) } else { Ok(()) }
    }

    /// Takes all whiteouts out of an upper directory that shows nothing.
    fn clear_whiteouts(&self) -> Result<()> {
        let Some(upper) = self.upper() else { return Ok(()) };
        let mut names = alloc::vec::Vec::new();
        upper.read_dir(0, &mut |entry| {
            names.push(Name::new(entry.name));
            true
        })?;
        names.iter().try_for_each(|name| upper.unlink(name.as_bytes()))
    }

    /// `rename`
    pub(super) fn move_entry(
        self: Arc<Self>,
        old: &[u8],
        to: &Arc<OverlayInode>,
        new: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let source = self.clone().find(old)?;
        let target = optional(to.clone().find(new))?;
        source.check_movable()?;
        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        match &target {
            Some(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(Errno::EEXIST),
            Some(target) if exchanges => target.check_movable()?,
            Some(target) => check_replaceable(&source, target)?,
            None if exchanges => return Err(Errno::ENOENT),
            None => {}
        }
        source.copy_up()?;
        let (from, into) = (self.copy_up()?, to.copy_up()?);
        if let (Some(target), true) = (&target, exchanges) {
            target.copy_up()?;
            from.rename(old, &into, new, RenameFlags::EXCHANGE)?;
            target.settle(&self, old)?;
            return source.settle(to, new);
        }
        if let Some(target) = target.as_ref().filter(|target| target.is_directory()) {
            target.clear_whiteouts()?;
        }
        to.clear_whiteout(&into, new)?;
        from.rename(old, &into, new, RenameFlags::empty())?;
        if self.lower_entry(old)?.is_some() || flags.contains(RenameFlags::WHITEOUT) {
            make_whiteout(&from, old)?;
        }
        if let Some(target) = target {
            target.lose_name(to, new);
        }
        source.settle(to, new)
    }

    /// EXDEV for a directory with a lower part, whose contents would not come along.
    fn check_movable(&self) -> Result<()> {
        if self.is_directory() && self.lower().is_some() { Err(Errno::EXDEV) } else { Ok(()) }
    }

    /// Remembers the new place.
    fn settle(&self, directory: &Arc<OverlayInode>, name: &[u8]) -> Result<()> {
        if let (Some(upper), true) = (self.upper(), self.is_directory()) {
            directory.make_opaque_over(name, &upper)?;
        }
        let old = self.state.lock().place.replace((directory.clone(), Name::new(name)));
        drop(old);
        Ok(())
    }
}

fn check_replaceable(source: &OverlayInode, target: &OverlayInode) -> Result<()> {
    match (source.is_directory(), target.is_directory()) {
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        (true, true) => target.check_empty(),
        (false, false) => Ok(()),
    }
}
