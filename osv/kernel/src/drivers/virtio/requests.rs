//! Requests that threads wait for: what 9P and disks have in common.
//!
//! A caller takes one of a few slots, sends an exchange that carries the slot's number, and sleeps until the device's
//! interrupt has brought it back to the slot. Many callers wait at a time, each on its own slot. Where no slot or no room in
//! the queue is left, callers wait for that. A device that breaks the rules fails all calls with EIO, for good.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Device;
use super::queue::Queue;
use crate::drivers::dma::{DmaBuffer, Exchange};
use crate::errno::{Errno, Result};
use crate::sched::WaitQueue;
use crate::sync::{IrqOff, SpinLock};

const QUEUE: u16 = 0;
const QUEUE_SIZE: u16 = 128;
/// Requests in flight at most: bits of a word.
const SLOTS: usize = 32;
/// Buffers that are kept for later.
const SPARE_BUFFERS: usize = 4;
/// Descriptors that an exchange needs beside those of its data.
const OVERHEAD: u16 = 3;

/// An exchange that knows its slot.
pub type Request = Exchange<u16>;

/// Where a caller waits for its request.
struct Slot {
    returned: SpinLock<Option<(Request, u32)>, IrqOff>,
    caller: WaitQueue,
}

/// A device with one queue of requests.
pub struct Requests {
    device: Device,
    queue: SpinLock<Queue<Request>, IrqOff>,
    slots: [Slot; SLOTS],
    /// A bit for each slot that is free.
    free_slots: AtomicU64,
    /// Callers that wait for a slot or for descriptors.
    waiting: WaitQueue,
    spare: SpinLock<Vec<DmaBuffer>>,
    buffer_len: usize,
    pages_max: usize,
}

impl Requests {
    /// Starts `device`, whose features are agreed on. Requests without their data, and replies, fit into `buffer_len` bytes.
    pub fn start(mut device: Device, buffer_len: usize) -> Result<Arc<Self>> {
        let queue = device.new_queue(QUEUE, QUEUE_SIZE)?;
        let (size, layout) = (queue.size(), queue.layout());
        let pages_max = size.checked_sub(OVERHEAD).filter(|pages| *pages != 0).ok_or(Errno::ENODEV)?;
        let slot = || Slot { returned: SpinLock::new(None), caller: WaitQueue::new() };
        let this = Arc::new(Self {
            device,
            queue: SpinLock::new(queue),
            slots: core::array::from_fn(|_| slot()),
            free_slots: AtomicU64::new((1 << SLOTS) - 1),
            waiting: WaitQueue::new(),
            spare: SpinLock::new(Vec::with_capacity(SPARE_BUFFERS)),
            buffer_len,
            pages_max: usize::from(pages_max),
        });
        let handler = Arc::clone(&this);
        device.start(&[(QUEUE, size, layout)], Box::new(move || handler.on_interrupt()))?;
        Ok(this)
    }

    /// The most pages of data that one request can carry, even if no two of them are neighbours.
    pub fn pages_max(&self) -> usize {
        self.pages_max
    }

    /// Sends the request that `make` builds in a buffer for the slot that it is given, and sleeps until it is back. The
    /// request, with the number of bytes that the device wrote, is then handed to `done`.
    pub fn call<T>(
        &self,
        make: impl FnOnce(u16, DmaBuffer) -> Result<Request>,
        done: impl FnOnce(&mut Request, usize) -> Result<T>,
    ) -> Result<T> {
        let tag = self.waiting.wait_until(|| self.take_slot());
        let result = self.call_in_slot(tag, make, done);
        self.free_slots.fetch_or(1 << tag, Ordering::Release);
        self.waiting.wake_all();
        result
    }

    fn take_slot(&self) -> Option<u16> {
        let take_lowest = |free: u64| (free != 0).then(|| free & (free - 1));
        let free = self.free_slots.fetch_update(Ordering::Acquire, Ordering::Relaxed, take_lowest).ok()?;
        u16::try_from(free.trailing_zeros()).ok()
    }

    fn call_in_slot<T>(
        &self,
        tag: u16,
        make: impl FnOnce(u16, DmaBuffer) -> Result<Request>,
        done: impl FnOnce(&mut Request, usize) -> Result<T>,
    ) -> Result<T> {
        let slot = self.slots.get(usize::from(tag)).ok_or(Errno::EIO)?;
        self.submit(make(tag, self.take_buffer()?)?)?;
        let (mut request, written) = slot.caller.wait_until(|| match slot.returned.lock().take() {
            Some(returned) => Some(Ok(returned)),
            None => self.queue.lock().is_broken().then_some(Err(Errno::EIO)),
        })?;
        let result = done(&mut request, written as usize);
        self.give_buffer(request.buffer);
        result
    }

    /// Puts a request into the queue, waiting for room.
    fn submit(&self, request: Request) -> Result<()> {
        let mut next = Some(request);
        self.waiting.wait_until(|| {
            let mut queue = self.queue.lock();
            match queue.push(next.take()?) {
                Ok(()) => {
                    if queue.needs_notify() {
                        self.device.notify(QUEUE);
                    }
                    Some(Ok(()))
                }
                Err((Errno::EAGAIN, request)) => {
                    next = Some(request);
                    None
                }
                Err((errno, _)) => Some(Err(errno)),
            }
        })
    }

    fn take_buffer(&self) -> Result<DmaBuffer> {
        let spare = self.spare.lock().pop();
        spare.map_or_else(|| DmaBuffer::new(self.buffer_len), Ok)
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
            let Some((request, written)) = queue.pop() else {
                if queue.enable_interrupt() {
                    continue;
                }
                break if queue.is_broken() {
                    drop(queue);
                    self.fail_all();
                };
            };
            drop(queue);
            if let Some(slot) = self.slots.get(usize::from(request.tag)) {
                *slot.returned.lock() = Some((request, written));
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
