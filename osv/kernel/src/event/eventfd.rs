//! eventfd: a counter that is waited for. Source: eventfd(2).
//!
//! The counter is one atomic word, so reading and writing take no lock: a writer adds, a reader takes all (or one,
//! in semaphore mode), and the two wait queues are only looked at when somebody waits.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{PollEvents, Pollee};
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::fs::{File, IoFlags, SeekFrom};
use crate::mem::user::{Dest, Source};
use crate::sched::WaitQueue;

/// The largest value that the counter takes by writing.
const MAX_COUNT: u64 = u64::MAX - 1;

/// The file of an eventfd.
pub struct EventFd {
    count: AtomicU64,
    is_semaphore: bool,
    /// Tells the counters of the machine apart.
    id: u32,
    read_queue: WaitQueue,
    write_queue: WaitQueue,
    pollee: Pollee,
}

impl EventFd {
    /// A counter that starts with `initial`.
    pub fn new(initial: u32, is_semaphore: bool) -> Arc<EventFd> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(0);
        Arc::new(EventFd {
            count: AtomicU64::new(u64::from(initial)),
            is_semaphore,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            read_queue: WaitQueue::new(),
            write_queue: WaitQueue::new(),
            pollee: Pollee::new(),
        })
    }

    /// What a read takes from the counter; nothing if it is 0.
    #[inline]
    fn take(&self) -> Option<u64> {
        let taken = |count| if self.is_semaphore { 1 } else { count };
        let subtract = |count| if count == 0 { None } else { Some(count - taken(count)) };
        self.count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, subtract).ok().map(taken)
    }

    /// Adds `value` if the sum is not too large.
    #[inline]
    fn add(&self, value: u64) -> Option<()> {
        let add = |count: u64| count.checked_add(value).filter(|&sum| sum <= MAX_COUNT);
        self.count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, add).ok().map(|_| ())
    }
}

/// Tries, and waits in `queue` until trying succeeds unless `flags` forbid.
#[inline]
fn try_or_wait<T>(queue: &WaitQueue, flags: IoFlags, mut attempt: impl FnMut() -> Option<T>) -> Result<T> {
    if flags.contains(IoFlags::NONBLOCK) {
        return attempt().ok_or(Errno::EAGAIN);
    }
    queue.wait_interruptible(None, attempt)
}

impl File for EventFd {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        if dst.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let value = try_or_wait(&self.read_queue, flags, || self.take())?;
        self.write_queue.wake_all();
        self.pollee.notify_observers(PollEvents::POLLOUT);
        dst.push(&value.to_ne_bytes())
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        if src.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; size_of::<u64>()];
        src.pull_exact(&mut bytes)?;
        let value = u64::from_ne_bytes(bytes);
        if value > MAX_COUNT {
            return Err(Errno::EINVAL);
        }
        try_or_wait(&self.write_queue, flags, || self.add(value))?;
        if self.is_semaphore {
            self.read_queue.wake_all();
        } else {
            self.read_queue.wake_one();
        }
        self.pollee.notify_observers(PollEvents::POLLIN);
        Ok(size_of::<u64>())
    }

    fn readiness(&self) -> PollEvents {
        let count = self.count.load(Ordering::SeqCst);
        let mut events = PollEvents::empty();
        events.set(PollEvents::POLLIN, count > 0);
        events.set(PollEvents::POLLOUT, count < MAX_COUNT);
        events.set(PollEvents::POLLERR, count == u64::MAX);
        events
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.pollee)
    }

    fn seek(&self, _from: SeekFrom, current: u64) -> Result<u64> {
        Ok(current)
    }

    fn describe(&self, out: &mut Text) {
        writeln!(out, "eventfd-count: {:16x}", self.count.load(Ordering::Relaxed));
        writeln!(out, "eventfd-id: {}", self.id);
        writeln!(out, "eventfd-semaphore: {}", u8::from(self.is_semaphore));
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[eventfd]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(eventfd: &EventFd, value: u64) -> Result<usize> {
        eventfd.write(&mut Source::from_slice(&value.to_ne_bytes()), IoFlags::NONBLOCK)
    }

    fn read(eventfd: &EventFd) -> Result<u64> {
        let mut bytes = [0; 8];
        eventfd.read(&mut Dest::from_slice(&mut bytes), IoFlags::NONBLOCK)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    #[test]
    fn a_read_takes_all() {
        let eventfd = EventFd::new(3, false);
        assert_eq!(write(&eventfd, 4), Ok(8));
        assert_eq!(read(&eventfd), Ok(7));
        assert_eq!(read(&eventfd), Err(Errno::EAGAIN));
        assert_eq!(eventfd.readiness(), PollEvents::POLLOUT);
    }

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let eventfd = EventFd::new(2, true);
        assert_eq!([read(&eventfd), read(&eventfd)], [Ok(1), Ok(1)]);
        assert_eq!(read(&eventfd), Err(Errno::EAGAIN));
    }

    #[test]
    fn the_counter_has_a_limit() {
        let eventfd = EventFd::new(1, false);
        assert_eq!(write(&eventfd, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(write(&eventfd, MAX_COUNT), Err(Errno::EAGAIN));
        assert_eq!(write(&eventfd, MAX_COUNT - 1), Ok(8));
        assert_eq!(eventfd.readiness(), PollEvents::POLLIN);
    }

    #[test]
    fn short_buffers_are_refused() {
        let eventfd = EventFd::new(1, false);
        let mut bytes = [0; 7];
        assert_eq!(eventfd.read(&mut Dest::from_slice(&mut bytes), IoFlags::NONBLOCK), Err(Errno::EINVAL));
        assert_eq!(eventfd.write(&mut Source::from_slice(&bytes), IoFlags::NONBLOCK), Err(Errno::EINVAL));
    }
}
