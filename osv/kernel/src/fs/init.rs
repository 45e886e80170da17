//! The tree that the first program finds: a root, and on it what every Linux system has mounted.
//!
//! A root that cannot be written, an image or a directory of the host, becomes the lower layer of an overlay whose
//! writes stay in memory. `/proc`, `/sys`, `/dev` and what belongs there, `/tmp` and `/run` follow, then what the command line
//! asks for. Directories that a mount point needs are made where they are missing.

use alloc::sync::Arc;

use super::erofs::{ErofsFs, Image, format};
use super::ninep::NinePFs;
use super::overlay::OverlayFs;
use super::ramfs::{Options, RamFs};
use super::types::{self, Request};
use super::{
    Caller, FileSystem, FsContext, Mount, MountFlags, NewKind, PathRef, Start, Subject, devpts, mounting, procfs, sysfs,
};
use crate::drivers::virtio::blk;
use crate::errno::{Errno, Result};
use crate::ipc::mqueue;
use crate::sorted_map::SortedMap;
use crate::sync::{Once, SpinLock};
use crate::warn;

/// What the tree is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct RootConfig<'a> {
    /// `ram`, or a type and a device with a colon between: `9p:TAG`, `erofs:DEVICE`. `embedded` is the image `bundle` or
    /// `ram`, if one was offered, or else an empty `ram`.
    pub rootfs: &'a [u8],
    /// Further mounts, in order.
    pub mounts: &'a [ExtraMount<'a>],
}

/// A mount that the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct ExtraMount<'a> {
    /// The type.
    pub kind: &'a [u8],
    /// The device or tag.
    pub device: &'a [u8],
    /// Where it goes.
    pub path: &'a [u8],
    /// Whether writes may reach the device; they stay in memory otherwise.
    pub is_writable: bool,
}

/// Mounts that every system has: type, place, properties, options.
#[expect(clippy::type_complexity, reason = "a table that is read once")]
const STANDARD: [(&[u8], &[u8], MountFlags, &[u8]); 7] = [
    (b"proc", b"/proc", GUARDED, b""),
    (b"sysfs", b"/sys", GUARDED, b""),
    (b"devtmpfs", b"/dev", MountFlags::NOSUID, b""),
    (b"devpts", b"/dev/pts", MountFlags::NOSUID.union(MountFlags::NOEXEC), b"gid=5,mode=620,ptmxmode=666"),
    (b"tmpfs", b"/dev/shm", MountFlags::NOSUID.union(MountFlags::NODEV), b""),
    (b"mqueue", b"/dev/mqueue", GUARDED, b""),
    (b"tmpfs", b"/run", MountFlags::NOSUID.union(MountFlags::NODEV), b"mode=755"),
];

const GUARDED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// An image in RAM: where it starts, and its length.
type Extent = (u64, u64);

static IMAGES: SpinLock<SortedMap<&'static [u8], Extent>> = SpinLock::new(SortedMap::new());

/// Tells of an EROFS image of `len` bytes at physical address `start`, to be mounted as the device `name`.
pub fn offer_image(name: &'static str, start: u64, len: u64) {
    if len != 0 {
        IMAGES.lock().insert(name.as_bytes(), (start, len));
    }
}

static ROOT: Once<PathRef> = Once::new();

/// The root of the tree.
///
/// # Panics
/// Before [`init`].
pub fn root() -> PathRef {
    match ROOT.get() {
        Some(root) => root.clone(),
        None => panic!("the root file system is not mounted yet"),
    }
}

/// Sets the tree up and returns the world of the first process. ENODEV for a root whose type or device is not there.
pub fn init(config: &RootConfig<'_>) -> Result<FsContext> {
    types::register_own();
    types::register("proc", false, |_| Ok(procfs::instance()));
    types::register("sysfs", false, |_| Ok(sysfs::instance()));
    devpts::register();
    types::register("mqueue", false, |_| Ok(mqueue::instance()));
    types::register("9p", false, |request| Ok(NinePFs::mount(request.source, request.is_writable)?));
    types::register("erofs", true, mount_image);
    let root = mount_root(config.rootfs)?.root_path();
    let context = FsContext::new(ROOT.call_once(|| root).clone());
    let caller = Caller::new(&context, &Subject::ROOT);
    make_directory(&caller, b"/tmp", 0o1777)?;
    for (kind, path, flags, options) in STANDARD {
        let result = mount_at(&caller, kind, kind, path, flags | MountFlags::RELATIME, options);
        if let Err(error) = result {
            warn!("{} cannot be mounted at {}: {error}", kind.escape_ascii(), path.escape_ascii());
        }
    }
    for extra in config.mounts {
        mount_extra(&caller, extra)?;
    }
    Ok(context)
}

fn mount_image(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let in_memory = IMAGES.lock().get(request.source).copied();
    let image = match in_memory {
        Some((start, len)) => Image::in_memory(start, len)?,
        None => {
            // `disk` is wherever one is: boot loaders and hypervisors order disks as they like.
            let is_image = |page: &[u8]| page.get(1024..).and_then(format::Superblock::parse).is_some();
            let volume = match request.source {
                b"disk" => blk::find_volume(is_image),
                name => blk::volume(name),
            };
            let volume = volume.ok_or(Errno::ENODEV)?;
            let len = volume.pages() * format::BLOCK;
            Image::on_disk(Arc::new(volume), len)
        }
    };
    Ok(ErofsFs::mount(image)?)
}

fn mount_root(rootfs: &[u8]) -> Result<Arc<Mount>> {
    let flags = MountFlags::RELATIME;
    let rootfs = match rootfs {
        b"embedded" if IMAGES.lock().contains_key(b"bundle".as_slice()) => b"erofs:bundle".as_slice(),
        b"embedded" if IMAGES.lock().contains_key(b"ram".as_slice()) => b"erofs:ram",
        b"embedded" => b"ram",
        _ => rootfs,
    };
    if matches!(rootfs, b"" | b"ram") {
        return Ok(Mount::of(new_layer(), b"rootfs", flags));
    }
    let colon = rootfs.iter().position(|&byte| byte == b':').ok_or(Errno::ENODEV)?;
    let (kind, device) = (rootfs.get(..colon), rootfs.get(colon + 1..));
    let (kind, device) = (kind.unwrap_or_default(), device.unwrap_or_default());
    let lower = make_lower(kind, device)?;
    Ok(Mount::of(OverlayFs::new(lower.root(), new_layer().root()), device, flags))
}

/// An instance that nothing is written to.
fn make_lower(kind: &[u8], device: &[u8]) -> Result<Arc<dyn FileSystem>> {
    // Types that can be a root look at nothing but the device.
    let nowhere = Mount::of(new_layer(), b"none", MountFlags::RDONLY).root_path();
    let context = FsContext::new(nowhere);
    let caller = Caller::new(&context, &Subject::ROOT);
    types::make(kind, &Request { caller: &caller, source: device, options: b"", is_writable: false })
}

/// Memory for what is written on top of something else.
fn new_layer() -> Arc<RamFs> {
    RamFs::new(Options { mode: 0o755, ..Options::default() })
}

fn mount_extra(caller: &Caller<'_>, extra: &ExtraMount<'_>) -> Result<()> {
    let ExtraMount { kind, device, path, is_writable } = *extra;
    if is_writable || matches!(kind, b"tmpfs" | b"proc" | b"sysfs" | b"devtmpfs") {
        return mount_at(caller, kind, device, path, MountFlags::RELATIME, b"");
    }
    let lower = make_lower(kind, device)?;
    let place = mount_point(caller, path)?;
    let overlay = OverlayFs::new(lower.root(), new_layer().root());
    mounting::attach(caller, &Mount::of(overlay, device, MountFlags::RELATIME), &place)
}

fn mount_at(
    caller: &Caller<'_>,
    kind: &[u8],
    source: &[u8],
    path: &[u8],
    flags: MountFlags,
    options: &[u8],
) -> Result<()> {
    let place = mount_point(caller, path)?;
    mounting::mount_new(caller, kind, source, &place, flags, options)
}

/// The directory `path`, made with all above it where it is missing.
fn mount_point(caller: &Caller<'_>, path: &[u8]) -> Result<PathRef> {
    for (end, _) in path.iter().enumerate().filter(|&(at, &byte)| byte == b'/' && at != 0) {
        make_directory(caller, path.get(..end).unwrap_or_default(), 0o755)?;
    }
    make_directory(caller, path, 0o755)?;
    caller.resolve(Start::Current, path, true)
}

fn make_directory(caller: &Caller<'_>, path: &[u8], mode: u16) -> Result<()> {
    let old_umask = caller.context.set_umask(0);
    let made = caller.create(Start::Current, path, NewKind::Directory, mode);
    caller.context.set_umask(old_umask);
    match made {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error),
    }
}
