//! Debug registers: four addresses that programs may watch, DR0 to DR3, and DR7, which says how.
//!
//! They belong to the thread that runs, but hardly any thread has some. Until the first one does, a switch asks one word;
//! after that, [`load`] is called at each switch, and touches the registers only where something has changed. What may be
//! watched is the business of whoever fills [`DebugRegisters`]: no addresses of the kernel. That the kernel itself touches a
//! watched address of the program is seen and ignored by the entry of the exception.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use super::percpu::{MAX_CPUS, cpu_id};

/// How many addresses can be watched.
pub const DEBUG_ADDRESSES: usize = 4;

/// DR6 when nothing has happened.
pub const DEBUG_STATUS_NONE: u64 = 0xffff_0ff0;
/// Bits of DR6: an address was touched.
pub const DEBUG_STATUS_WATCHED: u64 = 0xf;
/// The bit of DR6 for a single step.
pub const DEBUG_STATUS_STEP: u64 = 1 << 14;

/// What a thread watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegisters {
    /// DR0 to DR3.
    pub addresses: [u64; DEBUG_ADDRESSES],
    /// DR7; 0 if nothing is watched.
    pub control: u64,
}

/// Some thread has, or had, debug registers.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// The CPUs on which something is watched.
static WATCHING: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

/// Whether switches have to load debug registers.
#[inline(always)]
pub fn are_debug_registers_used() -> bool {
    IS_USED.load(Ordering::Relaxed)
}

/// Makes this CPU watch what `registers` say, or nothing. To be called with interrupts off.
pub fn load_debug_registers(registers: Option<&DebugRegisters>) {
    let Some(watching) = WATCHING.get(cpu_id()) else { return };
    let registers = registers.filter(|registers| registers.control != 0);
    if registers.is_none() && !watching.load(Ordering::Relaxed) {
        return;
    }
    watching.store(registers.is_some(), Ordering::Relaxed);
    let DebugRegisters { addresses: [a, b, c, d], control } = registers.copied().unwrap_or_default();
    if registers.is_some() {
        IS_USED.store(true, Ordering::Relaxed);
    }
    // SAFETY:
    // - debug registers cause exceptions only, which the kernel handles wherever they come from;
    // - nothing is watched while the addresses change.
    unsafe {
        asm!("mov dr7, {zero}", "mov dr0, {a}", "mov dr1, {b}", "mov dr2, {c}", "mov dr3, {d}", "mov dr7, {control}",
            zero = in(reg) 0_u64, a = in(reg) a, b = in(reg) b, c = in(reg) c, d = in(reg) d, control = in(reg) control,
            options(nomem, nostack, preserves_flags));
    }
}

/// What the debug exception that has just come was for: DR6, which is reset. To be called with interrupts off.
pub fn take_debug_status() -> u64 {
    let status;
    // SAFETY:
    // - reading and resetting DR6 changes nothing but DR6.
    unsafe {
        asm!("mov {status}, dr6", "mov dr6, {none}", status = out(reg) status, none = in(reg) DEBUG_STATUS_NONE,
            options(nomem, nostack, preserves_flags));
    }
    status
}
