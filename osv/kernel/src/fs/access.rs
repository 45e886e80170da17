//! Permission checks: may this subject read, write, search or own that inode?
//!
//! A [`Subject`] is the file-system side of a task's credentials. The rules are Linux': the owner's bits for the
//! owner, the group's for members of the group, others' for the rest, and the capabilities that override them.

use super::{FileType, Permissions};
use crate::errno::{Errno, Result};
use crate::limits;

/// Set-user-id bit.
pub(super) const SET_UID: u16 = 0o4000;
/// Set-group-id bit: on a directory, new entries inherit its group.
pub(super) const SET_GID: u16 = 0o2000;
/// Sticky bit: only owners remove entries.
pub(super) const STICKY: u16 = 0o1000;
const GROUP_WRITE: u16 = 0o020;
pub(super) const GROUP_EXECUTE: u16 = 0o010;
const OTHERS_WRITE: u16 = 0o002;

bitflags::bitflags! {
    /// What is asked for; the values of `access(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u16 {
        /// Execute a file or search a directory.
        const EXECUTE = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

/// Who asks: the credentials that file operations look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// File-system user id.
    pub uid: u32,
    /// File-system group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
    /// Effective capabilities, one bit each (bit 0 is CAP_CHOWN).
    pub capabilities: u64,
}

/// Capabilities that files know of, as bit masks.
pub mod capability {
    use linux_raw_sys::general;

    /// Change owners at will.
    pub const CHOWN: u64 = 1 << general::CAP_CHOWN;
    /// Ignore permission bits.
    pub const DAC_OVERRIDE: u64 = 1 << general::CAP_DAC_OVERRIDE;
    /// Read all files and search all directories.
    pub const DAC_READ_SEARCH: u64 = 1 << general::CAP_DAC_READ_SEARCH;
    /// Act as any file's owner.
    pub const FOWNER: u64 = 1 << general::CAP_FOWNER;
    /// Keep set-id bits.
    pub const FSETID: u64 = 1 << general::CAP_FSETID;
    /// Mount, and a great deal more.
    pub const SYS_ADMIN: u64 = 1 << general::CAP_SYS_ADMIN;
    /// Use chroot.
    pub const SYS_CHROOT: u64 = 1 << general::CAP_SYS_CHROOT;
    /// Create device nodes.
    pub const MKNOD: u64 = 1 << general::CAP_MKNOD;
    /// Exceed resource limits.
    pub const SYS_RESOURCE: u64 = 1 << general::CAP_SYS_RESOURCE;
}

impl Subject<'static> {
    /// The kernel itself, and root with all capabilities.
    pub const ROOT: Subject<'static> = Subject { uid: 0, gid: 0, groups: &[], capabilities: u64::MAX };
}

impl Subject<'_> {
    /// Whether the subject holds capability `mask`.
    #[inline]
    pub const fn has(&self, mask: u64) -> bool {
        self.capabilities & mask != 0
    }

    /// Whether the subject is in group `gid`.
    pub fn is_member(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Whether the subject owns an inode of `owner`, or may act as if.
    pub const fn owns(&self, owner: u32) -> bool {
        self.uid == owner || self.has(capability::FOWNER)
    }

    /// EACCES if a symlink of `owner` must not be followed, because others can put symlinks into its directory, too
    /// (`protected_symlinks`).
    pub fn check_follow(&self, directory: Permissions, owner: u32) -> Result<()> {
        let is_common = directory.mode & (STICKY | OTHERS_WRITE) == STICKY | OTHERS_WRITE;
        let is_trusted = owner == self.uid || owner == directory.uid;
        let is_protected = is_common && !is_trusted && limits::PROTECTED_SYMLINKS.get() != 0;
        if is_protected { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// EACCES if an existing file must not be opened by who would make it, because somebody else was faster
    /// (`protected_regular`, `protected_fifos`).
    pub fn check_found(&self, directory: Permissions, kind: FileType, owner: u32) -> Result<()> {
        let level = match kind {
            FileType::Regular => limits::PROTECTED_REGULAR.get(),
            FileType::Fifo => limits::PROTECTED_FIFOS.get(),
            _ => 0,
        };
        let is_trusted = owner == self.uid || owner == directory.uid;
        let writers = if level >= 2 { OTHERS_WRITE | GROUP_WRITE } else { OTHERS_WRITE };
        let is_common = directory.mode & STICKY != 0 && directory.mode & writers != 0;
        if level != 0 && is_common && !is_trusted { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// EPERM if the subject must not give a file another name (`protected_hardlinks`).
    pub fn check_link_source(&self, kind: FileType, file: Permissions) -> Result<()> {
        if limits::PROTECTED_HARDLINKS.get() == 0 || self.owns(file.uid) {
            return Ok(());
        }
        let runs_as_group = file.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
        let is_safe = kind == FileType::Regular && file.mode & SET_UID == 0 && !runs_as_group;
        let may_write = || self.check(kind, file, Access::READ | Access::WRITE).is_ok();
        if is_safe && may_write() { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Whether nothing that a directory search could ask would be refused, so that checks may be skipped.
    #[inline]
    pub const fn searches_everywhere(&self) -> bool {
        self.has(capability::DAC_OVERRIDE | capability::DAC_READ_SEARCH)
    }

    /// Grants or refuses `wanted` on an inode (EACCES).
    pub fn check(&self, kind: FileType, permissions: Permissions, wanted: Access) -> Result<()> {
        let shift = if self.uid == permissions.uid {
            6
        } else if self.is_member(permissions.gid) {
            3
        } else {
            0
        };
        let granted = Access::from_bits_truncate(permissions.mode >> shift);
        if granted.contains(wanted) || self.overrides(kind, permissions.mode, wanted) {
            return Ok(());
        }
        Err(Errno::EACCES)
    }

    fn overrides(&self, kind: FileType, mode: u16, wanted: Access) -> bool {
        let is_directory = kind == FileType::Directory;
        let is_reading = !wanted.contains(Access::WRITE) && (is_directory || wanted == Access::READ);
        if is_reading && self.has(capability::DAC_READ_SEARCH) {
            return true;
        }
        let may_execute = is_directory || !wanted.contains(Access::EXECUTE) || mode & 0o111 != 0;
        may_execute && self.has(capability::DAC_OVERRIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Subject<'static> = Subject { uid: 1000, gid: 100, groups: &[5], capabilities: 0 };

    fn inode(mode: u16, uid: u32, gid: u32) -> Permissions {
        Permissions { mode, uid, gid }
    }

    #[test]
    fn the_first_matching_class_decides() {
        let owner_without_rights = inode(0o077, 1000, 5);
        assert_eq!(USER.check(FileType::Regular, owner_without_rights, Access::READ), Err(Errno::EACCES));
        assert_eq!(USER.check(FileType::Regular, inode(0o040, 0, 5), Access::READ), Ok(()));
        assert_eq!(USER.check(FileType::Regular, inode(0o004, 0, 5), Access::READ), Err(Errno::EACCES));
        assert_eq!(USER.check(FileType::Regular, inode(0o004, 0, 6), Access::READ), Ok(()));
    }

    #[test]
    fn root_cannot_execute_what_nobody_can() {
        assert_eq!(Subject::ROOT.check(FileType::Regular, inode(0o644, 1, 1), Access::EXECUTE), Err(Errno::EACCES));
        assert_eq!(Subject::ROOT.check(FileType::Regular, inode(0o100, 1, 1), Access::EXECUTE), Ok(()));
        assert_eq!(Subject::ROOT.check(FileType::Directory, inode(0, 1, 1), Access::all()), Ok(()));
        assert_eq!(Subject::ROOT.check(FileType::Regular, inode(0, 1, 1), Access::READ | Access::WRITE), Ok(()));
    }
}
