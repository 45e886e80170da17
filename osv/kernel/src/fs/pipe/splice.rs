//! Moving data between a pipe and another file, or between two pipes, without a detour through the program.
//!
//! The data is copied once, between the ring's pages and the other side. A file that may block (socket, terminal,
//! the other pipe) is never waited for with the ring locked: it is asked without waiting, and if it is not ready,
//! waited for in between. Source: splice(2), tee(2).

use alloc::sync::Arc;

use super::{PipeEnd, Ring, State};
use crate::errno::{Errno, Result};
use crate::event::{PollEntry, PollEvents, poll_files};
use crate::fs::{IoFlags, OpenFile};
use crate::mem::user::{Dest, Source};
use crate::sched::MutexGuard;

/// A file that is not a pipe, and where in it to read or write: at its own position, or at an offset that moves along.
pub struct Place<'a> {
    /// The file.
    pub file: &'a Arc<OpenFile>,
    /// The offset; `None` for the file's own position.
    pub offset: Option<u64>,
}

impl Place<'_> {
    fn read(&mut self, space: &mut [u8]) -> Result<usize> {
        let mut dst = Dest::from_slice(space);
        match &mut self.offset {
            None => self.file.read_with(&mut dst, IoFlags::NONBLOCK),
            Some(offset) => {
                let count = self.file.read_at(*offset, &mut dst)?;
                *offset += count as u64;
                Ok(count)
            }
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<usize> {
        let mut src = Source::from_slice(data);
        match &mut self.offset {
            None => self.file.write_with(&mut src, IoFlags::NONBLOCK),
            Some(offset) => {
                let count = self.file.write_at(*offset, &mut src)?;
                *offset += count as u64;
                Ok(count)
            }
        }
    }

    /// Waits until the file can do `interest`; EAGAIN if it was opened for not waiting.
    fn wait_for(&self, interest: PollEvents) -> Result<()> {
        if self.file.io_flags().contains(IoFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        poll_files(&mut [PollEntry::new(Some(self.file.clone()), interest)], None).map_err(|_| Errno::ERESTARTSYS)?;
        Ok(())
    }
}

/// Repeats `attempt` while it says EAGAIN because of `place`, which is waited for.
fn with_patience(
    place: &mut Place<'_>,
    interest: PollEvents,
    mut attempt: impl FnMut(&mut Place<'_>) -> Attempt,
) -> Result<usize> {
    loop {
        match attempt(place) {
            Attempt::Done(result) => return result,
            Attempt::PlaceNotReady => place.wait_for(interest)?,
        }
    }
}

enum Attempt {
    Done(Result<usize>),
    PlaceNotReady,
}

impl Attempt {
    /// Tells whose EAGAIN it was.
    fn of(result: Result<usize>, place_was_asked: bool) -> Attempt {
        match result {
            Err(Errno::EAGAIN) if place_was_asked => Attempt::PlaceNotReady,
            result => Attempt::Done(result),
        }
    }
}

impl PipeEnd {
    /// Moves up to `max` bytes from `place` into the pipe.
    pub fn fill_from(&self, place: &mut Place<'_>, max: usize, flags: IoFlags) -> Result<usize> {
        with_patience(place, PollEvents::POLLIN, |place| {
            let mut was_asked = false;
            let result = self.pipe.put(1, flags, |ring| {
                was_asked = true;
                ring.fill(max, false, |space| place.read(space))
            });
            Attempt::of(result, was_asked)
        })
    }

    /// Moves up to `max` bytes from the pipe to `place`.
    pub fn drain_to(&self, place: &mut Place<'_>, max: usize, flags: IoFlags) -> Result<usize> {
        with_patience(place, PollEvents::POLLOUT, |place| {
            let mut was_asked = false;
            let result = self.pipe.take(flags, |ring| {
                was_asked = true;
                ring.drain(max, |data| place.write(data))
            });
            Attempt::of(result, was_asked)
        })
    }

    /// Moves (`splice`) or copies (`tee`) up to `max` bytes to another pipe.
    pub fn transfer_to(&self, other: &PipeEnd, max: usize, is_copy: bool, flags: IoFlags) -> Result<usize> {
        loop {
            if !other.pipe.has_readers() {
                return Err(Errno::EPIPE);
            }
            let is_connected = self.pipe.has_writers();
            let (mut from, mut to) = self.lock_with(other);
            let (len, room) = (from.ring.len(), to.ring.room());
            if len != 0 && room != 0 {
                let (room_before, was_empty) = (from.ring.room(), to.ring.len() == 0);
                let result = transfer(&mut from.ring, &mut to.ring, max.min(room), is_copy);
                let wakes_writers = self.pipe.publish(&mut from);
                other.pipe.publish(&mut to);
                drop((from, to));
                self.pipe.after_taking(room_before, wakes_writers);
                other.pipe.after_putting(was_empty);
                return result;
            }
            if len != 0 {
                to.wanted_room = 1;
            }
            drop((from, to));
            match (len, is_connected) {
                (0, false) => return Ok(0),
                (0, true) => self.pipe.wait_for_data(flags)?,
                _ => other.pipe.wait_for_room(1, flags)?,
            }
        }
    }

    /// Locks both pipes' states, in the order of their addresses.
    fn lock_with<'a>(&'a self, other: &'a PipeEnd) -> (MutexGuard<'a, State>, MutexGuard<'a, State>) {
        if Arc::as_ptr(&self.pipe) < Arc::as_ptr(&other.pipe) {
            let from = self.pipe.state.lock();
            (from, other.pipe.state.lock())
        } else {
            let to = other.pipe.state.lock();
            (self.pipe.state.lock(), to)
        }
    }
}

fn transfer(from: &mut Ring, to: &mut Ring, max: usize, is_copy: bool) -> Result<usize> {
    let mut append = |data: &[u8]| to.append(data);
    if is_copy { from.peek(max, &mut append) } else { from.drain(max, &mut append) }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::fs::{File, OpenFlags};

    fn write(end: &PipeEnd, data: &[u8]) -> Result<usize> {
        end.write(&mut Source::from_slice(data), IoFlags::NONBLOCK)
    }

    fn read(end: &PipeEnd, max: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; max];
        let count = end.read(&mut Dest::from_slice(&mut buffer), IoFlags::NONBLOCK)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    #[test]
    fn pipes_carry_bytes_and_end() {
        let (reader, writer) = create(OpenFlags::empty()).unwrap();
        assert_eq!(read(&reader, 4), Err(Errno::EAGAIN));
        assert_eq!(writer.readiness(), PollEvents::WRITABLE);
        assert_eq!(write(&writer, b"hello"), Ok(5));
        assert_eq!(reader.readiness(), PollEvents::READABLE);
        assert_eq!(read(&reader, 3).unwrap(), b"hel");
        drop(writer);
        assert_eq!(reader.readiness(), PollEvents::READABLE | PollEvents::POLLHUP);
        assert_eq!(read(&reader, 9).unwrap(), b"lo");
        assert_eq!(read(&reader, 9).unwrap(), b"");
    }

    #[test]
    fn small_writes_are_whole_and_large_ones_are_not() {
        let (reader, writer) = create(OpenFlags::empty()).unwrap();
        assert_eq!(write(&writer, &[1; 65000]), Ok(65000));
        assert_eq!(write(&writer, &[2; 600]), Err(Errno::EAGAIN));
        assert_eq!(writer.readiness(), PollEvents::empty());
        assert_eq!(write(&writer, &[2; 5000]), Ok(536));
        drop(reader);
        assert_eq!(writer.readiness(), PollEvents::POLLERR);
        let mut source = Source::from_slice(b"x");
        assert_eq!(writer.write_piece(&mut source, IoFlags::NONBLOCK), Err(Errno::EPIPE));
    }

    #[test]
    fn tee_copies_and_splice_moves() {
        let (from, source) = create(OpenFlags::empty()).unwrap();
        let (sink, to) = create(OpenFlags::empty()).unwrap();
        write(&source, b"abcdef").unwrap();
        assert_eq!(from.transfer_to(&to, 4, true, IoFlags::NONBLOCK), Ok(4));
        assert_eq!(from.transfer_to(&to, 100, false, IoFlags::NONBLOCK), Ok(6));
        assert_eq!(read(&sink, 100).unwrap(), b"abcdabcdef");
        assert_eq!(from.transfer_to(&to, 4, false, IoFlags::NONBLOCK), Err(Errno::EAGAIN));
        drop(source);
        assert_eq!(from.transfer_to(&to, 4, false, IoFlags::NONBLOCK), Ok(0));
    }

    #[test]
    fn files_and_pipes_exchange_data() {
        let (reader, writer) = create(OpenFlags::empty()).unwrap();
        let (other_reader, other_writer) = create(OpenFlags::empty()).unwrap();
        let other_reader = OpenFile::anonymous(other_reader, OpenFlags::NONBLOCK);
        write(&other_writer, b"data").unwrap();
        let mut place = Place { file: &other_reader, offset: None };
        assert_eq!(writer.fill_from(&mut place, 100, IoFlags::NONBLOCK), Ok(4));
        assert_eq!(writer.fill_from(&mut place, 100, IoFlags::NONBLOCK), Err(Errno::EAGAIN));
        let sink = OpenFile::anonymous(other_writer, OpenFlags::WRONLY);
        let mut place = Place { file: &sink, offset: None };
        assert_eq!(reader.drain_to(&mut place, 3, IoFlags::NONBLOCK), Ok(3));
        assert_eq!(read(&reader, 10).unwrap(), b"a");
    }
}
