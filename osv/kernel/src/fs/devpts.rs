//! devpts: the names of pseudo-terminals' slaves, and the node that makes new pairs.
//!
//! Each mount is an instance of its own, as on every Linux since 4.7: `ptmx` in it makes a pair there, and a node with
//! ptmx' number elsewhere (`/dev/ptmx`) makes one in the instance that is mounted at `pts` beside it. A slave's name
//! exists while its master is open; it belongs to whoever opened the master. Source: pty(7), pts(4), Linux' `devpts`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use linux_raw_sys::general;

use super::generated::parse_number;
use super::name::hash_name;
use super::tty::Tty;
use super::tty::pty::{Names, Pair};
use super::types::Request;
use super::{
    DirEntry, File, FileSystem, FileType, Inode, Metadata, OpenFile, OpenFlags, PathRef, SetAttributes, SetTime,
    StatFs, Timespec, device, make_device,
};
use crate::drivers::clock::realtime_ns;
use crate::errno::{Errno, Result};
use crate::process::{current_process, current_task, limits::Resource};
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// Major number of slaves.
const SLAVES: u32 = 136;
/// Device number of ptmx.
pub const PTMX: u64 = make_device(5, 2);
/// Pairs at most in all instances, as `/proc/sys/kernel/pty/max` says.
pub const MAX_PAIRS: u32 = 4096;

const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;
const FIRST_INO: u64 = 3;
/// The first cookie that the VFS leaves to file systems; a slave's follows that of ptmx.
const FIRST_COOKIE: u64 = 3;

static PAIRS: AtomicU32 = AtomicU32::new(0);

/// How many pairs there are.
pub fn pair_count() -> u32 {
    PAIRS.load(Ordering::Relaxed)
}

/// Mount options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u16,
    ptmx_mode: u16,
    max: u32,
}

impl Options {
    fn parse(text: &[u8]) -> Result<Options> {
        let mut options = Options { uid: None, gid: None, mode: 0o600, ptmx_mode: 0, max: MAX_PAIRS };
        for option in text.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            let mut parts = option.splitn(2, |&byte| byte == b'=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next());
            let number = |radix| {
                let text = core::str::from_utf8(value?).ok()?;
                u32::from_str_radix(text, radix).ok()
            };
            match key {
                b"uid" => options.uid = Some(number(10).ok_or(Errno::EINVAL)?),
                b"gid" => options.gid = Some(number(10).ok_or(Errno::EINVAL)?),
                b"mode" => options.mode = number(8).ok_or(Errno::EINVAL)? as u16 & 0o7777,
                b"ptmxmode" => options.ptmx_mode = number(8).ok_or(Errno::EINVAL)? as u16 & 0o7777,
                b"max" => options.max = number(10).filter(|&max| max <= 1 << 20).ok_or(Errno::EINVAL)?,
                b"newinstance" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// An instance.
pub struct DevPts {
    this: Weak<DevPts>,
    device: u64,
    options: Options,
    ptmx: SpinLock<Attributes>,
    slaves: SpinLock<SortedMap<u32, Arc<Slave>>>,
    created: Timespec,
}

/// Owner, permissions and times of a node.
#[derive(Clone, Copy)]
struct Attributes {
    uid: u32,
    gid: u32,
    mode: u16,
    accessed: Timespec,
    modified: Timespec,
    changed: Timespec,
}

impl Attributes {
    fn new(uid: u32, gid: u32, mode: u16) -> Attributes {
        let now = now();
        Attributes { uid, gid, mode, accessed: now, modified: now, changed: now }
    }

    fn change(&mut self, change: &SetAttributes) {
        let now = now();
        let time = |set: Option<SetTime>, old: Timespec| match set {
            Some(SetTime::Now) => now,
            Some(SetTime::To(time)) => time,
            None => old,
        };
        *self = Attributes {
            uid: change.uid.unwrap_or(self.uid),
            gid: change.gid.unwrap_or(self.gid),
            mode: change.mode.unwrap_or(self.mode),
            accessed: time(change.atime, self.accessed),
            modified: time(change.mtime, self.modified),
            changed: now,
        };
    }

    fn metadata(&self, file_system: u64, ino: u64, device: u64) -> Metadata {
        let metadata = Metadata::new(file_system, ino, FileType::CharDevice, self.mode);
        let Attributes { uid, gid, accessed, modified, changed, .. } = *self;
        Metadata {
            uid,
            gid,
            rdev: device,
            block_size: 1024,
            atime: accessed,
            mtime: modified,
            ctime: changed,
            ..metadata
        }
    }
}

fn now() -> Timespec {
    Timespec::from_nanos(realtime_ns())
}

/// Registers the type, and who opens its nodes.
pub fn register() {
    super::types::register("devpts", false, make);
    device::register(FileType::CharDevice, SLAVES, open_slave);
}

fn make(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let options = Options::parse(request.options)?;
    Ok(Arc::new_cyclic(|this| DevPts {
        this: this.clone(),
        device: super::new_device_number(),
        options,
        ptmx: SpinLock::new(Attributes::new(0, 0, options.ptmx_mode)),
        slaves: SpinLock::new(SortedMap::new()),
        created: now(),
    }))
}

impl FileSystem for DevPts {
    fn root(&self) -> Arc<dyn Inode> {
        match self.this.upgrade() {
            Some(this) => Arc::new(Root(this)),
            None => unreachable!("an instance that somebody asks exists"),
        }
    }

    fn statfs(&self) -> Result<StatFs> {
        let magic = u64::from(general::DEVPTS_SUPER_MAGIC);
        Ok(StatFs { magic, block_size: 4096, name_max: 255, ..StatFs::default() })
    }

    fn name(&self) -> &'static str {
        "devpts"
    }

    fn show_options(&self, out: &mut alloc::vec::Vec<u8>) {
        let Options { uid, gid, mode, ptmx_mode, max } = self.options;
        for (name, id) in [("uid", uid), ("gid", gid)] {
            if let Some(id) = id {
                out.extend_from_slice(format!(",{name}={id}").as_bytes());
            }
        }
        out.extend_from_slice(format!(",mode={mode:03o},ptmxmode={ptmx_mode:03o}").as_bytes());
        if max < MAX_PAIRS {
            out.extend_from_slice(format!(",max={max}").as_bytes());
        }
    }
}

impl DevPts {
    /// A new pair in this instance, which is mounted as `mount_root` shows. ENOSPC if there are too many.
    fn open_master(&self, mount_root: &PathRef) -> Result<Arc<dyn File>> {
        let may_be_made = PAIRS.fetch_add(1, Ordering::Relaxed) < MAX_PAIRS;
        let made = if may_be_made { self.make_slave(mount_root) } else { Err(Errno::ENOSPC) };
        let (pair, name) = made.inspect_err(|_| {
            PAIRS.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(pair.into_master(Box::new(name)))
    }

    fn make_slave(&self, mount_root: &PathRef) -> Result<(Pair, Name)> {
        let credentials = current_task().credentials();
        let subject = credentials.subject();
        let attributes = Attributes::new(
            self.options.uid.unwrap_or(subject.uid),
            self.options.gid.unwrap_or(subject.gid),
            self.options.mode,
        );
        let mut slaves = self.slaves.lock();
        let index = (0..self.options.max).find(|index| !slaves.contains_key(index)).ok_or(Errno::ENOSPC)?;
        let pair = Pair::new(make_device(SLAVES, index));
        let slave = Slave {
            index,
            file_system: self.device,
            tty: Arc::clone(&pair.slave),
            lock: Arc::clone(&pair.lock),
            attributes: SpinLock::new(attributes),
        };
        slaves.insert(index, Arc::new(slave));
        Ok((pair, Name { instance: self.this.clone(), mount_root: mount_root.clone(), index }))
    }
}

/// Opens a ptmx node: a new pair in the instance that it lies in, or that is mounted at `pts` beside it (ENODEV).
pub fn open_ptmx(place: &PathRef) -> Result<Arc<dyn File>> {
    if let Some(instance) = instance_of(&place.mount().root_path()) {
        return instance.open_master(&place.mount().root_path());
    }
    let directory = place.above(|_| false).ok_or(Errno::ENODEV)?;
    let dentry = directory.dentry().child(b"pts", hash_name(b"pts"))?;
    if dentry.kind().is_none() {
        return Err(Errno::ENODEV);
    }
    let root = directory.moved_to(dentry).on_top();
    instance_of(&root).ok_or(Errno::ENODEV)?.open_master(&root)
}

/// The instance whose root is at `place`.
fn instance_of(place: &PathRef) -> Option<Arc<DevPts>> {
    let inode: &dyn Any = &**place.inode();
    inode.downcast_ref::<Root>().map(|root| Arc::clone(&root.0))
}

/// Opens the slave at `place`. EIO if it is none, its master locks it, or has gone.
fn open_slave(_: u64, place: &PathRef, flags: OpenFlags) -> Result<Arc<dyn File>> {
    let inode: &dyn Any = &**place.inode();
    let slave: &Slave = inode.downcast_ref().ok_or(Errno::EIO)?;
    if slave.lock.load(Ordering::SeqCst) {
        return Err(Errno::EIO);
    }
    slave.tty.open(flags, false)
}

/// The name of a slave, while its master is open.
struct Name {
    instance: Weak<DevPts>,
    mount_root: PathRef,
    index: u32,
}

impl Names for Name {
    fn index(&self) -> u32 {
        self.index
    }

    fn open_peer(&self, flags: u32) -> Result<i32> {
        let flags = OpenFlags::from_bits_retain(flags);
        let name = format!("{}", self.index);
        let dentry = self.mount_root.dentry().child(name.as_bytes(), hash_name(name.as_bytes()))?;
        if dentry.kind().is_none() {
            return Err(Errno::EIO);
        }
        let place = self.mount_root.clone().moved_to(dentry);
        let file = open_slave(0, &place, flags)?;
        let file = OpenFile::with_file(file, Some(place), flags);
        let limit = current_process().limit(Resource::OpenFiles);
        current_task().files().install(file, flags.contains(OpenFlags::CLOEXEC), limit)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        PAIRS.fetch_sub(1, Ordering::Relaxed);
        if let Some(instance) = self.instance.upgrade() {
            let slave = instance.slaves.lock().remove(&self.index);
            drop(slave);
        }
    }
}

/// The directory of an instance.
struct Root(Arc<DevPts>);

impl Inode for Root {
    fn metadata(&self) -> Result<Metadata> {
        let metadata = Metadata::new(self.0.device, ROOT_INO, FileType::Directory, 0o755);
        let time = self.0.created;
        Ok(Metadata { nlink: 2, block_size: 1024, atime: time, mtime: time, ctime: time, ..metadata })
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn is_cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if name == b"ptmx" {
            return Ok(Arc::new(Ptmx(Arc::clone(&self.0))));
        }
        let index = parse_number(name).ok_or(Errno::ENOENT)?;
        let slave = self.0.slaves.lock().get(&index).cloned();
        Ok(slave.ok_or(Errno::ENOENT)?)
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let kind = FileType::CharDevice;
        if cookie < FIRST_COOKIE && !emit(DirEntry { name: b"ptmx", ino: PTMX_INO, kind, next: FIRST_COOKIE }) {
            return Ok(());
        }
        let mut first = cookie.saturating_sub(FIRST_COOKIE) as u32;
        loop {
            let found = self.0.slaves.lock().range_from(&first).next().map(|(&index, _)| index);
            let Some(index) = found else { return Ok(()) };
            first = index + 1;
            let name = format!("{index}");
            let next = FIRST_COOKIE + u64::from(first);
            if !emit(DirEntry { name: name.as_bytes(), ino: FIRST_INO + u64::from(index), kind, next }) {
                return Ok(());
            }
        }
    }
}

/// The node that makes pairs; opening it comes back to [`open_ptmx`] by its number.
struct Ptmx(Arc<DevPts>);

impl Inode for Ptmx {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.0.ptmx.lock().metadata(self.0.device, PTMX_INO, PTMX))
    }

    fn kind(&self) -> FileType {
        FileType::CharDevice
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.0.ptmx.lock().change(change);
        Ok(())
    }
}

/// A slave's node.
struct Slave {
    index: u32,
    file_system: u64,
    tty: Arc<Tty>,
    lock: Arc<AtomicBool>,
    attributes: SpinLock<Attributes>,
}

impl Inode for Slave {
    fn metadata(&self) -> Result<Metadata> {
        let ino = FIRST_INO + u64::from(self.index);
        Ok(self.attributes.lock().metadata(self.file_system, ino, self.tty.device()))
    }

    fn kind(&self) -> FileType {
        FileType::CharDevice
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.attributes.lock().change(change);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_linux_does() {
        let options = Options::parse(b"gid=5,mode=620,ptmxmode=666,newinstance").unwrap();
        assert_eq!((options.gid, options.mode, options.ptmx_mode), (Some(5), 0o620, 0o666));
        assert_eq!(Options::parse(b"").unwrap().mode, 0o600);
        for wrong in [b"mode=9".as_slice(), b"gid=x", b"foo", b"max=99999999"] {
            assert_eq!(Options::parse(wrong), Err(Errno::EINVAL));
        }
    }
}
