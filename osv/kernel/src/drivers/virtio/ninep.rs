//! The virtio transport of 9P: carries requests to the server in the hypervisor and replies back.
//!
//! Knows nothing of 9P but that a message has a tag, which it hands out: the number of a slot in which the caller waits. Many
//! callers wait at a time, each asleep on its own slot; the device's interrupt brings the reply to the slot and wakes
//! its caller. Data of reads and writes goes straight between the server and frames of the page cache.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::queue::Queue;
use super::{Device, Kind, take};
use crate::drivers::dma::{Data, DmaBuffer, Exchange};
use crate::errno::{Errno, Result};
use crate::sched::WaitQueue;
use crate::sync::{IrqOff, SpinLock};

const QUEUE: u16 = 0;
const QUEUE_SIZE: u16 = 128;
/// Requests in flight at most: bits of a word.
const SLOTS: usize = 32;
/// Room for a request without data: the longest has two paths.
pub const REQUEST_MAX: usize = 12 << 10;
/// Room for a reply without data in frames.
pub const REPLY_MAX: usize = 8 << 10;
/// Buffers that are kept for later.
const SPARE_BUFFERS: usize = 4;
/// Descriptors that a message needs beside those of its data.
const OVERHEAD: u16 = 2;
const FEATURE_TAG: u64 = 1;

type Returned = (Exchange<u16>, u32);

/// Where a caller waits for its reply.
struct Slot {
    returned: SpinLock<Option<Returned>, IrqOff>,
    caller: WaitQueue,
}

/// A connection to a 9P server.
pub struct Channel {
    device: Device,
    queue: SpinLock<Queue<Exchange<u16>>, IrqOff>,
    slots: [Slot; SLOTS],
    /// A bit for each slot that is free.
    free_slots: AtomicU64,
    /// Callers that wait for a slot or for descriptors.
    waiting: WaitQueue,
    spare: SpinLock<Vec<DmaBuffer>>,
    pages_max: usize,
}

/// What came back: how many bytes the device wrote in all, and the data's frames.
#[derive(Debug)]
pub struct Answer {
    /// The start of the reply, as far as it was asked for.
    pub len: usize,
    /// The data of the request.
    pub data: Data,
}

impl Channel {
    /// Connects to the server whose device has the mount tag `tag`. ENODEV if there is none.
    pub fn open(tag: &[u8]) -> Result<Arc<Self>> {
        let mut others = Vec::new();
        let found = loop {
            let Some(mut device) = take(Kind::NineP) else { break None };
            match device.negotiate(FEATURE_TAG) {
                Ok(()) if Self::tag(&device) == tag => break Some(device),
                _ => others.push(device),
            }
        };
        others.into_iter().for_each(super::put_back);
        Self::start(found.ok_or(Errno::ENODEV)?)
    }

    fn tag(device: &Device) -> Vec<u8> {
        const TAG_MAX: usize = 256;
        let len = usize::from(u16::from_le_bytes(device.config(0)));
        let mut tag = alloc::vec![0; len.min(TAG_MAX)];
        device.read_config(2, &mut tag);
        tag
    }

    fn start(mut device: Device) -> Result<Arc<Self>> {
        let queue = device.new_queue(QUEUE, QUEUE_SIZE)?;
        let (size, layout) = (queue.size(), queue.layout());
        if size < 2 * OVERHEAD {
            return Err(Errno::ENODEV);
        }
        let slot = || Slot { returned: SpinLock::new(None), caller: WaitQueue::new() };
        let this = Arc::new(Self {
            device,
            queue: SpinLock::new(queue),
            slots: core::array::from_fn(|_| slot()),
            free_slots: AtomicU64::new((1 << SLOTS) - 1),
            waiting: WaitQueue::new(),
            spare: SpinLock::new(Vec::with_capacity(SPARE_BUFFERS)),
            pages_max: usize::from(size - OVERHEAD),
        });
        let handler = Arc::clone(&this);
        this.device.start(&[(QUEUE, size, layout)], Box::new(move || handler.on_interrupt()))?;
        Ok(this)
    }

    /// The most pages of data that one message can carry, even if no two of them are neighbours.
    pub fn pages_max(&self) -> usize {
        self.pages_max
    }

    /// Sends the request that `encode` makes for the tag that it is given, and sleeps until the reply is there. The
    /// reply's start goes to `reply`; with data from the device, what follows the first `reply.len()` bytes goes
    /// to its frames. EIO if the device is broken.
    pub fn call(&self, encode: impl FnOnce(u16) -> Result<Vec<u8>>, reply: &mut [u8], data: Data) -> Result<Answer> {
        let tag = self.waiting.wait_until(|| self.take_slot());
        let result = self.call_in_slot(tag, encode, reply, data);
        self.free_slots.fetch_or(1 << tag, Ordering::Release);
        self.waiting.wake_all();
        result
    }

    fn take_slot(&self) -> Option<u16> {
        let take_lowest = |free: u64| (free != 0).then(|| free & (free - 1));
        let free = self.free_slots.fetch_update(Ordering::Acquire, Ordering::Relaxed, take_lowest).ok()?;
        u16::try_from(free.trailing_zeros()).ok()
    }

    fn call_in_slot(
        &self,
        tag: u16,
        encode: impl FnOnce(u16) -> Result<Vec<u8>>,
        reply: &mut [u8],
        data: Data,
    ) -> Result<Answer> {
        let slot = self.slots.get(usize::from(tag)).ok_or(Errno::EIO)?;
        let request = encode(tag)?;
        if request.len() > REQUEST_MAX || reply.len() > REPLY_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let buffer = self.take_buffer()?;
        buffer.store(0, &request);
        let request_len = u32::try_from(request.len()).map_err(|_| Errno::EMSGSIZE)?;
        let reply_len = u32::try_from(reply.len()).map_err(|_| Errno::EMSGSIZE)?;
        let exchange = Exchange { buffer, request_len, reply_at: REQUEST_MAX, reply_len, trailer_len: 0, data, tag };
        self.submit(exchange)?;
        let (exchange, written) = slot.caller.wait_until(|| match slot.returned.lock().take() {
            Some(returned) => Some(Ok(returned)),
            None => self.queue.lock().is_broken().then_some(Err(Errno::EIO)),
        })?;
        let len = written as usize;
        exchange.buffer.load(REQUEST_MAX, reply.get_mut(..len.min(reply_len as usize)).unwrap_or_default());
        self.give_buffer(exchange.buffer);
        Ok(Answer { len, data: exchange.data })
    }

    /// Puts an exchange into the queue, waiting for room.
    fn submit(&self, exchange: Exchange<u16>) -> Result<()> {
        let mut next = Some(exchange);
        self.waiting.wait_until(|| {
            let mut queue = self.queue.lock();
            match queue.push(next.take()?) {
                Ok(()) => {
                    if queue.needs_notify() {
                        self.device.notify(QUEUE);
                    }
                    Some(Ok(()))
                }
                Err((Errno::EAGAIN, exchange)) => {
                    next = Some(exchange);
                    None
                }
                Err((errno, _)) => Some(Err(errno)),
            }
        })
    }

    fn take_buffer(&self) -> Result<DmaBuffer> {
        let spare = self.spare.lock().pop();
        spare.map_or_else(|| DmaBuffer::new(REQUEST_MAX + REPLY_MAX), Ok)
    }

    fn give_buffer(&self, buffer: DmaBuffer) {
        let mut spare = self.spare.lock();
        let surplus = if spare.len() < SPARE_BUFFERS {
            spare.push(buffer);
            None
        } else {
            Some(buffer)
        };
        drop(spare);
        drop(surplus);
    }

    /// Brings what has come back to those who wait for it.
    fn on_interrupt(&self) {
        loop {
            let mut queue = self.queue.lock();
            let Some((exchange, written)) = queue.pop() else {
                if queue.enable_interrupt() {
                    continue;
                }
                break if queue.is_broken() {
                    drop(queue);
                    self.fail_all();
                };
            };
            drop(queue);
            if let Some(slot) = self.slots.get(usize::from(exchange.tag)) {
                *slot.returned.lock() = Some((exchange, written));
                slot.caller.wake_one();
            }
            self.waiting.wake_all();
        }
    }

    /// The device has broken the rules: nobody needs to wait for it any more.
    fn fail_all(&self) {
        for slot in &self.slots {
            slot.caller.wake_all();
        }
        self.waiting.wake_all();
    }
}
