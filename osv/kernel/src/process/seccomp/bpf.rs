//! Classic BPF, as filters of system calls use it: checked once, then interpreted.
//!
//! A program is a list of instructions over an accumulator, an index register and 16 words of scratch memory; its input is
//! `struct seccomp_data`. Jumps only lead forwards, so that every program ends. What [`Program::new`] refuses is what Linux
//! refuses (`bpf_check_classic` and `seccomp_check_filter`); [`Program::run`] relies on it.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{Errno, Result};

/// The most instructions of a program.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Words of scratch memory.
const SCRATCH: usize = 16;

/// Words of `struct seccomp_data`: number, architecture, instruction pointer and six arguments, low halves first.
pub const DATA_WORDS: usize = 16;

/// Bytes of `struct seccomp_data`, what a load of the length gives.
const DATA_SIZE: u32 = DATA_WORDS as u32 * 4;

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Instruction {
    /// Class, size or operation, and where the operand comes from.
    pub code: u16,
    /// How far to jump if the condition holds.
    pub if_true: u8,
    /// How far to jump if it does not.
    pub if_false: u8,
    /// The operand.
    pub k: u32,
}

// Classes.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
// Where a load takes its word from.
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
// What an ALU instruction does.
const ADD: u16 = 0x00;
const SUB: u16 = 0x10;
const MUL: u16 = 0x20;
const DIV: u16 = 0x30;
const OR: u16 = 0x40;
const AND: u16 = 0x50;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const XOR: u16 = 0xa0;
// Conditions of jumps.
const JA: u16 = 0x00;
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;
/// The operand is the index register, not `k`.
const X: u16 = 0x08;
/// What a return gives is the accumulator.
const A: u16 = 0x10;
// Register transfers.
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;

/// The class and what it is to do, without the bit for the operand.
const fn operation(code: u16) -> (u16, u16) {
    (code & 0x07, code & 0xf0)
}

/// A program that was checked.
#[derive(Debug)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// Takes a program; EINVAL for one that could go wrong.
    pub fn new(instructions: Vec<Instruction>) -> Result<Program> {
        let len = instructions.len();
        if len == 0 || len > MAX_INSTRUCTIONS {
            return Err(Errno::EINVAL);
        }
        let is_sound = instructions.iter().enumerate().all(|(at, instruction)| is_valid(instruction, len - at - 1));
        let ends = instructions.last().is_some_and(|last| last.code & 0x07 == RET);
        if is_sound && ends && loads_what_was_stored(&instructions) {
            Ok(Program(instructions))
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Its instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// How many instructions it has.
    pub fn instruction_count(&self) -> usize {
        self.0.len()
    }

    /// What the program says to `data`.
    pub fn run(&self, data: &[u32; DATA_WORDS]) -> u32 {
        let (mut accumulator, mut index, mut scratch) = (0u32, 0u32, [0u32; SCRATCH]);
        let mut at = 0;
        while let Some(instruction) = self.0.get(at) {
            at += 1;
            let Instruction { code, k, .. } = *instruction;
            let operand = if code & X != 0 { index } else { k };
            match operation(code) {
                (RET, A) => return accumulator,
                (RET, _) => return k,
                (LD, ABS) => accumulator = data.get(k as usize / 4).copied().unwrap_or(0),
                (LD, IMM) => accumulator = k,
                (LD, MEM) => accumulator = scratch.get(k as usize).copied().unwrap_or(0),
                (LD, _) => accumulator = DATA_SIZE,
                (LDX, IMM) => index = k,
                (LDX, MEM) => index = scratch.get(k as usize).copied().unwrap_or(0),
                (LDX, _) => index = DATA_SIZE,
                (ST, _) => put(&mut scratch, k, accumulator),
                (STX, _) => put(&mut scratch, k, index),
                (ALU, DIV) => match accumulator.checked_div(operand) {
                    Some(quotient) => accumulator = quotient,
                    // As in Linux, a division by zero ends the program.
                    None => return 0,
                },
                (ALU, operation) => accumulator = calculate(operation, accumulator, operand),
                (JMP, JA) => at += k as usize,
                (JMP, condition) => {
                    let holds = compare(condition, accumulator, operand);
                    at += usize::from(if holds { instruction.if_true } else { instruction.if_false });
                }
                (_, TXA) => accumulator = index,
                (_, _) => index = accumulator,
            }
        }
        0
    }
}

fn put(scratch: &mut [u32; SCRATCH], at: u32, value: u32) {
    if let Some(place) = scratch.get_mut(at as usize) {
        *place = value;
    }
}

fn calculate(operation: u16, left: u32, right: u32) -> u32 {
    match operation {
        ADD => left.wrapping_add(right),
        SUB => left.wrapping_sub(right),
        MUL => left.wrapping_mul(right),
        OR => left | right,
        AND => left & right,
        XOR => left ^ right,
        LSH => left.wrapping_shl(right),
        RSH => left.wrapping_shr(right),
        _ => left.wrapping_neg(),
    }
}

fn compare(condition: u16, left: u32, right: u32) -> bool {
    match condition {
        JEQ => left == right,
        JGT => left > right,
        JGE => left >= right,
        _ => left & right != 0,
    }
}

/// Whether a filter may have the instruction, which `after` others follow.
fn is_valid(instruction: &Instruction, after: usize) -> bool {
    let Instruction { code, if_true, if_false, k } = *instruction;
    let (class, operation) = operation(code);
    let takes_x = code & X != 0;
    match (class, operation) {
        (LD, ABS) => !takes_x && code == LD | ABS && k.is_multiple_of(4) && k < DATA_SIZE,
        (LD | LDX, IMM | LEN) => !takes_x,
        (LD | LDX, MEM) => !takes_x && (k as usize) < SCRATCH,
        (ST | STX, 0) => !takes_x && (k as usize) < SCRATCH,
        (ALU, DIV) => takes_x || k != 0,
        (ALU, LSH | RSH) => takes_x || k < 32,
        (ALU, ADD | SUB | MUL | OR | AND | XOR) => true,
        (ALU, NEG) => !takes_x,
        (JMP, JA) => !takes_x && (k as usize) < after,
        (JMP, JEQ | JGT | JGE | JSET) => usize::from(if_true.max(if_false)) < after,
        (RET, 0 | A) => !takes_x,
        (MISC, TAX | TXA) => !takes_x,
        _ => false,
    }
}

/// Whether every word of scratch memory is stored to, on each way there, before it is loaded.
fn loads_what_was_stored(instructions: &[Instruction]) -> bool {
    let mut valid = alloc::vec![u16::MAX; instructions.len()];
    let mut stored = 0u16;
    for (at, instruction) in instructions.iter().enumerate() {
        stored &= valid.get(at).copied().unwrap_or(0);
        let word = 1u16.checked_shl(instruction.k).unwrap_or(0);
        let mut narrow = |target: usize, stored: u16| {
            if let Some(place) = valid.get_mut(target) {
                *place &= stored;
            }
        };
        match operation(instruction.code) {
            (ST | STX, _) => stored |= word,
            (LD | LDX, MEM) if stored & word == 0 => return false,
            (JMP, JA) => {
                narrow(at + 1 + instruction.k as usize, stored);
                stored = u16::MAX;
            }
            (JMP, _) => {
                narrow(at + 1 + usize::from(instruction.if_true), stored);
                narrow(at + 1 + usize::from(instruction.if_false), stored);
                stored = u16::MAX;
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn op(code: u16, k: u32) -> Instruction {
        Instruction { code, if_true: 0, if_false: 0, k }
    }

    const fn jump(code: u16, k: u32, if_true: u8, if_false: u8) -> Instruction {
        Instruction { code, if_true, if_false, k }
    }

    fn run(instructions: &[Instruction], data: &[u32; DATA_WORDS]) -> u32 {
        Program::new(instructions.to_vec()).unwrap().run(data)
    }

    fn is_refused(instructions: &[Instruction]) -> bool {
        Program::new(instructions.to_vec()).is_err()
    }

    #[test]
    fn filters_decide_by_the_data() {
        let mut data = [0; DATA_WORDS];
        data[0] = 39;
        let filter = [op(LD | ABS, 0), jump(JMP | JEQ, 39, 0, 1), op(RET, 7), op(RET, 9)];
        assert_eq!(run(&filter, &data), 7);
        data[0] = 40;
        assert_eq!(run(&filter, &data), 9);
    }

    #[test]
    fn arithmetic_and_scratch_memory_work() {
        let data = [0; DATA_WORDS];
        let program = [
            op(LD | IMM, 100),
            op(ST, 3),
            op(LDX | MEM, 3),
            op(ALU | ADD | X, 0),
            op(ALU | DIV, 3),
            op(ALU | LSH, 1),
            op(ALU | NEG, 0),
            op(MISC | TAX, 0),
            op(MISC | TXA, 0),
            op(RET | A, 0),
        ];
        assert_eq!(run(&program, &data), (66u32 << 1).wrapping_neg());
        assert_eq!(run(&[op(LD | LEN, 0), op(RET | A, 0)], &data), 64);
        assert_eq!(run(&[op(LD | IMM, 5), op(ALU | DIV | X, 0), op(RET, 1)], &data), 0);
    }

    #[test]
    fn what_linux_refuses_is_refused() {
        assert!(is_refused(&[]));
        assert!(is_refused(&[op(LD | IMM, 0)]));
        assert!(is_refused(&[op(LD | ABS, 64), op(RET, 0)]));
        assert!(is_refused(&[op(LD | ABS, 2), op(RET, 0)]));
        assert!(is_refused(&[op(LD | ABS | 0x10, 0), op(RET, 0)]));
        assert!(is_refused(&[op(LD | MEM, 0), op(RET, 0)]));
        assert!(is_refused(&[op(ST, 16), op(RET, 0)]));
        assert!(is_refused(&[op(ALU | DIV, 0), op(RET, 0)]));
        assert!(is_refused(&[op(ALU | RSH, 32), op(RET, 0)]));
        assert!(is_refused(&[op(ALU | 0x90, 3), op(RET, 0)]));
        assert!(is_refused(&[op(JMP | JA, 1), op(RET, 0)]));
        assert!(is_refused(&[jump(JMP | JEQ, 0, 0, 1), op(RET, 0)]));
        assert!(is_refused(&[op(RET | X, 0)]));
        assert!(is_refused(&[op(0xffff, 0), op(RET, 0)]));
    }

    #[test]
    fn a_load_needs_a_store_on_every_way() {
        let one_way = [jump(JMP | JEQ, 1, 0, 1), op(ST, 0), op(LD | MEM, 0), op(RET, 0)];
        assert!(is_refused(&one_way));
        let both = [op(ST, 0), jump(JMP | JEQ, 1, 0, 0), op(LD | MEM, 0), op(RET, 0)];
        assert!(!is_refused(&both));
    }
}
