//! Memory that devices read and write by themselves.
//!
//! A [`DmaBuffer`] is a piece of the kernel's heap, which lies in the direct map and is therefore contiguous in physical
//! memory too. Since the device may change it at any time, there are no references into it: bytes are copied in and
//! out. An [`Exchange`] is what most drivers send through a virtqueue: a request, optional data in frames of the page
//! cache, which the device reads or writes in place, and room for a reply.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU16;

use crate::drivers::virtio::queue::{Access, Message};
use crate::errno::{Errno, Result};
use crate::mem::frame::Frame;
use crate::mem::phys::PAGE_SIZE;

/// Zeroed memory for a device, aligned to a page.
#[derive(Debug)]
pub struct DmaBuffer {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY:
// - the buffer owns its memory, which is the same on every CPU;
// - shared access is by raw copies and atomics only.
unsafe impl Send for DmaBuffer {}
// SAFETY:
// - as above.
unsafe impl Sync for DmaBuffer {}

/// Where a range of memory is, for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    phys: u64,
    len: u32,
}

impl Piece {
    /// Its physical address.
    pub fn phys(&self) -> u64 {
        self.phys
    }

    /// Its length in bytes.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl DmaBuffer {
    /// A buffer of `len` bytes; ENOMEM without memory, EINVAL for 0 bytes or more than a descriptor can tell.
    pub fn new(len: usize) -> Result<Self> {
        let layout = Layout::from_size_align(len, PAGE_SIZE).map_err(|_| Errno::EINVAL)?;
        if len == 0 || u32::try_from(len).is_err() {
            return Err(Errno::EINVAL);
        }
        // SAFETY:
        // - the layout is not of size 0.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, layout })
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.layout.size()
    }

    /// Whether it has no bytes; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The physical address of its first byte.
    pub fn phys(&self) -> u64 {
        let virt = self.base.as_ptr() as u64;
        if cfg!(test) { virt } else { virt.wrapping_sub(crate::arch::layout::DIRECT_MAP) }
    }

    /// The part of it from `offset` on, at most `len` bytes long.
    pub fn piece(&self, offset: usize, len: u32) -> Piece {
        let offset = offset.min(self.len());
        let room = u32::try_from(self.len() - offset).unwrap_or(u32::MAX);
        Piece { phys: self.phys() + offset as u64, len: len.min(room) }
    }

    /// Copies `bytes` to `offset`, as far as there is room. Returns how many.
    pub fn store(&self, offset: usize, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.len().saturating_sub(offset));
        if count != 0 {
            // SAFETY:
            // - `offset + count` is within the buffer; nobody has a reference into it.
            unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(offset), count) };
        }
        count
    }

    /// Copies bytes from `offset` on into `out`, as far as there are some. Returns how many.
    pub fn load(&self, offset: usize, out: &mut [u8]) -> usize {
        let count = out.len().min(self.len().saturating_sub(offset));
        if count != 0 {
            // SAFETY:
            // - `offset + count` is within the buffer; `out` is not, since nobody has a reference into it.
            unsafe { core::ptr::copy_nonoverlapping(self.base.as_ptr().add(offset), out.as_mut_ptr(), count) };
        }
        count
    }

    /// The 16-bit word at `offset`, which must be even and within the buffer; otherwise the first one.
    pub fn atomic_u16(&self, offset: usize) -> &AtomicU16 {
        let is_good = offset.is_multiple_of(2) && offset < self.len() - 1;
        debug_assert!(is_good);
        let offset = if is_good { offset } else { 0 };
        // SAFETY:
        // - the word lies within the buffer, which has at least two bytes in the layouts of rings, and is aligned;
        // - devices access it as memory, CPUs by atomics only.
        unsafe { AtomicU16::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        // SAFETY:
        // - allocated by `new` with this layout, freed once; whoever lends it to a device holds it until it is back.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// Frames that carry an exchange's data: `len` bytes from the first one's start.
#[derive(Debug, Default)]
pub struct FrameData {
    frames: Vec<Frame>,
    len: u32,
}

impl FrameData {
    /// The first `len` bytes of `frames`, or all if they are fewer.
    pub fn new(frames: Vec<Frame>, len: usize) -> Self {
        let len = u32::try_from(len.min(frames.len() * PAGE_SIZE)).unwrap_or(u32::MAX);
        Self { frames, len }
    }

    /// The frames.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Calls `each` with runs of physically contiguous bytes.
    fn runs(&self, each: &mut dyn FnMut(Piece)) {
        let mut left = self.len;
        let mut run: Option<Piece> = None;
        for frame in &self.frames {
            let len = left.min(PAGE_SIZE as u32);
            if len == 0 {
                break;
            }
            left -= len;
            run = match run {
                Some(Piece { phys, len: so_far }) if phys + u64::from(so_far) == frame.phys() => {
                    Some(Piece { phys, len: so_far + len })
                }
                previous => {
                    previous.into_iter().for_each(&mut *each);
                    Some(Piece { phys: frame.phys(), len })
                }
            };
        }
        run.into_iter().for_each(each);
    }
}

/// Data that goes along with a request.
#[derive(Debug, Default)]
pub enum Data {
    /// None.
    #[default]
    None,
    /// The device reads it after the request.
    ToDevice(FrameData),
    /// The device writes it after the reply.
    FromDevice(FrameData),
}

/// A request and its reply. The buffer holds the request at its start, the reply from `reply_at` on, and the trailer
/// (what the device writes after the data) behind the reply.
#[derive(Debug)]
pub struct Exchange<T> {
    /// Request, reply and trailer.
    pub buffer: DmaBuffer,
    /// Bytes of request.
    pub request_len: u32,
    /// Where the reply starts.
    pub reply_at: usize,
    /// Bytes of room for the reply.
    pub reply_len: u32,
    /// Bytes that the device writes after the data.
    pub trailer_len: u32,
    /// Data in frames.
    pub data: Data,
    /// Whatever the driver wants to find again when the exchange comes back.
    pub tag: T,
}

// SAFETY:
// - all pieces lie in the buffer and the frames that the exchange owns or counts;
// - nothing changes them while a queue owns the exchange, so each call gives the same;
// - frames are in the page cache's care, which lends them for the exchange's life.
unsafe impl<T> Message for Exchange<T> {
    fn pieces(&self, each: &mut dyn FnMut(Piece, Access)) {
        let mut give = |piece: Piece, access| {
            if !piece.is_empty() {
                each(piece, access);
            }
        };
        give(self.buffer.piece(0, self.request_len), Access::Read);
        if let Data::ToDevice(data) = &self.data {
            data.runs(&mut |piece| give(piece, Access::Read));
        }
        give(self.buffer.piece(self.reply_at, self.reply_len), Access::Write);
        if let Data::FromDevice(data) = &self.data {
            data.runs(&mut |piece| give(piece, Access::Write));
        }
        give(self.buffer.piece(self.reply_at + self.reply_len as usize, self.trailer_len), Access::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_clip_what_does_not_fit() {
        let buffer = DmaBuffer::new(100).unwrap();
        assert_eq!(buffer.store(98, b"abcd"), 2);
        assert_eq!(buffer.store(100, b"abcd"), 0);
        assert_eq!(buffer.store(usize::MAX, b"abcd"), 0);
        let mut out = [0; 4];
        assert_eq!(buffer.load(97, &mut out), 3);
        assert_eq!(&out, b"\0ab\0");
        assert_eq!(buffer.piece(90, 50).len(), 10);
        assert!(buffer.piece(200, 50).is_empty());
        assert!(DmaBuffer::new(0).is_err());
    }

    #[test]
    fn an_exchange_tells_its_pieces_in_order() {
        let exchange = Exchange {
            buffer: DmaBuffer::new(4096).unwrap(),
            request_len: 16,
            reply_at: 100,
            reply_len: 0,
            trailer_len: 1,
            data: Data::None,
            tag: (),
        };
        let mut pieces = Vec::new();
        exchange.pieces(&mut |piece, access| pieces.push((piece.phys() - exchange.buffer.phys(), piece.len(), access)));
        assert_eq!(pieces, [(0, 16, Access::Read), (100, 1, Access::Write)]);
    }
}
