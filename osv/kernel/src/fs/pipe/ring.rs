//! The bytes in a pipe: a ring of pages that are allocated when first needed and kept until the pipe goes.
//!
//! Data is copied exactly twice, from the writer's memory into a page and from the page into the reader's. A
//! pipe that is drained starts again at its first page, so that small messages stay in one warm page and cost
//! no allocation. Packets (O_DIRECT) lie in the same ring; a list of segments marks their borders and is empty
//! as long as no packet was written. The ring knows nothing of blocking: `fill` and `drain` move what fits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::errno::{Errno, Result};

/// Bytes in a page of the ring; also PIPE_BUF, the largest write that is never torn.
pub(super) const PAGE: usize = 4096;

/// A stretch of data between two borders.
#[derive(Clone, Copy)]
struct Segment {
    len: usize,
    is_packet: bool,
}

/// The data of a pipe.
pub(super) struct Ring {
    /// As many as the capacity has; an empty vector is a page that was never needed.
    pages: Vec<Vec<u8>>,
    capacity: usize,
    /// Position of the next byte to read, below `capacity`.
    head: usize,
    len: usize,
    /// Empty, or a list whose lengths sum up to `len`.
    segments: VecDeque<Segment>,
}

impl Ring {
    /// An empty ring of `capacity` bytes, a multiple of [`PAGE`].
    pub(super) fn new(capacity: usize) -> Result<Ring> {
        Ok(Ring { pages: unused_pages(capacity)?, capacity, head: 0, len: 0, segments: VecDeque::new() })
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that a write can add now; 0 as well when there are as many packets as pages.
    #[inline]
    pub(super) fn room(&self) -> usize {
        let is_full_of_packets = !self.segments.is_empty() && self.segments.len() >= self.pages.len();
        if is_full_of_packets { 0 } else { self.capacity - self.len }
    }

    /// Appends up to `max` bytes as one packet or as stream. `copy` fills the slice that it is given, from its
    /// start, and says how far it came; a short count or an error ends the transfer.
    #[inline]
    pub(super) fn fill(
        &mut self,
        max: usize,
        is_packet: bool,
        mut copy: impl FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        if !is_packet && let Some(space) = self.space_in_one_page(max) {
            let copied = copy(space)?.min(max);
            self.len += copied;
            return Ok(copied);
        }
        self.fill_pages(max, is_packet, copy)
    }

    /// The usual case: no packets, and all of `max` bytes fit into a page that is there.
    #[inline(always)]
    fn space_in_one_page(&mut self, max: usize) -> Option<&mut [u8]> {
        if !self.segments.is_empty() || max > self.capacity - self.len {
            return None;
        }
        let position = self.wrap(self.head + self.len);
        let offset = position % PAGE;
        self.pages.get_mut(position / PAGE)?.get_mut(offset..offset.checked_add(max)?)
    }

    fn fill_pages(
        &mut self,
        max: usize,
        is_packet: bool,
        mut copy: impl FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        if is_packet || !self.segments.is_empty() {
            self.segments.try_reserve(2).map_err(|_| Errno::ENOMEM)?;
        }
        let max = max.min(self.room());
        let mut done = 0;
        while done < max {
            let chunk = match self.free_slice(max - done) {
                Ok(chunk) => chunk,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            let want = chunk.len();
            let copied = match copy(chunk) {
                Ok(copied) => copied.min(want),
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            self.mark_added(copied, is_packet && done == 0, is_packet);
            done += copied;
            if copied < want {
                break;
            }
        }
        Ok(done)
    }

    /// Takes up to `max` bytes out, at most one packet and never across the border of one. `copy` says how much
    /// of its slice it took. Of a packet the rest is dropped.
    #[inline]
    pub(super) fn drain(&mut self, max: usize, mut copy: impl FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        if let Some(data) = self.data_in_one_page(max) {
            let copied = copy(data)?.min(data.len());
            self.len -= copied;
            self.head = if self.len == 0 { 0 } else { self.wrap(self.head + copied) };
            return Ok(copied);
        }
        self.drain_pages(max, copy)
    }

    /// The usual case: no packets, and what is wanted lies in one page.
    #[inline(always)]
    fn data_in_one_page(&self, max: usize) -> Option<&[u8]> {
        if !self.segments.is_empty() {
            return None;
        }
        let offset = self.head % PAGE;
        self.pages.get(self.head / PAGE)?.get(offset..offset + max.min(self.len))
    }

    fn drain_pages(&mut self, max: usize, mut copy: impl FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        let mut done = 0;
        while done < max && self.len > 0 {
            let front = self.segments.front().copied();
            if done > 0 && front.is_some_and(|segment| segment.is_packet) {
                break;
            }
            let limit = front.map_or(self.len, |segment| segment.len).min(max - done);
            let moved = self.drain_segment(limit, &mut copy);
            let count = match moved {
                Ok(count) => count,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            done += count;
            if front.is_some_and(|segment| segment.is_packet) {
                self.drop_rest_of_packet();
                break;
            }
            if count < limit {
                break;
            }
        }
        Ok(done)
    }

    /// Shows up to `max` bytes without taking them, page by page. Returns what `copy` accepted.
    pub(super) fn peek(&self, max: usize, mut copy: impl FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        let mut done = 0;
        let max = max.min(self.len);
        while done < max {
            let chunk = self.used_slice(done, max - done);
            let copied = match copy(chunk) {
                Ok(copied) => copied.min(chunk.len()),
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            done += copied;
            if copied < chunk.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Changes the capacity; EBUSY if the data would not fit.
    pub(super) fn resize(&mut self, capacity: usize) -> Result<()> {
        if capacity < self.len || capacity / PAGE < self.segments.len() {
            return Err(Errno::EBUSY);
        }
        let mut resized = Ring::new(capacity)?;
        self.peek(self.len, |chunk| resized.append(chunk))?;
        if resized.len != self.len {
            return Err(Errno::ENOMEM);
        }
        resized.segments = core::mem::take(&mut self.segments);
        *self = resized;
        Ok(())
    }

    /// Appends as much of `data` as fits.
    pub(super) fn append(&mut self, mut data: &[u8]) -> Result<usize> {
        self.fill(data.len(), false, |space| {
            let (now, later) = data.split_at(space.len());
            space.copy_from_slice(now);
            data = later;
            Ok(now.len())
        })
    }

    fn drain_segment(&mut self, max: usize, copy: &mut impl FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        let mut done = 0;
        while done < max {
            let chunk = self.used_slice(0, max - done);
            let want = chunk.len();
            let copied = match copy(chunk) {
                Ok(copied) => copied.min(want),
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            self.mark_taken(copied);
            done += copied;
            if copied < want {
                break;
            }
        }
        Ok(done)
    }

    /// The next free bytes in one page, at most `max` of them, which is not 0.
    fn free_slice(&mut self, max: usize) -> Result<&mut [u8]> {
        let position = self.wrap(self.head + self.len);
        let (index, offset) = (position / PAGE, position % PAGE);
        let page = &mut self.pages[index];
        if page.is_empty() {
            page.try_reserve_exact(PAGE).map_err(|_| Errno::ENOMEM)?;
            page.resize(PAGE, 0);
        }
        let end = PAGE.min(offset + max);
        Ok(&mut page[offset..end])
    }

    /// The bytes `skip` after the head in one page, at most `max` of them.
    fn used_slice(&self, skip: usize, max: usize) -> &[u8] {
        let position = self.wrap(self.head + skip);
        let (index, offset) = (position / PAGE, position % PAGE);
        let end = PAGE.min(offset + max.min(self.len - skip));
        &self.pages[index][offset..end]
    }

    fn mark_added(&mut self, count: usize, starts_packet: bool, is_packet: bool) {
        if count > 0 && (is_packet || !self.segments.is_empty()) {
            self.add_to_segments(count, starts_packet, is_packet);
        }
        self.len += count;
    }

    fn add_to_segments(&mut self, count: usize, starts_packet: bool, is_packet: bool) {
        if self.segments.is_empty() && self.len > 0 {
            self.segments.push_back(Segment { len: self.len, is_packet: false });
        }
        match self.segments.back_mut() {
            Some(last) if last.is_packet == is_packet && !starts_packet => last.len += count,
            _ => self.segments.push_back(Segment { len: count, is_packet }),
        }
    }

    fn mark_taken(&mut self, count: usize) {
        self.len -= count;
        self.head = if self.len == 0 { 0 } else { self.wrap(self.head + count) };
        if let Some(front) = self.segments.front_mut() {
            front.len -= count;
            if front.len == 0 && !front.is_packet {
                self.segments.pop_front();
            }
        }
    }

    fn drop_rest_of_packet(&mut self) {
        let rest = self.segments.front().map_or(0, |segment| segment.len);
        self.mark_taken(rest);
        self.segments.pop_front();
    }

    #[inline]
    fn wrap(&self, position: usize) -> usize {
        if position < self.capacity { position } else { position - self.capacity }
    }
}

fn unused_pages(capacity: usize) -> Result<Vec<Vec<u8>>> {
    let mut pages = Vec::new();
    pages.try_reserve_exact(capacity / PAGE).map_err(|_| Errno::ENOMEM)?;
    pages.resize_with(capacity / PAGE, Vec::new);
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(ring: &mut Ring, data: &[u8], is_packet: bool) -> usize {
        let mut rest = data;
        ring.fill(data.len(), is_packet, |space| {
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        })
        .unwrap()
    }

    fn read(ring: &mut Ring, max: usize) -> Vec<u8> {
        let mut data = Vec::new();
        ring.drain(max, |chunk| {
            data.extend_from_slice(chunk);
            Ok(chunk.len())
        })
        .unwrap();
        data
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn bytes_come_out_in_order_across_the_wrap() {
        let mut ring = Ring::new(2 * PAGE).unwrap();
        let data = pattern(3 * PAGE);
        let (mut sent, mut received) = (0, Vec::new());
        while received.len() < data.len() {
            sent += write(&mut ring, &data[sent..(sent + 3000).min(data.len())], false);
            received.extend(read(&mut ring, 1700));
        }
        assert_eq!(received, data);
    }

    #[test]
    fn a_full_ring_takes_nothing_and_an_empty_one_starts_over() {
        let mut ring = Ring::new(PAGE).unwrap();
        assert_eq!(write(&mut ring, &pattern(PAGE + 1), false), PAGE);
        assert_eq!((ring.room(), write(&mut ring, b"x", false)), (0, 0));
        assert_eq!(read(&mut ring, PAGE), pattern(PAGE));
        assert_eq!((ring.len(), ring.head), (0, 0));
    }

    #[test]
    fn packets_keep_their_borders_and_lose_their_rest() {
        let mut ring = Ring::new(8 * PAGE).unwrap();
        write(&mut ring, b"stream", false);
        write(&mut ring, b"first", true);
        write(&mut ring, b"second", true);
        write(&mut ring, b"tail", false);
        write(&mut ring, b"more", false);
        assert_eq!(read(&mut ring, 100), b"stream");
        assert_eq!(read(&mut ring, 2), b"fi");
        assert_eq!(read(&mut ring, 100), b"second");
        assert_eq!(read(&mut ring, 100), b"tailmore");
        assert!(ring.segments.is_empty());
    }

    #[test]
    fn a_packet_across_pages_is_one() {
        let mut ring = Ring::new(2 * PAGE).unwrap();
        write(&mut ring, &pattern(100), true);
        write(&mut ring, &pattern(PAGE), true);
        assert_eq!(read(&mut ring, PAGE), pattern(100));
        assert_eq!(read(&mut ring, 2 * PAGE), pattern(PAGE));
    }

    #[test]
    fn there_are_no_more_packets_than_pages() {
        let mut ring = Ring::new(2 * PAGE).unwrap();
        assert_eq!([write(&mut ring, b"a", true), write(&mut ring, b"b", true)], [1, 1]);
        assert_eq!(write(&mut ring, b"c", true), 0);
    }

    #[test]
    fn an_error_after_some_bytes_is_a_short_count() {
        let mut ring = Ring::new(4 * PAGE).unwrap();
        let mut calls = 0;
        let result = ring.fill(3 * PAGE, false, |space| {
            calls += 1;
            if calls == 2 { Err(Errno::EFAULT) } else { Ok(space.len()) }
        });
        assert_eq!(result, Ok(PAGE));
        assert_eq!(ring.drain(PAGE, |_| Err(Errno::EFAULT)), Err(Errno::EFAULT));
        assert_eq!(ring.len(), PAGE);
    }

    #[test]
    fn resize_keeps_data_and_packets() {
        let mut ring = Ring::new(2 * PAGE).unwrap();
        write(&mut ring, &pattern(PAGE), false);
        read(&mut ring, 1000);
        write(&mut ring, &pattern(2000), true);
        assert_eq!(ring.resize(PAGE), Err(Errno::EBUSY));
        ring.resize(8 * PAGE).unwrap();
        assert_eq!(read(&mut ring, 9000), pattern(PAGE)[1000..]);
        assert_eq!(read(&mut ring, 9000), pattern(2000));
        assert_eq!(ring.capacity(), 8 * PAGE);
    }

    #[test]
    fn peek_takes_nothing() {
        let mut ring = Ring::new(2 * PAGE).unwrap();
        write(&mut ring, &pattern(5000), false);
        let mut seen = Vec::new();
        ring.peek(4500, |chunk| {
            seen.extend_from_slice(chunk);
            Ok(chunk.len())
        })
        .unwrap();
        assert_eq!(seen, pattern(5000)[..4500]);
        assert_eq!(ring.len(), 5000);
    }
}
