//! The operations of `mount(2)`, `umount(2)`, `pivot_root(2)` and of the calls that take mounting apart
//! (`fsopen(2)` and its family).
//!
//! A caller changes the tree of its own [`MountNamespace`] only. What is attached nowhere lives as long as somebody holds it;
//! a [`Detached`] tree goes with the descriptor that it was made for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general;

use super::mount::SuperBlock;
use super::namespace::MountNamespace;
use super::types::{self, Request};
use super::{Caller, FileSystem, Mount, MountFlags, PathRef};
use crate::errno::{Errno, Result};
use crate::event::inotify;

/// A tree of mounts that is taken apart when it goes, unless it has been attached.
pub struct Detached(Arc<Mount>);

impl Detached {
    /// Takes a mount that is attached nowhere.
    pub fn new(mount: Arc<Mount>) -> Detached {
        Detached(mount)
    }

    /// The place of its root.
    pub fn root_path(&self) -> PathRef {
        self.0.root_path()
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if self.0.attachment().is_none() {
            self.0.dissolve();
        }
    }
}

/// Makes a new instance of the type `kind`.
pub fn make(
    caller: &Caller<'_>,
    kind: &[u8],
    source: &[u8],
    options: &[u8],
    is_writable: bool,
) -> Result<Arc<SuperBlock>> {
    let file_system: Arc<dyn FileSystem> = types::make(kind, &Request { caller, source, options, is_writable })?;
    Ok(SuperBlock::new(file_system, source))
}

/// Mounts a new instance of the type `kind` at `place`.
pub fn mount_new(
    caller: &Caller<'_>,
    kind: &[u8],
    source: &[u8],
    place: &PathRef,
    flags: MountFlags,
    options: &[u8],
) -> Result<()> {
    let block = make(caller, kind, source, options, !flags.contains(MountFlags::RDONLY))?;
    let root = block.root().clone();
    attach(caller, &Mount::new(block, root, flags), place)
}

/// Shows the tree at `source` at `place`, too; with `is_deep` also what is mounted below it.
pub fn bind(caller: &Caller<'_>, source: &PathRef, place: &PathRef, is_deep: bool) -> Result<()> {
    caller.context.namespace().check(place)?;
    let tree = clone_tree(caller, source, is_deep)?;
    let attached = attach(caller, &tree, place);
    if attached.is_err() {
        tree.dissolve();
    }
    attached
}

/// A copy of the mounts that show at `source`, attached nowhere. EINVAL for what must not be bound.
pub fn clone_tree(caller: &Caller<'_>, source: &PathRef, is_deep: bool) -> Result<Arc<Mount>> {
    caller.context.namespace().check(source)?;
    if is_unbindable(source.mount()) {
        return Err(Errno::EINVAL);
    }
    let mut copies = Copies::of(source);
    if is_deep {
        copies.add_below(source, |mount| !is_unbindable(mount))?;
    }
    Ok(copies.top())
}

/// Copies of all mounts from `root` on: for a new namespace.
pub(super) fn copy_all(root: &Arc<Mount>) -> Result<Copies> {
    let root = root.root_path();
    let mut copies = Copies::of(&root);
    let copied = copies.add_below(&root, |_| true);
    if copied.is_err() {
        copies.top().dissolve();
    }
    copied.map(|()| copies)
}

fn is_unbindable(mount: &Mount) -> bool {
    mount.propagation() == general::MS_UNBINDABLE
}

/// A tree of mounts that are copies of others.
pub(super) struct Copies {
    top: Arc<Mount>,
    /// Originals and copies.
    pairs: Vec<(Arc<Mount>, Arc<Mount>)>,
}

impl Copies {
    /// A copy of the mount that shows at `source`, from there on.
    fn of(source: &PathRef) -> Copies {
        let top = copy(source);
        Copies { pairs: alloc::vec![(source.mount().clone(), top.clone())], top }
    }

    /// The uppermost.
    pub(super) fn top(&self) -> Arc<Mount> {
        self.top.clone()
    }

    /// The place in the copy that is what `place` is in the original; the same place if it is not in the original.
    pub(super) fn translate(&self, place: PathRef) -> PathRef {
        match self.of_mount(place.mount()) {
            Some(copy) => PathRef::new(copy.clone(), place.dentry().clone()),
            None => place,
        }
    }

    fn of_mount(&self, mount: &Arc<Mount>) -> Option<&Arc<Mount>> {
        self.pairs.iter().find(|(original, _)| Arc::ptr_eq(original, mount)).map(|(_, copy)| copy)
    }

    /// Copies what is mounted below `source` and `is_wanted` to the same places of the copy.
    fn add_below(&mut self, source: &PathRef, is_wanted: impl Fn(&Mount) -> bool) -> Result<()> {
        for below in source.mount().tree().into_iter().skip(1) {
            let Some(at) = below.attachment() else { continue };
            let Some(parent) = self.of_mount(at.mount()).cloned() else { continue };
            let is_inside = !Arc::ptr_eq(at.mount(), source.mount()) || source.dentry().is_ancestor_of(at.dentry());
            if is_inside && is_wanted(&below) {
                let below_copy = copy(&below.root_path());
                below_copy.attach(&PathRef::new(parent, at.dentry().clone()))?;
                self.pairs.push((below, below_copy));
            }
        }
        Ok(())
    }
}

fn copy(source: &PathRef) -> Arc<Mount> {
    let mount = source.mount();
    let copy = Mount::new(mount.super_block().clone(), source.dentry().clone(), mount.flags());
    copy.set_propagation(mount.propagation());
    copy
}

/// Attaches `mount` at `place`: directories on directories, other files on other files (ENOTDIR); not the same tree
/// twice on each other (EBUSY).
pub fn attach(caller: &Caller<'_>, mount: &Arc<Mount>, place: &PathRef) -> Result<()> {
    let place = place.clone().on_top();
    caller.context.namespace().check(&place)?;
    let is_same = Arc::ptr_eq(place.mount().super_block(), mount.super_block());
    if is_same && place.is_mount_root() && Arc::ptr_eq(place.mount().root(), mount.root()) {
        return Err(Errno::EBUSY);
    }
    if mount.root().is_directory() != place.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    mount.attach(&place)
}

/// Changes the properties of the mount whose root is at `place`. EBUSY if it shall be read-only and files are open for
/// writing.
pub fn set_flags(place: &PathRef, flags: MountFlags) -> Result<()> {
    let mount = mount_root(place)?;
    if flags.contains(MountFlags::RDONLY) && mount.has_writers() {
        return Err(Errno::EBUSY);
    }
    mount.set_flags(flags);
    Ok(())
}

/// Changes the file system whose root is at `place`: whether it is read-only, and its own options.
pub fn reconfigure(place: &PathRef, is_read_only: bool, options: &[u8]) -> Result<()> {
    let block = mount_root(place)?.super_block();
    block.file_system().reconfigure(options)?;
    block.set_read_only(is_read_only)
}

/// Changes how the mount whose root is at `place` spreads, with `is_deep` also all below it.
pub fn set_propagation(place: &PathRef, kind: u32, is_deep: bool) -> Result<()> {
    let mount = mount_root(place)?;
    let count = if is_deep { usize::MAX } else { 1 };
    mount.tree().iter().take(count).for_each(|mount| mount.set_propagation(kind));
    Ok(())
}

/// Moves the mount whose root is at `source` to `place`; one that is attached nowhere yet is attached.
pub fn move_mount(caller: &Caller<'_>, source: &PathRef, place: &PathRef, is_detached: bool) -> Result<()> {
    let mount = mount_root(source)?;
    let namespace = caller.context.namespace();
    namespace.check(place)?;
    if !is_detached && (!namespace.contains(source) || mount.attachment().is_none()) {
        return Err(Errno::EINVAL);
    }
    if source.is_directory() != place.is_directory() {
        return Err(Errno::EINVAL);
    }
    mount.move_to(&place.clone().on_top())
}

/// How a mount is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmount {
    /// Only if nobody uses it (EBUSY).
    Unused,
    /// At once for who comes later; what uses it goes on.
    Lazily,
    /// If nobody has come by since the last such call (EAGAIN).
    Expired,
}

/// Takes away the mount whose root is at `place`.
pub fn unmount(namespace: &MountNamespace, place: PathRef, how: Unmount) -> Result<()> {
    let mount = mount_root(&place)?.clone();
    namespace.check(&place)?;
    drop(place);
    if mount.attachment().is_none() {
        return Err(Errno::EBUSY);
    }
    if how == Unmount::Expired {
        if mount.is_used() {
            return Err(Errno::EBUSY);
        }
        if !mount.expire() {
            return Err(Errno::EAGAIN);
        }
    }
    mount.file_system().sync()?;
    mount.detach(how == Unmount::Lazily)?;
    mount.dissolve();
    if mount.super_block().mount_count() == 1 {
        inotify::on_unmount(mount.super_block());
    }
    Ok(())
}

/// Makes the mount at `new` the root of all, and hangs the present one on `put_old` below it. Returns the old root and
/// the new one, for those who stand in the old one to be moved.
pub fn pivot_root(caller: &Caller<'_>, new: &PathRef, put_old: &PathRef) -> Result<(PathRef, PathRef)> {
    let root = caller.context.root();
    let (new_mount, old_mount) = (new.mount(), root.mount());
    if Arc::ptr_eq(new_mount, old_mount) || Arc::ptr_eq(put_old.mount(), old_mount) {
        return Err(Errno::EBUSY);
    }
    let namespace = caller.context.namespace();
    if !root.is_mount_root() || !new.is_mount_root() || !namespace.contains(new) || !namespace.contains(put_old) {
        return Err(Errno::EINVAL);
    }
    if !is_below(put_old, new) || new.dentry().is_unlinked() {
        return Err(Errno::EINVAL);
    }
    let root_place = old_mount.attachment();
    new_mount.detach(true)?;
    if root_place.is_some() {
        old_mount.detach(true)?;
    }
    match &root_place {
        Some(place) => new_mount.attach(place)?,
        None => namespace.set_root(new_mount.clone()),
    }
    old_mount.attach(&put_old.clone().on_top())?;
    Ok((root.clone(), new.clone()))
}

/// Whether `place` lies in the tree of mounts from `top` on.
fn is_below(place: &PathRef, top: &PathRef) -> bool {
    let mut at = place.clone();
    loop {
        if Arc::ptr_eq(at.mount(), top.mount()) {
            return top.dentry().is_ancestor_of(at.dentry());
        }
        match at.mount().attachment() {
            Some(above) => at = above,
            None => return false,
        }
    }
}

/// The mount whose root is `place` (EINVAL).
pub fn mount_root(place: &PathRef) -> Result<&Arc<Mount>> {
    if place.is_mount_root() { Ok(place.mount()) } else { Err(Errno::EINVAL) }
}

/// The mount that all others hang on, seen from `place`.
pub fn top_mount(place: &PathRef) -> Arc<Mount> {
    let mut mount = place.mount().clone();
    while let Some(above) = mount.attachment() {
        mount = above.mount().clone();
    }
    mount
}
