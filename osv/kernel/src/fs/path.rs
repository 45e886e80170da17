//! Places in the tree, and what a process calls root and here, in which tree of mounts.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU16, Ordering};

use super::dentry::Dentry;
use super::mount::Mount;
use super::namespace::MountNamespace;
use super::{FileType, Inode};
use crate::errno::Result;
use crate::mem::object::MappingName;
use crate::sync::SpinLock;

/// A place in the tree: what working directories, roots and open files hold. There is always an inode at it.
#[derive(Clone)]
pub struct PathRef {
    mount: Arc<Mount>,
    dentry: Arc<Dentry>,
}

impl PathRef {
    /// The place of `dentry`, which is not a negative one, in `mount`.
    pub(super) fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> PathRef {
        PathRef { mount, dentry }
    }

    /// The place of `dentry` in the mount of this one.
    #[inline]
    pub(super) fn moved_to(self, dentry: Arc<Dentry>) -> PathRef {
        PathRef { mount: self.mount, dentry }
    }

    /// The mount through which it is seen.
    #[inline]
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// Its name in the tree of its file system.
    #[inline]
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }

    /// The inode at this place.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// The type of the inode.
    pub fn kind(&self) -> FileType {
        self.dentry.kind().unwrap_or(FileType::Regular)
    }

    /// Whether it is a directory.
    #[inline]
    pub fn is_directory(&self) -> bool {
        self.dentry.is_directory()
    }

    /// Whether it is the root of its mount.
    #[inline]
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The place that shows here: the root of what is mounted on it, or itself.
    #[inline]
    pub(super) fn on_top(mut self) -> PathRef {
        while self.dentry.is_mount_point() {
            let Some(mounted) = self.mount.mounted_on(&self.dentry) else { break };
            mounted.note_crossing();
            self = mounted.root_path();
        }
        self
    }

    /// The directory above, across mounts but not above `root`; `None` if this is the top.
    pub(super) fn above(&self, is_root: impl Fn(&PathRef) -> bool) -> Option<PathRef> {
        let mut at = self.clone();
        loop {
            if is_root(&at) {
                return None;
            }
            if !at.is_mount_root() {
                let parent = at.dentry.parent()?;
                return Some(PathRef { dentry: parent, ..at }.on_top());
            }
            at = at.mount.attachment()?;
        }
    }

    /// The path from `root` to this place, and whether it lies below `root` at all. A place that was removed from
    /// its directory still has the path that it had.
    pub fn absolute_path(&self, root: &PathRef) -> (Vec<u8>, bool) {
        let mut names = Vec::new();
        let mut at = self.clone();
        let is_reachable = loop {
            if at == *root {
                break true;
            }
            if at.is_mount_root() {
                match at.mount.attachment() {
                    Some(place) => at = place,
                    None => break false,
                }
            } else {
                let Some(parent) = at.dentry.parent() else { break false };
                names.push(at.dentry.name());
                at.dentry = parent;
            }
        };
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        if path.is_empty() {
            path.push(b'/');
        }
        (path, is_reachable)
    }

    /// As [`PathRef::absolute_path`], as links in `/proc` show it: with ` (deleted)` for a place that was removed.
    pub fn link_text(&self, root: &PathRef) -> Vec<u8> {
        let (mut path, _) = self.absolute_path(root);
        if self.dentry.is_unlinked() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }
}

impl MappingName for PathRef {
    /// The path from the topmost root, whatever the process' own root is.
    fn write_name(&self, out: &mut Vec<u8>) {
        let mut top = self.mount.root_path();
        while let Some(place) = top.mount.attachment() {
            top = place.mount.root_path();
        }
        out.extend_from_slice(&self.link_text(&top));
    }
}

impl PartialEq for PathRef {
    #[inline]
    fn eq(&self, other: &PathRef) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }
}

impl Eq for PathRef {}

impl fmt::Debug for PathRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in mount {}", self.dentry.name(), self.mount.id())
    }
}

/// Root, working directory and umask of a process; shared by CLONE_FS.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU16,
}

#[derive(Clone)]
struct Places {
    root: PathRef,
    current: PathRef,
    namespace: Arc<MountNamespace>,
}

impl FsContext {
    /// With `root` as root and working directory, in a namespace of what hangs on its mount.
    pub fn new(root: PathRef) -> FsContext {
        let namespace = MountNamespace::first(root.mount().clone());
        let places = Places { current: root.clone(), root, namespace };
        FsContext { places: SpinLock::new(places), umask: AtomicU16::new(0o022) }
    }

    /// A copy that changes on its own: for fork.
    pub fn duplicate(&self) -> FsContext {
        let places = self.places.lock().clone();
        FsContext { places: SpinLock::new(places), umask: AtomicU16::new(self.umask()) }
    }

    /// The tree of mounts that is seen.
    pub fn namespace(&self) -> Arc<MountNamespace> {
        self.places.lock().namespace.clone()
    }

    /// Goes to a copy of the namespace, to the same places in it.
    pub fn copy_namespace(&self) -> Result<()> {
        let (namespace, copies) = self.namespace().copy()?;
        let (root, current) = (copies.translate(self.root()), copies.translate(self.current()));
        self.set_places(Places { root, current, namespace });
        Ok(())
    }

    /// Goes to the root of another namespace.
    pub fn enter_namespace(&self, namespace: Arc<MountNamespace>) {
        let root = namespace.root().root_path().on_top();
        self.set_places(Places { current: root.clone(), root, namespace });
    }

    fn set_places(&self, places: Places) {
        let old = core::mem::replace(&mut *self.places.lock(), places);
        drop(old);
    }

    /// The root directory.
    #[inline(always)]
    pub fn root(&self) -> PathRef {
        self.places.lock().root.clone()
    }

    /// The working directory.
    #[inline]
    pub fn current(&self) -> PathRef {
        self.places.lock().current.clone()
    }

    /// Whether `place` is the root directory.
    #[inline]
    pub fn is_root(&self, place: &PathRef) -> bool {
        self.places.lock().root == *place
    }

    /// Changes the root directory.
    pub fn set_root(&self, root: PathRef) {
        let old = core::mem::replace(&mut self.places.lock().root, root);
        drop(old);
    }

    /// Changes the working directory.
    pub fn set_current(&self, current: PathRef) {
        let old = core::mem::replace(&mut self.places.lock().current, current);
        drop(old);
    }

    /// The permission bits that new files do not get.
    pub fn umask(&self) -> u16 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Changes the umask; returns the old one.
    pub fn set_umask(&self, umask: u16) -> u16 {
        self.umask.swap(umask & 0o777, Ordering::Relaxed)
    }
}
