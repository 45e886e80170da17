//! `open` in all its forms: finding or making the inode, checking rights, making the description.

use alloc::sync::Arc;

use super::dentry::Dentry;
use super::{
    Access, Caller, FileType, Follow, LastKind, MountFlags, NewKind, OpenFile, OpenFlags, PathRef, ResolveFlags, Start,
    device, text,
};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};

impl<'a> Caller<'a> {
    /// Opens `path`, as `openat2` with `flags`, `mode` for a file that it makes, and `limits`.
    pub fn open(
        &self,
        start: Start<'a>,
        path: &[u8],
        flags: OpenFlags,
        mode: u16,
        limits: ResolveFlags,
    ) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::PATH) {
            let place = self.resolve_within(start, path, !flags.contains(OpenFlags::NOFOLLOW), limits)?;
            if flags.contains(OpenFlags::DIRECTORY) && !place.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            return Ok(OpenFile::with_place(place, flags));
        }
        if flags.contains(OpenFlags::TMPFILE) {
            return self.open_unnamed(start, path, flags, mode, limits);
        }
        if flags.contains(OpenFlags::CREAT) {
            return self.open_or_create(start, path, flags, mode, limits);
        }
        let place = self.resolve_within(start, path, !flags.contains(OpenFlags::NOFOLLOW), limits)?;
        self.open_place(place, flags)
    }

    /// Opens what is at `place`.
    pub fn open_place(&self, place: PathRef, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let kind = place.kind();
        let is_directory = kind == FileType::Directory;
        if flags.contains(OpenFlags::DIRECTORY) && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        if kind == FileType::Symlink {
            return Err(Errno::ELOOP);
        }
        let wanted = wanted_access(flags);
        if is_directory && (wanted.contains(Access::WRITE) || flags.contains(OpenFlags::CREAT)) {
            return Err(Errno::EISDIR);
        }
        self.check(&place, wanted)?;
        if flags.contains(OpenFlags::NOATIME) && !self.subject.owns(place.inode().permissions()?.uid) {
            return Err(Errno::EPERM);
        }
        if wanted.contains(Access::WRITE) && kind == FileType::Regular {
            text::check_writable(place.inode())?;
        }
        if flags.contains(OpenFlags::TRUNC) && kind == FileType::Regular {
            self.truncate_place(&place, 0)?;
        }
        open_checked(place, flags)
    }

    /// Opens `path`, making a regular file if nothing is there.
    fn open_or_create(
        &self,
        start: Start<'a>,
        path: &[u8],
        flags: OpenFlags,
        mode: u16,
        limits: ResolveFlags,
    ) -> Result<Arc<OpenFile>> {
        let mut walker = self.walker(start).restrict(limits);
        let (mut parent, mut last) = walker.resolve_parent(path)?;
        let is_exclusive = flags.contains(OpenFlags::EXCL);
        loop {
            let LastKind::Normal(name, hash) = &last.kind else { return Err(Errno::EISDIR) };
            if last.has_trailing_slash {
                return Err(Errno::EISDIR);
            }
            let mut child = parent.dentry().child(name.as_bytes(), *hash)?;
            if child.kind().is_none() {
                let guard = parent.dentry().lock_for_change()?;
                child = guard.child(name.as_bytes(), *hash)?;
                if child.kind().is_none() {
                    let mode = mode & !self.context.umask();
                    let place = self.create_in(&parent, &guard, name.as_bytes(), *hash, NewKind::Regular, mode)?;
                    drop(guard);
                    return open_checked(place, flags);
                }
            }
            if is_exclusive {
                return Err(Errno::EEXIST);
            }
            let place = PathRef::new(parent.mount().clone(), child).on_top();
            if place.kind() != FileType::Symlink {
                let (directory, owner) = (parent.inode().permissions()?, place.inode().permissions()?.uid);
                self.subject.check_found(directory, place.kind(), owner)?;
                return self.open_place(place, flags);
            }
            if flags.contains(OpenFlags::NOFOLLOW) {
                return Err(Errno::ELOOP);
            }
            match walker.follow_to_parent(parent, &place)? {
                Follow::Place(place) => return self.open_place(place, flags),
                Follow::Parent(next_parent, next_last) => (parent, last) = (next_parent, next_last),
            }
        }
    }

    /// Makes a file without a name in the directory `path` (O_TMPFILE).
    fn open_unnamed(
        &self,
        start: Start<'a>,
        path: &[u8],
        flags: OpenFlags,
        mode: u16,
        limits: ResolveFlags,
    ) -> Result<Arc<OpenFile>> {
        if !flags.is_writable() {
            return Err(Errno::EINVAL);
        }
        let parent = self.resolve_within(start, path, !flags.contains(OpenFlags::NOFOLLOW), limits)?;
        if !parent.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.check(&parent, Access::WRITE | Access::EXECUTE)?;
        let new = self.new_inode(&parent, NewKind::Regular, mode & !self.context.umask())?;
        let inode = parent.inode().create_unnamed(&new)?;
        let name = alloc::format!("#{}", inode.metadata()?.ino);
        let dentry = Dentry::new_unlinked(parent.dentry(), name.as_bytes(), inode, !flags.contains(OpenFlags::EXCL));
        let place = PathRef::new(parent.mount().clone(), dentry);
        open_checked(place, flags)
    }
}

/// What an open asks of the inode's permissions.
fn wanted_access(flags: OpenFlags) -> Access {
    let mut wanted = Access::empty();
    wanted.set(Access::READ, flags.is_readable());
    wanted.set(Access::WRITE, flags.is_writable() || flags.contains(OpenFlags::TRUNC));
    wanted
}

/// Makes the description of a place, access to which has been checked.
fn open_checked(place: PathRef, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let is_device = matches!(place.kind(), FileType::CharDevice | FileType::BlockDevice);
    if is_device && place.mount().flags().contains(MountFlags::NODEV) {
        return Err(Errno::EACCES);
    }
    let file = match place.inode().clone().open(flags)? {
        Some(file) => Some(file),
        None => device::open_special(&place, flags)?,
    };
    inotify::on_file(&place, NotifyMask::OPEN);
    Ok(match file {
        Some(file) => OpenFile::with_file(file, Some(place), flags),
        None => OpenFile::with_inode(place, flags),
    })
}
