//! Random numbers for programs and kernel: a ChaCha20 generator with fast key erasure.
//!
//! The generator's state is a key. Each refill makes a batch of key stream; its first 32 bytes become the next key at
//! once, the rest is handed out and erased as it goes, so that who reads the kernel's memory later cannot compute what
//! was handed out before. Large requests take a key of their own and make their stream without the lock. Entropy comes
//! from RDSEED or RDRAND, the time stamp counter, virtio-rng and the boot loader ([`add_entropy`]); it is mixed into the key, never
//! replaces it. Own cipher code, 60 lines: the crates select AVX2 at run time, which kernel code must not use.

use x86_64::instructions::random::RdRand;

use crate::arch;
use crate::drivers::clock;
use crate::sync::{IrqOff, SpinLock};

/// Bytes of key stream in a batch: the next key and what is handed out.
const BATCH: usize = 8 * BLOCK;
const BLOCK: usize = 64;
const KEY_WORDS: usize = 8;
const KEY_LEN: usize = KEY_WORDS * 4;
/// Requests longer than this make their own stream.
const BULK: usize = 128;

type Key = [u32; KEY_WORDS];

/// The block number `counter` of the key stream.
fn block(key: &Key, counter: u64) -> [u8; BLOCK] {
    const DOUBLE_ROUNDS: usize = 10;
    const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let [c0, c1, c2, c3] = CONSTANTS;
    let (low, high) = (counter as u32, (counter >> 32) as u32);
    let start = [c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, k6, k7, low, high, 0, 0];
    let mut state = start;
    for _ in 0..DOUBLE_ROUNDS {
        quarter_round::<0, 4, 8, 12>(&mut state);
        quarter_round::<1, 5, 9, 13>(&mut state);
        quarter_round::<2, 6, 10, 14>(&mut state);
        quarter_round::<3, 7, 11, 15>(&mut state);
        quarter_round::<0, 5, 10, 15>(&mut state);
        quarter_round::<1, 6, 11, 12>(&mut state);
        quarter_round::<2, 7, 8, 13>(&mut state);
        quarter_round::<3, 4, 9, 14>(&mut state);
    }
    let mut bytes = [0; BLOCK];
    for ((out, word), start) in bytes.chunks_exact_mut(4).zip(state).zip(start) {
        out.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    bytes
}

#[inline(always)]
fn quarter_round<const A: usize, const B: usize, const C: usize, const D: usize>(s: &mut [u32; 16]) {
    s[A] = s[A].wrapping_add(s[B]);
    s[D] = (s[D] ^ s[A]).rotate_left(16);
    s[C] = s[C].wrapping_add(s[D]);
    s[B] = (s[B] ^ s[C]).rotate_left(12);
    s[A] = s[A].wrapping_add(s[B]);
    s[D] = (s[D] ^ s[A]).rotate_left(8);
    s[C] = s[C].wrapping_add(s[D]);
    s[B] = (s[B] ^ s[C]).rotate_left(7);
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
}

impl Generator {
    const fn new() -> Self {
        Self { key: [0; KEY_WORDS], batch: [0; BATCH], left: 0 }
    }

    fn refill(&mut self) {
        for (counter, out) in (0u64..).zip(self.batch.chunks_exact_mut(BLOCK)) {
            out.copy_from_slice(&block(&self.key, counter));
        }
        let (key, _) = self.batch.split_at_mut(KEY_LEN);
        self.key = key_from(key);
        key.fill(0);
        self.left = BATCH - KEY_LEN;
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
    }
}

static GENERATOR: SpinLock<Generator, IrqOff> = SpinLock::new(Generator::new());

/// Gives the generator its first key: from the CPU's source of random numbers, and from the time.
pub fn init() {
    const WORDS: usize = 4;
    let mut seed = [0; (WORDS + 1) * 8];
    let (time, words) = seed.split_at_mut(8);
    time.copy_from_slice(&clock::tsc().to_le_bytes());
    let source = RdRand::new();
    for bytes in words.chunks_exact_mut(8) {
        bytes.copy_from_slice(&draw(source).to_le_bytes());
    }
    add_entropy(&seed);
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
