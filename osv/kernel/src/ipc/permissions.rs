//! Who may do what with an IPC object.
//!
//! The rules look like those of files and are not: creator and owner count alike, by *effective* ids; the three classes of
//! bits asked for are folded into one; and one capability, CAP_IPC_OWNER, overrides them all.
//! Source: svipc(7), `ipcperms` of Linux' `ipc/util.c`.

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use linux_raw_sys::general as linux;

use super::table::SEQUENCE_SHIFT;
use crate::errno::{Errno, Result};
use crate::process::Credentials;
use crate::sync::SpinLock;

/// Bits of the mode that `IPC_SET` can change.
const MODE_BITS: u32 = 0o777;

/// Key, owners and mode: `struct ipc_perm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The key that it was made with.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Creator.
    pub creator_uid: u32,
    /// Creating group.
    pub creator_gid: u32,
    /// Permission bits, and the marks that some families put beside them.
    pub mode: u32,
}

impl Permissions {
    /// Those of an object that `credentials` makes.
    pub fn new(key: i32, mode: u32, credentials: &Credentials) -> Permissions {
        let (uid, gid) = (credentials.user.effective, credentials.group.effective);
        Permissions { key, uid, gid, creator_uid: uid, creator_gid: gid, mode: mode & MODE_BITS }
    }

    /// Grants or refuses what the bits of `wanted` ask for (EACCES).
    pub fn check(&self, credentials: &Credentials, wanted: u32) -> Result<()> {
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let subject = credentials.subject();
        let granted = if self.is_owner(credentials) {
            self.mode >> 6
        } else if subject.is_member(self.creator_gid) || subject.is_member(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 0o7 == 0 || credentials.is_capable(linux::CAP_IPC_OWNER) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    fn is_owner(&self, credentials: &Credentials) -> bool {
        let user = credentials.user.effective;
        user == self.uid || user == self.creator_uid
    }

    /// EPERM unless it is the asker's to change and remove.
    pub fn check_owner(&self, credentials: &Credentials) -> Result<()> {
        if self.is_owner(credentials) || credentials.is_capable(linux::CAP_SYS_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// EPERM unless the asker may keep it in memory, given how much it may lock.
    pub fn check_locking(&self, credentials: &Credentials, limit: u64) -> Result<()> {
        let is_allowed = self.is_owner(credentials) && limit != 0;
        if is_allowed || credentials.is_capable(linux::CAP_IPC_LOCK) { Ok(()) } else { Err(Errno::EPERM) }
    }
}

/// What every object has: its id, its owners, and whether it is still there.
pub struct Header {
    id: AtomicI32,
    is_removed: AtomicBool,
    permissions: SpinLock<Permissions>,
}

impl Header {
    /// That of an object that is in no table yet.
    pub fn new(permissions: Permissions) -> Header {
        Header { id: AtomicI32::new(-1), is_removed: AtomicBool::new(false), permissions: SpinLock::new(permissions) }
    }

    /// The number that programs know it by.
    pub fn id(&self) -> i32 {
        self.id.load(Ordering::Relaxed)
    }

    /// What of the number counts how often its place was used.
    pub fn sequence(&self) -> u16 {
        (self.id() >> SEQUENCE_SHIFT) as u16
    }

    pub(super) fn set_id(&self, id: i32) {
        self.id.store(id, Ordering::Relaxed);
    }

    /// Whether it has been removed: who waits for it gives up (EIDRM).
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::SeqCst)
    }

    pub(super) fn mark_removed(&self) {
        self.is_removed.store(true, Ordering::SeqCst);
    }

    /// A copy of key, owners and mode.
    pub fn permissions(&self) -> Permissions {
        *self.permissions.lock()
    }

    /// Grants or refuses what `wanted` asks for (EACCES).
    pub fn check(&self, credentials: &Credentials, wanted: u32) -> Result<()> {
        self.permissions().check(credentials, wanted)
    }

    /// `IPC_SET`: new owners and permission bits. EINVAL for ids that are none.
    pub fn set(&self, uid: u32, gid: u32, mode: u32) -> Result<()> {
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        let mut permissions = self.permissions.lock();
        (permissions.uid, permissions.gid) = (uid, gid);
        permissions.mode = permissions.mode & !MODE_BITS | mode & MODE_BITS;
        Ok(())
    }

    /// Changes marks beside the permission bits, or the key.
    pub(super) fn change(&self, change: impl FnOnce(&mut Permissions)) {
        change(&mut self.permissions.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::access;

    fn user(id: u32) -> Credentials {
        Credentials::root().set_group(id).unwrap().set_groups(alloc::vec![7]).unwrap().set_users(id, id, id).unwrap()
    }

    #[test]
    fn creator_and_owner_are_alike() {
        let mut object = Permissions::new(1, 0o600, &user(1000));
        object.uid = 2000;
        for id in [1000, 2000] {
            assert_eq!(object.check(&user(id), access::READ | access::WRITE), Ok(()));
            assert_eq!(object.check_owner(&user(id)), Ok(()));
        }
        assert_eq!(object.check(&user(3000), access::READ), Err(Errno::EACCES));
        assert_eq!(object.check_owner(&user(3000)), Err(Errno::EPERM));
    }

    #[test]
    fn the_first_class_decides() {
        let object = Permissions::new(1, 0o044, &user(1000));
        assert_eq!(object.check(&user(1000), access::READ), Err(Errno::EACCES));
        assert_eq!(object.check(&user(3000), access::READ), Ok(()));
        assert_eq!(object.check(&user(3000), access::WRITE), Err(Errno::EACCES));
        let for_group = Permissions { gid: 7, mode: 0o060, ..object };
        assert_eq!(for_group.check(&user(3000), access::WRITE), Ok(()));
        assert_eq!(for_group.check(&Credentials::root(), access::WRITE), Ok(()));
    }

    #[test]
    fn only_permission_bits_are_set() {
        let header = Header::new(Permissions::new(1, 0o7600, &user(1000)));
        header.change(|permissions| permissions.mode |= 0o1000);
        header.set(5, 6, 0o4755).unwrap();
        let Permissions { uid, gid, mode, creator_uid, .. } = header.permissions();
        assert_eq!((uid, gid, mode, creator_uid), (5, 6, 0o1755, 1000));
        assert_eq!(header.set(u32::MAX, 6, 0), Err(Errno::EINVAL));
    }
}
