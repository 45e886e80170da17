//! The decoder of raw LZMA: no header, no end mark, the length known. After the specification in Igor Pavlov's LZMA SDK.
//!
//! Every symbol is a string of bits, each of them coded with a probability that its context has learnt. The parameters are
//! fixed: three bits of the previous byte as the context of a literal, none of the position.

const LITERAL_CONTEXT_BITS: usize = 3;
const LITERAL_CONTEXTS: usize = 1 << LITERAL_CONTEXT_BITS;
const STATES: usize = 12;
const PROBABILITY_BITS: u32 = 11;
const HALF: u16 = 1 << (PROBABILITY_BITS - 1);
const LEARNING_SHIFT: u32 = 5;
const SHORTEST_MATCH: usize = 2;
const LENGTH_CLASSES: usize = 4;
const FIRST_MODELLED_SLOT: u32 = 4;
const FIRST_DIRECT_SLOT: u32 = 14;
const ALIGN_BITS: u32 = 4;
const TOP: u32 = 1 << 24;

/// What a packed image can be wrong in.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

/// Unpacks `packed` until `out` is full.
///
/// # Errors
/// If it ends early, or refers to bytes before the first or after the last.
pub fn unpack(packed: &[u8], out: &mut [u8]) -> Result<(), Broken> {
    let mut models = Models::new();
    let mut coder = Coder::new(packed)?;
    let mut state = 0;
    let mut distances = [1usize; 4];
    let mut done = 0;
    while done < out.len() {
        if !coder.bit(&mut models.is_match[state])? {
            let byte = models.literal(&mut coder, out, done, (state >= 7).then_some(distances[0]))?;
            out[done] = byte;
            done += 1;
            state = after_literal(state);
            continue;
        }
        let len = if !coder.bit(&mut models.is_repeat[state])? {
            let len = models.match_length.decode(&mut coder)?;
            let distance = models.distance(&mut coder, len)?;
            distances = [distance, distances[0], distances[1], distances[2]];
            state = if state < 7 { 7 } else { 10 };
            len + SHORTEST_MATCH
        } else if let Some(index) = models.which_repeat(&mut coder, state)? {
            distances[..=index].rotate_right(1);
            state = if state < 7 { 8 } else { 11 };
            models.repeat_length.decode(&mut coder)? + SHORTEST_MATCH
        } else {
            state = if state < 7 { 9 } else { 11 };
            1
        };
        copy(out, done, distances[0], len)?;
        done += len;
    }
    Ok(())
}

fn after_literal(state: usize) -> usize {
    match state {
        0..4 => 0,
        4..10 => state - 3,
        _ => state - 6,
    }
}

/// Repeats `len` bytes from `distance` before `done`; the ranges may overlap, as in a run of one byte.
fn copy(out: &mut [u8], done: usize, distance: usize, len: usize) -> Result<(), Broken> {
    let from = done.checked_sub(distance).ok_or(Broken)?;
    let window = out.get_mut(from..done + len).ok_or(Broken)?;
    for at in distance..window.len() {
        window[at] = window[at - distance];
    }
    Ok(())
}

/// The range coder: bits out of bytes.
struct Coder<'a> {
    packed: core::slice::Iter<'a, u8>,
    range: u32,
    code: u32,
}

impl<'a> Coder<'a> {
    fn new(packed: &'a [u8]) -> Result<Self, Broken> {
        let (head, rest) = packed.split_first_chunk::<5>().ok_or(Broken)?;
        let [_, code @ ..] = *head;
        Ok(Self { packed: rest.iter(), range: u32::MAX, code: u32::from_be_bytes(code) })
    }

    fn normalise(&mut self) -> Result<(), Broken> {
        if self.range < TOP {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(*self.packed.next().ok_or(Broken)?);
        }
        Ok(())
    }

    /// A bit whose probability of being 0 is `model`, which learns from it.
    #[inline(always)]
    fn bit(&mut self, model: &mut u16) -> Result<bool, Broken> {
        let bound = (self.range >> PROBABILITY_BITS) * u32::from(*model);
        let is_set = self.code >= bound;
        if is_set {
            self.range -= bound;
            self.code -= bound;
            *model -= *model >> LEARNING_SHIFT;
        } else {
            self.range = bound;
            *model += ((1 << PROBABILITY_BITS) - *model) >> LEARNING_SHIFT;
        }
        self.normalise()?;
        Ok(is_set)
    }

    /// `count` bits that are as often 0 as 1, the highest first.
    fn direct(&mut self, count: u32) -> Result<u32, Broken> {
        let mut value = 0;
        for _ in 0..count {
            self.range >>= 1;
            let is_set = self.code >= self.range;
            if is_set {
                self.code -= self.range;
            }
            value = value << 1 | u32::from(is_set);
            self.normalise()?;
        }
        Ok(value)
    }

    /// A number of `bits` bits, the highest first, each bit's model chosen by those before.
    fn tree(&mut self, models: &mut [u16], bits: u32) -> Result<u32, Broken> {
        let mut node = 1;
        for _ in 0..bits {
            node = node << 1 | usize::from(self.bit(&mut models[node])?);
        }
        Ok(node as u32 - (1 << bits))
    }

    /// The same with the lowest bit first; the models of the first bit are at `base` + 1.
    fn reverse_tree(&mut self, models: &mut [u16], base: usize, bits: u32) -> Result<u32, Broken> {
        let (mut node, mut value) = (1, 0);
        for place in 0..bits {
            let bit = self.bit(&mut models[base + node])?;
            node = node << 1 | usize::from(bit);
            value |= u32::from(bit) << place;
        }
        Ok(value)
    }
}

/// Lengths of matches: 8 short ones, 8 middling, 256 long.
struct Length {
    choice: [u16; 2],
    low: [u16; 8],
    middle: [u16; 8],
    high: [u16; 256],
}

impl Length {
    const fn new() -> Self {
        Self { choice: [HALF; 2], low: [HALF; 8], middle: [HALF; 8], high: [HALF; 256] }
    }

    fn decode(&mut self, coder: &mut Coder<'_>) -> Result<usize, Broken> {
        let len = if !coder.bit(&mut self.choice[0])? {
            coder.tree(&mut self.low, 3)?
        } else if !coder.bit(&mut self.choice[1])? {
            8 + coder.tree(&mut self.middle, 3)?
        } else {
            16 + coder.tree(&mut self.high, 8)?
        };
        Ok(len as usize)
    }
}

/// What has been learnt.
struct Models {
    literals: [[u16; 0x300]; LITERAL_CONTEXTS],
    is_match: [u16; STATES],
    is_repeat: [u16; STATES],
    is_repeat_first: [u16; STATES],
    is_repeat_long: [u16; STATES],
    is_repeat_second: [u16; STATES],
    is_repeat_third: [u16; STATES],
    slot: [[u16; 64]; LENGTH_CLASSES],
    distance: [u16; 128],
    align: [u16; 16],
    match_length: Length,
    repeat_length: Length,
}

impl Models {
    const fn new() -> Self {
        Self {
            literals: [[HALF; 0x300]; LITERAL_CONTEXTS],
            is_match: [HALF; STATES],
            is_repeat: [HALF; STATES],
            is_repeat_first: [HALF; STATES],
            is_repeat_long: [HALF; STATES],
            is_repeat_second: [HALF; STATES],
            is_repeat_third: [HALF; STATES],
            slot: [[HALF; 64]; LENGTH_CLASSES],
            distance: [HALF; 128],
            align: [HALF; 16],
            match_length: Length::new(),
            repeat_length: Length::new(),
        }
    }

    /// A byte; after a match it is known that it is not the one that would have continued the match.
    #[inline(always)]
    fn literal(
        &mut self,
        coder: &mut Coder<'_>,
        out: &[u8],
        done: usize,
        after_match: Option<usize>,
    ) -> Result<u8, Broken> {
        let previous = done.checked_sub(1).map_or(0, |at| out[at]);
        let models = &mut self.literals[usize::from(previous >> (8 - LITERAL_CONTEXT_BITS))];
        let mut symbol = 1;
        if let Some(distance) = after_match {
            let mut expected = usize::from(out[done.checked_sub(distance).ok_or(Broken)?]);
            while symbol < 0x100 {
                expected <<= 1;
                let expected_bit = expected & 0x100;
                let bit = coder.bit(&mut models[0x100 + expected_bit + symbol])?;
                symbol = symbol << 1 | usize::from(bit);
                if (expected_bit != 0) != bit {
                    break;
                }
            }
        }
        while symbol < 0x100 {
            symbol = symbol << 1 | usize::from(coder.bit(&mut models[symbol])?);
        }
        Ok(symbol as u8)
    }

    /// Which of the last four distances is used again; `None` for a single byte at the last one.
    fn which_repeat(&mut self, coder: &mut Coder<'_>, state: usize) -> Result<Option<usize>, Broken> {
        if !coder.bit(&mut self.is_repeat_first[state])? {
            return Ok(coder.bit(&mut self.is_repeat_long[state])?.then_some(0));
        }
        if !coder.bit(&mut self.is_repeat_second[state])? {
            return Ok(Some(1));
        }
        Ok(Some(2 + usize::from(coder.bit(&mut self.is_repeat_third[state])?)))
    }

    fn distance(&mut self, coder: &mut Coder<'_>, len: usize) -> Result<usize, Broken> {
        let slot = coder.tree(&mut self.slot[len.min(LENGTH_CLASSES - 1)], 6)?;
        if slot < FIRST_MODELLED_SLOT {
            return Ok(slot as usize + 1);
        }
        let direct_bits = (slot >> 1) - 1;
        let base = (2 | (slot & 1)) << direct_bits;
        let rest = if slot < FIRST_DIRECT_SLOT {
            coder.reverse_tree(&mut self.distance, (base - slot) as usize, direct_bits)?
        } else {
            let high = coder.direct(direct_bits - ALIGN_BITS)?;
            (high << ALIGN_BITS) + coder.reverse_tree(&mut self.align, 0, ALIGN_BITS)?
        };
        usize::try_from(base.wrapping_add(rest)).ok().and_then(|distance| distance.checked_add(1)).ok_or(Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lzma_rust2::{LzmaOptions, LzmaWriter};
    use proptest::prelude::*;
    use std::io::Write as _;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let options = LzmaOptions { lc: 3, lp: 0, pb: 0, ..LzmaOptions::with_preset(6) };
        let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn round_trip(bytes: &[u8]) {
        let mut out = vec![0; bytes.len()];
        assert_eq!(unpack(&pack(bytes), &mut out), Ok(()));
        assert!(out == bytes);
    }

    #[test]
    fn unpacks_a_program() {
        round_trip(&std::fs::read(std::env::current_exe().unwrap()).unwrap()[..1 << 20]);
        round_trip(&vec![0; 100_000]);
    }

    #[test]
    fn what_is_cut_off_is_broken() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
        let packed = pack(&text);
        let mut out = vec![0; text.len()];
        for len in (0..packed.len() - 8).step_by(997) {
            assert_eq!(unpack(&packed[..len], &mut out), Err(Broken));
        }
    }

    proptest! {
        #[test]
        fn unpacks_anything(bytes in proptest::collection::vec(0u8..4, 0..3000)) {
            round_trip(&bytes);
        }

        #[test]
        fn survives_damage(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = unpack(&bytes, &mut [0; 4000]);
        }
    }
}
