//! Who acts on the tree and where: the entry to all calls that take paths.
//!
//! A [`Caller`] joins a process' root, working directory and umask with its credentials. Its methods are the calls
//! `open`, `mkdir`, `rename` … with Linux' checks in Linux' order, so that a program gets the errno that it gets there.

use alloc::sync::Arc;

use super::access::{GROUP_EXECUTE, SET_GID, STICKY, capability};
use super::dentry::{Dentry, ModifyGuard};
use super::{
    Access, FileType, FsContext, Inode, Last, LastKind, NewInode, NewKind, PathRef, ResolveFlags, Start, Subject,
    Walker,
};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};

/// A process' view of the tree and its rights in it.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Root, working directory, umask.
    pub context: &'a FsContext,
    /// Credentials.
    pub subject: &'a Subject<'a>,
}

impl<'a> Caller<'a> {
    /// A caller.
    pub const fn new(context: &'a FsContext, subject: &'a Subject<'a>) -> Caller<'a> {
        Caller { context, subject }
    }

    /// A walk from `start`.
    #[inline]
    pub fn walker(&self, start: Start<'a>) -> Walker<'a> {
        Walker::new(self.context, self.subject, start)
    }

    /// The place that `path` names.
    #[inline]
    pub fn resolve(&self, start: Start<'a>, path: &[u8], follows_last: bool) -> Result<PathRef> {
        self.walker(start).resolve(path, follows_last)
    }

    /// As [`Caller::resolve`], within the restrictions of `openat2`.
    pub fn resolve_within(
        &self,
        start: Start<'a>,
        path: &[u8],
        follows_last: bool,
        limits: ResolveFlags,
    ) -> Result<PathRef> {
        self.walker(start).restrict(limits).resolve(path, follows_last)
    }

    /// Grants or refuses `wanted` on the inode at `place`: EROFS before EACCES, as Linux does it.
    pub fn check(&self, place: &PathRef, wanted: Access) -> Result<()> {
        if wanted.contains(Access::WRITE) && is_stored(place.kind()) {
            place.mount().check_writable()?;
        }
        self.check_permissions(place.inode(), wanted)
    }

    fn check_permissions(&self, inode: &Arc<dyn Inode>, wanted: Access) -> Result<()> {
        self.subject.check(inode.kind(), inode.permissions()?, wanted)
    }

    /// Makes an inode at `path`; EEXIST if there is one.
    pub fn create(&self, start: Start<'a>, path: &[u8], kind: NewKind<'_>, mode: u16) -> Result<PathRef> {
        let (parent, last) = self.walker(start).resolve_parent(path)?;
        let LastKind::Normal(name, hash) = &last.kind else { return Err(Errno::EEXIST) };
        let guard = parent.dentry().lock_for_change()?;
        if guard.child(name.as_bytes(), *hash)?.kind().is_some() {
            return Err(Errno::EEXIST);
        }
        if last.has_trailing_slash && !matches!(kind, NewKind::Directory) {
            return Err(Errno::ENOENT);
        }
        let mode = if matches!(kind, NewKind::Symlink(_)) { 0o777 } else { mode & !self.context.umask() };
        self.create_in(&parent, &guard, name.as_bytes(), *hash, kind, mode)
    }

    /// Makes an inode under a free name of a directory that is locked for changes.
    pub(super) fn create_in(
        &self,
        parent: &PathRef,
        guard: &ModifyGuard<'_>,
        name: &[u8],
        hash: u64,
        kind: NewKind<'_>,
        mode: u16,
    ) -> Result<PathRef> {
        self.check(parent, Access::WRITE | Access::EXECUTE)?;
        let new = self.new_inode(parent, kind, mode)?;
        let inode = parent.inode().create(name, &new)?;
        let dentry = guard.enter_new(name, hash, Some(inode));
        inotify::on_entry(parent.inode(), name, of_kind(NotifyMask::CREATE, &dentry), 0);
        Ok(PathRef::new(parent.mount().clone(), dentry))
    }

    /// The attributes of a new inode in `parent`.
    pub(super) fn new_inode<'k>(&self, parent: &PathRef, kind: NewKind<'k>, mode: u16) -> Result<NewInode<'k>> {
        let directory = parent.inode().permissions()?;
        let mut new = NewInode { kind, mode: mode & 0o7777, uid: self.subject.uid, gid: self.subject.gid };
        if directory.mode & SET_GID != 0 {
            new.gid = directory.gid;
            let is_member = self.subject.is_member(new.gid) || self.subject.has(capability::FSETID);
            if matches!(kind, NewKind::Directory) {
                new.mode |= SET_GID;
            } else if new.mode & GROUP_EXECUTE != 0 && !is_member {
                new.mode &= !SET_GID;
            }
        }
        Ok(new)
    }

    /// Makes a second name, `path`, of the inode at `old`.
    pub fn link(&self, old: &PathRef, start: Start<'a>, path: &[u8]) -> Result<()> {
        let (parent, last) = self.walker(start).resolve_parent(path)?;
        let LastKind::Normal(name, hash) = &last.kind else { return Err(Errno::EEXIST) };
        let guard = parent.dentry().lock_for_change()?;
        if guard.child(name.as_bytes(), *hash)?.kind().is_some() {
            return Err(Errno::EEXIST);
        }
        if last.has_trailing_slash {
            return Err(Errno::ENOENT);
        }
        if !Arc::ptr_eq(old.mount(), parent.mount()) {
            return Err(Errno::EXDEV);
        }
        self.subject.check_link_source(old.kind(), old.inode().permissions()?)?;
        self.check(&parent, Access::WRITE | Access::EXECUTE)?;
        if old.is_directory() {
            return Err(Errno::EPERM);
        }
        if old.inode().metadata()?.nlink == 0 && !old.dentry().is_linkable() {
            return Err(Errno::ENOENT);
        }
        parent.inode().link(name.as_bytes(), old.inode())?;
        guard.enter_new(name.as_bytes(), *hash, Some(old.inode().clone()));
        inotify::on_self(old.inode(), NotifyMask::ATTRIB);
        inotify::on_entry(parent.inode(), name.as_bytes(), NotifyMask::CREATE, 0);
        Ok(())
    }

    /// Removes the name `path`, which is no directory's.
    pub fn unlink(&self, start: Start<'a>, path: &[u8]) -> Result<()> {
        let (parent, last) = self.walker(start).resolve_parent(path)?;
        let LastKind::Normal(name, hash) = &last.kind else { return Err(Errno::EISDIR) };
        parent.mount().check_writable()?;
        let guard = parent.dentry().lock_for_change()?;
        let victim = guard.child(name.as_bytes(), *hash)?;
        match victim.kind() {
            None => return Err(Errno::ENOENT),
            Some(FileType::Directory) if last.has_trailing_slash => return Err(Errno::EISDIR),
            Some(_) if last.has_trailing_slash => return Err(Errno::ENOTDIR),
            Some(_) => self.check_removable(&parent, &victim, false)?,
        }
        parent.inode().unlink(name.as_bytes())?;
        guard.unlinked(&victim);
        if inotify::is_active() {
            inotify::on_self(victim.inode(), NotifyMask::ATTRIB);
            inotify::on_entry(parent.inode(), name.as_bytes(), NotifyMask::DELETE, 0);
            inotify::on_lost(&victim, 1);
        }
        Ok(())
    }

    /// Removes the empty directory `path`.
    pub fn rmdir(&self, start: Start<'a>, path: &[u8]) -> Result<()> {
        let (parent, last) = self.walker(start).resolve_parent(path)?;
        let (name, hash) = match &last.kind {
            LastKind::Normal(name, hash) => (name.as_bytes(), *hash),
            LastKind::Dot => return Err(Errno::EINVAL),
            LastKind::DotDot => return Err(Errno::ENOTEMPTY),
            LastKind::Root => return Err(Errno::EBUSY),
        };
        parent.mount().check_writable()?;
        let guard = parent.dentry().lock_for_change()?;
        let victim = guard.child(name, hash)?;
        if victim.kind().is_none() {
            return Err(Errno::ENOENT);
        }
        self.check_removable(&parent, &victim, true)?;
        let _victim_guard = victim.lock_for_change()?;
        parent.inode().rmdir(name)?;
        guard.unlinked(&victim);
        if inotify::is_active() {
            inotify::on_entry(parent.inode(), name, NotifyMask::DELETE | NotifyMask::ISDIR, 0);
            inotify::on_lost(&victim, 1);
        }
        Ok(())
    }

    /// Whether the caller may remove `victim`, which exists, from `parent`; `as_directory` says what it has to be.
    pub(super) fn check_removable(&self, parent: &PathRef, victim: &Arc<Dentry>, as_directory: bool) -> Result<()> {
        self.check(parent, Access::WRITE | Access::EXECUTE)?;
        if !self.subject.has(capability::FOWNER) {
            let directory = parent.inode().permissions()?;
            let is_guarded = directory.mode & STICKY != 0 && directory.uid != self.subject.uid;
            if is_guarded && victim.inode().permissions()?.uid != self.subject.uid {
                return Err(Errno::EPERM);
            }
        }
        match (as_directory, victim.is_directory()) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ => {}
        }
        if victim.is_mount_point() { Err(Errno::EBUSY) } else { Ok(()) }
    }
}

/// What happened to an entry, with ISDIR for a directory.
pub(super) fn of_kind(what: NotifyMask, dentry: &Dentry) -> NotifyMask {
    if dentry.is_directory() { what | NotifyMask::ISDIR } else { what }
}

/// Whether writing to such an inode changes its file system: not so for devices, FIFOs and sockets.
pub(super) const fn is_stored(kind: FileType) -> bool {
    matches!(kind, FileType::Regular | FileType::Directory | FileType::Symlink)
}

/// What is left of a path when its directory is known: for calls that treat `last` themselves.
pub(super) fn normal(last: &Last, otherwise: Errno) -> Result<(&[u8], u64)> {
    match &last.kind {
        LastKind::Normal(name, hash) => Ok((name.as_bytes(), *hash)),
        _ => Err(otherwise),
    }
}
