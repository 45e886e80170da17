//! POSIX message queues: mq_overview(7).
//!
//! A [`Queue`] keeps messages by priority, and among equals in the order in which they came. It is an inode of the file
//! system [`volume`], which has one directory: names are files, and what `mq_open` gives is an open file. What
//! a queue may take of the kernel's memory is counted against its owner (RLIMIT_MSGQUEUE). Threads that wait look again when
//! woken; senders and receivers have a wait queue each. Who asked to be told of a message ([`notify`]) is told once.

mod file;
mod notify;
mod volume;

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

pub use file::OpenQueue;
use notify::Registration;
pub use notify::{Cookie, Notice};
pub use volume::{instance, mount, open, unlink};

use super::account::{Account, Charge};
use super::limits;
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::fs::clock::now;
use crate::fs::{NewInode, SetAttributes, Timespec};
use crate::sched::{Deadline, WaitQueue};
use crate::sync::SpinLock;

/// Priorities are below this.
pub const PRIORITIES: u32 = 32768;

/// How large a queue is: the part of `struct mq_attr` that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The most messages.
    pub messages: u64,
    /// The most bytes of each.
    pub size: u64,
}

impl Capacity {
    /// That of a queue for which none was asked.
    pub fn by_default() -> Capacity {
        Capacity {
            messages: limits::MQ_MESSAGES.get().min(limits::MQ_MESSAGES_DEFAULT.get()),
            size: limits::MQ_SIZE.get().min(limits::MQ_SIZE_DEFAULT.get()),
        }
    }

    /// What `mq_open` was asked for. EINVAL for what the limits do not allow; for the privileged they are wider.
    pub fn checked(messages: i64, size: i64, is_privileged: bool) -> Result<Capacity> {
        const HARD_MESSAGES: u64 = 65536;
        const HARD_SIZE: u64 = 16 << 20;
        let positive = |value: i64| u64::try_from(value).ok().filter(|&value| value > 0).ok_or(Errno::EINVAL);
        let capacity = Capacity { messages: positive(messages)?, size: positive(size)? };
        let (most, largest) = match is_privileged {
            true => (HARD_MESSAGES, HARD_SIZE),
            false => (limits::MQ_MESSAGES.get(), limits::MQ_SIZE.get()),
        };
        if capacity.messages > most || capacity.size > largest { Err(Errno::EINVAL) } else { Ok(capacity) }
    }

    /// What it counts for: the messages, and what keeps each of them.
    fn bytes(self) -> u64 {
        const MESSAGE: u64 = 48;
        const NODE: u64 = 48;
        let kept = self.messages.saturating_mul(MESSAGE) + self.messages.min(u64::from(PRIORITIES)) * NODE;
        kept.saturating_add(self.messages.saturating_mul(self.size))
    }
}

/// A message and its priority.
pub type Message = (u32, Vec<u8>);

/// A queue.
pub struct Queue {
    ino: u64,
    device: u64,
    capacity: Capacity,
    state: SpinLock<State>,
    senders: WaitQueue,
    receivers: WaitQueue,
    pollee: Pollee,
    _charge: Charge,
}

struct State {
    /// By priority, the highest first, and then by age.
    messages: BinaryHeap<Queued>,
    next: u64,
    bytes: u64,
    listener: Option<Registration>,
    mode: u16,
    uid: u32,
    gid: u32,
    nlink: u32,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
}

/// A message in its queue, greater than those that are received after it.
struct Queued {
    /// Its priority, and its number, which says how old it is.
    place: (u32, Reverse<u64>),
    text: Vec<u8>,
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Queued {}

/// What the queues of each user take of the kernel's memory: RLIMIT_MSGQUEUE.
static BYTES: Account = Account::new();

impl Queue {
    fn new(device: u64, ino: u64, capacity: Capacity, new: &NewInode<'_>, limit: u64) -> Result<Arc<Queue>> {
        let charge = BYTES.charge(new.uid, capacity.bytes(), limit, Errno::EMFILE)?;
        let time = now();
        let state = State {
            messages: BinaryHeap::new(),
            next: 0,
            bytes: 0,
            listener: None,
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            nlink: 1,
            atime: time,
            mtime: time,
            ctime: time,
        };
        Ok(Arc::new(Queue {
            ino,
            device,
            capacity,
            state: SpinLock::new(state),
            senders: WaitQueue::new(),
            receivers: WaitQueue::new(),
            pollee: Pollee::new(),
            _charge: charge,
        }))
    }

    /// How large it is.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a message in, which fits, waiting for room unless `never_waits` (EAGAIN), until `deadline` (ETIMEDOUT).
    pub fn send(&self, message: Message, never_waits: bool, deadline: Option<Deadline>) -> Result<()> {
        let mut message = Some(message);
        let mut notice = None;
        let mut attempt = || self.try_send(&mut message, &mut notice);
        if never_waits {
            attempt().ok_or(Errno::EAGAIN)??;
        } else {
            self.senders.wait_interruptible(deadline, attempt)??;
        }
        if let Some(registration) = notice {
            Registration::tell(registration);
        }
        self.receivers.wake_one();
        self.pollee.notify(PollEvents::READABLE);
        Ok(())
    }

    fn try_send(&self, message: &mut Option<Message>, notice: &mut Option<Registration>) -> Option<Result<()>> {
        let mut state = self.state.lock();
        if state.messages.len() as u64 >= self.capacity.messages {
            return None;
        }
        let (priority, text) = message.take()?;
        // Who waits gets it without anybody being told.
        if state.messages.is_empty() && !self.receivers.has_waiters() {
            *notice = state.listener.take();
        }
        let place = (priority, Reverse(state.next));
        state.next += 1;
        state.bytes += text.len() as u64;
        state.messages.push(Queued { place, text });
        (state.mtime, state.ctime) = (now(), now());
        Some(Ok(()))
    }

    /// Takes the first message of the highest priority, waiting for one unless `never_waits` (EAGAIN), until `deadline`
    /// (ETIMEDOUT).
    pub fn receive(&self, never_waits: bool, deadline: Option<Deadline>) -> Result<Message> {
        let attempt = || self.try_receive();
        let message = match never_waits {
            true => attempt().ok_or(Errno::EAGAIN)?,
            false => self.receivers.wait_interruptible(deadline, attempt)?,
        };
        self.senders.wake_one();
        self.pollee.notify(PollEvents::WRITABLE);
        Ok(message)
    }

    fn try_receive(&self) -> Option<Message> {
        let mut state = self.state.lock();
        let Queued { place: (priority, _), text } = state.messages.pop()?;
        state.bytes -= text.len() as u64;
        (state.atime, state.ctime) = (now(), now());
        Some((priority, text))
    }

    /// `mq_notify`: the current process is to be told when a message comes and nobody waits for it. EBUSY if another is.
    pub fn listen(&self, notice: Notice) -> Result<()> {
        let registration = Registration::new(notice);
        let old = {
            let mut state = self.state.lock();
            if state.listener.as_ref().is_some_and(Registration::is_alive) {
                return Err(Errno::EBUSY);
            }
            state.listener.replace(registration)
        };
        drop(old);
        Ok(())
    }

    /// The current process is not to be told any more, if it was.
    pub fn stop_listening(&self) {
        let old = self.state.lock().listener.take_if(|listener| listener.is_own());
        if let Some(registration) = old {
            Registration::cancel(registration);
        }
    }

    fn set_attributes(&self, change: &SetAttributes) {
        let time = now();
        let mut state = self.state.lock();
        state.mode = change.mode.unwrap_or(state.mode);
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        state.atime = change.atime.map_or(state.atime, |to| to.resolve(time));
        state.mtime = change.mtime.map_or(state.mtime, |to| to.resolve(time));
        state.ctime = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::NewKind;

    fn queue(uid: u32, messages: u64, size: u64, limit: u64) -> Result<Arc<Queue>> {
        let new = NewInode { kind: NewKind::Regular, mode: 0o600, uid, gid: 0 };
        Queue::new(1, 1, Capacity { messages, size }, &new, limit)
    }

    #[test]
    fn the_highest_priority_comes_first() {
        let queue = queue(1, 4, 10, u64::MAX).unwrap();
        for (priority, text) in [(1, b"a"), (5, b"b"), (1, b"c"), (5, b"d")] {
            queue.send((priority, text.to_vec()), true, None).unwrap();
        }
        assert_eq!(queue.send((9, Vec::new()), true, None), Err(Errno::EAGAIN));
        let texts: Vec<u8> = (0..4).map(|_| queue.receive(true, None).unwrap().1[0]).collect();
        assert_eq!(texts, b"bdac");
        assert_eq!(queue.receive(true, None), Err(Errno::EAGAIN));
    }

    #[test]
    fn queues_count_against_their_owner() {
        let size = Capacity { messages: 10, size: 8192 }.bytes();
        assert_eq!(size, 10 * (8192 + 96));
        let first = queue(2, 10, 8192, size).unwrap();
        assert_eq!(queue(2, 1, 1, size).err(), Some(Errno::EMFILE));
        drop(first);
        assert!(queue(2, 10, 8192, size).is_ok());
    }

    #[test]
    fn sizes_are_checked() {
        let ten = Ok(Capacity { messages: 10, size: 8192 });
        assert_eq!(Capacity::checked(10, 8192, false), ten);
        for (messages, size) in [(0, 1), (1, 0), (-1, 1), (11, 1), (1, 8193)] {
            assert_eq!(Capacity::checked(messages, size, false), Err(Errno::EINVAL));
        }
        assert!(Capacity::checked(65536, 16 << 20, true).is_ok());
        assert_eq!(Capacity::checked(65537, 1, true), Err(Errno::EINVAL));
    }
}
