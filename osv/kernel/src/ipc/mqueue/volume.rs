//! The file system of queues: one directory, shown by every mount of the type `mqueue`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as linux;

use super::{Capacity, Queue};
use crate::errno::{Errno, Result};
use crate::fs::clock::now;
use crate::fs::{
    Caller, DirEntry, FileSystem, FileType, Inode, Metadata, Mount, MountFlags, NAME_MAX, NewInode, NewKind, OpenFile,
    OpenFlags, ResolveFlags, SetAttributes, Start, StatFs, Timespec, new_device_number,
};
use crate::ipc::limits;
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};
use crate::sorted_map::SortedMap;
use crate::sorting::sort_by;
use crate::sync::{Once, SpinLock};

const MAGIC: u64 = 0x1980_0202;
/// What an entry takes of the directory's size.
const ENTRY_SIZE: u64 = 20;
/// Cookies of entries begin here: those below are the VFS'.
const FIRST_COOKIE: u64 = 3;

/// The file system.
pub struct Volume {
    root: Arc<Directory>,
}

struct Directory {
    device: u64,
    next_ino: AtomicU64,
    entries: SpinLock<Entries>,
}

struct Entries {
    /// By name, each with the number that orders them for `getdents`.
    queues: SortedMap<Vec<u8>, (u64, Arc<Queue>)>,
    next: u64,
    mode: u16,
    uid: u32,
    gid: u32,
    changed_at: Timespec,
}

/// The one instance.
pub fn instance() -> Arc<Volume> {
    static INSTANCE: Once<Arc<Volume>> = Once::new();
    INSTANCE
        .call_once(|| {
            let entries = Entries {
                queues: SortedMap::new(),
                next: FIRST_COOKIE,
                mode: 0o1777,
                uid: 0,
                gid: 0,
                changed_at: now(),
            };
            let device = new_device_number();
            let root = Directory { device, next_ino: AtomicU64::new(2), entries: SpinLock::new(entries) };
            Arc::new(Volume { root: Arc::new(root) })
        })
        .clone()
}

/// The kernel's own mount, in which `mq_open` looks for names.
pub fn mount() -> &'static Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.call_once(|| Mount::of(instance(), b"mqueue", MountFlags::empty()))
}

/// `mq_open`: opens the queue `name`, made with `capacity` if it is not there and `flags` say so.
pub fn open(
    caller: &Caller<'_>,
    name: &[u8],
    flags: OpenFlags,
    mode: u16,
    capacity: impl Fn() -> Result<Capacity>,
) -> Result<Arc<OpenFile>> {
    check_name(name)?;
    let root = mount().root_path();
    let plain = flags.difference(OpenFlags::CREAT | OpenFlags::EXCL);
    loop {
        let is_there = instance().root.find(name).is_ok();
        if is_there && flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            return Err(Errno::EEXIST);
        }
        if is_there || !flags.contains(OpenFlags::CREAT) {
            return caller.open(Start::At(&root), name, plain, 0, ResolveFlags::empty());
        }
        let new = NewInode {
            kind: NewKind::Regular,
            mode: mode & 0o7777 & !caller.context.umask(),
            uid: caller.subject.uid,
            gid: caller.subject.gid,
        };
        match instance().root.make(name, &new, capacity()?) {
            // Who makes a queue may use it whatever its mode says.
            Ok(queue) => {
                let place = caller.resolve(Start::At(&root), name, false)?;
                let file = queue.open(plain)?.ok_or(Errno::EINVAL)?;
                return Ok(OpenFile::with_file(file, Some(place), plain));
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `mq_unlink`.
pub fn unlink(caller: &Caller<'_>, name: &[u8]) -> Result<()> {
    check_name(name)?;
    caller.unlink(Start::At(&mount().root_path()), name)
}

/// EACCES for a name that is a path.
fn check_name(name: &[u8]) -> Result<()> {
    match name {
        b"" => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        _ if name.contains(&b'/') => Err(Errno::EACCES),
        _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

impl Directory {
    fn find(&self, name: &[u8]) -> Result<Arc<Queue>> {
        self.entries.lock().queues.get(name).map(|(_, queue)| queue.clone()).ok_or(Errno::ENOENT)
    }

    fn make(&self, name: &[u8], new: &NewInode<'_>, capacity: Capacity) -> Result<Arc<Queue>> {
        let is_privileged = current_task().credentials().is_capable(linux::CAP_SYS_RESOURCE);
        if self.entries.lock().queues.len() as u64 >= limits::MQ_QUEUES.get() && !is_privileged {
            return Err(Errno::ENOSPC);
        }
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let limit = current_process().limit(Resource::MessageQueues);
        let queue = Queue::new(self.device, ino, capacity, new, limit)?;
        let name = name.to_vec();
        let mut entries = self.entries.lock();
        if entries.queues.contains_key(&name) {
            return Err(Errno::EEXIST);
        }
        let cookie = entries.next;
        entries.next += 1;
        entries.queues.insert(name, (cookie, Arc::clone(&queue)));
        entries.changed_at = now();
        Ok(queue)
    }
}

impl Inode for Directory {
    fn metadata(&self) -> Result<Metadata> {
        let entries = self.entries.lock();
        let metadata = Metadata::new(self.device, 1, FileType::Directory, entries.mode);
        let (atime, mtime, ctime) = (entries.changed_at, entries.changed_at, entries.changed_at);
        let size = entries.queues.len() as u64 * ENTRY_SIZE + 2 * ENTRY_SIZE;
        Ok(Metadata { uid: entries.uid, gid: entries.gid, nlink: 2, size, atime, mtime, ctime, ..metadata })
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let mut entries = self.entries.lock();
        entries.mode = change.mode.unwrap_or(entries.mode);
        entries.uid = change.uid.unwrap_or(entries.uid);
        entries.gid = change.gid.unwrap_or(entries.gid);
        Ok(())
    }

    fn is_cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.find(name)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        match new.kind {
            NewKind::Regular => Ok(self.make(name, new, Capacity::by_default())?),
            _ => Err(Errno::EPERM),
        }
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let (_, queue) = {
            let mut entries = self.entries.lock();
            entries.changed_at = now();
            entries.queues.remove(name).ok_or(Errno::ENOENT)?
        };
        queue.state.lock().nlink = 0;
        Ok(())
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let mut list: Vec<(u64, Vec<u8>, u64)> = {
            let entries = self.entries.lock();
            let rest = entries.queues.iter().filter(|(_, (number, _))| *number >= cookie);
            rest.map(|(name, (number, queue))| (*number, name.clone(), queue.ino)).collect()
        };
        sort_by(&mut list, |a, b| a.0 < b.0);
        for (number, name, ino) in list {
            if !emit(DirEntry { name: &name, ino, kind: FileType::Regular, next: number + 1 }) {
                break;
            }
        }
        Ok(())
    }
}

impl FileSystem for Volume {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs { magic: MAGIC, block_size: 4096, name_max: NAME_MAX as u64, ..StatFs::default() })
    }

    fn name(&self) -> &'static str {
        "mqueue"
    }
}
