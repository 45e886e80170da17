//! The operations of `mount(2)`, `umount(2)`, `pivot_root(2)` and of the calls that take mounting apart
//! (`fsopen(2)` and its family).
//!
//! There is one namespace of mounts: all that hangs on [`mount::namespace_root`]. What is attached nowhere lives as long
//! as somebody holds it; a [`Detached`] tree goes with the descriptor that it was made for.

use alloc::sync::Arc;

use linux_raw_sys::general;

use super::mount::{self, SuperBlock};
use super::types::{self, Request};
use super::{Caller, FileSystem, Mount, MountFlags, PathRef};
use crate::errno::{Errno, Result};

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
    attach(&Mount::new(block, root, flags), place)
}

/// Whether `place` can be reached from the root of all mounts.
fn is_in_namespace(place: &PathRef) -> bool {
    mount::namespace_root().is_none_or(|root| Arc::ptr_eq(&top_mount(place), &root))
}

/// EINVAL for a place that cannot be reached.
fn check_in_namespace(place: &PathRef) -> Result<()> {
    if is_in_namespace(place) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Shows the tree at `source` at `place`, too; with `is_deep` also what is mounted below it.
pub fn bind(source: &PathRef, place: &PathRef, is_deep: bool) -> Result<()> {
    check_in_namespace(place)?;
    let tree = clone_tree(source, is_deep)?;
    let attached = attach(&tree, place);
    if attached.is_err() {
        tree.dissolve();
    }
    attached
}

/// A copy of the mounts that show at `source`, attached nowhere. EINVAL for what must not be bound.
pub fn clone_tree(source: &PathRef, is_deep: bool) -> Result<Arc<Mount>> {
    check_in_namespace(source)?;
    if source.mount().propagation() == general::MS_UNBINDABLE {
        return Err(Errno::EINVAL);
    }
    let top = copy(source);
    if is_deep {
        copy_below(source, &top)?;
    }
    Ok(top)
}

fn copy(source: &PathRef) -> Arc<Mount> {
    let mount = source.mount();
    let copy = Mount::new(mount.super_block().clone(), source.dentry().clone(), mount.flags());
    copy.set_propagation(mount.propagation());
    copy
}

/// Copies what is mounted below `source` to the same places of `copy`.
fn copy_below(source: &PathRef, top: &Arc<Mount>) -> Result<()> {
    let mut pairs = alloc::vec![(source.mount().clone(), top.clone())];
    for below in source.mount().tree().into_iter().skip(1) {
        let Some(at) = below.attachment() else { continue };
        let Some((_, parent)) = pairs.iter().find(|(original, _)| Arc::ptr_eq(original, at.mount())) else { continue };
        let is_inside = !Arc::ptr_eq(at.mount(), source.mount()) || source.dentry().is_ancestor_of(at.dentry());
        if is_inside && below.propagation() != general::MS_UNBINDABLE {
            let below_copy = copy(&below.root_path());
            below_copy.attach(&PathRef::new(parent.clone(), at.dentry().clone()))?;
            pairs.push((below, below_copy));
        }
    }
    Ok(())
}

/// Attaches `mount` at `place`: directories on directories, other files on other files (ENOTDIR); not the same tree
/// twice on each other (EBUSY).
pub fn attach(mount: &Arc<Mount>, place: &PathRef) -> Result<()> {
    let place = place.clone().on_top();
    check_in_namespace(&place)?;
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
pub fn move_mount(source: &PathRef, place: &PathRef, is_detached: bool) -> Result<()> {
    let mount = mount_root(source)?;
    check_in_namespace(place)?;
    if !is_detached && (!is_in_namespace(source) || mount.attachment().is_none()) {
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
pub fn unmount(place: PathRef, how: Unmount) -> Result<()> {
    let mount = mount_root(&place)?.clone();
    check_in_namespace(&place)?;
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
    if !root.is_mount_root() || !new.is_mount_root() || !is_in_namespace(new) || !is_in_namespace(put_old) {
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
        None => mount::set_namespace_root(new_mount.clone()),
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
