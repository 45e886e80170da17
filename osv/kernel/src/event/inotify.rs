//! inotify: what happens to files and directories, as something to read. Source: inotify(7).
//!
//! The VFS reports through [`on_file`] and [`on_entry`]. As long as nobody watches anything, which is nearly always,
//! a report costs one load. A watch is found by the address of the inode that it holds; its place in the tree is
//! held too, so that the inode stays the one that path walks find.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use linux_raw_sys::general;
use linux_raw_sys::ioctl::FIONREAD;

use super::{PollEvents, Pollee};
use crate::errno::{Errno, Result};
use crate::fs::dentry::Dentry;
use crate::fs::generated::Text;
use crate::fs::{File, FileType, Inode, IoFlags, PathRef, SeekFrom, SuperBlock};
use crate::ipc::account::{Account, Charge};
use crate::ipc::limits;
use crate::mem::user::{Dest, UserPtr};
use crate::sched::Mutex;
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// The fixed part of `struct inotify_event`.
const HEADER: usize = 16;

bitflags::bitflags! {
    /// What happened, and how to watch, in the bits of inotify(7).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct NotifyMask: u32 {
        /// Read.
        const ACCESS = general::IN_ACCESS;
        /// Written or truncated.
        const MODIFY = general::IN_MODIFY;
        /// Mode, owner, times, links or extended attributes changed.
        const ATTRIB = general::IN_ATTRIB;
        /// Closed after having been open for writing.
        const CLOSE_WRITE = general::IN_CLOSE_WRITE;
        /// Closed otherwise.
        const CLOSE_NOWRITE = general::IN_CLOSE_NOWRITE;
        /// Opened.
        const OPEN = general::IN_OPEN;
        /// An entry moved away.
        const MOVED_FROM = general::IN_MOVED_FROM;
        /// An entry moved here.
        const MOVED_TO = general::IN_MOVED_TO;
        /// An entry was made.
        const CREATE = general::IN_CREATE;
        /// An entry was removed.
        const DELETE = general::IN_DELETE;
        /// The watched object itself was removed.
        const DELETE_SELF = general::IN_DELETE_SELF;
        /// The watched object itself was moved.
        const MOVE_SELF = general::IN_MOVE_SELF;
        /// Its file system was unmounted.
        const UNMOUNT = general::IN_UNMOUNT;
        /// Events were lost.
        const Q_OVERFLOW = general::IN_Q_OVERFLOW;
        /// The watch is gone.
        const IGNORED = general::IN_IGNORED;
        /// Watch only a directory.
        const ONLYDIR = general::IN_ONLYDIR;
        /// Do not follow a final symlink.
        const DONT_FOLLOW = general::IN_DONT_FOLLOW;
        /// No events for entries that have been removed.
        const EXCL_UNLINK = general::IN_EXCL_UNLINK;
        /// Refuse to change a watch that exists.
        const MASK_CREATE = general::IN_MASK_CREATE;
        /// Add to the events of a watch that exists.
        const MASK_ADD = general::IN_MASK_ADD;
        /// The object is a directory.
        const ISDIR = general::IN_ISDIR;
        /// Watch for one event only.
        const ONESHOT = general::IN_ONESHOT;
        /// All that can happen.
        const ALL_EVENTS = general::IN_ALL_EVENTS;
    }
}

struct Event {
    watch: i32,
    mask: NotifyMask,
    cookie: u32,
    name: Box<[u8]>,
}

impl Event {
    fn plain(watch: i32, mask: NotifyMask) -> Event {
        Event { watch, mask, cookie: 0, name: Box::default() }
    }

    /// Length of the name with its NUL, padded to whole headers.
    fn name_len(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEADER) }
    }

    fn len(&self) -> usize {
        HEADER + self.name_len()
    }

    fn is_same(&self, other: &Event) -> bool {
        (self.watch, self.mask, self.cookie) == (other.watch, other.mask, other.cookie) && self.name == other.name
    }

    fn write_to(&self, dst: &mut Dest<'_>) -> Result<usize> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.extend_from_slice(&self.watch.to_ne_bytes());
        for word in [self.mask.bits(), self.cookie, self.name_len() as u32] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.name);
        bytes.resize(self.len(), 0);
        dst.push(&bytes)
    }
}

/// One watched object.
struct Watch {
    owner: Weak<Inotify>,
    number: i32,
    dentry: Arc<Dentry>,
    super_block: Arc<SuperBlock>,
    mask: AtomicU32,
    _charge: Charge,
}

impl Watch {
    fn mask(&self) -> NotifyMask {
        NotifyMask::from_bits_retain(self.mask.load(Ordering::Relaxed))
    }

    fn inode_id(&self) -> usize {
        inode_id(self.dentry.inode())
    }
}

/// All watches by the inode that they watch.
static WATCHES: Mutex<SortedMap<usize, Vec<Arc<Watch>>>> = Mutex::new(SortedMap::new());
/// How many there are.
static WATCH_COUNT: AtomicUsize = AtomicUsize::new(0);

fn inode_id(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).addr()
}

/// The file of an inotify instance.
pub struct Inotify {
    me: Weak<Inotify>,
    watches: Mutex<Watches>,
    queue: SpinLock<VecDeque<Event>>,
    pollee: Pollee,
    user: u32,
    _charge: Charge,
}

/// What each user has of instances and of watches.
static INSTANCES: Account = Account::new();
static WATCHES_OF_USERS: Account = Account::new();

#[derive(Default)]
struct Watches {
    by_number: SortedMap<i32, Arc<Watch>>,
    last_number: i32,
}

impl Inotify {
    /// An instance that watches nothing, on the account of `user` (EMFILE).
    pub fn new(user: u32) -> Result<Arc<Inotify>> {
        let charge = INSTANCES.charge(user, 1, limits::INOTIFY_INSTANCES.get(), Errno::EMFILE)?;
        Ok(Arc::new_cyclic(|me| Inotify {
            me: me.clone(),
            watches: Mutex::new(Watches::default()),
            queue: SpinLock::new(VecDeque::new()),
            pollee: Pollee::new(),
            user,
            _charge: charge,
        }))
    }

    /// Watches the object at `place`, or changes how it is watched; the watch's number.
    pub fn add_watch(&self, place: &PathRef, mask: NotifyMask) -> Result<i32> {
        let stored = mask & (NotifyMask::ALL_EVENTS | NotifyMask::ONESHOT | NotifyMask::EXCL_UNLINK);
        let mut watches = self.watches.lock();
        let id = inode_id(place.inode());
        if let Some(watch) = watches.by_number.values().find(|watch| watch.inode_id() == id) {
            if mask.contains(NotifyMask::MASK_CREATE) {
                return Err(Errno::EEXIST);
            }
            let kept = if mask.contains(NotifyMask::MASK_ADD) { watch.mask() } else { NotifyMask::empty() };
            watch.mask.store((kept | stored).bits(), Ordering::Relaxed);
            return Ok(watch.number);
        }
        let number = watches.last_number.checked_add(1).ok_or(Errno::ENOSPC)?;
        let charge = WATCHES_OF_USERS.charge(self.user, 1, limits::INOTIFY_WATCHES.get(), Errno::ENOSPC)?;
        let watch = Arc::new(Watch {
            owner: self.me.clone(),
            number,
            dentry: place.dentry().clone(),
            super_block: place.mount().super_block().clone(),
            mask: AtomicU32::new(stored.bits()),
            _charge: charge,
        });
        watches.last_number = number;
        watches.by_number.insert(number, watch.clone());
        drop(watches);
        WATCHES.lock().get_or_insert_with(id, Vec::new).push(watch);
        WATCH_COUNT.fetch_add(1, Ordering::SeqCst);
        Ok(number)
    }

    /// Ends a watch. EINVAL if there is no such one.
    pub fn remove_watch(&self, number: i32) -> Result<()> {
        let watch = self.watches.lock().by_number.remove(&number).ok_or(Errno::EINVAL)?;
        forget(&watch);
        self.enqueue(Event::plain(number, NotifyMask::IGNORED));
        Ok(())
    }

    fn enqueue(&self, event: Event) {
        let mut queue = self.queue.lock();
        if queue.back().is_some_and(|last| last.is_same(&event)) {
            return;
        }
        if queue.back().is_some_and(|last| last.mask == NotifyMask::Q_OVERFLOW) {
            return;
        }
        let has_room = (queue.len() as u64) < limits::INOTIFY_EVENTS.get();
        let event = if has_room { event } else { Event::plain(-1, NotifyMask::Q_OVERFLOW) };
        if queue.try_reserve(1).is_ok() {
            queue.push_back(event);
        }
        drop(queue);
        self.pollee.notify(PollEvents::READABLE);
    }

    /// Takes the first event if it fits into `room` bytes (EINVAL).
    fn take(&self, room: usize) -> Option<Result<Event>> {
        let mut queue = self.queue.lock();
        if queue.front()?.len() > room {
            return Some(Err(Errno::EINVAL));
        }
        queue.pop_front().map(Ok)
    }

    fn queued_bytes(&self) -> usize {
        self.queue.lock().iter().map(Event::len).sum()
    }
}

impl File for Inotify {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        let room = dst.remaining();
        let first = if flags.contains(IoFlags::NONBLOCK) {
            self.take(room).ok_or(Errno::EAGAIN)?
        } else {
            self.pollee.wait_interruptible(None, || self.take(room))?
        };
        let mut count = first?.write_to(dst)?;
        while let Some(Ok(event)) = self.take(dst.remaining()) {
            count += event.write_to(dst)?;
        }
        Ok(count)
    }

    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        UserPtr::<i32>::new(arg).write(&(self.queued_bytes() as i32))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        if self.queue.lock().is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }

    fn can_signal(&self) -> bool {
        true
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.pollee)
    }

    fn seek(&self, _from: SeekFrom, current: u64) -> Result<u64> {
        Ok(current)
    }

    fn describe(&self, out: &mut Text) {
        for watch in self.watches.lock().by_number.values() {
            let Ok(metadata) = watch.dentry.inode().metadata() else { continue };
            write!(out, "inotify wd:{:x} ino:{:x} sdev:{:x} ", watch.number, metadata.ino, metadata.dev);
            writeln!(out, "mask:{:x} ignored_mask:0 ", (watch.mask() & NotifyMask::ALL_EVENTS).bits());
        }
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:inotify");
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = core::mem::take(&mut self.watches.get_mut().by_number);
        watches.values().for_each(forget);
    }
}

/// Takes a watch out of the table of all.
fn forget(watch: &Arc<Watch>) {
    let id = watch.inode_id();
    let mut all = WATCHES.lock();
    let Some(watches) = all.get_mut(&id) else { return };
    let before = watches.len();
    watches.retain(|other| !Arc::ptr_eq(other, watch));
    WATCH_COUNT.fetch_sub(before - watches.len(), Ordering::SeqCst);
    if watches.is_empty() {
        all.remove(&id);
    }
}

/// Whether anything is watched at all.
#[inline]
pub fn is_active() -> bool {
    WATCH_COUNT.load(Ordering::Relaxed) != 0
}

/// Something happened to the object at `place`: those who watch it, and those who watch its directory, hear of it.
#[inline]
pub fn on_file(place: &PathRef, what: NotifyMask) {
    if is_active() {
        report_file(place, what);
    }
}

/// Something happened to the entry `name` of `directory`: those who watch the directory hear of it. The two ends of a
/// move have the same `cookie`, other events 0.
#[inline]
pub fn on_entry(directory: &Arc<dyn Inode>, name: &[u8], what: NotifyMask, cookie: u32) {
    if is_active() {
        tell(directory, what, cookie, name, false);
    }
}

/// The object itself was removed or moved: those who watch it hear of it, and of its end.
#[inline]
pub fn on_self(inode: &Arc<dyn Inode>, what: NotifyMask) {
    if is_active() {
        report_self(inode, what);
    }
}

/// A number that joins the two ends of a move.
pub fn new_cookie() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

#[cold]
fn report_file(place: &PathRef, what: NotifyMask) {
    let what = if place.kind() == FileType::Directory { what | NotifyMask::ISDIR } else { what };
    let dentry = place.dentry();
    if !place.is_mount_root()
        && let Some(parent) = dentry.parent()
    {
        tell(parent.inode(), what, 0, dentry.name().as_bytes(), dentry.is_unlinked());
    }
    tell(place.inode(), what, 0, &[], false);
}

/// Ends the watches of an object that has no name any more, once nobody but them and the caller, who has `held` it so many
/// times, has it.
#[cold]
pub fn on_lost(dentry: &Arc<Dentry>, held: usize) {
    let watches = watches_of(dentry.inode());
    let is_watching = |watch: &&Arc<Watch>| Arc::ptr_eq(&watch.dentry, dentry);
    let is_unused = Arc::strong_count(dentry) <= held + watches.iter().filter(is_watching).count();
    if is_unused && dentry.inode().metadata().is_ok_and(|metadata| metadata.nlink == 0 || dentry.is_directory()) {
        report_self(dentry.inode(), NotifyMask::DELETE_SELF);
    }
}

/// A file system is gone: its watches end.
pub fn on_unmount(super_block: &Arc<SuperBlock>) {
    if !is_active() {
        return;
    }
    let all = WATCHES.lock();
    let watches: Vec<_> =
        all.values().flatten().filter(|watch| Arc::ptr_eq(&watch.super_block, super_block)).cloned().collect();
    drop(all);
    for watch in watches {
        if let Some(owner) = watch.owner.upgrade() {
            let directory = if watch.dentry.is_directory() { NotifyMask::ISDIR } else { NotifyMask::empty() };
            owner.enqueue(Event::plain(watch.number, NotifyMask::UNMOUNT | directory));
            let _ = owner.remove_watch(watch.number);
        }
    }
}

fn watches_of(inode: &Arc<dyn Inode>) -> Vec<Arc<Watch>> {
    WATCHES.lock().get(&inode_id(inode)).cloned().unwrap_or_default()
}

#[cold]
fn report_self(inode: &Arc<dyn Inode>, what: NotifyMask) {
    tell(inode, what, 0, &[], false);
    if !what.contains(NotifyMask::DELETE_SELF) {
        return;
    }
    for watch in watches_of(inode) {
        if let Some(owner) = watch.owner.upgrade() {
            let _ = owner.remove_watch(watch.number);
        }
    }
}

#[cold]
fn tell(inode: &Arc<dyn Inode>, what: NotifyMask, cookie: u32, name: &[u8], is_unlinked: bool) {
    for watch in watches_of(inode) {
        let mask = watch.mask();
        if is_unlinked && mask.contains(NotifyMask::EXCL_UNLINK) || !mask.intersects(what & NotifyMask::ALL_EVENTS) {
            continue;
        }
        let Some(owner) = watch.owner.upgrade() else { continue };
        owner.enqueue(Event { watch: watch.number, mask: what, cookie, name: name.into() });
        if mask.contains(NotifyMask::ONESHOT) {
            let _ = owner.remove_watch(watch.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(mask: NotifyMask, name: &[u8]) -> Event {
        Event { watch: 1, mask, cookie: 0, name: name.into() }
    }

    fn read(inotify: &Inotify, max: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; max];
        let count = inotify.read(&mut Dest::from_slice(&mut buffer), IoFlags::NONBLOCK)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    #[test]
    fn events_are_padded_and_come_in_order() {
        let inotify = Inotify::new(0).unwrap();
        inotify.enqueue(event(NotifyMask::CREATE, b"file"));
        inotify.enqueue(event(NotifyMask::CREATE, b"file"));
        inotify.enqueue(event(NotifyMask::DELETE_SELF, b""));
        assert_eq!(inotify.queued_bytes(), 48);
        assert_eq!(read(&inotify, 8), Err(Errno::EINVAL));
        let bytes = read(&inotify, 100).unwrap();
        assert_eq!(bytes.len(), 48);
        assert_eq!(bytes[12..22], *b"\x10\0\0\0file\0\0");
        assert_eq!(read(&inotify, 100), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_full_queue_says_so() {
        let inotify = Inotify::new(0).unwrap();
        let most = limits::INOTIFY_EVENTS.get();
        for number in 0..most + 5 {
            inotify.enqueue(event(NotifyMask::MODIFY, &number.to_ne_bytes()));
        }
        let queue = inotify.queue.lock();
        assert_eq!((queue.len(), queue.back().unwrap().mask), (most as usize + 1, NotifyMask::Q_OVERFLOW));
    }
}
