//! Single instructions: control registers, MSRs, ports, interrupts on and off, the time stamp, random numbers.
//!
//! Each is a thin, inlined wrapper. Those that cannot break memory safety by themselves are safe functions, even
//! where a silly argument stops the machine.

use core::arch::asm;

use super::IrqGuard;

/// RFLAGS.IF: interrupts are taken.
pub const RFLAGS_IF: u64 = 1 << 9;
/// RFLAGS.TF: a debug exception after each instruction.
pub const RFLAGS_TF: u64 = 1 << 8;

/// Whether this CPU takes interrupts.
#[inline]
pub fn interrupts_enabled() -> bool {
    let flags: u64;
    // SAFETY: reads the flags by way of the stack; the kernel has no red zone of its own, and LLVM accounts for
    // the push.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & RFLAGS_IF != 0
}

/// Takes interrupts from now on.
#[inline]
pub fn enable_interrupts() {
    // SAFETY: handlers keep all registers; not `nomem`, so the compiler moves no access across.
    unsafe { asm!("sti", options(nostack, preserves_flags)) };
}

/// Takes no interrupts from now on.
#[inline]
pub fn disable_interrupts() {
    // SAFETY: as above.
    unsafe { asm!("cli", options(nostack, preserves_flags)) };
}

/// Sleeps until the next interrupt and takes it: to be called with interrupts off, so that the one that was
/// waited for cannot slip in between the caller's last look and the sleep. Returns with interrupts on.
#[inline]
pub fn enable_interrupts_and_halt() {
    // SAFETY: `sti` takes effect after the next instruction, so nothing fits in between.
    unsafe { asm!("sti", "hlt", options(nostack, preserves_flags)) };
}

/// Stops this CPU for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: without interrupts the CPU stays here; NMIs lead round the loop.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// A pause in a spin loop.
#[inline]
pub fn pause() {
    core::hint::spin_loop();
}

/// The control and status register of SSE, which is the program's also while the kernel runs.
pub fn mxcsr() -> u32 {
    let mut value = 0_u32;
    // SAFETY:
    // - every 64-bit CPU has SSE; it stores 4 bytes to `value`.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

/// The time stamp counter.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: every 64-bit CPU has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The time stamp counter, read after all earlier loads are done.
#[inline]
pub fn rdtsc_ordered() -> u64 {
    // SAFETY: every 64-bit CPU has both.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

/// Reads a model-specific register.
///
/// # Safety
///
/// The CPU must have it: otherwise this faults.
#[inline]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller knows that it exists; reading has no effect on memory.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
///
/// The CPU must have it and take the value, and the effect must be what the whole kernel expects.
#[inline]
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

macro_rules! port {
    ($in:ident, $out:ident, $type:ty, $register:tt, $asm_in:literal, $asm_out:literal) => {
        /// Reads from an I/O port.
        ///
        /// # Safety
        ///
        /// The device there may do anything, memory access included: the caller must know it.
        #[inline]
        pub unsafe fn $in(port: u16) -> $type {
            let value: $type;
            // SAFETY: the caller's promise.
            unsafe { asm!($asm_in, in("dx") port, out($register) value, options(nostack, preserves_flags)) };
            value
        }

        /// Writes to an I/O port.
        ///
        /// # Safety
        ///
        /// The device there may do anything, memory access included: the caller must know it.
        #[inline]
        pub unsafe fn $out(port: u16, value: $type) {
            // SAFETY: the caller's promise.
            unsafe { asm!($asm_out, in("dx") port, in($register) value, options(nostack, preserves_flags)) };
        }
    };
}

port!(inb, outb, u8, "al", "in al, dx", "out dx, al");
port!(inw, outw, u16, "ax", "in ax, dx", "out dx, ax");
port!(inl, outl, u32, "eax", "in eax, dx", "out dx, eax");

/// Physical address of this CPU's top page table (CR3 without its low bits).
#[inline]
pub fn page_table() -> u64 {
    let cr3: u64;
    // SAFETY: reading has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) cr3, options(nomem, nostack, preserves_flags)) };
    cr3 & 0x000f_ffff_ffff_f000
}

/// Switches this CPU to other page tables, which drops all cached translations that are not global.
///
/// # Safety
///
/// `physical` must be a valid top page table that maps the kernel as now.
#[inline]
pub unsafe fn set_page_table(physical: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) physical, options(nostack, preserves_flags)) };
}

/// Drops this CPU's cached translation of one page.
#[inline]
pub fn flush_page(addr: u64) {
    // SAFETY: only makes the CPU look at the page tables again.
    unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's cached translations that are not global.
#[inline]
pub fn flush_tlb() {
    // SAFETY: the same page tables again.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's cached translations, those of the kernel included.
pub fn flush_tlb_global() {
    const PGE: u64 = 1 << 7;
    let _guard = IrqGuard::new();
    // SAFETY: turning global pages off and on again flushes everything and changes nothing else.
    unsafe {
        asm!("mov {cr4}, cr4", "mov {off}, {cr4}", "and {off}, {mask}", "mov cr4, {off}", "mov cr4, {cr4}",
            cr4 = out(reg) _, off = out(reg) _, mask = const !PGE as i32, options(nostack));
    }
}

/// The address of the last page fault.
#[inline]
pub fn fault_address() -> u64 {
    let cr2: u64;
    // SAFETY: reading has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    cr2
}

/// The caller's frame pointer.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let rbp: u64;
    // SAFETY: reading a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}

/// CPUID.
#[inline]
pub fn cpuid(leaf: u32, subleaf: u32) -> core::arch::x86_64::CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// A number from the CPU's source of entropy; `None` if it has no such source, or none is ready.
pub fn rdseed() -> Option<u64> {
    if !super::features().rdseed {
        return None;
    }
    let (value, is_ready): (u64, u8);
    // SAFETY: the CPU has the instruction.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) is_ready, options(nomem, nostack)) };
    (is_ready != 0).then_some(value)
}
