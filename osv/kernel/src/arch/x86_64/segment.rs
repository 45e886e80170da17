//! FS and GS bases of the current program.
//!
//! With FSGSBASE programs may write them at any time, so they are read from the CPU whenever they are saved. The
//! program's GS base is in the MSR that `swapgs` swaps with, while the kernel runs. An address that is not
//! canonical would fault: it is not written.

use core::arch::asm;

use super::{cpu, features, msr};

/// Whether the CPU takes it as an address.
pub(super) const fn is_canonical(base: u64) -> bool {
    (base as i64) << 16 >> 16 == base as i64
}

#[inline]
pub(super) fn read_fs_base() -> u64 {
    if !features::has_fsgsbase() {
        // SAFETY:
        // - every 64-bit CPU has it.
        return unsafe { cpu::rdmsr(msr::FS_BASE) };
    }
    let base;
    // SAFETY:
    // - the CPU has FSGSBASE, and it is enabled.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// Writes what a program asked for.
pub(super) fn write_fs_base(base: u64) {
    if is_canonical(base) {
        // SAFETY:
        // - the address is canonical.
        unsafe { load_fs_base(base) };
    }
}

/// # Safety
/// - `base` is canonical.
#[inline]
pub(super) unsafe fn load_fs_base(base: u64) {
    if !features::has_fsgsbase() {
        // SAFETY:
        // - every 64-bit CPU has it, the caller vouches for the address, and the kernel does not use FS.
        return unsafe { cpu::wrmsr(msr::FS_BASE, base) };
    }
    // SAFETY:
    // - the CPU has FSGSBASE, and it is enabled; as above.
    unsafe { asm!("wrfsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
}

/// To be called with interrupts off.
#[inline]
pub(super) fn read_program_gs_base() -> u64 {
    if !features::has_fsgsbase() {
        // SAFETY:
        // - every 64-bit CPU has it.
        return unsafe { cpu::rdmsr(msr::KERNEL_GS_BASE) };
    }
    let base;
    // SAFETY:
    // - the CPU has FSGSBASE, and it is enabled;
    // - interrupts are off, so nobody sees the program's GS; NMIs ask.
    unsafe { asm!("swapgs", "rdgsbase {}", "swapgs", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// Writes what a program asked for. To be called with interrupts off.
pub(super) fn write_program_gs_base(base: u64) {
    if is_canonical(base) {
        // SAFETY:
        // - the address is canonical.
        unsafe { load_program_gs_base(base) };
    }
}

/// To be called with interrupts off.
///
/// # Safety
/// - `base` is canonical.
#[inline]
pub(super) unsafe fn load_program_gs_base(base: u64) {
    if !features::has_fsgsbase() {
        // SAFETY:
        // - every 64-bit CPU has it, and the caller vouches for the address.
        return unsafe { cpu::wrmsr(msr::KERNEL_GS_BASE, base) };
    }
    // SAFETY:
    // - the CPU has FSGSBASE, and it is enabled; the address is canonical;
    // - interrupts are off, so nobody sees the program's GS; NMIs ask.
    unsafe { asm!("swapgs", "wrgsbase {}", "swapgs", in(reg) base, options(nomem, nostack, preserves_flags)) };
}
