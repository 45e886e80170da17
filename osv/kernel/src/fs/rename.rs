//! `renameat2`: moving, replacing and exchanging names.

use alloc::sync::Arc;

use super::caller::{normal, of_kind};
use super::dentry::Dentry;
use super::{Access, Caller, PathRef, RenameFlags, Start, access::capability};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};

impl<'a> Caller<'a> {
    /// Makes what is named `old` be named `new`.
    pub fn rename(&self, from: Start<'a>, old: &[u8], to: Start<'a>, new: &[u8], flags: RenameFlags) -> Result<()> {
        self.check_flags(flags)?;
        let (old_parent, old_last) = self.walker(from).resolve_parent(old)?;
        let (new_parent, new_last) = self.walker(to).resolve_parent(new)?;
        if !Arc::ptr_eq(old_parent.mount(), new_parent.mount()) {
            return Err(Errno::EXDEV);
        }
        let (old_name, old_hash) = normal(&old_last, Errno::EBUSY)?;
        let refuses = flags.contains(RenameFlags::NOREPLACE);
        let (new_name, new_hash) = normal(&new_last, if refuses { Errno::EEXIST } else { Errno::EBUSY })?;
        old_parent.mount().check_writable()?;

        let is_move = !Arc::ptr_eq(old_parent.dentry(), new_parent.dentry());
        let _shape = is_move.then(|| old_parent.mount().super_block().rename_lock().lock());
        let (old_guard, new_guard) = Dentry::lock_two(old_parent.dentry(), new_parent.dentry())?;
        let new_guard = new_guard.as_ref().unwrap_or(&old_guard);
        let source = old_guard.child(old_name, old_hash)?;
        if source.kind().is_none() {
            return Err(Errno::ENOENT);
        }
        let target = new_guard.child(new_name, new_hash)?;

        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        check_existence(&target, flags)?;
        let needs_directory = old_last.has_trailing_slash || (new_last.has_trailing_slash && !exchanges);
        if needs_directory && !source.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if exchanges && new_last.has_trailing_slash && !target.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if source.is_ancestor_of(new_parent.dentry()) {
            return Err(Errno::EINVAL);
        }
        if target.kind().is_some() && target.is_ancestor_of(old_parent.dentry()) {
            return Err(if exchanges { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if target.kind().is_some() && Arc::ptr_eq(source.inode(), target.inode()) {
            return Ok(());
        }
        self.check_move(&old_parent, &source, &new_parent, &target, exchanges)?;

        let _target_guard = if target.is_directory() && !exchanges { Some(target.lock_for_change()?) } else { None };
        old_parent.inode().rename(old_name, new_parent.inode(), new_name, flags)?;
        if exchanges {
            old_guard.exchanged(&source, &target, new_parent.dentry());
        } else {
            old_guard.moved(&source, new_parent.dentry(), new_name);
        }
        if inotify::is_active() {
            let replaced = (!exchanges && target.kind().is_some()).then_some(&target);
            tell_of_move((&old_parent, old_name), (&new_parent, new_name), &source, replaced);
            if exchanges {
                tell_of_move((&new_parent, new_name), (&old_parent, old_name), &target, None);
            }
        }
        Ok(())
    }

    fn check_flags(&self, flags: RenameFlags) -> Result<()> {
        let others = RenameFlags::NOREPLACE | RenameFlags::WHITEOUT;
        if flags.contains(RenameFlags::EXCHANGE) && flags.intersects(others) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(RenameFlags::WHITEOUT) && !self.subject.has(capability::MKNOD) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    fn check_move(
        &self,
        old_parent: &PathRef,
        source: &Arc<Dentry>,
        new_parent: &PathRef,
        target: &Arc<Dentry>,
        exchanges: bool,
    ) -> Result<()> {
        self.check_removable(old_parent, source, source.is_directory())?;
        if target.kind().is_none() {
            self.check(new_parent, Access::WRITE | Access::EXECUTE)?;
        } else {
            let as_directory = if exchanges { target.is_directory() } else { source.is_directory() };
            self.check_removable(new_parent, target, as_directory)?;
        }
        if !Arc::ptr_eq(old_parent.dentry(), new_parent.dentry()) {
            self.check_moves_away(source)?;
            if exchanges {
                self.check_moves_away(target)?;
            }
        }
        Ok(())
    }

    /// A directory whose `..` changes has to be writable itself.
    fn check_moves_away(&self, moved: &Arc<Dentry>) -> Result<()> {
        if !moved.is_directory() {
            return Ok(());
        }
        self.subject.check(super::FileType::Directory, moved.inode().permissions()?, Access::WRITE)
    }
}

/// Tells those who watch either directory, what has moved, or what was replaced.
fn tell_of_move(from: (&PathRef, &[u8]), to: (&PathRef, &[u8]), moved: &Arc<Dentry>, replaced: Option<&Arc<Dentry>>) {
    let cookie = inotify::new_cookie();
    inotify::on_entry(from.0.inode(), from.1, of_kind(NotifyMask::MOVED_FROM, moved), cookie);
    inotify::on_entry(to.0.inode(), to.1, of_kind(NotifyMask::MOVED_TO, moved), cookie);
    if let Some(replaced) = replaced {
        inotify::on_self(replaced.inode(), NotifyMask::ATTRIB);
    }
    inotify::on_self(moved.inode(), NotifyMask::MOVE_SELF);
    if let Some(replaced) = replaced {
        inotify::on_lost(replaced, 1);
    }
}

fn check_existence(target: &Dentry, flags: RenameFlags) -> Result<()> {
    let target_exists = target.kind().is_some();
    if flags.contains(RenameFlags::NOREPLACE) && target_exists {
        return Err(Errno::EEXIST);
    }
    if flags.contains(RenameFlags::EXCHANGE) && !target_exists {
        return Err(Errno::ENOENT);
    }
    Ok(())
}
