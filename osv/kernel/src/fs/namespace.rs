//! Namespaces of mounts: which tree of mounts a process sees.
//!
//! The first one is what the boot makes; `unshare(CLONE_NEWNS)` and `clone` make copies, in which mounts come and go on their
//! own. Nothing spreads from one to another, whatever the propagation of a mount says. The tree of a copy is taken apart
//! when the last process that sees it, and the last file that stands for it, are gone. Source: mount_namespaces(7).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::mounting::{self, Copies};
use super::{Mount, PathRef};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// The number of the first one in `/proc/PID/ns`, as on Linux.
const FIRST_ID: u64 = 4_026_531_841;
/// Numbers of copies begin here.
const FIRST_COPY_ID: u64 = 4_026_532_256;

/// A tree of mounts, as some processes see it.
pub struct MountNamespace {
    id: u64,
    root: SpinLock<Arc<Mount>>,
}

impl MountNamespace {
    /// The first one, with all that hangs on `root`.
    pub(super) fn first(root: Arc<Mount>) -> Arc<MountNamespace> {
        Arc::new(MountNamespace { id: FIRST_ID, root: SpinLock::new(root) })
    }

    /// A copy, and which of its mounts is a copy of which.
    pub(super) fn copy(&self) -> Result<(Arc<MountNamespace>, Copies)> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(FIRST_COPY_ID);
        let copies = mounting::copy_all(&self.root())?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok((Arc::new(MountNamespace { id, root: SpinLock::new(copies.top()) }), copies))
    }

    /// Its number in `/proc/PID/ns`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The mount that all others hang on.
    pub fn root(&self) -> Arc<Mount> {
        self.root.lock().clone()
    }

    /// Makes `mount` the one that all others hang on (`pivot_root`).
    pub(super) fn set_root(&self, mount: Arc<Mount>) {
        let old = core::mem::replace(&mut *self.root.lock(), mount);
        drop(old);
    }

    /// Whether `place` can be reached from the root.
    pub fn contains(&self, place: &PathRef) -> bool {
        Arc::ptr_eq(&mounting::top_mount(place), &self.root())
    }

    /// EINVAL for a place that cannot be reached.
    pub(super) fn check(&self, place: &PathRef) -> Result<()> {
        if self.contains(place) { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        self.root().dissolve();
    }
}
