//! Names of directory entries and their hashes, and the splitting of paths into them.
//!
//! A cached walk is the hottest path of the VFS, so a component is found and hashed in one pass, eight bytes at a
//! time, and short names live inside their entries without an allocation of their own.

use alloc::sync::Arc;
use core::fmt;

use zerocopy::IntoBytes;

/// Words that a [`Name`] holds without allocating.
const INLINE_WORDS: usize = 3;

/// An immutable name, cheap to clone.
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    /// The bytes, padded with zeros, in words of which [`first_word`] makes the same.
    Inline {
        len: u8,
        words: [u64; INLINE_WORDS],
    },
    Heap(Arc<[u8]>),
}

impl Name {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Name {
        if bytes.len() > INLINE_WORDS * 8 {
            return Name(Repr::Heap(Arc::from(bytes)));
        }
        let mut words = [0; INLINE_WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            *word = first_word(chunk);
        }
        Name(Repr::Inline { len: bytes.len() as u8, words })
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, words } => words.as_bytes().get(..usize::from(*len)).unwrap_or_default(),
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Whether this is the name `bytes`.
    #[inline(always)]
    pub fn is(&self, bytes: &[u8]) -> bool {
        let Repr::Inline { len, words } = &self.0 else { return self.as_bytes() == bytes };
        if usize::from(*len) != bytes.len() {
            return false;
        }
        let mut rest = bytes;
        for &word in words {
            if first_word(rest) != word {
                return false;
            }
            if rest.len() <= 8 {
                break;
            }
            rest = rest.get(8..).unwrap_or_default();
        }
        true
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
#[inline(never)]
pub fn hash_name(name: &[u8]) -> u64 {
    split_first(name).1
}

/// The length of the first component of `path`, which does not begin with a slash, and its hash.
#[inline(always)]
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
        None => short_word(bytes),
    }
}

/// Fewer than eight bytes, padded with zeros: from two overlapping pieces.
#[inline(always)]
fn short_word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(low), Some(high)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (low, high) = (u32::from_le_bytes(*low), u32::from_le_bytes(*high));
        return u64::from(low) | u64::from(high) << (8 * (len - 4));
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, ..] => u64::from(u32::from_le_bytes([a, b, c, 0])),
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
            let name = Name::new(&bytes);
            assert_eq!(name.as_bytes(), bytes);
            assert!(name.is(&bytes) && !name.is(b"another") && !name.is(&[bytes.as_slice(), b"x"].concat()));
            if let Some((last, rest)) = bytes.split_last() {
                assert!(!name.is(rest) && !name.is(&[rest, &[last ^ 1]].concat()));
            }
        }
    }
}
