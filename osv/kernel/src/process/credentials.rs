//! Who a task is: user and group ids, supplementary groups, capabilities.
//!
//! A [`Credentials`] value never changes once tasks share it; a call that changes ids makes a new one by the rules of
//! credentials(7) and capabilities(7) and replaces the task's. As on Linux each task has its own: that all threads of
//! a process change together is the C library's doing. The rules are pure functions, tested here.
//!
//! There is one user namespace; programs start as root with all capabilities.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;

use crate::errno::{Errno, Result};
use crate::fs::Subject;
use crate::sorting::sort_by;

/// "Leave as it is", in calls that set several ids.
const UNCHANGED: u32 = u32::MAX;

/// The most supplementary groups.
pub const MAX_GROUPS: usize = 65536;

/// All capabilities that Linux 6.1 knows.
pub const ALL_CAPABILITIES: u64 = (1 << (linux::CAP_LAST_CAP + 1)) - 1;

/// What changes of the file-system user id grant or take.
const FILE_CAPABILITIES: u64 = 1 << linux::CAP_CHOWN
    | 1 << linux::CAP_DAC_OVERRIDE
    | 1 << linux::CAP_DAC_READ_SEARCH
    | 1 << linux::CAP_FOWNER
    | 1 << linux::CAP_FSETID
    | 1 << linux::CAP_LINUX_IMMUTABLE
    | 1 << linux::CAP_MKNOD
    | 1 << linux::CAP_MAC_OVERRIDE;

/// Bits of `PR_SET_SECUREBITS`.
pub mod secure_bits {
    /// Root gains no capabilities by `execve`.
    pub const NO_ROOT: u32 = 1 << 0;
    /// Changes of ids leave capabilities alone.
    pub const NO_SETUID_FIXUP: u32 = 1 << 2;
    /// Permitted capabilities survive the loss of the last root id.
    pub const KEEP_CAPS: u32 = 1 << 4;
    /// Ambient capabilities cannot be raised.
    pub const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
    /// All bits that exist, each with the one that locks it.
    pub const ALL: u32 = 0xff;
    /// The locking bits.
    pub const LOCKS: u32 = 0xaa;
}

/// Real, effective, saved and file-system id, of users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ids {
    /// Whose process it is.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// What it can go back to.
    pub saved: u32,
    /// Whose rights it has on files.
    pub file_system: u32,
}

impl Ids {
    const fn all(id: u32) -> Ids {
        Ids { real: id, effective: id, saved: id, file_system: id }
    }

    fn has(&self, id: u32) -> bool {
        id == self.real || id == self.effective || id == self.saved
    }

    /// `setuid`, `setgid`.
    fn set(mut self, id: u32, is_privileged: bool) -> Result<Ids> {
        if id == UNCHANGED {
            return Err(Errno::EINVAL);
        }
        if is_privileged {
            return Ok(Ids::all(id));
        }
        if id != self.real && id != self.saved {
            return Err(Errno::EPERM);
        }
        self.effective = id;
        self.file_system = id;
        Ok(self)
    }

    /// `setreuid`, `setregid`. The saved user id may be taken for the effective one by users as well as groups.
    fn set_real_effective(self, real: u32, effective: u32, is_privileged: bool) -> Result<Ids> {
        let mut new = self;
        if real != UNCHANGED {
            if !is_privileged && real != self.real && real != self.effective {
                return Err(Errno::EPERM);
            }
            new.real = real;
        }
        if effective != UNCHANGED {
            if !is_privileged && !self.has(effective) {
                return Err(Errno::EPERM);
            }
            new.effective = effective;
        }
        if real != UNCHANGED || (effective != UNCHANGED && effective != self.real) {
            new.saved = new.effective;
        }
        new.file_system = new.effective;
        Ok(new)
    }

    /// `setresuid`, `setresgid`.
    fn set_all(self, real: u32, effective: u32, saved: u32, is_privileged: bool) -> Result<Ids> {
        let is_allowed = |id| id == UNCHANGED || is_privileged || self.has(id);
        if !(is_allowed(real) && is_allowed(effective) && is_allowed(saved)) {
            return Err(Errno::EPERM);
        }
        let or = |id, old| if id == UNCHANGED { old } else { id };
        let effective = or(effective, self.effective);
        Ok(Ids { real: or(real, self.real), effective, saved: or(saved, self.saved), file_system: effective })
    }

    /// `setfsuid`, `setfsgid`: says nothing when it refuses.
    fn set_file_system(mut self, id: u32, is_privileged: bool) -> Ids {
        if id != UNCHANGED && (is_privileged || self.has(id) || id == self.file_system) {
            self.file_system = id;
        }
        self
    }

    fn has_root(&self) -> bool {
        self.has(0)
    }
}

/// The sets of capabilities(7), one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What counts in checks.
    pub effective: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What `execve` of a file with such capabilities keeps.
    pub inheritable: u64,
    /// What `execve` can gain.
    pub bounding: u64,
    /// What `execve` keeps.
    pub ambient: u64,
}

/// Who a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User ids.
    pub user: Ids,
    /// Group ids.
    pub group: Ids,
    /// Supplementary groups, sorted.
    pub groups: Arc<[u32]>,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// `PR_SET_SECUREBITS`.
    pub secure_bits: u32,
}

impl Credentials {
    /// Root, who may everything.
    pub fn root() -> Credentials {
        let capabilities = Capabilities {
            effective: ALL_CAPABILITIES,
            permitted: ALL_CAPABILITIES,
            inheritable: 0,
            bounding: ALL_CAPABILITIES,
            ambient: 0,
        };
        Credentials { user: Ids::all(0), group: Ids::all(0), groups: Arc::new([]), capabilities, secure_bits: 0 }
    }

    /// Whether the task holds `CAP_*`.
    pub const fn is_capable(&self, capability: u32) -> bool {
        self.capabilities.effective & 1 << capability != 0
    }

    /// What file systems look at.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            uid: self.user.file_system,
            gid: self.group.file_system,
            groups: &self.groups,
            capabilities: self.capabilities.effective,
        }
    }

    /// What `access(2)` looks at: real ids, and a root's capabilities only for a real root.
    pub fn real_subject(&self) -> Subject<'_> {
        let capabilities = match self.user.real {
            _ if self.secure_bits & secure_bits::NO_SETUID_FIXUP != 0 => self.capabilities.effective,
            0 => self.capabilities.permitted,
            _ => 0,
        };
        Subject { uid: self.user.real, gid: self.group.real, groups: &self.groups, capabilities }
    }

    fn may_set_user(&self) -> bool {
        self.is_capable(linux::CAP_SETUID)
    }

    fn may_set_group(&self) -> bool {
        self.is_capable(linux::CAP_SETGID)
    }

    /// `setuid`.
    pub fn set_user(&self, id: u32) -> Result<Credentials> {
        Ok(self.with_user(self.user.set(id, self.may_set_user())?))
    }

    /// `setgid`.
    pub fn set_group(&self, id: u32) -> Result<Credentials> {
        Ok(self.with_group(self.group.set(id, self.may_set_group())?))
    }

    /// `setreuid`.
    pub fn set_real_effective_user(&self, real: u32, effective: u32) -> Result<Credentials> {
        Ok(self.with_user(self.user.set_real_effective(real, effective, self.may_set_user())?))
    }

    /// `setregid`.
    pub fn set_real_effective_group(&self, real: u32, effective: u32) -> Result<Credentials> {
        Ok(self.with_group(self.group.set_real_effective(real, effective, self.may_set_group())?))
    }

    /// `setresuid`.
    pub fn set_users(&self, real: u32, effective: u32, saved: u32) -> Result<Credentials> {
        Ok(self.with_user(self.user.set_all(real, effective, saved, self.may_set_user())?))
    }

    /// `setresgid`.
    pub fn set_groups_ids(&self, real: u32, effective: u32, saved: u32) -> Result<Credentials> {
        Ok(self.with_group(self.group.set_all(real, effective, saved, self.may_set_group())?))
    }

    /// `setfsuid`.
    pub fn set_file_system_user(&self, id: u32) -> Credentials {
        self.with_user(self.user.set_file_system(id, self.may_set_user()))
    }

    /// `setfsgid`.
    pub fn set_file_system_group(&self, id: u32) -> Credentials {
        self.with_group(self.group.set_file_system(id, self.may_set_group()))
    }

    /// `setgroups`.
    pub fn set_groups(&self, mut groups: alloc::vec::Vec<u32>) -> Result<Credentials> {
        if !self.may_set_group() {
            return Err(Errno::EPERM);
        }
        sort_by(&mut groups, |a, b| a < b);
        Ok(Credentials { groups: groups.into(), ..self.clone() })
    }

    /// `capset`.
    pub fn set_capabilities(&self, effective: u64, permitted: u64, inheritable: u64) -> Result<Credentials> {
        let old = &self.capabilities;
        let may_inherit = if self.is_capable(linux::CAP_SETPCAP) {
            old.inheritable | old.bounding
        } else {
            (old.inheritable | old.permitted) & (old.inheritable | old.bounding)
        };
        let is_allowed =
            inheritable & !may_inherit == 0 && permitted & !old.permitted == 0 && effective & !permitted == 0;
        if !is_allowed {
            return Err(Errno::EPERM);
        }
        let ambient = old.ambient & permitted & inheritable;
        let capabilities = Capabilities { effective, permitted, inheritable, ambient, ..*old };
        Ok(Credentials { capabilities, ..self.clone() })
    }

    /// What an `execve` leaves, of a file whose set-user-ID and set-group-ID bits give these owners.
    pub fn after_exec(&self, set_user: Option<u32>, set_group: Option<u32>) -> Credentials {
        let mut new = self.clone();
        new.user.effective = set_user.unwrap_or(self.user.effective);
        new.group.effective = set_group.unwrap_or(self.group.effective);
        let changes_ids = new.user.effective != self.user.effective || new.group.effective != self.group.effective;
        new.user.saved = new.user.effective;
        new.user.file_system = new.user.effective;
        new.group.saved = new.group.effective;
        new.group.file_system = new.group.effective;
        let old = &self.capabilities;
        let ambient = if changes_ids { 0 } else { old.ambient };
        let is_root = (new.user.effective == 0 || new.user.real == 0) && self.secure_bits & secure_bits::NO_ROOT == 0;
        let permitted = if is_root { old.inheritable | old.bounding } else { ambient };
        let effective = if is_root && new.user.effective == 0 { permitted } else { ambient };
        new.capabilities = Capabilities { effective, permitted, ambient, ..*old };
        new.secure_bits &= !secure_bits::KEEP_CAPS;
        new
    }

    /// Whether an `execve` with the result `new` has to warn the program (AT_SECURE).
    pub fn is_secure_exec(&self, new: &Credentials) -> bool {
        new.user.real != new.user.effective
            || new.group.real != new.group.effective
            || (self.user.real != 0 && new.capabilities.effective & !new.capabilities.ambient != 0)
    }

    /// Whether a task with these credentials could trace one with `other`: all of its ids are the caller's real ones, and it
    /// can do nothing that the caller cannot. Linux' PTRACE_MODE_REALCREDS, but for what the process itself forbids.
    pub fn may_trace(&self, other: &Credentials) -> bool {
        let is_all = |ids: &Ids, id| ids.real == id && ids.effective == id && ids.saved == id;
        let is_weaker = other.capabilities.permitted & !self.capabilities.permitted == 0;
        is_all(&other.user, self.user.real) && is_all(&other.group, self.group.real) && is_weaker
            || self.is_capable(linux::CAP_SYS_PTRACE)
    }

    fn with_group(&self, group: Ids) -> Credentials {
        Credentials { group, ..self.clone() }
    }

    /// The user ids change, and with root's ids its capabilities come and go.
    fn with_user(&self, user: Ids) -> Credentials {
        let old = &self.capabilities;
        let mut new = *old;
        if self.secure_bits & secure_bits::NO_SETUID_FIXUP == 0 {
            if self.user.has_root() && !user.has_root() {
                if self.secure_bits & secure_bits::KEEP_CAPS == 0 {
                    new.permitted = 0;
                    new.effective = 0;
                }
                new.ambient = 0;
            }
            if self.user.effective == 0 && user.effective != 0 {
                new.effective = 0;
            }
            if self.user.effective != 0 && user.effective == 0 {
                new.effective = new.permitted;
            }
            if self.user.effective == user.effective {
                if self.user.file_system == 0 && user.file_system != 0 {
                    new.effective &= !FILE_CAPABILITIES;
                }
                if self.user.file_system != 0 && user.file_system == 0 {
                    new.effective |= new.permitted & FILE_CAPABILITIES;
                }
            }
        }
        Credentials { user, capabilities: new, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32) -> Credentials {
        Credentials::root().set_users(id, id, id).unwrap()
    }

    #[test]
    fn root_becomes_a_user_for_good() {
        let user = Credentials::root().set_user(1000).unwrap();
        assert_eq!(user.user, Ids::all(1000));
        assert_eq!((user.capabilities.effective, user.capabilities.permitted), (0, 0));
        assert_eq!(user.set_user(0), Err(Errno::EPERM));
        assert_eq!(user.set_user(UNCHANGED), Err(Errno::EINVAL));
    }

    #[test]
    fn a_root_that_steps_down_can_come_back() {
        let stepped = Credentials::root().set_users(UNCHANGED, 1000, UNCHANGED).unwrap();
        assert_eq!((stepped.capabilities.effective, stepped.capabilities.permitted), (0, ALL_CAPABILITIES));
        let back = stepped.set_user(0).unwrap();
        assert_eq!(back.capabilities.effective, ALL_CAPABILITIES);
    }

    #[test]
    fn users_move_among_their_own_ids() {
        let mut credentials = user(1000);
        credentials.user.saved = 2000;
        assert_eq!(credentials.set_user(2000).unwrap().user.effective, 2000);
        assert_eq!(credentials.set_real_effective_user(UNCHANGED, 3000), Err(Errno::EPERM));
        let swapped = credentials.set_real_effective_user(1000, 2000).unwrap();
        assert_eq!((swapped.user.effective, swapped.user.saved), (2000, 2000));
        assert_eq!(credentials.set_users(2000, 2000, 2000).unwrap().user, Ids::all(2000));
        assert_eq!(credentials.set_groups(alloc::vec![1]), Err(Errno::EPERM));
    }

    #[test]
    fn the_file_system_id_takes_file_capabilities_only() {
        let user = Credentials::root().set_file_system_user(1000);
        assert!(!user.is_capable(linux::CAP_DAC_OVERRIDE) && user.is_capable(linux::CAP_SYS_ADMIN));
        assert_eq!(user.set_file_system_user(0).capabilities, Credentials::root().capabilities);
    }

    #[test]
    fn keep_caps_keeps_permitted() {
        let root = Credentials { secure_bits: secure_bits::KEEP_CAPS, ..Credentials::root() };
        let user = root.set_user(1000).unwrap();
        assert_eq!((user.capabilities.permitted, user.capabilities.effective), (ALL_CAPABILITIES, 0));
    }

    #[test]
    fn capset_only_takes_away() {
        let root = Credentials::root();
        let less = root.set_capabilities(1, 3, 0).unwrap();
        assert_eq!(less.set_capabilities(3, 3, 0).unwrap().capabilities.effective, 3);
        assert_eq!(less.set_capabilities(1, 7, 0), Err(Errno::EPERM));
        assert_eq!(less.set_capabilities(4, 3, 0), Err(Errno::EPERM));
    }

    #[test]
    fn exec_gives_root_its_capabilities_and_takes_a_users() {
        let run = user(1000).after_exec(Some(0), None);
        assert_eq!((run.user.effective, run.user.real), (0, 1000));
        assert_eq!(run.capabilities.effective, ALL_CAPABILITIES);
        assert!(user(1000).is_secure_exec(&run));
        let plain = user(1000).after_exec(None, None);
        assert_eq!(plain.capabilities.effective, 0);
        assert!(!user(1000).is_secure_exec(&plain));
        let root = Credentials::root();
        assert_eq!(root.after_exec(None, None).capabilities, root.capabilities);
        assert!(!root.is_secure_exec(&root.after_exec(None, None)));
    }
}
