//! The virtio balloon: memory that the host wants back.
//!
//! A thread of its own follows the size that the host asks for: it takes frames that nobody needs and names them to the
//! host, or takes them back. It leaves programs a share of what is free; what it cannot give now it gives when asked
//! again. When memory runs short here, the balloon gives back by itself, as all caches do: the host has agreed to that
//! (`DEFLATE_ON_OOM`), and a frame that is touched is there again. The host may also ask how much memory is in use.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::queue::Queue;
use super::{Device, Kind, take};
use crate::drivers::dma::{Data, DmaBuffer, Exchange};
use crate::errno::{Errno, Result};
use crate::mem::phys::PAGE_SIZE;
use crate::mem::reclaim::{self, Reclaim};
use crate::mem::{self, Frame};
use crate::sched::{self, CpuMask, NewThread, WaitQueue};
use crate::sync::{IrqOff, Once, SpinLock};
use crate::{debug, warn};

const FEATURE_STATISTICS: u64 = 1 << 1;
const FEATURE_DEFLATE_ON_OOM: u64 = 1 << 2;

const INFLATE: u16 = 0;
const DEFLATE: u16 = 1;
const STATISTICS: u16 = 2;
const QUEUE_SIZE: u16 = 4;

/// Frames that are named in one message.
const BATCH: usize = 256;
/// So great a part of all memory stays free for programs: one in `SHARES`.
const SHARES: u64 = 8;

/// The device's configuration: what the host wants, and what it has got.
const WANTED: usize = 0;
const ACTUAL: usize = 4;

type Messages = SpinLock<Queue<Exchange<()>>, IrqOff>;

struct Balloon {
    device: Device,
    inflate: Messages,
    deflate: Messages,
    statistics: Option<Messages>,
    /// What the host has, as far as nobody took it back.
    frames: SpinLock<Vec<Frame>>,
    /// What the host was told that it has.
    told: AtomicU32,
    has_news: AtomicBool,
    news: WaitQueue,
}

static BALLOON: Once<Arc<Balloon>> = Once::new();

/// Starts the balloon, if the machine has one.
pub fn init() {
    let Some(device) = take(Kind::Balloon) else { return };
    let started = Balloon::start(device).and_then(|balloon| {
        BALLOON.call_once(|| balloon);
        let affinity = CpuMask::ALL;
        sched::spawn(NewThread { name: "balloon", entry: follow, argument: 0, extension: None, affinity, nice: 0 })
    });
    if let Err(errno) = started {
        warn!("the balloon cannot be used: {errno}");
    }
}

extern "C" fn follow(_: usize) -> ! {
    let Some(balloon) = BALLOON.get() else { sched::exit_thread() };
    let cache: Arc<dyn Reclaim> = Arc::clone(balloon) as Arc<_>;
    reclaim::register(Arc::downgrade(&cache));
    loop {
        balloon.adjust();
        balloon.answer();
        balloon.news.wait_until(|| balloon.has_news.swap(false, Ordering::Acquire).then_some(()));
    }
}

impl Balloon {
    fn start(mut device: Device) -> Result<Arc<Self>> {
        device.negotiate(FEATURE_STATISTICS | FEATURE_DEFLATE_ON_OOM)?;
        let inflate = device.new_queue(INFLATE, QUEUE_SIZE)?;
        let deflate = device.new_queue(DEFLATE, QUEUE_SIZE)?;
        let statistics: Option<Queue<_>> =
            device.has(FEATURE_STATISTICS).then(|| device.new_queue(STATISTICS, 1)).transpose()?;
        let mut queues =
            [(INFLATE, inflate.size(), inflate.layout()), (DEFLATE, deflate.size(), deflate.layout())].to_vec();
        queues.extend(statistics.as_ref().map(|queue| (STATISTICS, queue.size(), queue.layout())));
        let this = Arc::new(Self {
            device,
            inflate: SpinLock::new(inflate),
            deflate: SpinLock::new(deflate),
            statistics: statistics.map(SpinLock::new),
            frames: SpinLock::new(Vec::new()),
            told: AtomicU32::new(0),
            has_news: AtomicBool::new(false),
            news: WaitQueue::new(),
        });
        let handler = Arc::clone(&this);
        device.start(&queues, Box::new(move || handler.wake()))?;
        this.send_statistics(DmaBuffer::new(Statistics::ROOM)?);
        Ok(this)
    }

    /// The device has something to say: a new size, a message that it has read, a wish for statistics.
    fn wake(&self) {
        self.has_news.store(true, Ordering::Release);
        self.news.wake_all();
    }

    /// Grows or shrinks until the host has what it wants, or nothing more can be done.
    fn adjust(&self) {
        loop {
            let wanted = u32::from_le_bytes(self.device.config(WANTED)) as usize;
            let held = self.frames.lock().len();
            let changed = match wanted.checked_sub(held) {
                Some(0) => 0,
                Some(missing) => self.grow(missing.min(BATCH)),
                None => self.shrink((held - wanted).min(BATCH)),
            };
            let held = u32::try_from(self.frames.lock().len()).unwrap_or(u32::MAX);
            if self.told.swap(held, Ordering::Relaxed) != held {
                self.device.write_config32(ACTUAL, held);
            }
            if changed == 0 {
                debug!("balloon: the host wants {wanted} pages and has {held}");
                return;
            }
        }
    }

    /// Gives up to `count` frames to the host and returns how many.
    fn grow(&self, count: usize) -> usize {
        let stats = mem::stats();
        let spare = stats.available.saturating_sub(stats.total / SHARES) as usize / PAGE_SIZE;
        let mut taken = Vec::new();
        if taken.try_reserve_exact(count.min(spare)).is_err() {
            return 0;
        }
        taken.extend(core::iter::from_fn(|| Frame::alloc_uninit().ok()).take(count.min(spare)));
        let has_room = self.frames.lock().try_reserve(taken.len()).is_ok();
        if taken.is_empty() || !has_room || self.tell(&self.inflate, INFLATE, &taken).is_err() {
            return 0;
        }
        let count = taken.len();
        self.frames.lock().append(&mut taken);
        count
    }

    /// Takes up to `count` frames back and returns how many.
    fn shrink(&self, count: usize) -> usize {
        let taken = {
            let mut frames = self.frames.lock();
            let rest = frames.len() - count.min(frames.len());
            frames.split_off(rest)
        };
        match self.tell(&self.deflate, DEFLATE, &taken) {
            Ok(()) => taken.len(),
            Err(_) => 0,
        }
    }

    /// Names frames to the host and waits until it has read that.
    fn tell(&self, queue: &Messages, index: u16, frames: &[Frame]) -> Result<()> {
        let buffer = DmaBuffer::new(frames.len().max(1) * 4)?;
        for (at, frame) in frames.iter().enumerate() {
            // The host counts in pages of 4 KiB, in 32 bits.
            let number = u32::try_from(frame.phys() >> 12).map_err(|_| Errno::EINVAL)?;
            buffer.store(4 * at, &number.to_le_bytes());
        }
        let request_len = frames.len() as u32 * 4;
        let message = Exchange { request_len, ..empty(buffer) };
        queue.lock().push(message).map_err(|(errno, _)| errno)?;
        self.device.notify(index);
        self.news.wait_until(|| {
            let mut queue = queue.lock();
            match queue.pop() {
                Some(_) => Some(Ok(())),
                None if queue.is_broken() => Some(Err(Errno::EIO)),
                None if queue.enable_interrupt() => queue.pop().map(|_| Ok(())),
                None => None,
            }
        })
    }

    /// Answers the host's wish for statistics: it has returned the last ones.
    fn answer(&self) {
        let returned = self.statistics.as_ref().and_then(|queue| {
            let mut queue = queue.lock();
            queue.enable_interrupt();
            queue.pop()
        });
        if let Some((message, _)) = returned {
            self.send_statistics(message.buffer);
        }
    }

    fn send_statistics(&self, buffer: DmaBuffer) {
        let Some(queue) = &self.statistics else { return };
        let request_len = Statistics::write(&buffer);
        // A queue that is broken stays silent.
        let _ = queue.lock().push(Exchange { request_len, ..empty(buffer) });
        self.device.notify(STATISTICS);
    }
}

impl Reclaim for Balloon {
    fn reclaim(&self, count: usize) -> usize {
        let Some(mut frames) = self.frames.try_lock() else { return 0 };
        let rest = frames.len() - count.min(frames.len());
        let freed = frames.len() - rest;
        frames.truncate(rest);
        freed
    }
}

fn empty(buffer: DmaBuffer) -> Exchange<()> {
    Exchange { buffer, request_len: 0, reply_at: 0, reply_len: 0, trailer_len: 0, data: Data::None, tag: () }
}

/// What the host may know: pairs of a 16-bit tag and a 64-bit value.
struct Statistics;

impl Statistics {
    const FREE: u16 = 4;
    const TOTAL: u16 = 5;
    const AVAILABLE: u16 = 6;
    const CACHES: u16 = 7;
    const ENTRY: usize = 10;
    const ROOM: usize = 4 * Self::ENTRY;

    /// Writes them and returns their length.
    fn write(buffer: &DmaBuffer) -> u32 {
        let stats = mem::stats();
        let entries = [
            (Self::FREE, stats.free),
            (Self::TOTAL, stats.total),
            (Self::AVAILABLE, stats.available),
            (Self::CACHES, stats.cached),
        ];
        for (index, (tag, value)) in entries.into_iter().enumerate() {
            buffer.store(Self::ENTRY * index, &tag.to_le_bytes());
            buffer.store(Self::ENTRY * index + 2, &value.to_le_bytes());
        }
        Self::ROOM as u32
    }
}
