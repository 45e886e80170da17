//! Random numbers for programs and kernel: a ChaCha20 generator with fast key erasure.
//!
//! The generator's state is a key. Each refill makes a batch of key stream; its first 32 bytes become the next key at
//! once, the rest is handed out and erased as it goes, so that who reads the kernel's memory later cannot compute what
//! was handed out before. Large requests take a key of their own and make their stream without the lock. Entropy comes
//! from RDSEED or RDRAND, the time stamp counter, virtio-rng and the boot loader ([`add_entropy`]); it is mixed into the key, never
//! replaces it. Own cipher code, 60 lines of SSE2: the crates select AVX2 at run time, which kernel code must not use.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_cvtsi128_si64, _mm_or_si128, _mm_set_epi32, _mm_shuffle_epi32, _mm_slli_epi32,
    _mm_srli_epi32, _mm_unpackhi_epi64, _mm_xor_si128,
};

use x86_64::instructions::random::RdRand;

use crate::arch;
use crate::drivers::clock;
use crate::sync::{IrqOff, SpinLock};

/// Bytes of key stream in a batch: the next key and what is handed out.
const BATCH: usize = 8 * BLOCK;
/// The first batch of a key is shorter: while a machine boots, fresh entropy soon ends it.
const FIRST_BATCH: usize = 2 * BLOCK;
const BLOCK: usize = 64;
const KEY_WORDS: usize = 8;
const KEY_LEN: usize = KEY_WORDS * 4;
/// Requests longer than this make their own stream.
const BULK: usize = 128;

type Key = [u32; KEY_WORDS];

/// The block number `counter` of the key stream.
fn block(key: &Key, counter: u64) -> [u8; BLOCK] {
    // SAFETY:
    // - every x86-64 CPU has SSE2.
    unsafe { block_by_rows(key, counter) }
}

/// The state is four rows of four words; a vector holds a row, so a round works on all columns at once, and turning the
/// rows makes columns of the diagonals.
#[target_feature(enable = "sse2")]
fn block_by_rows(key: &Key, counter: u64) -> [u8; BLOCK] {
    const DOUBLE_ROUNDS: usize = 10;
    const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let row = |[a, b, c, d]: [u32; 4]| _mm_set_epi32(d as i32, c as i32, b as i32, a as i32);
    let last = [counter as u32, (counter >> 32) as u32, 0, 0];
    let start = [row(CONSTANTS), row([k0, k1, k2, k3]), row([k4, k5, k6, k7]), row(last)];
    let mut state = start;
    for _ in 0..DOUBLE_ROUNDS {
        round(&mut state);
        let [_, b, c, d] = &mut state;
        (*b, *c, *d) =
            (_mm_shuffle_epi32::<TURN_1>(*b), _mm_shuffle_epi32::<TURN_2>(*c), _mm_shuffle_epi32::<TURN_3>(*d));
        round(&mut state);
        let [_, b, c, d] = &mut state;
        (*b, *c, *d) =
            (_mm_shuffle_epi32::<TURN_3>(*b), _mm_shuffle_epi32::<TURN_2>(*c), _mm_shuffle_epi32::<TURN_1>(*d));
    }
    let mut bytes = [0; BLOCK];
    for ((out, row), start) in bytes.chunks_exact_mut(16).zip(state).zip(start) {
        let sum = _mm_add_epi32(row, start);
        let halves = [_mm_cvtsi128_si64(sum), _mm_cvtsi128_si64(_mm_unpackhi_epi64(sum, sum))];
        for (out, half) in out.chunks_exact_mut(8).zip(halves) {
            out.copy_from_slice(&half.to_le_bytes());
        }
    }
    bytes
}

/// Which word comes to which place where a row is turned by one, two and three words.
const TURN_1: i32 = 0b00_11_10_01;
const TURN_2: i32 = 0b01_00_11_10;
const TURN_3: i32 = 0b10_01_00_11;

#[inline]
#[target_feature(enable = "sse2")]
fn round([a, b, c, d]: &mut [__m128i; 4]) {
    *a = _mm_add_epi32(*a, *b);
    *d = rotate::<16, 16>(_mm_xor_si128(*d, *a));
    *c = _mm_add_epi32(*c, *d);
    *b = rotate::<12, 20>(_mm_xor_si128(*b, *c));
    *a = _mm_add_epi32(*a, *b);
    *d = rotate::<8, 24>(_mm_xor_si128(*d, *a));
    *c = _mm_add_epi32(*c, *d);
    *b = rotate::<7, 25>(_mm_xor_si128(*b, *c));
}

/// Turns each word left by `LEFT` bits, which with `RIGHT` are 32.
#[inline]
#[target_feature(enable = "sse2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(row: __m128i) -> __m128i {
    _mm_or_si128(_mm_slli_epi32::<LEFT>(row), _mm_srli_epi32::<RIGHT>(row))
}

fn key_from(bytes: &[u8]) -> Key {
    let mut key = Key::default();
    for (word, bytes) in key.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    key
}

/// The key and what is left of its last batch.
struct Generator {
    key: Key,
    batch: [u8; BATCH],
    /// Bytes at the end of `batch` that nobody got yet.
    left: usize,
    /// Entropy came in since the last batch.
    is_fresh: bool,
}

impl Generator {
    const fn new() -> Self {
        Self { key: [0; KEY_WORDS], batch: [0; BATCH], left: 0, is_fresh: true }
    }

    fn refill(&mut self) {
        let len = if core::mem::take(&mut self.is_fresh) { FIRST_BATCH } else { BATCH };
        let (_, batch) = self.batch.split_at_mut(BATCH - len);
        for (counter, out) in (0u64..).zip(batch.chunks_exact_mut(BLOCK)) {
            out.copy_from_slice(&block(&self.key, counter));
        }
        let (key, _) = batch.split_at_mut(KEY_LEN);
        self.key = key_from(key);
        key.fill(0);
        self.left = len - KEY_LEN;
    }

    fn take(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.left == 0 {
                self.refill();
            }
            let count = out.len().min(self.left);
            let start = BATCH - self.left;
            let (now, later) = out.split_at_mut(count);
            if let Some(fresh) = self.batch.get_mut(start..start + count) {
                now.copy_from_slice(fresh);
                fresh.fill(0);
            }
            self.left -= count;
            out = later;
        }
    }

    /// Makes the key depend on `entropy` as well as on itself.
    fn mix(&mut self, entropy: &[u8]) {
        for chunk in entropy.chunks(KEY_LEN) {
            let mut padded = [0; KEY_LEN];
            if let Some(start) = padded.get_mut(..chunk.len()) {
                start.copy_from_slice(chunk);
            }
            for (word, fresh) in self.key.iter_mut().zip(key_from(&padded)) {
                *word ^= fresh;
            }
            self.key = key_from(&block(&self.key, u64::MAX));
        }
        self.left = 0;
        self.is_fresh = true;
    }
}

static GENERATOR: SpinLock<Generator, IrqOff> = SpinLock::new(Generator::new());

/// Gives the generator its first key: from the CPU's source of random numbers, from the time, and from what the boot loader
/// brought.
pub fn init(from_loader: &[u8]) {
    let mut seed = [0; KEY_LEN];
    let source = RdRand::new();
    for bytes in seed.chunks_exact_mut(8) {
        bytes.copy_from_slice(&(draw(source) ^ clock::tsc()).to_le_bytes());
    }
    add_entropy(&seed);
    add_entropy(from_loader);
}

/// A number from the CPU, which may have to be asked more than once: from its source of entropy, else from the generator
/// that this feeds; the time where neither answers.
fn draw(source: Option<RdRand>) -> u64 {
    const TRIES: usize = 10;
    let ask = |get: &dyn Fn() -> Option<u64>| (0..TRIES).find_map(|_| get());
    ask(&arch::rdseed).or_else(|| ask(&|| source?.get_u64())).unwrap_or_else(clock::tsc)
}

/// Mixes bytes from a source of entropy into the generator.
pub fn add_entropy(entropy: &[u8]) {
    GENERATOR.lock().mix(entropy);
}

/// Fills `out` with random bytes.
pub fn fill(out: &mut [u8]) {
    if out.len() <= BULK {
        return GENERATOR.lock().take(out);
    }
    let mut key = [0; KEY_LEN];
    GENERATOR.lock().take(&mut key);
    let key = key_from(&key);
    for (counter, out) in (0u64..).zip(out.chunks_mut(BLOCK)) {
        let stream = block(&key, counter);
        out.copy_from_slice(stream.get(..out.len()).unwrap_or_default());
    }
}

/// A random number.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_stream_is_chacha20() {
        // The well-known key stream of the zero key, nonce and counter.
        let stream = block(&[0; 8], 0);
        let expected = [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28];
        assert_eq!(stream[..16], expected);
    }

    #[test]
    fn output_never_repeats_and_leaves_no_trace() {
        let mut generator = Generator::new();
        generator.mix(b"seed");
        let (mut a, mut b) = ([0; 1000], [0; 1000]);
        generator.take(&mut a);
        generator.take(&mut b);
        assert_ne!(a, b);
        assert!(generator.batch[..BATCH - generator.left].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn entropy_changes_the_stream() {
        let stream = |seeds: &[&[u8]]| {
            let mut generator = Generator::new();
            seeds.iter().for_each(|seed| generator.mix(seed));
            let mut out = [0; 32];
            generator.take(&mut out);
            out
        };
        assert_ne!(stream(&[b"a"]), stream(&[b"b"]));
        assert_ne!(stream(&[b"a", b"b"]), stream(&[b"b", b"a"]));
        assert_ne!(stream(&[b"a"]), stream(&[b"a", b"a"]));
    }

    #[test]
    fn long_requests_are_filled_to_the_end() {
        add_entropy(b"test");
        let mut out = vec![0u8; 10_000];
        fill(&mut out);
        assert!(out.chunks(50).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }
}
