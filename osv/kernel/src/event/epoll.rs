//! epoll: a set of open files, and a queue of those of them that may be ready. Source: epoll(7), epoll_ctl(2).
//!
//! Each watched file has an [`Item`], which observes the file's pollee. An event puts the item into the ready queue;
//! waiting takes items out, asks their files what is true now, and puts the level-triggered ones back. So an idle
//! file costs nothing, however many there are, and an event costs a push.
//!
//! Locks, outermost first: `NESTING` (epolls in epolls), `Core::items` (sleeping), then below pollees' locks the
//! ready queue's (interrupts off; events come from interrupt handlers). The queue never allocates when an event
//! comes: room for all items is reserved when they are added. An item does not keep its file open: when the open
//! file goes, its pollee's watches are released and the item leaves the set.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::ready::ReadyQueue;
use super::{Observer, PollEvents, Pollee, Watch};
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::fs::{File, OpenFile, SeekFrom};
use crate::sched::{Deadline, Mutex, WaitQueue};

bitflags::bitflags! {
    /// Input flags of an epoll registration, in the upper bits of `epoll_event.events`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct EpollFlags: u32 {
        const EXCLUSIVE = 1 << 28;
        const WAKEUP = 1 << 29;
        const ONESHOT = 1 << 30;
        const EDGE = 1 << 31;
    }
}

/// How many steps lead from an epoll through others to the last one, at most.
const MAX_NESTING: usize = 4;

/// Serialises the making of nested sets, so that two cannot close a loop between them.
static NESTING: Mutex<()> = Mutex::new(());

/// What a program asks for and gets back: `struct epoll_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Events, with the input flags when registering.
    pub events: u32,
    /// The program's own word.
    pub data: u64,
}

/// The file of an epoll.
pub struct Epoll(Arc<Core>);

/// What the items refer to; it outlives the file only until the last item is detached.
struct Core {
    items: Mutex<BTreeMap<Key, Arc<Item>>>,
    ready: ReadyQueue<Arc<Item>>,
    queue: WaitQueue,
    pollee: Pollee,
    /// The sets that watch this one, or have watched it.
    parents: Mutex<Vec<Weak<Core>>>,
}

/// A descriptor's number and the address of the open file behind it, both in 64 bits: the code of the tree is then that of
/// the timers' one.
type Key = (u64, u64);

/// One watched file.
struct Item {
    me: Weak<Item>,
    core: Arc<Core>,
    file: Weak<OpenFile>,
    fd: i32,
    /// Events and flags; 0 after a one-shot has fired or the item has been removed.
    interest: AtomicU32,
    data: AtomicU64,
    /// In the ready queue; changed under its lock.
    is_queued: AtomicBool,
    is_removed: AtomicBool,
}

impl Item {
    fn key(&self) -> Key {
        (self.fd as u64, self.file.as_ptr() as u64)
    }

    fn flags(&self) -> EpollFlags {
        EpollFlags::from_bits_truncate(self.interest.load(Ordering::Relaxed))
    }

    /// What to report out of `events`: nothing when disarmed.
    fn wanted(&self, events: PollEvents) -> PollEvents {
        let interest = self.interest.load(Ordering::Relaxed);
        if interest & !EpollFlags::all().bits() == 0 {
            return PollEvents::empty();
        }
        events & (PollEvents::from_bits_retain(interest) | PollEvents::ALWAYS)
    }

    /// What is true of the file now and wanted.
    #[inline(always)]
    fn current_events(&self, file: &OpenFile) -> PollEvents {
        self.wanted(file.readiness())
    }

    /// Puts the item into the ready queue unless it is there, and wakes a waiter.
    ///
    /// An item that is seen in the queue will be taken out after this, and its file asked after that: `pop` orders
    /// its store before the question, and the fence of the pollee orders the change before this load.
    #[inline(always)]
    fn enqueue(&self) -> bool {
        let core = &self.core;
        if !self.is_queued.load(Ordering::SeqCst) {
            core.push(self);
        }
        core.pollee.notify_observers(PollEvents::READABLE);
        core.queue.wake_one()
    }

    fn disarm(&self) {
        let flags = self.interest.load(Ordering::Relaxed) & EpollFlags::all().bits();
        self.interest.store(flags, Ordering::Relaxed);
    }
}

impl Observer for Item {
    fn on_event(&self, events: PollEvents) -> bool {
        !self.wanted(events).is_empty() && self.enqueue()
    }

    fn on_close(&self) {
        let removed = self.core.items.lock().remove(&self.key());
        if let Some(item) = removed {
            self.core.forget(&item);
        }
    }
}

impl Core {
    fn push(&self, item: &Item) {
        self.ready.push_with(|| {
            if item.is_queued.load(Ordering::Relaxed) {
                return None;
            }
            let item = item.me.upgrade()?;
            item.is_queued.store(true, Ordering::Relaxed);
            Some(item)
        });
    }

    #[inline(always)]
    fn pop(&self) -> Option<Arc<Item>> {
        self.ready.pop_with(|item| item.is_queued.store(false, Ordering::SeqCst))
    }

    /// Puts back an item that was popped, unless an event has done so.
    #[inline(always)]
    fn put_back(&self, item: Arc<Item>) {
        self.ready.push_with(|| {
            let was_queued = item.is_queued.load(Ordering::Relaxed);
            item.is_queued.store(true, Ordering::Relaxed);
            (!was_queued).then_some(item)
        });
    }

    /// Marks an item that has left the set; the ready queue drops it when it comes across it.
    fn forget(&self, item: &Item) {
        item.is_removed.store(true, Ordering::Relaxed);
        item.interest.store(0, Ordering::Relaxed);
        if item.is_queued.load(Ordering::Relaxed) {
            self.ready.note_dead(|item| !item.is_removed.load(Ordering::Relaxed));
        }
    }

    /// Takes the items out of the queue that were in it when the call came, at most once each, until `visit` says
    /// that it has enough; puts back those for which `visit` says so.
    fn scan(&self, mut visit: impl FnMut(&Arc<Item>, PollEvents) -> Visit) {
        for _ in 0..self.ready.len() {
            let Some(item) = self.pop() else { break };
            if item.is_removed.load(Ordering::Relaxed) {
                self.ready.note_dead_gone();
                continue;
            }
            let Some(file) = item.file.upgrade() else { continue };
            let events = item.current_events(&file);
            if events.is_empty() {
                continue;
            }
            let visit = visit(&item, events);
            if visit.is_kept {
                self.put_back(item);
            }
            if visit.is_enough {
                break;
            }
        }
        if !self.ready.is_empty() {
            self.queue.wake_one();
        }
    }
}

/// What becomes of an item after it was looked at.
struct Visit {
    is_kept: bool,
    is_enough: bool,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Arc<Epoll> {
        Arc::new(Epoll(Arc::new(Core {
            items: Mutex::new(BTreeMap::new()),
            ready: ReadyQueue::new(),
            queue: WaitQueue::new(),
            pollee: Pollee::new(),
            parents: Mutex::new(Vec::new()),
        })))
    }

    /// Adds `file`, open as `fd`. EEXIST if it is there, EPERM if it cannot be waited for, ELOOP if it is an epoll
    /// that leads back here or is nested too deeply.
    pub fn add(&self, fd: i32, file: &Arc<OpenFile>, event: Event) -> Result<()> {
        let pollee = file.pollee().ok_or(Errno::EPERM)?;
        let flags = EpollFlags::from_bits_truncate(event.events);
        let inner = as_epoll(file);
        if flags.contains(EpollFlags::EXCLUSIVE) && (inner.is_some() || !may_be_exclusive(event.events)) {
            return Err(Errno::EINVAL);
        }
        let _nesting = inner.map(|_| NESTING.lock());
        if let Some(inner) = inner {
            self.check_nesting(inner)?;
        }
        let item = self.insert(fd, file, event)?;
        let watch = Watch {
            interest: PollEvents::from_bits_truncate(u32::MAX),
            is_exclusive: flags.contains(EpollFlags::EXCLUSIVE),
            owner: Arc::as_ptr(file) as usize,
        };
        if let Err(errno) = pollee.attach(item.clone(), watch) {
            self.take(&item.key());
            return Err(errno);
        }
        enqueue_if_ready(&item, file);
        Ok(())
    }

    /// Changes what is wanted of `file`. ENOENT if it is not in the set.
    pub fn modify(&self, fd: i32, file: &Arc<OpenFile>, event: Event) -> Result<()> {
        if EpollFlags::from_bits_truncate(event.events).contains(EpollFlags::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        let items = self.0.items.lock();
        let item = items.get(&key(fd, file)).ok_or(Errno::ENOENT)?.clone();
        if item.flags().contains(EpollFlags::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        item.data.store(event.data, Ordering::Relaxed);
        item.interest.store(stored_interest(event.events), Ordering::SeqCst);
        drop(items);
        enqueue_if_ready(&item, file);
        Ok(())
    }

    /// Takes `file` out of the set. ENOENT if it is not in it.
    pub fn remove(&self, fd: i32, file: &Arc<OpenFile>) -> Result<()> {
        let item = self.take(&key(fd, file)).ok_or(Errno::ENOENT)?;
        if let Some(pollee) = file.pollee() {
            let observer: Arc<dyn Observer> = item;
            pollee.detach(&observer);
        }
        Ok(())
    }

    /// Hands up to `max` events on to `emit`, waiting for the first of them until `deadline` (`None`: for ever). How
    /// many there were; EINTR when a signal came first. An error of `emit` leaves its event in the set.
    pub fn wait(
        &self,
        max: usize,
        deadline: Option<Deadline>,
        mut emit: impl FnMut(usize, Event) -> Result<()>,
    ) -> Result<usize> {
        loop {
            let count = self.collect(max, &mut emit)?;
            if count > 0 || deadline.is_some_and(|deadline| deadline.has_passed()) {
                return Ok(count);
            }
            let core = &self.0;
            match core.queue.wait_interruptible(deadline, || (!core.ready.is_empty()).then_some(())) {
                Ok(()) => {}
                Err(Errno::ETIMEDOUT) => return self.collect(max, &mut emit),
                Err(_) => return Err(Errno::EINTR),
            }
        }
    }

    /// One pass over the ready queue.
    fn collect(&self, max: usize, emit: &mut impl FnMut(usize, Event) -> Result<()>) -> Result<usize> {
        let core = &self.0;
        if core.ready.is_empty() {
            return Ok(0);
        }
        let mut count = 0;
        let mut failure = None;
        core.scan(|item, events| {
            let event = Event { events: events.bits(), data: item.data.load(Ordering::Relaxed) };
            if let Err(errno) = emit(count, event) {
                failure = Some(errno);
                return Visit { is_kept: true, is_enough: true };
            }
            count += 1;
            let flags = item.flags();
            if flags.contains(EpollFlags::ONESHOT) {
                item.disarm();
            }
            let is_kept = !flags.intersects(EpollFlags::ONESHOT | EpollFlags::EDGE);
            Visit { is_kept, is_enough: count == max }
        });
        match failure {
            Some(errno) if count == 0 => Err(errno),
            _ => Ok(count),
        }
    }

    fn insert(&self, fd: i32, file: &Arc<OpenFile>, event: Event) -> Result<Arc<Item>> {
        let core = &self.0;
        let mut items = core.items.lock();
        if items.contains_key(&key(fd, file)) {
            return Err(Errno::EEXIST);
        }
        core.ready.reserve(items.len() + 1)?;
        let item = Arc::new_cyclic(|me| Item {
            me: me.clone(),
            core: core.clone(),
            file: Arc::downgrade(file),
            fd,
            interest: AtomicU32::new(stored_interest(event.events)),
            data: AtomicU64::new(event.data),
            is_queued: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        });
        items.insert(item.key(), item.clone());
        Ok(item)
    }

    fn take(&self, key: &Key) -> Option<Arc<Item>> {
        let item = self.0.items.lock().remove(key)?;
        self.0.forget(&item);
        Some(item)
    }

    /// ELOOP if `inner` is or leads to this set, or if the chain would be too long; else `inner` learns who watches it.
    fn check_nesting(&self, inner: &Epoll) -> Result<()> {
        let below = inner.0.depth_towards(&self.0, 0).ok_or(Errno::ELOOP)?;
        if below + 1 + self.0.height(0) > MAX_NESTING {
            return Err(Errno::ELOOP);
        }
        let mut parents = inner.0.parents.lock();
        parents.retain(|parent| parent.strong_count() != 0);
        parents.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        parents.push(Arc::downgrade(&self.0));
        Ok(())
    }
}

impl Core {
    /// How many sets lie below this one; `None` if `other` does, or too many.
    fn depth_towards(self: &Arc<Core>, other: &Arc<Core>, level: usize) -> Option<usize> {
        if Arc::ptr_eq(self, other) || level > MAX_NESTING {
            return None;
        }
        let files: Vec<Arc<OpenFile>> = self.items.lock().values().filter_map(|item| item.file.upgrade()).collect();
        files
            .iter()
            .filter_map(as_epoll)
            .try_fold(0, |deepest: usize, inner| Some(deepest.max(inner.0.depth_towards(other, level + 1)? + 1)))
    }

    /// How many sets lie above this one.
    fn height(self: &Arc<Core>, level: usize) -> usize {
        let parents: Vec<Arc<Core>> = self.parents.lock().iter().filter_map(Weak::upgrade).collect();
        let above = parents.iter().filter(|parent| level < MAX_NESTING && parent.watches(self));
        above.map(|parent| parent.height(level + 1) + 1).max().unwrap_or(0)
    }

    fn watches(&self, inner: &Arc<Core>) -> bool {
        let items = self.items.lock();
        let mut files = items.values().filter_map(|item| item.file.upgrade());
        // What is upgraded here is not the last reference: its watch would have gone with it.
        files.any(|file| as_epoll(&file).is_some_and(|epoll| Arc::ptr_eq(&epoll.0, inner)))
    }
}

impl File for Epoll {
    fn readiness(&self) -> PollEvents {
        let mut is_ready = false;
        self.0.scan(|_, _| {
            is_ready = true;
            Visit { is_kept: true, is_enough: true }
        });
        if is_ready { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.0.pollee)
    }

    fn seek(&self, _from: SeekFrom, current: u64) -> Result<u64> {
        Ok(current)
    }

    fn describe(&self, out: &mut Text) {
        for item in self.0.items.lock().values() {
            let events = item.interest.load(Ordering::Relaxed);
            write!(out, "tfd: {:8} events: {events:8x} data: {:16x} ", item.fd, item.data.load(Ordering::Relaxed));
            writeln!(out, " pos:0 ino:1 sdev:{:x}", crate::fs::ANONYMOUS_DEVICE);
        }
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[eventpoll]");
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = core::mem::take(&mut *self.0.items.lock());
        for item in items.into_values() {
            self.0.forget(&item);
            if let Some(file) = item.file.upgrade()
                && let Some(pollee) = file.pollee()
            {
                let observer: Arc<dyn Observer> = item;
                pollee.detach(&observer);
            }
        }
        self.0.ready.clear();
    }
}

/// The epoll behind an open file, if it is one.
#[inline(always)]
pub fn as_epoll(file: &Arc<OpenFile>) -> Option<&Epoll> {
    file.downcast()
}

fn key(fd: i32, file: &Arc<OpenFile>) -> Key {
    (fd as u64, Arc::as_ptr(file) as u64)
}

/// What is kept of `epoll_event.events`: EPOLLWAKEUP is a wish that has no meaning here, as without the capability.
fn stored_interest(events: u32) -> u32 {
    (events | PollEvents::ALWAYS.bits()) & !EpollFlags::WAKEUP.bits()
}

/// EPOLLEXCLUSIVE goes with few others.
fn may_be_exclusive(events: u32) -> bool {
    let events_allowed = PollEvents::POLLIN | PollEvents::POLLOUT | PollEvents::ALWAYS;
    let flags_allowed = EpollFlags::EXCLUSIVE | EpollFlags::WAKEUP | EpollFlags::EDGE;
    events & !(events_allowed.bits() | flags_allowed.bits()) == 0
}

fn enqueue_if_ready(item: &Item, file: &OpenFile) {
    if !item.current_events(file).is_empty() {
        item.enqueue();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventFd;
    use crate::fs::{IoFlags, OpenFlags};
    use crate::mem::user::{Dest, Source};

    const IN: u32 = PollEvents::POLLIN.bits();

    fn open(file: Arc<dyn File>) -> Arc<OpenFile> {
        OpenFile::anonymous(file, OpenFlags::RDWR)
    }

    fn eventfd(initial: u32) -> Arc<OpenFile> {
        open(EventFd::new(initial, false))
    }

    fn event(events: u32, data: u64) -> Event {
        Event { events, data }
    }

    fn write(file: &OpenFile) {
        file.write_with(&mut Source::from_slice(&1u64.to_ne_bytes()), IoFlags::NONBLOCK).unwrap();
    }

    fn read(file: &OpenFile) {
        file.read_with(&mut Dest::from_slice(&mut [0; 8]), IoFlags::NONBLOCK).unwrap();
    }

    fn ready(epoll: &Epoll, max: usize) -> Vec<u64> {
        let mut found = Vec::new();
        epoll
            .wait(max, Some(Deadline::at(0)), |_, event| {
                let _: () = found.push(event.data);
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn level_triggered_files_stay_until_they_are_read() {
        let (epoll, file) = (Epoll::new(), eventfd(0));
        epoll.add(3, &file, event(IN, 7)).unwrap();
        assert!(ready(&epoll, 8).is_empty());
        write(&file);
        assert_eq!([ready(&epoll, 8), ready(&epoll, 8)], [[7], [7]]);
        read(&file);
        assert!(ready(&epoll, 8).is_empty());
    }

    #[test]
    fn edge_triggered_files_come_once_per_event() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        epoll.add(3, &file, event(IN | EpollFlags::EDGE.bits(), 7)).unwrap();
        assert_eq!(ready(&epoll, 8), [7]);
        assert!(ready(&epoll, 8).is_empty());
        write(&file);
        assert_eq!(ready(&epoll, 8), [7]);
    }

    #[test]
    fn one_shot_files_come_once_until_armed_again() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        let one_shot = IN | EpollFlags::ONESHOT.bits();
        epoll.add(3, &file, event(one_shot, 7)).unwrap();
        assert_eq!(ready(&epoll, 8), [7]);
        write(&file);
        assert!(ready(&epoll, 8).is_empty());
        epoll.modify(3, &file, event(one_shot, 8)).unwrap();
        assert_eq!(ready(&epoll, 8), [8]);
    }

    #[test]
    fn waiting_for_few_is_fair() {
        let epoll = Epoll::new();
        let files = [eventfd(1), eventfd(1), eventfd(1)];
        for (fd, file) in files.iter().enumerate() {
            epoll.add(fd as i32, file, event(IN, fd as u64)).unwrap();
        }
        assert_eq!([ready(&epoll, 2), ready(&epoll, 2)], [[0, 1], [2, 0]]);
    }

    #[test]
    fn a_closed_file_leaves_the_set() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        epoll.add(3, &file, event(IN, 7)).unwrap();
        drop(file);
        assert!(ready(&epoll, 8).is_empty());
        assert!(epoll.0.items.lock().is_empty());
    }

    #[test]
    fn sets_know_their_files() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        assert_eq!(epoll.modify(3, &file, event(IN, 0)), Err(Errno::ENOENT));
        assert_eq!(epoll.remove(3, &file), Err(Errno::ENOENT));
        epoll.add(3, &file, event(IN, 0)).unwrap();
        assert_eq!(epoll.add(3, &file, event(IN, 0)), Err(Errno::EEXIST));
        epoll.add(4, &file, event(IN, 1)).unwrap();
        epoll.remove(3, &file).unwrap();
        assert_eq!(ready(&epoll, 8), [1]);
    }

    #[test]
    fn adding_and_removing_ready_files_leaves_no_garbage() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        for _ in 0..1000 {
            epoll.add(3, &file, event(IN, 0)).unwrap();
            epoll.remove(3, &file).unwrap();
        }
        assert!(epoll.0.ready.len() < 40);
        assert!(ready(&epoll, 8).is_empty());
    }

    #[test]
    fn nested_sets_report_and_do_not_loop() {
        let (inner, outer) = (Epoll::new(), Epoll::new());
        let (inner_file, outer_file) = (open(inner.clone()), open(outer.clone()));
        let file = eventfd(0);
        outer.add(5, &inner_file, event(IN, 1)).unwrap();
        inner.add(3, &file, event(IN, 2)).unwrap();
        assert_eq!(inner.add(6, &outer_file, event(IN, 3)), Err(Errno::ELOOP));
        assert_eq!(inner.add(5, &inner_file, event(IN, 3)), Err(Errno::ELOOP));
        assert!(ready(&outer, 8).is_empty());
        write(&file);
        assert_eq!(ready(&outer, 8), [1]);
        assert_eq!(ready(&inner, 8), [2]);
        read(&file);
        assert!(ready(&outer, 8).is_empty());
    }

    #[test]
    fn chains_have_a_limit() {
        let chain: Vec<_> = (0..7).map(|_| Epoll::new()).collect();
        let files: Vec<_> = chain.iter().map(|epoll| open(epoll.clone())).collect();
        let results: Vec<_> = (0..6).map(|i| chain[i + 1].add(i as i32, &files[i], event(IN, 0))).collect();
        assert!(results[..4].iter().all(Result::is_ok));
        assert_eq!(results[4], Err(Errno::ELOOP));
    }

    #[test]
    fn exclusive_watches_are_limited() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        let exclusive = EpollFlags::EXCLUSIVE.bits();
        let one_shot = EpollFlags::ONESHOT.bits();
        assert_eq!(epoll.add(3, &file, event(IN | exclusive | one_shot, 0)), Err(Errno::EINVAL));
        epoll.add(3, &file, event(IN | exclusive, 4)).unwrap();
        assert_eq!(epoll.modify(3, &file, event(IN, 0)), Err(Errno::EINVAL));
        assert_eq!(ready(&epoll, 8), [4]);
    }

    #[test]
    fn an_event_that_cannot_be_delivered_is_kept() {
        let (epoll, file) = (Epoll::new(), eventfd(1));
        epoll.add(3, &file, event(IN | EpollFlags::EDGE.bits(), 7)).unwrap();
        let result = epoll.wait(8, Some(Deadline::at(0)), |_, _| Err(Errno::EFAULT));
        assert_eq!(result, Err(Errno::EFAULT));
        assert_eq!(ready(&epoll, 8), [7]);
    }
}
