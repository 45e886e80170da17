//! The buddy allocator's logic: runs of free frames in sizes of powers of two.
//!
//! A frame is known by its number (physical address / 4096). Every frame has one 64-bit word in a [`Words`] table;
//! the allocator keeps its free lists in the words of free blocks, so that free memory itself is never touched and
//! the state of a frame costs 8 bytes in all. While a block is allocated, its words belong to the owner (`frame`
//! keeps reference counts in them); they must not have [`FREE`] set.
//!
//! Contract: the words of every block of the largest size that contains an added frame can be read; words of frames
//! that were never added are 0. Frame 0 is never added, since 0 ends the lists.

/// log2 of the largest block in frames: 32 MiB.
pub const MAX_ORDER: usize = 13;
const ORDERS: usize = MAX_ORDER + 1;

/// Set in the word of the first frame of a free block, and only there.
pub const FREE: u64 = 1 << 63;

/// One word for every frame.
pub trait Words {
    /// The word of `frame`.
    fn get(&self, frame: u32) -> u64;
    /// Sets the word of `frame`.
    fn set(&mut self, frame: u32, word: u64);
}

const NUMBER_BITS: u32 = 28;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
const ORDER_SHIFT: u32 = 56;

/// First frame number that does not fit: 1 TiB of physical addresses.
pub const FRAME_LIMIT: u32 = 1 << NUMBER_BITS;

/// The word of a free block's first frame, taken apart.
#[derive(Clone, Copy)]
struct Link {
    order: usize,
    next: u32,
    previous: u32,
}

impl Link {
    fn decode(word: u64) -> Link {
        Link {
            order: (word >> ORDER_SHIFT & 0xf) as usize,
            next: (word & NUMBER_MASK) as u32,
            previous: (word >> NUMBER_BITS & NUMBER_MASK) as u32,
        }
    }

    fn encode(self) -> u64 {
        FREE | (self.order as u64) << ORDER_SHIFT | u64::from(self.previous) << NUMBER_BITS | u64::from(self.next)
    }
}

/// The free lists, one for each order.
pub struct Buddy<W> {
    words: W,
    heads: [u32; ORDERS],
    nonempty: u32,
}

impl<W: Words> Buddy<W> {
    /// An allocator with nothing to give.
    pub const fn new(words: W) -> Self {
        Buddy { words, heads: [0; ORDERS], nonempty: 0 }
    }

    /// Frames that are free.
    #[cfg(test)]
    pub fn free_frames(&self) -> usize {
        let mut count = 0;
        for (order, &head) in self.heads.iter().enumerate() {
            let mut block = head;
            while block != 0 {
                count += 1 << order;
                block = Link::decode(self.words.get(block)).next;
            }
        }
        count
    }

    /// Takes a block of `2^order` frames and returns its first frame; its word is 0.
    #[inline(always)]
    pub fn alloc(&mut self, order: usize) -> Option<u32> {
        let large_enough = self.nonempty & (u32::MAX << order);
        if large_enough == 0 || order > MAX_ORDER {
            return None;
        }
        let mut have = large_enough.trailing_zeros() as usize;
        let block = self.heads[have];
        self.remove(block, have);
        while have > order {
            have -= 1;
            self.insert(block + (1 << have), have);
        }
        Some(block)
    }

    /// Gives back the block of `2^order` frames that starts at `block`, and joins it with its free neighbours.
    #[inline]
    pub fn free(&mut self, mut block: u32, mut order: usize) {
        self.words.set(block, 0);
        while order < MAX_ORDER {
            let buddy = block ^ (1 << order);
            let word = self.words.get(buddy);
            if word & FREE == 0 || Link::decode(word).order != order {
                break;
            }
            self.remove(buddy, order);
            block &= buddy;
            order += 1;
        }
        self.insert(block, order);
    }

    /// Gives back the frames from `start` up to `end`, cut into the largest blocks that their positions allow.
    pub fn free_range(&mut self, mut start: u32, end: u32) {
        while start < end {
            let aligned = start.trailing_zeros() as usize;
            let fitting = (end - start).ilog2() as usize;
            let order = aligned.min(fitting).min(MAX_ORDER);
            self.free(start, order);
            start += 1 << order;
        }
    }

    #[inline(always)]
    fn insert(&mut self, block: u32, order: usize) {
        let next = self.heads[order];
        self.words.set(block, Link { order, next, previous: 0 }.encode());
        if next != 0 {
            let link = Link::decode(self.words.get(next));
            self.words.set(next, Link { previous: block, ..link }.encode());
        }
        self.heads[order] = block;
        self.nonempty |= 1 << order;
    }

    #[inline(always)]
    fn remove(&mut self, block: u32, order: usize) {
        let Link { next, previous, .. } = Link::decode(self.words.get(block));
        self.words.set(block, 0);
        if next != 0 {
            let link = Link::decode(self.words.get(next));
            self.words.set(next, Link { previous, ..link }.encode());
        }
        if previous != 0 {
            let link = Link::decode(self.words.get(previous));
            self.words.set(previous, Link { next, ..link }.encode());
        } else {
            self.heads[order] = next;
            if next == 0 {
                self.nonempty &= !(1 << order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Table(Vec<u64>);

    impl Words for Table {
        fn get(&self, frame: u32) -> u64 {
            self.0[frame as usize]
        }
        fn set(&mut self, frame: u32, word: u64) {
            self.0[frame as usize] = word;
        }
    }

    fn with(start: u32, end: u32) -> Buddy<Table> {
        let mut buddy = Buddy::new(Table(vec![0; (end as usize).next_multiple_of(1 << MAX_ORDER)]));
        buddy.free_range(start, end);
        buddy
    }

    #[test]
    fn all_frames_come_out_once() {
        let mut buddy = with(1, 1000);
        assert_eq!(buddy.free_frames(), 999);
        let mut frames: Vec<_> = core::iter::from_fn(|| buddy.alloc(0)).collect();
        frames.sort_unstable();
        assert_eq!(frames, (1..1000).collect::<Vec<_>>());
        for frame in frames {
            buddy.free(frame, 0);
        }
        assert!(buddy.alloc(8).is_some(), "neighbours join again");
    }

    #[test]
    fn blocks_are_aligned() {
        let mut buddy = with(3, 20_000);
        for order in (0..=MAX_ORDER).rev() {
            let block = buddy.alloc(order).unwrap();
            assert_eq!(block % (1 << order), 0);
        }
        assert_eq!(buddy.alloc(MAX_ORDER + 1), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_given_twice(steps in prop::collection::vec((0usize..6, any::<bool>()), 1..200)) {
            let mut buddy = with(5, 777);
            let mut held: Vec<(u32, usize)> = Vec::new();
            let mut owned = vec![false; 1024];
            for (order, take) in steps {
                if take {
                    if let Some(block) = buddy.alloc(order) {
                        for frame in block..block + (1 << order) {
                            prop_assert!(!core::mem::replace(&mut owned[frame as usize], true));
                        }
                        held.push((block, order));
                    }
                } else if !held.is_empty() {
                    let (block, order) = held.swap_remove(order * 7 % held.len());
                    owned[block as usize..(block as usize) + (1 << order)].fill(false);
                    buddy.free(block, order);
                }
                prop_assert_eq!(buddy.free_frames() + owned.iter().filter(|&&taken| taken).count(), 772);
            }
        }
    }
}
