//! Futexes: programs sleep on words of their own memory.
//!
//! A waiter links a node in its stack frame into a bucket chosen by the word's [`Key`], and only then compares the
//! word with the value that it expects; a waker has changed the word before it looks into the bucket. So either the
//! waiter sees the change or the waker sees the waiter, and the word is never read under a lock (it may have to be
//! paged in). A waker sets the node's `is_woken` before it wakes the thread, and the waiter looks at it after it has
//! announced that it will block: that needs no lock. Before it leaves its frame it takes the lock once, so that the
//! waker is done with the node. A waiter that was woken although the word had changed hands its wake-up on. Source: futex(2).

use alloc::vec::Vec;

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use core::ptr::NonNull;

use super::list::{Link, Linked, List};
use super::wait::reason_to_give_up;
use super::{Deadline, Thread, current, schedule};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// Waits for any bit, wakes every waiter: FUTEX_BITSET_MATCH_ANY.
pub const ANY_BIT: u32 = u32::MAX;

const BUCKETS: usize = 256;

/// What a futex word is, apart from the address at which a process sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The address space (private futexes) or the mapped object (shared ones), by a number that is not reused
    /// while somebody waits.
    pub object: u64,
    /// The word's address in the space, or its offset in the object.
    pub offset: u64,
}

/// The waiters of some keys.
struct Bucket {
    /// How many wait: a waker looks here first, without the lock.
    length: AtomicU32,
    list: SpinLock<List<Node>>,
}

/// A waiter, in its own stack frame. While it is linked, its fields are protected by the lock of its bucket.
struct Node {
    link: Link<Node>,
    thread: NonNull<Thread>,
    key: Key,
    bits: u32,
    /// A waker has taken the node out.
    is_woken: AtomicBool,
    /// The bucket that has the node: requeueing changes it, under the locks of both.
    bucket: AtomicU32,
}

impl Linked for Node {
    #[inline(always)]
    fn link(&mut self) -> &mut Link<Node> {
        &mut self.link
    }
}

static TABLE: [Bucket; BUCKETS] =
    [const { Bucket { length: AtomicU32::new(0), list: SpinLock::new(List::new()) } }; BUCKETS];

impl Key {
    #[inline]
    fn bucket(self) -> usize {
        let mixed = (self.object ^ self.offset.rotate_left(20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize % BUCKETS
    }
}

/// Sleeps until a [`wake`] for `key` with one of `bits`, if `word` still gives `expected`.
///
/// # Errors
/// EAGAIN if the word differs, ETIMEDOUT, ERESTARTSYS for a signal, and what `word` fails with.
pub fn wait(
    key: Key,
    expected: u32,
    bits: u32,
    deadline: Option<Deadline>,
    word: impl FnOnce() -> Result<u32>,
) -> Result<()> {
    let mut waiter = Waiter::new(key, bits);
    waiter.link();
    match word() {
        Ok(value) if value == expected => waiter.sleep(deadline),
        outcome => {
            waiter.leave();
            Err(outcome.err().unwrap_or(Errno::EAGAIN))
        }
    }
}

/// One of several words to wait for.
pub struct Awaited<'a> {
    /// What it is.
    pub key: Key,
    /// What it has to be still.
    pub expected: u32,
    /// What it is now.
    pub read: &'a dyn Fn() -> Result<u32>,
}

/// Sleeps until a [`wake`] for one of the words, if all of them are as expected. Returns which was woken.
///
/// # Errors
/// As for [`wait`]; ENOMEM without memory.
pub fn wait_for_any(words: &[Awaited<'_>], deadline: Option<Deadline>) -> Result<usize> {
    let mut waiters = Vec::new();
    waiters.try_reserve_exact(words.len()).map_err(|_| Errno::ENOMEM)?;
    waiters.extend(words.iter().map(|word| Waiter::new(word.key, ANY_BIT)));
    let mut waiters = waiters.into_boxed_slice();
    let outcome = link_and_compare(&mut waiters, words).and_then(|()| sleep_for_any(&mut waiters, deadline));
    // Who was woken counts, whatever else happened. All have left their buckets after this.
    let mut woken = None;
    for (index, waiter) in waiters.iter_mut().enumerate() {
        if waiter.is_woken() || !waiter.unlink() {
            waiter.part_from_waker();
            woken = Some(index);
        }
    }
    woken.map_or(outcome.map(|()| 0), Ok)
}

/// Links all, then looks at the words. Those that were not linked yet count as never woken.
fn link_and_compare(waiters: &mut [Waiter], words: &[Awaited<'_>]) -> Result<()> {
    for waiter in waiters.iter_mut() {
        waiter.link();
    }
    for word in words {
        if (word.read)()? != word.expected {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(())
}

fn sleep_for_any(waiters: &mut [Waiter], deadline: Option<Deadline>) -> Result<()> {
    let thread = current();
    let _alarm = deadline.map(|deadline| thread.alarm(deadline));
    loop {
        thread.prepare_to_block();
        if waiters.iter_mut().any(Waiter::is_woken) {
            thread.stay_runnable();
            return Ok(());
        }
        if let Some(errno) = reason_to_give_up(&thread, deadline) {
            thread.stay_runnable();
            return Err(errno);
        }
        schedule();
    }
}

/// Whether any thread waits for `key`.
pub fn has_waiters(key: Key) -> bool {
    find(&TABLE[key.bucket()].list.lock(), key, ANY_BIT).is_some()
}

/// Wakes up to `most` threads that wait for `key` with one of `bits`, oldest first; returns how many.
#[inline(always)]
pub fn wake(key: Key, most: usize, bits: u32) -> usize {
    let bucket = &TABLE[key.bucket()];
    fence(Ordering::SeqCst);
    if bucket.length.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    wake_in(bucket, &mut bucket.list.lock(), key, most, bits)
}

/// Wakes up to `most_woken` threads that wait for `from`, and lets up to `most_moved` of the others wait for `to`
/// instead. If `word` is given, it has to hold the value at the time. Returns how many were woken, and how many moved.
///
/// # Errors
/// EAGAIN if the word differs, and what reading it fails with.
pub fn requeue(
    from: Key,
    to: Key,
    most_woken: usize,
    most_moved: usize,
    word: Option<(u32, &dyn Fn() -> Result<u32>)>,
) -> Result<(usize, usize)> {
    if let Some((expected, read)) = word
        && read()? != expected
    {
        return Err(Errno::EAGAIN);
    }
    let source = &TABLE[from.bucket()];
    if from.bucket() == to.bucket() {
        let mut list = source.list.lock();
        let woken = wake_in(source, &mut list, from, most_woken, ANY_BIT);
        return Ok((woken, rename(&mut list, from, to, most_moved)));
    }
    let target = &TABLE[to.bucket()];
    // Both locks, in the order of the table, so that two requeues cannot wait for each other.
    let (mut source_list, mut target_list);
    if from.bucket() < to.bucket() {
        source_list = source.list.lock();
        target_list = target.list.lock();
    } else {
        target_list = target.list.lock();
        source_list = source.list.lock();
    }
    let woken = wake_in(source, &mut source_list, from, most_woken, ANY_BIT);
    let mut moved = 0;
    while moved < most_moved {
        let Some(node) = find(&source_list, from, ANY_BIT) else { break };
        unlink(source, &mut source_list, node);
        // SAFETY:
        // - the node was linked, so it is alive until its waiter gets both locks that we hold.
        unsafe {
            (*node.as_ptr()).key = to;
            (*node.as_ptr()).bucket.store(to.bucket() as u32, Ordering::Relaxed);
        }
        link(target, &mut target_list, node);
        moved += 1;
    }
    Ok((woken, moved))
}

#[inline(always)]
fn wake_in(bucket: &Bucket, list: &mut List<Node>, key: Key, most: usize, bits: u32) -> usize {
    let mut woken = 0;
    while woken < most {
        let Some(node) = find(list, key, bits) else { break };
        unlink(bucket, list, node);
        // SAFETY:
        // - the node was linked, so its waiter has to take the lock that we hold before its thread can end.
        unsafe {
            (*node.as_ptr()).is_woken.store(true, Ordering::SeqCst);
            (*node.as_ptr()).thread.as_ref().wake();
        }
        woken += 1;
    }
    woken
}

/// Lets up to `most` waiters of `from` wait for `to`, in the same bucket.
fn rename(list: &mut List<Node>, from: Key, to: Key, most: usize) -> usize {
    let mut moved = 0;
    while moved < most {
        let Some(mut node) = find(list, from, ANY_BIT) else { break };
        if from == to {
            return most.min(count(list, from));
        }
        // SAFETY:
        // - the node is linked in the list whose lock we hold.
        unsafe { node.as_mut() }.key = to;
        moved += 1;
    }
    moved
}

fn count(list: &List<Node>, key: Key) -> usize {
    nodes(list).filter(|node| has_key(*node, key, ANY_BIT)).count()
}

#[inline(always)]
fn find(list: &List<Node>, key: Key, bits: u32) -> Option<NonNull<Node>> {
    nodes(list).find(|node| has_key(*node, key, bits))
}

fn has_key(node: NonNull<Node>, key: Key, bits: u32) -> bool {
    // SAFETY:
    // - the node comes from the list whose lock the caller holds.
    let node = unsafe { node.as_ref() };
    node.key == key && node.bits & bits != 0
}

/// The nodes of a list whose lock the caller holds.
fn nodes(list: &List<Node>) -> impl Iterator<Item = NonNull<Node>> {
    // SAFETY:
    // - the nodes come from the list, and the caller holds its lock.
    core::iter::successors(list.first(), |&node| unsafe { list.after(node) })
}

#[inline(always)]
fn link(bucket: &Bucket, list: &mut List<Node>, node: NonNull<Node>) {
    // SAFETY:
    // - the node is in its waiter's frame, which it leaves only unlinked, and the caller holds the lock.
    unsafe { list.push(node) };
    bucket.length.fetch_add(1, Ordering::SeqCst);
}

fn unlink(bucket: &Bucket, list: &mut List<Node>, node: NonNull<Node>) {
    // SAFETY:
    // - the node is linked in this list, and the caller holds the lock.
    unsafe { list.remove(node) };
    bucket.length.fetch_sub(1, Ordering::Relaxed);
}

/// A node on the stack of the thread that waits.
struct Waiter {
    node: Node,
    /// The list points to the node once it is linked.
    _pinned: core::marker::PhantomPinned,
}

impl Waiter {
    #[inline]
    fn new(key: Key, bits: u32) -> Waiter {
        let node = Node {
            link: Link::new(),
            thread: NonNull::from(&*current()),
            key,
            bits,
            is_woken: AtomicBool::new(false),
            bucket: AtomicU32::new(key.bucket() as u32),
        };
        Waiter { node, _pinned: core::marker::PhantomPinned }
    }

    /// Links the node. The waiter must not move from now on.
    #[inline(always)]
    fn link(&mut self) {
        let bucket = &TABLE[self.node.key.bucket()];
        let mut list = bucket.list.lock();
        link(bucket, &mut list, NonNull::from(&mut self.node));
    }

    /// Runs `action` with the lock of the bucket that has the node now.
    #[inline(always)]
    fn with_bucket<T>(&mut self, action: impl FnOnce(&'static Bucket, &mut List<Node>, NonNull<Node>) -> T) -> T {
        let node = NonNull::from(&mut self.node);
        loop {
            // SAFETY:
            // - the node is in this frame; the field is atomic, since requeueing changes it meanwhile.
            let index = unsafe { &(*node.as_ptr()).bucket }.load(Ordering::Relaxed);
            let bucket = &TABLE[index as usize % BUCKETS];
            let mut list = bucket.list.lock();
            // SAFETY: as above.
            if unsafe { &(*node.as_ptr()).bucket }.load(Ordering::Relaxed) == index {
                return action(bucket, &mut list, node);
            }
        }
    }

    #[inline]
    fn is_woken(&mut self) -> bool {
        let node = &raw mut self.node;
        // SAFETY:
        // - the node is in this frame; the field is atomic, since a waker sets it meanwhile.
        unsafe { &(*node).is_woken }.load(Ordering::SeqCst)
    }

    /// Returns when the waker, who holds the lock, is done with the node.
    #[inline(always)]
    fn part_from_waker(&mut self) {
        self.with_bucket(|_, _, _| ());
    }

    #[inline]
    fn sleep(&mut self, deadline: Option<Deadline>) -> Result<()> {
        let thread = current();
        let _alarm = deadline.map(|deadline| thread.alarm(deadline));
        loop {
            thread.prepare_to_block();
            if self.is_woken() {
                thread.stay_runnable();
            } else if let Some(errno) = reason_to_give_up(&thread, deadline) {
                thread.stay_runnable();
                return if self.unlink() { Err(errno) } else { Ok(()) };
            } else {
                schedule();
            }
            if self.is_woken() {
                self.part_from_waker();
                return Ok(());
            }
        }
    }

    /// Takes the node out; false if it was woken before.
    fn unlink(&mut self) -> bool {
        self.with_bucket(|bucket, list, node| {
            // SAFETY:
            // - the node is in this frame, and its bucket's lock is held.
            let is_linked = unsafe { (*node.as_ptr()).link.is_linked() };
            if is_linked {
                unlink(bucket, list, node);
            }
            is_linked
        })
    }

    /// Takes the node out without having slept; a wake-up that came meanwhile goes to another waiter.
    fn leave(&mut self) {
        if !self.unlink() {
            wake(self.node.key, 1, self.node.bits);
        }
    }
}
