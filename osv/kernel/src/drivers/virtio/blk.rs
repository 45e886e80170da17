//! Virtio disks: reading and writing whole pages.
//!
//! What a page cache or a file system needs and no more: pages go straight between frames and the disk, and a flush makes
//! what was written durable. A disk whose length is no multiple of a page ends at its last whole one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::requests::{Request, Requests};
use super::{Device, Kind, take};
use crate::drivers::dma::{Data, DmaBuffer, FrameData};
use crate::drivers::partitions;
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
    sectors: u64,
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

/// A disk, or a partition of one: what a file system that is only read lies on.
#[derive(Clone)]
pub struct Volume {
    disk: Arc<Disk>,
    start: u64,
    pages: u64,
}

impl Volume {
    fn whole(disk: &Arc<Disk>) -> Self {
        Self { disk: Arc::clone(disk), start: 0, pages: disk.pages }
    }

    /// Its whole pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The partitions of a disk, with their numbers; none if it cannot be read.
    fn partitions(disk: &Arc<Disk>) -> Vec<(usize, Self)> {
        let pages = disk.pages.min((partitions::HEAD / PAGE_SIZE) as u64) as usize;
        let head = Self::whole(disk).read(pages).unwrap_or_default();
        let extents = partitions::parse(&head, disk.pages * SECTORS_PER_PAGE).into_iter();
        let volume = |start, len| Self { disk: Arc::clone(disk), start, pages: len / SECTORS_PER_PAGE };
        extents.map(|extent| (extent.number, volume(extent.start, extent.len))).collect()
    }

    /// Its first `pages` pages.
    fn read(&self, pages: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(pages * PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
        for index in 0..pages {
            let frame = Frame::alloc_zeroed()?;
            self.read_pages(index as u64, core::slice::from_ref(&frame))?;
            let at = bytes.len();
            bytes.resize(at + PAGE_SIZE, 0);
            frame.read(0, bytes.get_mut(at..).unwrap_or_default());
        }
        Ok(bytes)
    }
}

impl PageStore for Volume {
    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<usize> {
        let frames = frames.get(..frames.len().min(self.disk.pages_max)).unwrap_or_default();
        first.checked_add(frames.len() as u64).filter(|end| *end <= self.pages).ok_or(Errno::EIO)?;
        self.disk.transfer(Operation::Read, self.start + first * SECTORS_PER_PAGE, frames)?;
        Ok(frames.len())
    }
}

/// The volume called `name`: a disk as [`disk`] knows it, or a partition of one, as `vda1`.
pub fn volume(name: &[u8]) -> Option<Volume> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (name, number) = name.split_at_checked(name.len() - digits)?;
    let disk = disk(name)?;
    if number.is_empty() {
        return Some(Volume::whole(disk));
    }
    let number: usize = core::str::from_utf8(number).ok()?.parse().ok()?;
    Volume::partitions(disk).into_iter().find(|(other, _)| *other == number).map(|(_, volume)| volume)
}

/// The first disk or partition whose first page satisfies `is_wanted`.
pub fn find_volume(is_wanted: impl Fn(&[u8]) -> bool) -> Option<Volume> {
    let is_wanted = |volume: &Volume| volume.read(1).is_ok_and(|page| is_wanted(&page));
    disks().iter().find_map(|disk| {
        let parts = Volume::partitions(disk).into_iter().map(|(_, volume)| volume);
        core::iter::once(Volume::whole(disk)).chain(parts).find(is_wanted)
    })
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
            sectors,
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
            self.transfer(Operation::Write, first.saturating_mul(SECTORS_PER_PAGE), frames)?;
            first += frames.len() as u64;
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub fn flush(&self) -> Result<()> {
        if self.can_flush { self.request(Operation::Flush, 0, Data::None) } else { Ok(()) }
    }

    /// Moves `frames` from or to the sectors from `sector` on.
    fn transfer(&self, operation: Operation, sector: u64, frames: &[Frame]) -> Result<()> {
        let end = sector.checked_add(frames.len() as u64 * SECTORS_PER_PAGE).ok_or(Errno::EIO)?;
        if end > self.sectors {
            return Err(Errno::EIO);
        }
        let mut held = Vec::new();
        held.try_reserve_exact(frames.len()).map_err(|_| Errno::ENOMEM)?;
        held.extend(frames.iter().cloned());
        let data = FrameData::new(held, frames.len() * PAGE_SIZE);
        let data = if operation == Operation::Read { Data::FromDevice(data) } else { Data::ToDevice(data) };
        self.request(operation, sector, data)
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
