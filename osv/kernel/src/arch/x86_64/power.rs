//! The ways to end the machine that need no driver.
//!
//! A runner gives the VM QEMU's device `isa-debug-exit` at port 0xf4: a byte written there ends QEMU with `(byte
//! << 1) | 1` as its exit code. [`CRASH`] means that the kernel itself failed. Without the device the write has
//! no effect, and the machine is reset through the keyboard controller or, at last, by a triple fault, which
//! hypervisors report or turn into an exit.

use super::cpu;
use core::arch::asm;

/// The byte that says "the kernel crashed": QEMU ends with 199.
pub const CRASH: u8 = 0x63;

const DEBUG_EXIT: u16 = 0xf4;

/// Writes `code` to the debug-exit device. Returns where there is none.
pub fn debug_exit(code: u8) {
    // SAFETY: the port is this device's or nobody's.
    unsafe { cpu::outb(DEBUG_EXIT, code) };
}

/// Resets the machine by the keyboard controller, then by a triple fault.
pub fn reset() -> ! {
    cpu::disable_interrupts();
    // SAFETY: command 0xfe pulses the reset line; where there is no controller nothing happens.
    unsafe { cpu::outb(0x64, 0xfe) };
    triple_fault()
}

/// Resets the machine by an exception that cannot be delivered.
pub fn triple_fault() -> ! {
    let empty_table = [0_u64; 2];
    // SAFETY: without an interrupt table the first exception ends in a shutdown of the CPU: nothing runs after it.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const empty_table, options(noreturn)) }
}
