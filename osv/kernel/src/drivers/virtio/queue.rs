//! A split virtqueue: the rings that driver and device share, and who owns a buffer while the device may touch it.
//!
//! A [`Message`] owns all memory that its descriptors point to. [`Queue::push`] takes it, [`Queue::pop`] gives it back
//! once the device has returned it, so no memory is freed or reused under the device's hands, without a promise
//! of the driver's. What the device writes into the used ring is hostile: an id that names no message in flight, or an index
//! that runs ahead of what was offered, breaks the queue for good ([`Errno::EIO`] from then on; the messages in flight
//! are never freed, since the device may still write to them). A length is cut to what the message could take.
//!
//! The rings are laid out as legacy devices want them, used ring on a page of its own, which suits modern ones too. No
//! indirect descriptors: Firecracker has none, and physically contiguous data needs few descriptors.

use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU16, Ordering, fence};

use crate::drivers::dma::{DmaBuffer, Piece};
use crate::errno::{Errno, Result};

/// The largest queue that we use, whatever the device offers.
pub const SIZE_MAX: u16 = 256;
const DESCRIPTOR_LEN: usize = 16;
const USED_ALIGN: usize = 4096;
const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const USED_NO_NOTIFY: u16 = 1;

/// What a driver sends: memory for the device to read, then memory for it to write.
///
/// # Safety
/// The pieces are the same at each call, and their memory is used by nobody else, as long as the message lives: moving
/// it does not matter, dropping it ends that.
pub unsafe trait Message {
    /// Calls `each` with the pieces of memory in order, those to be read first. All of them are owned by `self`.
    fn pieces(&self, each: &mut dyn FnMut(Piece, Access));
}

/// What the device does with a piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The device reads it.
    Read,
    /// The device writes it.
    Write,
}

/// Where a queue's parts lie in physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The descriptor table; in the legacy layout the whole queue.
    pub descriptors: u64,
    /// The ring of offered chains.
    pub available: u64,
    /// The ring of returned chains.
    pub used: u64,
}

/// A chain in flight, at the index of its first descriptor.
struct InFlight<M> {
    message: M,
    /// Bytes that the device may write.
    capacity: u32,
}

/// A virtqueue whose messages are of type `M`.
pub struct Queue<M: Message> {
    memory: ManuallyDrop<DmaBuffer>,
    size: u16,
    has_event_index: bool,
    /// The next descriptor of each chain, and of the list of free ones.
    next: Vec<u16>,
    in_flight: Vec<Option<InFlight<M>>>,
    first_free: u16,
    free: u16,
    available_index: u16,
    /// `available_index` when the device was last asked about notification.
    asked_index: u16,
    used_index: u16,
    is_broken: bool,
}

impl<M: Message> Queue<M> {
    /// A queue of the largest power of two that neither side objects to.
    pub fn new(device_max: u16, wanted: u16, has_event_index: bool) -> Result<Self> {
        let limit = device_max.min(wanted).min(SIZE_MAX);
        if limit == 0 {
            return Err(Errno::ENODEV);
        }
        let size = 1 << limit.ilog2();
        let memory = DmaBuffer::new(Self::used_offset(size) + 6 + 8 * usize::from(size))?;
        Ok(Self {
            memory: ManuallyDrop::new(memory),
            size,
            has_event_index,
            next: (1..=size).collect(),
            in_flight: (0..size).map(|_| None).collect(),
            first_free: 0,
            free: size,
            available_index: 0,
            asked_index: 0,
            used_index: 0,
            is_broken: false,
        })
    }

    const fn available_offset(size: u16) -> usize {
        DESCRIPTOR_LEN * size as usize
    }

    const fn used_offset(size: u16) -> usize {
        (Self::available_offset(size) + 6 + 2 * size as usize).next_multiple_of(USED_ALIGN)
    }

    /// How many descriptors there are.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// How many descriptors are free.
    pub fn free(&self) -> u16 {
        self.free
    }

    /// The device has broken the rules; nothing goes through this queue any more.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Where the device finds it.
    pub fn layout(&self) -> Layout {
        let base = self.memory.phys();
        Layout {
            descriptors: base,
            available: base + Self::available_offset(self.size) as u64,
            used: base + Self::used_offset(self.size) as u64,
        }
    }

    /// A 16-bit word of the rings, which the device may read or change at any time.
    fn word(&self, offset: usize) -> &AtomicU16 {
        self.memory.atomic_u16(offset)
    }

    fn available_word(&self, word: usize) -> &AtomicU16 {
        self.word(Self::available_offset(self.size) + 2 * word)
    }

    fn used_word(&self, word: usize) -> &AtomicU16 {
        self.word(Self::used_offset(self.size) + 2 * word)
    }

    /// The index at which we want to be interrupted, in the available ring's last word.
    fn used_event(&self) -> &AtomicU16 {
        self.available_word(2 + usize::from(self.size))
    }

    /// The index at which the device wants to be notified, in the used ring's last word.
    fn available_event(&self) -> &AtomicU16 {
        self.used_word(2 + 4 * usize::from(self.size))
    }

    /// Offers a message to the device. Hands it back with EAGAIN where there is no room now, with EMSGSIZE
    /// where there never will be, with EINVAL where it is empty, and with EIO where the queue is broken.
    pub fn push(&mut self, message: M) -> Result<(), (Errno, M)> {
        let mut count = 0u16;
        message.pieces(&mut |_, _| count = count.saturating_add(1));
        let problem = match count {
            _ if self.is_broken => Some(Errno::EIO),
            0 => Some(Errno::EINVAL),
            count if count > self.size => Some(Errno::EMSGSIZE),
            count if count > self.free => Some(Errno::EAGAIN),
            _ => None,
        };
        if let Some(errno) = problem {
            return Err((errno, message));
        }
        let head = self.first_free;
        let (mut index, mut left, mut capacity) = (head, count, 0u32);
        message.pieces(&mut |piece, access| {
            // A message that counts its pieces differently the second time must not run into free descriptors.
            if left == 0 {
                return;
            }
            left -= 1;
            let next = self.next.get(usize::from(index)).copied().unwrap_or(0);
            let mut flags = if left > 0 { FLAG_NEXT } else { 0 };
            if access == Access::Write {
                flags |= FLAG_WRITE;
                capacity = capacity.saturating_add(piece.len());
            }
            self.write_descriptor(index, piece, flags, next);
            self.first_free = next;
            index = next;
        });
        self.free -= count;
        if let Some(slot) = self.in_flight.get_mut(usize::from(head)) {
            *slot = Some(InFlight { message, capacity });
        }
        self.offer(head);
        Ok(())
    }

    fn write_descriptor(&self, index: u16, piece: Piece, flags: u16, next: u16) {
        let at = DESCRIPTOR_LEN * usize::from(index);
        let mut bytes = [0; DESCRIPTOR_LEN];
        bytes[..8].copy_from_slice(&piece.phys().to_le_bytes());
        bytes[8..12].copy_from_slice(&piece.len().to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.store(at, &bytes);
    }

    fn offer(&mut self, head: u16) {
        let slot = usize::from(self.available_index & (self.size - 1));
        self.available_word(2 + slot).store(head, Ordering::Relaxed);
        self.available_index = self.available_index.wrapping_add(1);
        self.available_word(1).store(self.available_index, Ordering::Release);
    }

    /// Whether the device has to be told of what was pushed since the last call.
    pub fn needs_notify(&mut self) -> bool {
        // The index must be visible before the device's wish is read.
        fence(Ordering::SeqCst);
        let (new, old) = (self.available_index, self.asked_index);
        self.asked_index = new;
        if new == old {
            return false;
        }
        if self.has_event_index {
            let event = self.available_event().load(Ordering::Relaxed);
            return new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old);
        }
        self.used_word(0).load(Ordering::Relaxed) & USED_NO_NOTIFY == 0
    }

    /// Whether a returned message waits.
    pub fn has_returned(&self) -> bool {
        !self.is_broken && self.used_word(1).load(Ordering::Acquire) != self.used_index
    }

    /// Takes a message that the device has returned, with the number of bytes that it wrote.
    pub fn pop(&mut self) -> Option<(M, u32)> {
        if !self.has_returned() {
            return None;
        }
        let pending = self.used_word(1).load(Ordering::Acquire).wrapping_sub(self.used_index);
        let slot = 2 + 4 * usize::from(self.used_index & (self.size - 1));
        let read = |word| u32::from(self.used_word(slot + word).load(Ordering::Relaxed));
        let (id, len) = (read(0) | read(1) << 16, read(2) | read(3) << 16);
        let named = usize::try_from(id).ok().and_then(|id| self.in_flight.get_mut(id));
        let Some(InFlight { message, capacity }) = named.filter(|_| pending <= self.size).and_then(Option::take) else {
            self.is_broken = true;
            return None;
        };
        self.used_index = self.used_index.wrapping_add(1);
        self.release(id as u16, &message);
        Some((message, len.min(capacity)))
    }

    /// Puts the descriptors of a returned chain back on the free list.
    fn release(&mut self, head: u16, message: &M) {
        let mut count = 0u16;
        message.pieces(&mut |_, _| count = count.saturating_add(1));
        let mut last = head;
        for _ in 1..count {
            last = self.next.get(usize::from(last)).copied().unwrap_or(head);
        }
        if let Some(next) = self.next.get_mut(usize::from(last)) {
            *next = self.first_free;
        }
        self.first_free = head;
        self.free += count;
    }

    /// Asks for an interrupt at the next message that comes back. Returns whether one has come back already, in which
    /// case the caller has to look again.
    pub fn enable_interrupt(&mut self) -> bool {
        if self.has_event_index {
            self.used_event().store(self.used_index, Ordering::Relaxed);
        } else {
            self.available_word(0).store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.has_returned()
    }
}

impl<M: Message> Drop for Queue<M> {
    fn drop(&mut self) {
        // Whoever drops a queue has reset its device or never started it, unless there is something in flight.
        if self.in_flight.iter().all(Option::is_none) && !self.is_broken {
            // SAFETY:
            // - `memory` is not used again: this is the only place that takes it.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        } else {
            core::mem::take(&mut self.in_flight).into_iter().for_each(core::mem::forget);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Test(DmaBuffer, Vec<(u32, Access)>);

    // SAFETY:
    // - all pieces lie in the buffer that the message owns.
    unsafe impl Message for Test {
        fn pieces(&self, each: &mut dyn FnMut(Piece, Access)) {
            for (len, access) in &self.1 {
                each(self.0.piece(0, *len), *access);
            }
        }
    }

    fn message(pieces: &[(u32, Access)]) -> Test {
        Test(DmaBuffer::new(4096).unwrap(), pieces.to_vec())
    }

    fn queue(size: u16, has_event_index: bool) -> Queue<Test> {
        Queue::new(size, size, has_event_index).unwrap()
    }

    /// The device's side: returns `id` with `len`.
    fn give_back(queue: &Queue<Test>, id: u32, len: u32) {
        let index = queue.used_word(1).load(Ordering::Relaxed);
        let slot = 2 + 4 * usize::from(index & (queue.size - 1));
        for (word, value) in [id, id >> 16, len, len >> 16].into_iter().enumerate() {
            queue.used_word(slot + word).store(value as u16, Ordering::Relaxed);
        }
        queue.used_word(1).store(index.wrapping_add(1), Ordering::Release);
    }

    fn offered(queue: &Queue<Test>, at: u16) -> u32 {
        u32::from(queue.available_word(2 + usize::from(at & (queue.size - 1))).load(Ordering::Relaxed))
    }

    const RW: &[(u32, Access)] = &[(10, Access::Read), (20, Access::Write), (30, Access::Write)];

    #[test]
    fn messages_go_round_many_times() {
        for has_event_index in [false, true] {
            let mut queue = queue(8, has_event_index);
            for turn in 0..70_000u32 {
                queue.push(message(RW)).map_err(|e| e.0).unwrap();
                queue.push(message(&RW[..2])).map_err(|e| e.0).unwrap();
                assert_eq!(queue.push(message(&[RW[0]; 4])).map_err(|e| e.0).err(), Some(Errno::EAGAIN));
                let at = (turn * 2) as u16;
                let (a, b) = (offered(&queue, at), offered(&queue, at.wrapping_add(1)));
                give_back(&queue, b, 7);
                give_back(&queue, a, 1000);
                let (first, len) = queue.pop().unwrap();
                assert_eq!((first.1.len(), len), (2, 7));
                let (second, len) = queue.pop().unwrap();
                assert_eq!((second.1.len(), len), (3, 50));
                assert!(queue.pop().is_none());
                assert_eq!(queue.free(), 8);
            }
        }
    }

    #[test]
    fn a_lie_breaks_the_queue_and_nothing_else() {
        for id in [1, 8, 0xffff, 0xffff_ffff] {
            let mut queue = queue(8, false);
            queue.push(message(RW)).map_err(|e| e.0).unwrap();
            give_back(&queue, id, 5);
            assert!(queue.pop().is_none() && queue.is_broken());
            assert_eq!(queue.push(message(RW)).map_err(|e| e.0).err(), Some(Errno::EIO));
        }
        let mut queue = queue(8, false);
        queue.push(message(RW)).map_err(|e| e.0).unwrap();
        queue.used_word(1).store(9, Ordering::Relaxed);
        assert!(queue.pop().is_none() && queue.is_broken());
    }

    #[test]
    fn the_same_id_twice_is_a_lie() {
        let mut queue = queue(8, false);
        queue.push(message(RW)).map_err(|e| e.0).unwrap();
        give_back(&queue, 0, 0);
        give_back(&queue, 0, 0);
        assert!(queue.pop().is_some());
        assert!(queue.pop().is_none() && queue.is_broken());
    }

    #[test]
    fn notification_follows_the_devices_wish() {
        let mut queue = queue(8, true);
        queue.push(message(RW)).map_err(|e| e.0).unwrap();
        assert!(queue.needs_notify());
        assert!(!queue.needs_notify());
        queue.push(message(RW)).map_err(|e| e.0).unwrap();
        assert!(!queue.needs_notify(), "the device still wants to be told of the first only");
        queue.available_event().store(2, Ordering::Relaxed);
        give_back(&queue, 0, 0);
        queue.pop().unwrap();
        queue.push(message(RW)).map_err(|e| e.0).unwrap();
        assert!(queue.needs_notify());
    }

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        assert_eq!(Queue::<Test>::new(1000, 1000, false).unwrap().size(), 256);
        assert_eq!(Queue::<Test>::new(100, 128, false).unwrap().size(), 64);
        assert!(Queue::<Test>::new(0, 128, false).is_err());
        assert_eq!(queue(8, false).push(message(&[RW[0]; 9])).map_err(|e| e.0).err(), Some(Errno::EMSGSIZE));
    }
}
