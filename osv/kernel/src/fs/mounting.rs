//! The operations of `mount(2)` and `umount(2)`.

use alloc::sync::Arc;

use super::types::{self, Request};
use super::{Caller, Mount, MountFlags, PathRef};
use crate::errno::{Errno, Result};

/// Mounts a new instance of the type `kind` at `place`.
pub fn mount_new(
    caller: &Caller<'_>,
    kind: &[u8],
    source: &[u8],
    place: &PathRef,
    flags: MountFlags,
    options: &[u8],
) -> Result<()> {
    let is_writable = !flags.contains(MountFlags::RDONLY);
    let file_system = types::make(kind, &Request { caller, source, options, is_writable })?;
    attach(&Mount::of(file_system, source, flags | MountFlags::RELATIME), place)
}

/// Shows the tree at `source` at `place`, too; with `is_deep` also what is mounted below it.
pub fn bind(source: &PathRef, place: &PathRef, is_deep: bool) -> Result<()> {
    if source.is_directory() != place.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    let mount = copy(source);
    attach(&mount, place)?;
    if !is_deep {
        return Ok(());
    }
    for below in source.mount().tree().into_iter().skip(1) {
        let Some(at) = below.attachment() else { continue };
        let is_inside = Arc::ptr_eq(at.mount(), source.mount()) && source.dentry().is_ancestor_of(at.dentry());
        if is_inside && !Arc::ptr_eq(&below, &mount) {
            let at = PathRef::new(mount.clone(), at.dentry().clone());
            bind(&below.root_path(), &at, true)?;
        }
    }
    Ok(())
}

fn copy(source: &PathRef) -> Arc<Mount> {
    let mount = source.mount();
    Mount::new(mount.super_block().clone(), source.dentry().clone(), mount.flags())
}

/// Attaches `mount` at `place`: directories on directories, other files on other files (ENOTDIR).
pub fn attach(mount: &Arc<Mount>, place: &PathRef) -> Result<()> {
    if mount.root().is_directory() != place.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    mount.attach(&place.clone().on_top())
}

/// Changes the properties of the mount whose root is at `place`.
pub fn remount(place: &PathRef, flags: MountFlags) -> Result<()> {
    mount_root(place)?.set_flags(flags);
    Ok(())
}

/// Moves the mount whose root is at `source` to `place`.
pub fn move_mount(source: &PathRef, place: &PathRef) -> Result<()> {
    let mount = mount_root(source)?;
    if source.is_directory() != place.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    mount.move_to(place)
}

/// Takes away the mount whose root is at `place`; `is_lazy` even if it is in use.
pub fn unmount(place: PathRef, is_lazy: bool) -> Result<()> {
    let mount = mount_root(&place)?.clone();
    drop(place);
    mount.file_system().sync()?;
    mount.detach(is_lazy)
}

/// The mount whose root is `place` (EINVAL).
fn mount_root(place: &PathRef) -> Result<&Arc<Mount>> {
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
