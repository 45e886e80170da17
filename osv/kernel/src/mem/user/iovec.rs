//! The array of `readv`, `writev`, `sendmsg` and friends, imported and checked once.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Dest, Source, USER_END, UserPtr, UserSlice};
use crate::errno::{Errno, Result};

/// The most pieces that one call may have.
pub const IOV_MAX: usize = 1024;

/// The most bytes that one call moves, as on Linux; what lies beyond is left for the next call.
const MAX_RW_COUNT: usize = 0x7fff_f000;

/// How many pieces fit without allocating.
const INLINE: usize = 8;

/// `struct iovec` as it lies in a program's memory.
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawIovec {
    base: u64,
    len: u64,
}

/// The pieces of a program's memory that one call reads or writes, in order.
pub struct Iovecs {
    inline: [UserSlice; INLINE],
    heap: Vec<UserSlice>,
    count: usize,
    total: usize,
}

impl Iovecs {
    /// Imports the `count` pieces at `addr`, a `struct iovec *`. EINVAL for more than [`IOV_MAX`] pieces or
    /// lengths that overflow, EFAULT for an array or a piece outside of the lower half.
    pub fn import(addr: u64, count: usize) -> Result<Iovecs> {
        if count > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        let mut iovecs = Iovecs { inline: [UserSlice::default(); INLINE], heap: Vec::new(), count: 0, total: 0 };
        if count > INLINE {
            iovecs.heap.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        }
        let array = UserPtr::<RawIovec>::new(addr);
        let mut chunk = [RawIovec::default(); INLINE];
        let mut read = 0;
        while read < count {
            let step = INLINE.min(count - read);
            UserSlice::new(array.at(read).addr().0, step * size_of::<RawIovec>())
                .read_exact(chunk[..step].as_mut_bytes())?;
            for piece in &chunk[..step] {
                iovecs.push(*piece, count > INLINE)?;
            }
            read += step;
        }
        Ok(iovecs)
    }

    /// One piece: for `read` and `write`.
    pub fn single(addr: u64, len: usize) -> Result<Iovecs> {
        let mut iovecs = Iovecs { inline: [UserSlice::default(); INLINE], heap: Vec::new(), count: 0, total: 0 };
        iovecs.push(RawIovec { base: addr, len: (len as u64).min(MAX_RW_COUNT as u64) }, false)?;
        Ok(iovecs)
    }

    fn push(&mut self, piece: RawIovec, on_heap: bool) -> Result<()> {
        if piece.len > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        let len = (piece.len as usize).min(MAX_RW_COUNT - self.total);
        match piece.base.checked_add(piece.len) {
            Some(end) if end <= USER_END => {}
            _ if piece.len == 0 => {}
            _ => return Err(Errno::EFAULT),
        }
        self.total += len;
        let slice = UserSlice::new(piece.base, len);
        if on_heap {
            self.heap.push(slice);
        } else {
            self.inline[self.count] = slice;
        }
        self.count += 1;
        Ok(())
    }

    /// The pieces.
    pub fn slices(&self) -> &[UserSlice] {
        if self.heap.is_empty() { &self.inline[..self.count] } else { &self.heap }
    }

    /// All bytes of all pieces, capped to what one call may move.
    pub fn total(&self) -> usize {
        self.total
    }

    /// A cursor that reads them.
    pub fn source(&self) -> Source<'_> {
        Source::from_user_slices(self.slices())
    }

    /// A cursor that writes them.
    pub fn dest(&self) -> Dest<'_> {
        Dest::from_user_slices(self.slices())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(pieces: &[RawIovec]) -> Result<Iovecs> {
        Iovecs::import(pieces.as_ptr() as u64, pieces.len())
    }

    #[test]
    fn too_many_and_too_long_are_invalid() {
        assert_eq!(Iovecs::import(0x1000, IOV_MAX + 1).err(), Some(Errno::EINVAL));
        assert_eq!(import(&[RawIovec { base: 1, len: u64::MAX }]).err(), Some(Errno::EINVAL));
        assert_eq!(import(&[RawIovec { base: USER_END, len: 1 }]).err(), Some(Errno::EFAULT));
        assert_eq!(Iovecs::import(u64::MAX - 8, 1).err(), Some(Errno::EFAULT));
    }

    #[test]
    fn the_total_is_capped() {
        let piece = RawIovec { base: 0x10_0000, len: 0x6000_0000 };
        assert_eq!(import(&[piece, piece, piece]).unwrap().total(), MAX_RW_COUNT);
    }

    #[test]
    fn many_pieces_are_kept_in_order() {
        let pieces: Vec<_> = (0..20).map(|n| RawIovec { base: n * 16, len: n }).collect();
        let iovecs = import(&pieces).unwrap();
        assert_eq!(iovecs.slices().len(), 20);
        assert_eq!(iovecs.total(), 190);
        assert!(iovecs.slices().iter().enumerate().all(|(n, slice)| slice.len() == n));
    }
}
