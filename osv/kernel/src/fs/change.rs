//! Changes of attributes: mode, owners, times, size, with the rules of who may.

use super::access::{GROUP_EXECUTE, SET_GID, SET_UID, capability};
use super::caller::is_stored;
use super::{Access, Caller, FileType, PathRef, Permissions, SetAttributes, SetTime, text};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};

impl Caller<'_> {
    /// `chmod`
    pub fn change_mode(&self, place: &PathRef, mode: u16) -> Result<()> {
        place.mount().check_writable()?;
        if place.kind() == FileType::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        let now = place.inode().permissions()?;
        if !self.subject.owns(now.uid) {
            return Err(Errno::EPERM);
        }
        let mut mode = mode & 0o7777;
        if !self.subject.is_member(now.gid) && !self.subject.has(capability::FSETID) {
            mode &= !SET_GID;
        }
        set_attributes(place, &SetAttributes { mode: Some(mode), ..Default::default() })
    }

    /// `chown`; `None` leaves an owner as it is.
    pub fn change_owner(&self, place: &PathRef, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        place.mount().check_writable()?;
        let now = place.inode().permissions()?;
        if !self.subject.has(capability::CHOWN) {
            let is_owner = self.subject.uid == now.uid;
            let may_uid = uid.is_none_or(|uid| is_owner && uid == now.uid);
            let may_gid = gid.is_none_or(|gid| is_owner && (gid == now.gid || self.subject.is_member(gid)));
            if !may_uid || !may_gid {
                return Err(Errno::EPERM);
            }
        }
        let mode = (!place.is_directory()).then(|| self.without_set_id(&now)).filter(|&mode| mode != now.mode);
        if mode.is_some() && !self.subject.owns(now.uid) {
            return Err(Errno::EPERM);
        }
        set_attributes(place, &SetAttributes { mode, uid, gid, ..Default::default() })
    }

    /// `utimensat`; `None` leaves a time as it is.
    pub fn change_times(&self, place: &PathRef, atime: Option<SetTime>, mtime: Option<SetTime>) -> Result<()> {
        place.mount().check_writable()?;
        let now = place.inode().permissions()?;
        let is_touch = (atime, mtime) == (Some(SetTime::Now), Some(SetTime::Now));
        if !self.subject.owns(now.uid) {
            if !is_touch {
                return Err(Errno::EPERM);
            }
            self.check(place, Access::WRITE)?;
        }
        place.inode().set_attributes(&SetAttributes { atime, mtime, ..Default::default() })?;
        match (atime, mtime) {
            (Some(_), None) => inotify::on_file(place, NotifyMask::ACCESS),
            (None, Some(_)) => inotify::on_file(place, NotifyMask::MODIFY),
            _ => inotify::on_file(place, NotifyMask::ATTRIB),
        }
        Ok(())
    }

    /// `truncate`
    pub fn truncate(&self, place: &PathRef, len: u64) -> Result<()> {
        match place.kind() {
            FileType::Directory => return Err(Errno::EISDIR),
            FileType::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
        self.check(place, Access::WRITE)?;
        self.truncate_place(place, len)
    }

    /// As [`Caller::truncate`], rights having been checked.
    pub(super) fn truncate_place(&self, place: &PathRef, len: u64) -> Result<()> {
        text::check_writable(place.inode())?;
        place.inode().truncate(len)?;
        inotify::on_file(place, NotifyMask::MODIFY);
        self.drop_set_id(place)
    }

    /// Takes set-id bits away from a file whose contents change.
    #[inline(always)]
    pub fn drop_set_id(&self, place: &PathRef) -> Result<()> {
        if self.subject.has(capability::FSETID) || !is_stored(place.kind()) || place.is_directory() {
            return Ok(());
        }
        let now = place.inode().permissions()?;
        let dropped = self.without_set_id(&now);
        if dropped == now.mode {
            return Ok(());
        }
        place.inode().set_attributes(&SetAttributes { mode: Some(dropped), ..Default::default() })
    }

    /// A mode without what `chown` and writes take away: set-user-id, and set-group-id where it means the program's
    /// group, or where the caller could not set it.
    fn without_set_id(&self, now: &Permissions) -> u16 {
        let may_set = self.subject.is_member(now.gid) || self.subject.has(capability::FSETID);
        let mode = now.mode & !SET_UID;
        if mode & GROUP_EXECUTE != 0 || !may_set { mode & !SET_GID } else { mode }
    }
}

fn set_attributes(place: &PathRef, change: &SetAttributes) -> Result<()> {
    place.inode().set_attributes(change)?;
    inotify::on_file(place, NotifyMask::ATTRIB);
    Ok(())
}
