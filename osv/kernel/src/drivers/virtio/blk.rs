//! Virtio disks: reading and writing whole pages.
//!
//! What a page cache or a file system needs and no more: pages go straight between frames and the disk, and a flush makes
//! what was written durable. A disk whose length is no multiple of a page ends at its last whole one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::requests::{Request, Requests};
use super::{Device, Kind, take};
use crate::drivers::dma::{Data, DmaBuffer, FrameData};
use crate::errno::{Errno, Result};
use crate::mem::Frame;
use crate::mem::page_cache::PageStore;
use crate::mem::phys::PAGE_SIZE;
use crate::sync::Once;

const FEATURE_SEGMENTS_MAX: u64 = 1 << 2;
const FEATURE_READ_ONLY: u64 = 1 << 5;
const FEATURE_FLUSH: u64 = 1 << 9;

const HEADER_LEN: u32 = 16;
const STATUS_AT: usize = 64;
const BUFFER_LEN: usize = 128;
const STATUS_OK: u8 = 0;
const STATUS_UNSUPPORTED: u8 = 2;
const SECTOR: u64 = 512;
const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / SECTOR;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Operation {
    Read = 0,
    Write = 1,
    Flush = 4,
}

/// A disk.
pub struct Disk {
    requests: Arc<Requests>,
    pages: u64,
    pages_max: usize,
    is_read_only: bool,
    can_flush: bool,
}

static DISKS: Once<Vec<Arc<Disk>>> = Once::new();

/// All disks that work, in the order in which they were found; they are started at the first call.
pub fn disks() -> &'static [Arc<Disk>] {
    DISKS.call_once(|| {
        let devices = core::iter::from_fn(|| take(Kind::Block));
        devices.filter_map(|device| Disk::start(device).ok().map(Arc::new)).collect()
    })
}

/// The disk called `name`: `vda`, `vdb` and so on, as Linux names them, perhaps with `/dev/` before it.
pub fn disk(name: &[u8]) -> Option<&'static Arc<Disk>> {
    match name.strip_prefix(b"/dev/").unwrap_or(name) {
        [b'v', b'd', letter @ b'a'..=b'z'] => disks().get(usize::from(letter - b'a')),
        _ => None,
    }
}

impl Disk {
    fn start(mut device: Device) -> Result<Self> {
        device.negotiate(FEATURE_SEGMENTS_MAX | FEATURE_READ_ONLY | FEATURE_FLUSH)?;
        let sectors = u64::from_le_bytes(device.config(0));
        let segments_max = match device.has(FEATURE_SEGMENTS_MAX) {
            true => u32::from_le_bytes(device.config(12)).max(1) as usize,
            false => usize::MAX,
        };
        let requests = Requests::start(device, BUFFER_LEN)?;
        Ok(Self {
            pages: sectors / SECTORS_PER_PAGE,
            pages_max: requests.pages_max().min(segments_max),
            is_read_only: device.has(FEATURE_READ_ONLY),
            can_flush: device.has(FEATURE_FLUSH),
            requests,
        })
    }

    /// Its whole pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether it cannot be written.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Writes `frames` as the pages from `first` on. EROFS on a read-only disk, EIO beyond the end.
    pub fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<()> {
        if self.is_read_only {
            return Err(Errno::EROFS);
        }
        let mut first = first;
        for frames in frames.chunks(self.pages_max) {
            self.transfer(Operation::Write, first, frames)?;
            first += frames.len() as u64;
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub fn flush(&self) -> Result<()> {
        if self.can_flush { self.request(Operation::Flush, 0, Data::None) } else { Ok(()) }
    }

    fn transfer(&self, operation: Operation, first: u64, frames: &[Frame]) -> Result<()> {
        let end = first.checked_add(frames.len() as u64).ok_or(Errno::EIO)?;
        if end > self.pages {
            return Err(Errno::EIO);
        }
        let mut held = Vec::new();
        held.try_reserve_exact(frames.len()).map_err(|_| Errno::ENOMEM)?;
        held.extend(frames.iter().cloned());
        let data = FrameData::new(held, frames.len() * PAGE_SIZE);
        let data = if operation == Operation::Read { Data::FromDevice(data) } else { Data::ToDevice(data) };
        self.request(operation, first * SECTORS_PER_PAGE, data)
    }

    fn request(&self, operation: Operation, sector: u64, data: Data) -> Result<()> {
        let make = |tag, buffer: DmaBuffer| {
            buffer.store(0, &(operation as u32).to_le_bytes());
            buffer.store(4, &[0; 4]);
            buffer.store(8, &sector.to_le_bytes());
            buffer.store(STATUS_AT, &[u8::MAX]);
            Ok(Request {
                buffer,
                request_len: HEADER_LEN,
                reply_at: STATUS_AT,
                reply_len: 0,
                trailer_len: 1,
                data,
                tag,
            })
        };
        self.requests.call(make, |request, _| {
            let mut status = [0];
            request.buffer.load(STATUS_AT, &mut status);
            match status {
                [STATUS_OK] => Ok(()),
                [STATUS_UNSUPPORTED] => Err(Errno::EOPNOTSUPP),
                _ => Err(Errno::EIO),
            }
        })
    }
}

impl PageStore for Disk {
    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<usize> {
        let frames = frames.get(..frames.len().min(self.pages_max)).unwrap_or_default();
        self.transfer(Operation::Read, first, frames)?;
        Ok(frames.len())
    }
}
