//! The virtio source of entropy: asked once at boot, without waiting; what comes is mixed into the generator.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::queue::Queue;
use super::{Kind, take};
use crate::debug;
use crate::drivers::dma::{Data, DmaBuffer, Exchange};
use crate::drivers::random;
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, SpinLock};

const QUEUE: u16 = 0;
/// Bytes to ask for: two keys.
const WANTED: usize = 64;

/// Asks the machine's source of entropy, if it has one, for a seed.
pub fn request_seed() -> Result<()> {
    let mut device = take(Kind::Entropy).ok_or(Errno::ENODEV)?;
    device.negotiate(0)?;
    let mut queue: Queue<Exchange<()>> = device.new_queue(QUEUE, 2)?;
    let buffer = DmaBuffer::new(WANTED)?;
    let reply_len = WANTED as u32;
    let request =
        Exchange { buffer, request_len: 0, reply_at: 0, reply_len, trailer_len: 0, data: Data::None, tag: () };
    queue.push(request).map_err(|(errno, _)| errno)?;
    let (size, layout) = (queue.size(), queue.layout());
    let queue: Arc<SpinLock<_, IrqOff>> = Arc::new(SpinLock::new(queue));
    // The handler keeps the queue for ever, and with it the buffer: nothing is freed in an interrupt.
    let in_handler = Arc::clone(&queue);
    let spent = SpinLock::<_, IrqOff>::new(None);
    device.start(
        &[(QUEUE, size, layout)],
        Box::new(move || {
            let Some((request, len)) = in_handler.lock().pop() else { return };
            let mut seed = [0; WANTED];
            request.buffer.load(0, &mut seed);
            random::add_entropy(seed.get(..len as usize).unwrap_or_default());
            debug!("virtio-rng gave {len} bytes");
            *spent.lock() = Some(request);
        }),
    )?;
    device.notify(QUEUE);
    Ok(())
}
