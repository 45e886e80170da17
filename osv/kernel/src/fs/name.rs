//! Names of directory entries and their hashes, and the splitting of paths into them.
//!
//! A cached walk is the hottest path of the VFS, so a component is found and hashed in one pass, eight bytes at a
//! time, and short names live inside their entries without an allocation of their own.

use alloc::sync::Arc;
use core::fmt;

/// Bytes that a [`Name`] holds without allocating.
const INLINE: usize = 22;

/// An immutable name, cheap to clone.
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; INLINE]),
    Heap(Arc<[u8]>),
}

impl Name {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Name {
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Name(Repr::Inline(bytes.len() as u8, inline))
            }
            None => Name(Repr::Heap(Arc::from(bytes))),
        }
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_bytes().escape_ascii(), f)
    }
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const SLASHES: u64 = ONES * b'/' as u64;

/// The hash of a whole name: what [`split_first`] gives for it.
#[inline]
pub fn hash_name(name: &[u8]) -> u64 {
    split_first(name).1
}

/// The length of the first component of `path`, which does not begin with a slash, and its hash.
#[inline]
pub fn split_first(path: &[u8]) -> (usize, u64) {
    let mut hash = 0u64;
    let mut at = 0;
    while let Some(rest) = path.get(at..).filter(|rest| !rest.is_empty()) {
        let word = first_word(rest);
        let len = slash_position(word).min(rest.len());
        if len == 0 {
            break;
        }
        hash = mix(hash, word << (64 - 8 * len));
        at += len;
        if len < 8 {
            break;
        }
    }
    (at, hash ^ (hash >> 32))
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}

/// The first eight bytes, padded with zeros.
#[inline(always)]
fn first_word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// The index of the first slash in a word; 8 if there is none.
#[inline(always)]
fn slash_position(word: u64) -> usize {
    let zeros = word ^ SLASHES;
    let found = zeros.wrapping_sub(ONES) & !zeros & HIGHS;
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_end_at_slashes() {
        for (path, len) in [("a/b", 1), ("abcdefgh/x", 8), ("abcdefghi", 9), ("abcdefg/", 7), ("x", 1), ("", 0)] {
            assert_eq!(split_first(path.as_bytes()).0, len, "{path}");
            assert_eq!(split_first(path.as_bytes()).1, hash_name(&path.as_bytes()[..len]), "{path}");
        }
        assert_ne!(hash_name(b"abcdefgh"), hash_name(b"abcdefgi"));
        assert_ne!(hash_name(b"ab"), hash_name(b"ba"));
    }

    #[test]
    fn names_of_all_lengths_keep_their_bytes() {
        for len in 0..300 {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            assert_eq!(Name::new(&bytes).as_bytes(), bytes);
        }
    }
}
