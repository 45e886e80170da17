//! Files without a name that can be sealed: what `memfd_create` makes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::dentry::Dentry;
use super::ramfs::{Options, RamFs};
use super::{Mount, MountFlags, OpenFile, OpenFlags, PathRef};
use crate::errno::Result;
use crate::sync::Once;

/// The file system of all memfds, mounted nowhere.
struct Hidden {
    file_system: Arc<RamFs>,
    mount: Arc<Mount>,
}

fn hidden() -> &'static Hidden {
    static HIDDEN: Once<Hidden> = Once::new();
    HIDDEN.call_once(|| {
        let file_system = RamFs::new(Options::default());
        let mount = Mount::of(file_system.clone(), b"tmpfs", MountFlags::empty());
        Hidden { file_system, mount }
    })
}

/// A new empty file that `/proc/self/fd` shows as `/memfd:NAME (deleted)`.
pub fn create_memfd(name: &[u8], seals: u32) -> Result<Arc<OpenFile>> {
    let Hidden { file_system, mount } = hidden();
    let inode = file_system.new_memfd(0o777, seals)?;
    let mut shown = Vec::from(*b"memfd:");
    shown.extend_from_slice(name);
    let dentry = Dentry::new_unlinked(mount.root(), &shown, inode, false);
    let place = PathRef::new(mount.clone(), dentry);
    Ok(OpenFile::with_memfd(place, OpenFlags::RDWR | OpenFlags::LARGEFILE))
}
