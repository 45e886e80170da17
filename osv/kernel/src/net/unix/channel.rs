//! One direction of an AF_UNIX socket: messages on their way to a receiver.
//!
//! A message is a buffer of its own, filled from the sender's memory before any lock is taken and emptied into the
//! receiver's after all are released. What lies in the queue is limited by bytes; a stream's message may be taken in
//! pieces, any other is taken whole. One receiver at a time takes from the front, so that pieces stay in order.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::errno::{Errno, Result};
use crate::mem::user::{Dest, Source};
use crate::net::{Ancillary, Patience};
use crate::sched::{Mutex, WaitQueue};
use crate::sync::SpinLock;

/// Bytes that may lie in a channel: Linux' default buffer.
pub(super) const DEFAULT_LIMIT: usize = 212_992;
/// The most that one buffer of a stream holds.
const PIECE: usize = 65536;

/// A message, or what is left of one.
pub(super) struct Message {
    data: Vec<u8>,
    start: usize,
    pub(super) ancillary: Ancillary,
    /// The sender's address.
    pub(super) from: Option<Vec<u8>>,
}

impl Message {
    /// A message with the next `len` bytes of `source`.
    pub(super) fn new(
        source: &mut Source<'_>,
        len: usize,
        ancillary: Ancillary,
        from: Option<Vec<u8>>,
    ) -> Result<Message> {
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
        data.resize(len, 0);
        let count = source.pull(&mut data)?;
        data.truncate(count);
        Ok(Message { data, start: 0, ancillary, from })
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() - self.start
    }

    /// The whole message, of which nothing was taken.
    pub(super) fn into_data(self) -> Vec<u8> {
        self.data
    }

    fn rest(&self) -> &[u8] {
        self.data.get(self.start..).unwrap_or_default()
    }
}

/// What one receive took.
pub(super) struct Taken {
    pub(super) count: usize,
    /// Length of the message that the bytes are from.
    pub(super) whole: usize,
    pub(super) ancillary: Ancillary,
    pub(super) from: Option<Vec<u8>>,
}

pub(super) struct Channel {
    queue: SpinLock<VecDeque<Message>>,
    bytes: AtomicUsize,
    messages: AtomicUsize,
    limit: AtomicUsize,
    receiving: Mutex<()>,
    /// Nothing more comes: what is there can still be read.
    is_ended: AtomicBool,
    /// Nobody reads any more: sending is EPIPE.
    is_refused: AtomicBool,
    readers: WaitQueue,
    writers: WaitQueue,
}

impl Channel {
    pub(super) const fn new() -> Channel {
        Channel {
            queue: SpinLock::new(VecDeque::new()),
            bytes: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            limit: AtomicUsize::new(DEFAULT_LIMIT),
            receiving: Mutex::new(()),
            is_ended: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.writers.wake_all();
    }

    fn room(&self) -> usize {
        self.limit().saturating_sub(self.bytes())
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::SeqCst)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::SeqCst)
    }

    /// Whether a receive would return at once.
    pub(super) fn can_read(&self) -> bool {
        self.messages.load(Ordering::SeqCst) != 0 || self.is_ended()
    }

    /// Whether a good part of the room is free, as Linux wants it for POLLOUT.
    pub(super) fn can_write(&self) -> bool {
        self.bytes() * 4 <= self.limit() || self.is_refused()
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        self.readers.wake_all();
    }

    /// Nobody will read any more.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Ordering::SeqCst);
        self.writers.wake_all();
    }

    /// Waits until `need` bytes have room, and says how much room there is. EPIPE if nobody reads any more.
    pub(super) fn wait_for_room(&self, need: usize, how: Patience) -> Result<usize> {
        let need = need.min(self.limit());
        how.wait(&self.writers, || match self.room() {
            _ if self.is_refused() => Some(Err(Errno::EPIPE)),
            0 => None,
            room if room >= need => Some(Ok(room)),
            _ => None,
        })?
    }

    /// How much of a stream to put into one message.
    pub(super) fn piece(room: usize, remaining: usize) -> usize {
        room.min(remaining).min(PIECE)
    }

    pub(super) fn push(&self, message: Message) -> Result<()> {
        let len = message.len();
        let mut queue = self.queue.lock();
        if self.is_refused() {
            return Err(Errno::EPIPE);
        }
        queue.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
        queue.push_back(message);
        self.bytes.fetch_add(len, Ordering::SeqCst);
        self.messages.fetch_add(1, Ordering::SeqCst);
        drop(queue);
        self.readers.wake_one();
        Ok(())
    }

    #[inline(always)]
    fn pop(&self) -> Option<Message> {
        let mut queue = self.queue.lock();
        let message = queue.pop_front()?;
        self.bytes.fetch_sub(message.len(), Ordering::SeqCst);
        self.messages.fetch_sub(1, Ordering::SeqCst);
        Some(message)
    }

    /// Puts back what a receiver left. There is room: it has just been taken out.
    fn push_front(&self, message: Message) {
        let mut queue = self.queue.lock();
        self.bytes.fetch_add(message.len(), Ordering::SeqCst);
        self.messages.fetch_add(1, Ordering::SeqCst);
        queue.push_front(message);
    }

    /// Drops everything that nobody will read.
    pub(super) fn clear(&self) {
        while let Some(message) = self.pop() {
            drop(message);
        }
    }

    /// Receives from a stream what is there, at least one byte unless it has ended.
    pub(super) fn receive_stream(&self, dst: &mut Dest<'_>, is_peek: bool, how: Patience) -> Result<Taken> {
        loop {
            let receiving = self.receiving.lock();
            let was_ended = self.is_ended();
            if let Some(taken) = self.take_stream(dst, is_peek)? {
                drop(receiving);
                self.after_receiving();
                return Ok(taken);
            }
            drop(receiving);
            let has_some = self.messages.load(Ordering::SeqCst) != 0;
            if was_ended || dst.is_full() && has_some {
                return Ok(Taken { count: 0, whole: 0, ancillary: Ancillary::default(), from: None });
            }
            how.wait(&self.readers, || self.can_read().then_some(()))?;
        }
    }

    fn take_stream(&self, dst: &mut Dest<'_>, is_peek: bool) -> Result<Option<Taken>> {
        let mut taken: Option<Taken> = None;
        while !dst.is_full() {
            let Some(mut message) = self.pop() else { break };
            let count = match dst.push(message.rest()) {
                Ok(count) => count,
                Err(errno) => {
                    self.push_front(message);
                    return if taken.is_some() { Ok(taken) } else { Err(errno) };
                }
            };
            let ancillary = if is_peek { message.ancillary.clone() } else { core::mem::take(&mut message.ancillary) };
            let has_files = !ancillary.files.is_empty();
            let so_far = taken.as_ref().map_or(0, |taken| taken.count);
            // Files may come with bytes in the middle; nothing is joined after them.
            let first = match taken.take() {
                Some(mut taken) => {
                    taken.ancillary.files.extend(ancillary.files);
                    taken.ancillary
                }
                None => ancillary,
            };
            taken = Some(Taken { count: so_far + count, whole: so_far + count, ancillary: first, from: None });
            if is_peek {
                self.push_front(message);
                break;
            }
            message.start += count;
            if message.len() > 0 {
                self.push_front(message);
                break;
            }
            if has_files {
                break;
            }
        }
        Ok(taken)
    }

    /// Receives one message; what does not fit is lost. Nothing at the end.
    pub(super) fn receive_message(&self, dst: &mut Dest<'_>, is_peek: bool, how: Patience) -> Result<Option<Taken>> {
        loop {
            let receiving = self.receiving.lock();
            let was_ended = self.is_ended();
            if let Some(mut message) = self.pop() {
                let result = if message.len() == 0 { Ok(0) } else { dst.push(message.rest()) };
                let whole = message.len();
                let ancillary =
                    if is_peek { message.ancillary.clone() } else { core::mem::take(&mut message.ancillary) };
                let from = message.from.clone();
                if is_peek {
                    self.push_front(message);
                }
                drop(receiving);
                self.after_receiving();
                return result.map(|count| Some(Taken { count, whole, ancillary, from }));
            }
            drop(receiving);
            if was_ended {
                return Ok(None);
            }
            how.wait(&self.readers, || self.can_read().then_some(()))?;
        }
    }

    #[inline(always)]
    fn after_receiving(&self) {
        self.writers.wake_all();
        if self.messages.load(Ordering::SeqCst) != 0 {
            self.readers.wake_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Patience = Patience { is_none: true, deadline: None };

    fn push(channel: &Channel, data: &[u8]) {
        let message = Message::new(&mut Source::from_slice(data), data.len(), Ancillary::default(), None).unwrap();
        channel.push(message).unwrap();
    }

    fn stream(channel: &Channel, max: usize, is_peek: bool) -> Result<Vec<u8>> {
        let mut buffer = vec![0; max];
        let count = channel.receive_stream(&mut Dest::from_slice(&mut buffer), is_peek, NOW)?.count;
        buffer.truncate(count);
        Ok(buffer)
    }

    #[test]
    fn a_stream_joins_messages_and_splits_them() {
        let channel = Channel::new();
        push(&channel, b"abc");
        push(&channel, b"defg");
        assert_eq!(stream(&channel, 2, true).unwrap(), b"ab");
        assert_eq!(stream(&channel, 5, false).unwrap(), b"abcde");
        assert_eq!(channel.bytes(), 2);
        assert_eq!(stream(&channel, 5, false).unwrap(), b"fg");
        assert_eq!(stream(&channel, 5, false), Err(Errno::EAGAIN));
        channel.end();
        assert_eq!(stream(&channel, 5, false).unwrap(), b"");
    }

    #[test]
    fn messages_are_whole_or_cut_off() {
        let channel = Channel::new();
        push(&channel, b"first");
        push(&channel, b"");
        let mut buffer = [0; 3];
        let taken = channel.receive_message(&mut Dest::from_slice(&mut buffer), false, NOW).unwrap().unwrap();
        assert_eq!((taken.count, taken.whole, &buffer), (3, 5, b"fir"));
        let taken = channel.receive_message(&mut Dest::from_slice(&mut buffer), false, NOW).unwrap().unwrap();
        assert_eq!(taken.count, 0);
        channel.end();
        assert!(channel.receive_message(&mut Dest::from_slice(&mut buffer), false, NOW).unwrap().is_none());
    }

    #[test]
    fn room_is_limited_and_refusal_is_a_broken_pipe() {
        let channel = Channel::new();
        channel.set_limit(4);
        push(&channel, b"abc");
        assert_eq!(channel.wait_for_room(1, NOW), Ok(1));
        assert_eq!(channel.wait_for_room(2, NOW), Err(Errno::EAGAIN));
        assert!(!channel.can_write());
        channel.refuse();
        assert_eq!(channel.wait_for_room(1, NOW), Err(Errno::EPIPE));
    }
}
