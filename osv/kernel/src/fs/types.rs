//! The types of file systems, by name: what `mount` and the boot can mount.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ramfs::{self, RamFs};
use super::{Caller, FileSystem};
use crate::errno::{Errno, Result};
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// What to mount.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Who mounts it: for types whose options name paths.
    pub caller: &'a Caller<'a>,
    /// The device or tag.
    pub source: &'a [u8],
    /// The type's own options.
    pub options: &'a [u8],
    /// Whether writes may reach the device.
    pub is_writable: bool,
}

/// Makes a file system instance.
pub type Maker = fn(&Request<'_>) -> Result<Arc<dyn FileSystem>>;

#[derive(Clone, Copy)]
struct Type {
    maker: Maker,
    needs_device: bool,
}

static TYPES: SpinLock<SortedMap<&'static [u8], Type>> = SpinLock::new(SortedMap::new());

/// Makes the type `name` known; `needs_device` says that it shows what is on a block device.
pub fn register(name: &'static str, needs_device: bool, maker: Maker) {
    TYPES.lock().insert(name.as_bytes(), Type { maker, needs_device });
}

/// A new instance of the type `name`. ENODEV if there is no such type.
pub fn make(name: &[u8], request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let found = TYPES.lock().get(name).copied().ok_or(Errno::ENODEV)?;
    (found.maker)(request)
}

/// Whether there is such a type.
pub fn is_known(name: &[u8]) -> bool {
    TYPES.lock().contains_key(name)
}

/// All types, and whether each needs a device: `/proc/filesystems`.
pub fn list() -> Vec<(&'static [u8], bool)> {
    TYPES.lock().iter().map(|(name, found)| (*name, found.needs_device)).collect()
}

/// Registers the types that need nothing but memory.
pub fn register_own() {
    register("tmpfs", false, make_ram);
    register("ramfs", false, make_ram);
    register("overlay", false, super::overlay::make);
    register("devtmpfs", false, |_| Ok(super::devfs::instance()));
}

fn make_ram(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let options = ramfs::Options::parse(request.options, crate::mem::stats().total)?;
    Ok(RamFs::new(options))
}
