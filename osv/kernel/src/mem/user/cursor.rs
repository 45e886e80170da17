//! [`Source`] and [`Dest`]: where the bytes of a `write` come from and where those of a `read` go.
//!
//! Both walk over pieces of program memory or over one slice of the kernel's, so that whoever moves data (files,
//! pipes, sockets) does not care. Each step copies straight between the two ends; no buffer lies between. A bad
//! address ends a step early: the step reports what it moved, and the next one reports EFAULT.

use super::{UserAddr, UserSlice, raw};
use crate::errno::{Errno, Result};

/// What is left of a list of pieces of program memory.
#[derive(Clone, Copy)]
struct Pieces<'a> {
    current: UserSlice,
    rest: &'a [UserSlice],
}

impl<'a> Pieces<'a> {
    fn new(slices: &'a [UserSlice]) -> Self {
        Pieces { current: UserSlice::default(), rest: slices }
    }

    /// The next bytes, at most `max` (not 0): nothing when all pieces are used up.
    #[inline]
    fn next(&mut self, max: usize) -> Option<UserSlice> {
        while self.current.is_empty() {
            let (first, rest) = self.rest.split_first()?;
            self.current = *first;
            self.rest = rest;
        }
        Some(UserSlice::new(self.current.addr().0, self.current.len().min(max)))
    }

    /// Where `len` bytes lie in one piece, as nearly all do: those are copied without a walk.
    #[inline(always)]
    fn in_one_piece(&self, len: usize) -> Option<UserAddr> {
        (len <= self.current.len()).then(|| self.current.addr())
    }

    /// Marks `len` bytes of what [`Pieces::next`] gave as used.
    #[inline(always)]
    fn advance(&mut self, len: usize) {
        self.current = UserSlice::new(self.current.addr().0 + len as u64, self.current.len() - len);
    }

    /// Calls `copy` with pieces that add up to at most `len` bytes, each with the number of bytes moved before, until
    /// one is not moved in full.
    #[inline]
    fn walk(&mut self, len: usize, mut copy: impl FnMut(UserSlice, usize) -> usize) -> usize {
        let mut done = 0;
        while done < len {
            let Some(piece) = self.next(len - done) else { break };
            let moved = copy(piece, done);
            self.advance(moved);
            done += moved;
            if moved < piece.len() {
                break;
            }
        }
        done
    }
}

/// EFAULT if something was wanted and nothing moved, else what moved.
#[inline(always)]
fn short_count(wanted: usize, moved: usize) -> Result<usize> {
    if moved == 0 && wanted != 0 { Err(Errno::EFAULT) } else { Ok(moved) }
}

enum From<'a> {
    Kernel(&'a [u8]),
    User(Pieces<'a>),
}

/// A cursor over bytes that are to be read: the data of a `write`.
pub struct Source<'a> {
    from: From<'a>,
    remaining: usize,
    moved: usize,
}

impl<'a> Source<'a> {
    /// Over a slice of the kernel's.
    pub fn from_slice(data: &'a [u8]) -> Self {
        Source { from: From::Kernel(data), remaining: data.len(), moved: 0 }
    }

    /// Over one piece of program memory.
    pub fn from_user(slice: UserSlice) -> Self {
        let from = From::User(Pieces { current: slice, rest: &[] });
        Source { from, remaining: slice.len(), moved: 0 }
    }

    /// Over several pieces of program memory.
    pub fn from_user_slices(slices: &'a [UserSlice]) -> Self {
        let remaining = slices.iter().fold(0, |sum: usize, slice| sum.saturating_add(slice.len()));
        Source { from: From::User(Pieces::new(slices)), remaining, moved: 0 }
    }

    /// Bytes that have not been read yet.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Bytes read so far.
    pub fn moved(&self) -> usize {
        self.moved
    }

    /// Leaves out all but the next `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.remaining = self.remaining.min(len);
    }

    /// Reads the next bytes into `buffer` and says how many: fewer than it holds at the end of the data or before a
    /// bad address, EFAULT if the very first byte is bad.
    #[inline]
    pub fn pull(&mut self, buffer: &mut [u8]) -> Result<usize> {
        // SAFETY:
        // - `buffer` is writable for its length.
        unsafe { self.pull_raw(buffer.as_mut_ptr(), buffer.len()) }
    }

    /// As [`Source::pull`]; EFAULT also if not all of `buffer` could be filled.
    #[inline(always)]
    pub fn pull_exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        if self.pull(buffer)? == buffer.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// As [`Source::pull`], into memory that may be shared with programs.
    ///
    /// # Safety
    /// - `dst` is writable for `len` bytes.
    #[inline(always)]
    pub(in crate::mem) unsafe fn pull_raw(&mut self, dst: *mut u8, len: usize) -> Result<usize> {
        let want = len.min(self.remaining);
        let moved = match &mut self.from {
            From::User(pieces) if let Some(addr) = pieces.in_one_piece(want) => {
                // SAFETY:
                // - `dst` has room for `want` bytes.
                let moved = unsafe { raw::read(dst, addr, want) };
                pieces.advance(moved);
                moved
            }
            // SAFETY:
            // - `dst` has room for `want` bytes.
            from => unsafe { from.read(dst, want) },
        };
        self.remaining -= moved;
        self.moved += moved;
        short_count(want, moved)
    }
}

impl From<'_> {
    /// Reads the next `want` bytes, or up to a bad address.
    ///
    /// # Safety
    /// - There are as many bytes, and `dst` is writable for them.
    #[inline(never)]
    unsafe fn read(&mut self, dst: *mut u8, want: usize) -> usize {
        match self {
            From::Kernel(data) => {
                let (now, later) = data.split_at(want);
                // SAFETY:
                // - `now` has `want` bytes, `dst` room for as many, and the kernel's slices do not overlap frames that
                //   are written through their handles.
                unsafe { core::ptr::copy_nonoverlapping(now.as_ptr(), dst, want) };
                *data = later;
                want
            }
            From::User(pieces) => pieces.walk(want, |piece, done| {
                // SAFETY:
                // - `walk` hands out at most `want` bytes in all, and `dst` has room for them.
                unsafe { raw::read(dst.add(done), piece.addr(), piece.len()) }
            }),
        }
    }
}

enum Into<'a> {
    Kernel(&'a mut [u8]),
    User(Pieces<'a>),
}

/// A cursor over bytes that are to be written: the buffer of a `read`.
pub struct Dest<'a> {
    into: Into<'a>,
    remaining: usize,
    moved: usize,
}

impl<'a> Dest<'a> {
    /// Over a slice of the kernel's.
    pub fn from_slice(buffer: &'a mut [u8]) -> Self {
        let remaining = buffer.len();
        Dest { into: Into::Kernel(buffer), remaining, moved: 0 }
    }

    /// Over one piece of program memory.
    pub fn from_user(slice: UserSlice) -> Self {
        let into = Into::User(Pieces { current: slice, rest: &[] });
        Dest { into, remaining: slice.len(), moved: 0 }
    }

    /// Over several pieces of program memory.
    pub fn from_user_slices(slices: &'a [UserSlice]) -> Self {
        let remaining = slices.iter().fold(0, |sum: usize, slice| sum.saturating_add(slice.len()));
        Dest { into: Into::User(Pieces::new(slices)), remaining, moved: 0 }
    }

    /// Bytes for which there is still room.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        self.remaining == 0
    }

    /// Bytes written so far.
    pub fn moved(&self) -> usize {
        self.moved
    }

    /// Gives up all room but the next `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.remaining = self.remaining.min(len);
    }

    /// Writes `data` and says how much of it: less than all at the end of the room or before a bad address, EFAULT if
    /// the very first byte is bad.
    #[inline]
    pub fn push(&mut self, data: &[u8]) -> Result<usize> {
        // SAFETY:
        // - `data` is readable for its length.
        unsafe { self.push_raw(data.as_ptr(), data.len()) }
    }

    /// As [`Dest::push`], `len` zeros.
    pub fn push_zeros(&mut self, len: usize) -> Result<usize> {
        let want = len.min(self.remaining);
        let moved = match &mut self.into {
            Into::Kernel(buffer) => {
                let (now, later) = core::mem::take(buffer).split_at_mut(want);
                now.fill(0);
                *buffer = later;
                want
            }
            Into::User(pieces) => pieces.walk(want, |piece, _| raw::zero(piece.addr(), piece.len())),
        };
        self.remaining -= moved;
        self.moved += moved;
        short_count(want, moved)
    }

    /// As [`Dest::push`], from memory that may be shared with programs.
    ///
    /// # Safety
    /// - `src` is readable for `len` bytes.
    #[inline(always)]
    pub(in crate::mem) unsafe fn push_raw(&mut self, src: *const u8, len: usize) -> Result<usize> {
        let want = len.min(self.remaining);
        let moved = match &mut self.into {
            Into::User(pieces) if let Some(addr) = pieces.in_one_piece(want) => {
                // SAFETY:
                // - `src` has `want` bytes.
                let moved = unsafe { raw::write(addr, src, want) };
                pieces.advance(moved);
                moved
            }
            // SAFETY:
            // - `src` has `want` bytes.
            into => unsafe { into.write(src, want) },
        };
        self.remaining -= moved;
        self.moved += moved;
        short_count(want, moved)
    }
}

impl Into<'_> {
    /// Writes the next `want` bytes, or up to a bad address.
    ///
    /// # Safety
    /// - There is room for as many bytes, and `src` is readable for them.
    #[inline(never)]
    unsafe fn write(&mut self, src: *const u8, want: usize) -> usize {
        match self {
            Into::Kernel(buffer) => {
                let (now, later) = core::mem::take(buffer).split_at_mut(want);
                // SAFETY:
                // - `now` has room for `want` bytes, `src` has as many, and the kernel's buffers are not frames.
                unsafe { core::ptr::copy_nonoverlapping(src, now.as_mut_ptr(), want) };
                *buffer = later;
                want
            }
            Into::User(pieces) => pieces.walk(want, |piece, done| {
                // SAFETY:
                // - `walk` hands out at most `want` bytes in all, and `src` has them.
                unsafe { raw::write(piece.addr(), src.add(done), piece.len()) }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_slices_are_cursors() {
        let mut source = Source::from_slice(b"abcdef");
        let mut buffer = [0; 4];
        assert_eq!(source.pull(&mut buffer), Ok(4));
        assert_eq!(&buffer, b"abcd");
        assert_eq!(source.pull(&mut buffer), Ok(2));
        assert_eq!(source.pull(&mut buffer), Ok(0));
        assert_eq!(source.moved(), 6);

        let mut room = [1; 5];
        let mut dest = Dest::from_slice(&mut room);
        assert_eq!(dest.push(b"xy"), Ok(2));
        assert_eq!(dest.push_zeros(2), Ok(2));
        assert_eq!(dest.push(b"xy"), Ok(1));
        assert!(dest.is_full());
        assert_eq!(&room, b"xy\0\0x");
    }

    #[test]
    fn pieces_are_walked_in_order() {
        let (mut first, mut second) = ([0u8; 3], [0u8; 4]);
        let slices = [
            UserSlice::new(first.as_mut_ptr() as u64, 3),
            UserSlice::default(),
            UserSlice::new(second.as_mut_ptr() as u64, 4),
        ];
        let mut dest = Dest::from_user_slices(&slices);
        assert_eq!(dest.push(b"12345"), Ok(5));
        assert_eq!(dest.push(b"678"), Ok(2));
        assert_eq!((&first, &second), (b"123", b"4567"));

        let mut all = [0; 16];
        assert_eq!(Source::from_user_slices(&slices).pull(&mut all), Ok(7));
        assert_eq!(&all[..7], b"1234567");
    }

    #[test]
    fn a_bad_piece_stops_the_copy() {
        let mut good = [0u8; 4];
        let slices = [UserSlice::new(good.as_mut_ptr() as u64, 4), UserSlice::new(u64::MAX - 64, 8)];
        let mut dest = Dest::from_user_slices(&slices);
        assert_eq!(dest.push(b"abcdef"), Ok(4));
        assert_eq!(dest.push(b"ef"), Err(Errno::EFAULT));
        assert_eq!(dest.moved(), 4);
    }
}
