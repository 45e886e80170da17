//! The files that stand for namespaces: what the links in `/proc/PID/ns` lead to, and `setns` takes.
//!
//! Of mounts there can be several namespaces; of all else there is one, into which everybody may go, being there already.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general;

use super::namespace::MountNamespace;
use super::{ANONYMOUS_DEVICE, File, FileType, Metadata, OpenFile, OpenFlags};
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};

/// Commands of ioctl_ns(2).
mod command {
    /// NS_GET_USERNS.
    pub const USER: u32 = 0xb701;
    /// NS_GET_PARENT.
    pub const PARENT: u32 = 0xb702;
    /// NS_GET_NSTYPE.
    pub const KIND: u32 = 0xb703;
    /// NS_GET_OWNER_UID.
    pub const OWNER: u32 = 0xb704;
}

/// A kind of namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Its name in `/proc/PID/ns`.
    pub name: &'static str,
    /// Its bit in the flags of `clone`, `unshare` and `setns`.
    pub flag: u32,
    /// The number of the only one, or of the first.
    pub first_id: u64,
}

/// All kinds.
pub const KINDS: [Kind; 8] = [
    Kind { name: "cgroup", flag: general::CLONE_NEWCGROUP, first_id: 4_026_531_835 },
    Kind { name: "ipc", flag: general::CLONE_NEWIPC, first_id: 4_026_531_839 },
    Kind { name: "mnt", flag: general::CLONE_NEWNS, first_id: 4_026_531_841 },
    Kind { name: "net", flag: general::CLONE_NEWNET, first_id: 4_026_531_840 },
    Kind { name: "pid", flag: general::CLONE_NEWPID, first_id: 4_026_531_836 },
    Kind { name: "time", flag: general::CLONE_NEWTIME, first_id: 4_026_531_834 },
    Kind { name: "user", flag: general::CLONE_NEWUSER, first_id: 4_026_531_837 },
    Kind { name: "uts", flag: general::CLONE_NEWUTS, first_id: 4_026_531_838 },
];

/// An open namespace: it lives on while it is open.
pub struct NamespaceFile {
    kind: Kind,
    mounts: Arc<MountNamespace>,
}

impl NamespaceFile {
    /// The namespace of `kind` of a process that sees `mounts`.
    pub fn new(kind: Kind, mounts: Arc<MountNamespace>) -> Arc<NamespaceFile> {
        Arc::new(NamespaceFile { kind, mounts })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The mounts that its process saw.
    pub fn mounts(&self) -> &Arc<MountNamespace> {
        &self.mounts
    }

    fn is_of_users(&self) -> bool {
        self.kind.flag == general::CLONE_NEWUSER
    }

    /// Whether one namespace could stand above another: the only one is the uppermost.
    fn has_levels(&self) -> bool {
        self.is_of_users() || self.kind.flag == general::CLONE_NEWPID
    }

    /// A descriptor of the namespace of users that this one belongs to. EPERM for that itself.
    fn open_owner(&self) -> Result<u64> {
        if self.is_of_users() {
            return Err(Errno::EPERM);
        }
        let users = KINDS.iter().find(|kind| kind.flag == general::CLONE_NEWUSER).ok_or(Errno::ENOTTY)?;
        let file = OpenFile::with_file(NamespaceFile::new(*users, self.mounts.clone()), None, OpenFlags::empty());
        let limit = current_process().limit(Resource::OpenFiles);
        current_task().files().install(file, true, limit).map(|fd| fd as u64)
    }

    fn id(&self) -> u64 {
        if self.kind.flag == general::CLONE_NEWNS { self.mounts.id() } else { self.kind.first_id }
    }
}

impl File for NamespaceFile {
    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        match command {
            command::USER => self.open_owner(),
            command::PARENT if self.has_levels() => Err(Errno::EPERM),
            command::KIND => Ok(u64::from(self.kind.flag)),
            command::OWNER if self.is_of_users() => UserPtr::<u32>::new(arg).write(&0).map(|()| 0),
            command::PARENT | command::OWNER => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(ANONYMOUS_DEVICE, self.id(), FileType::Regular, 0o444))
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}:[{}]", self.kind.name, self.id()).as_bytes());
    }
}
