//! The vectors that the CPU itself raises.

#![allow(missing_docs)]

pub const DIVIDE: u8 = 0;
pub const DEBUG: u8 = 1;
pub const NMI: u8 = 2;
pub const BREAKPOINT: u8 = 3;
pub const OVERFLOW: u8 = 4;
pub const BOUND: u8 = 5;
pub const INVALID_OPCODE: u8 = 6;
pub const NO_DEVICE: u8 = 7;
pub const DOUBLE_FAULT: u8 = 8;
pub const INVALID_TSS: u8 = 10;
pub const NO_SEGMENT: u8 = 11;
pub const STACK: u8 = 12;
pub const PROTECTION: u8 = 13;
pub const PAGE_FAULT: u8 = 14;
pub const X87: u8 = 16;
pub const ALIGNMENT: u8 = 17;
pub const MACHINE_CHECK: u8 = 18;
pub const SIMD: u8 = 19;
/// The first vector that is free for interrupts.
pub const FIRST_INTERRUPT: u8 = 32;

/// A vector's name for messages.
pub fn name(vector: u8) -> &'static str {
    match vector {
        DIVIDE => "divide error",
        DEBUG => "debug exception",
        NMI => "non-maskable interrupt",
        BREAKPOINT => "breakpoint",
        OVERFLOW => "overflow",
        BOUND => "bound range exceeded",
        INVALID_OPCODE => "invalid opcode",
        NO_DEVICE => "no coprocessor",
        DOUBLE_FAULT => "double fault",
        INVALID_TSS => "invalid task state segment",
        NO_SEGMENT => "segment not present",
        STACK => "stack fault",
        PROTECTION => "general protection fault",
        PAGE_FAULT => "page fault",
        X87 => "x87 exception",
        ALIGNMENT => "alignment check",
        MACHINE_CHECK => "machine check",
        SIMD => "SIMD exception",
        _ if vector < FIRST_INTERRUPT => "reserved exception",
        _ => "interrupt",
    }
}
