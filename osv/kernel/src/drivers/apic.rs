//! The interrupt controllers: each CPU's local APIC with its timer, interrupts between CPUs, and the I/O APICs.
//!
//! The local APIC is spoken to by MSRs where it offers x2APIC mode, else through its page of registers. The timer is
//! always used one shot: as a TSC deadline where the CPU has that, else as a count of APIC ticks whose rate
//! `drivers::clock` measured. The legacy PICs are masked for good. Contract: [`init`] once at boot, [`init_this_cpu`] on
//! every CPU before it enables interrupts; everything else may be called from anywhere, handlers included.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use alloc::vec::Vec;

use crate::arch::{IrqGuard, MAX_CPUS, cpu_id};
use crate::drivers::acpi::{IoApic, Platform};
use crate::drivers::clock::{self, Scale};
use crate::drivers::cpuid;
use crate::drivers::io::{Mmio, outb};
use crate::drivers::irq::{self, LineMode, Vector};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, Once, SpinLock};

const MSR_APIC_BASE: u32 = 0x1b;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const MSR_X2APIC: u32 = 0x800;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLED: u64 = 1 << 11;

/// Registers of the local APIC by their number; in memory they lie 16 bytes apart.
mod register {
    pub const ID: u32 = 0x02;
    pub const TASK_PRIORITY: u32 = 0x08;
    pub const END_OF_INTERRUPT: u32 = 0x0b;
    pub const SPURIOUS_VECTOR: u32 = 0x0f;
    pub const ERROR_STATUS: u32 = 0x28;
    pub const COMMAND: u32 = 0x30;
    pub const COMMAND_HIGH: u32 = 0x31;
    pub const LVT_TIMER: u32 = 0x32;
    pub const LVT_LINT0: u32 = 0x35;
    pub const LVT_LINT1: u32 = 0x36;
    pub const LVT_ERROR: u32 = 0x37;
    pub const TIMER_INITIAL: u32 = 0x38;
    pub const TIMER_CURRENT: u32 = 0x39;
    pub const TIMER_DIVIDE: u32 = 0x3e;
}

const LVT_MASKED: u32 = 1 << 16;
const LVT_NMI: u32 = 4 << 8;
const LVT_TSC_DEADLINE: u32 = 2 << 17;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const COMMAND_INIT: u32 = 5 << 8;
const COMMAND_STARTUP: u32 = 6 << 8;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_ASSERT: u32 = 1 << 14;
const DIVIDE_BY_16: u32 = 3;

static IS_X2APIC: AtomicBool = AtomicBool::new(false);
static HAS_TSC_DEADLINE: AtomicBool = AtomicBool::new(false);
static WINDOW: Once<Mmio> = Once::new();
/// The CPU that takes device interrupts.
const BOOT_CPU: usize = 0;
/// The ids of the local APICs by the number of the CPU.
static CPU_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
/// What the boot CPU's timer has counted for the measurement of its rate.
static COUNT: SpinLock<Option<Count>, IrqOff> = SpinLock::new(None);

/// A count that goes on while the timer is set anew.
#[derive(Clone, Copy)]
struct Count {
    /// Ticks until it was last set; `None` if it had run out before.
    before: Option<u32>,
    /// What it was set to then.
    from: u32,
}

impl Count {
    /// Ticks until now; `None` if nobody knows.
    fn until_now(self) -> Option<u32> {
        let current = read(register::TIMER_CURRENT);
        self.before.filter(|_| current != 0)?.checked_add(self.from.wrapping_sub(current))
    }
}

/// Factor of the scale from nanoseconds to timer ticks; 0 while it is not known.
static TIMER_SCALE: AtomicU64 = AtomicU64::new(0);

fn rdmsr(index: u32) -> u64 {
    // SAFETY:
    // - only called with the APIC's own MSRs, after CPUID said that they exist.
    unsafe { x86_64::registers::model_specific::Msr::new(index).read() }
}

fn wrmsr(index: u32, value: u64) {
    // SAFETY:
    // - only called with the APIC's own MSRs, after CPUID said that they exist;
    // - what is written makes interrupts with vectors that have an entry, INIT and start-up excepted, which
    //   `arch` asks for when it starts another CPU.
    unsafe { x86_64::registers::model_specific::Msr::new(index).write(value) }
}

#[inline]
fn read(register: u32) -> u32 {
    if IS_X2APIC.load(Ordering::Relaxed) {
        rdmsr(MSR_X2APIC + register) as u32
    } else {
        WINDOW.get().map_or(0, |window| window.read32(register as usize * 16))
    }
}

#[inline]
fn write(register: u32, value: u32) {
    if IS_X2APIC.load(Ordering::Relaxed) {
        wrmsr(MSR_X2APIC + register, u64::from(value));
    } else if let Some(window) = WINDOW.get() {
        window.write32(register as usize * 16, value);
    }
}

/// Takes the controllers over: PICs masked, I/O APICs mapped and masked, the boot CPU's local APIC enabled.
pub fn init(platform: &Platform) -> Result<()> {
    mask_pics();
    IS_X2APIC.store(cpuid::has_x2apic(), Ordering::Relaxed);
    HAS_TSC_DEADLINE.store(cpuid::has_tsc_deadline(), Ordering::Relaxed);
    if !cpuid::has_x2apic() {
        let window = Mmio::map(platform.local_apic, 4096)?;
        WINDOW.call_once(|| window);
    }
    init_this_cpu(0);
    for io_apic in &platform.io_apics {
        add_io_apic(*io_apic)?;
    }
    Ok(())
}

/// Enables the local APIC of this CPU, number `cpu`, with its timer stopped.
pub fn init_this_cpu(cpu: usize) {
    let mode = if IS_X2APIC.load(Ordering::Relaxed) { BASE_X2APIC } else { 0 };
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_ENABLED | mode);
    write(register::TASK_PRIORITY, 0);
    write(register::LVT_TIMER, LVT_MASKED | u32::from(irq::TIMER));
    write(register::LVT_LINT0, LVT_MASKED);
    write(register::LVT_LINT1, LVT_NMI);
    write(register::LVT_ERROR, u32::from(irq::APIC_ERROR));
    write(register::ERROR_STATUS, 0);
    write(register::TIMER_DIVIDE, DIVIDE_BY_16);
    write(register::SPURIOUS_VECTOR, SOFTWARE_ENABLE | u32::from(irq::SPURIOUS));
    let deadline = if HAS_TSC_DEADLINE.load(Ordering::Relaxed) { LVT_TSC_DEADLINE } else { 0 };
    write(register::LVT_TIMER, deadline | u32::from(irq::TIMER));
    if let Some(slot) = CPU_IDS.get(cpu) {
        slot.store(id(), Ordering::Relaxed);
    }
}

fn mask_pics() {
    const MASKS: [u16; 2] = [0x21, 0xa1];
    for port in MASKS {
        outb(port, 0xff);
    }
}

/// The id of this CPU's local APIC.
pub fn id() -> u32 {
    let id = read(register::ID);
    if IS_X2APIC.load(Ordering::Relaxed) { id } else { id >> 24 }
}

/// Tells the local APIC that the interrupt in service has been handled.
#[inline]
pub fn end_of_interrupt() {
    write(register::END_OF_INTERRUPT, 0);
}

// ---- The timer ----

/// The timer counts by TSC deadlines, so that no rate needs to be measured.
pub fn has_tsc_deadline() -> bool {
    HAS_TSC_DEADLINE.load(Ordering::Relaxed)
}

/// Lets this CPU's timer run down silently from its largest count, for a measurement of its rate.
pub(super) fn start_counting() {
    *COUNT.lock() = Some(Count { before: Some(0), from: u32::MAX });
    write(register::LVT_TIMER, LVT_MASKED | u32::from(irq::TIMER));
    write(register::TIMER_INITIAL, u32::MAX);
}

/// Ticks since [`start_counting`], unless the timer has run out since.
pub(super) fn counted() -> Option<u32> {
    (*COUNT.lock())?.until_now()
}

/// Ends the measurement: the timer runs at `hz` ticks per second.
pub(super) fn set_timer_rate(hz: u64) {
    TIMER_SCALE.store(Scale::ns_to_ticks(hz).factor(), Ordering::Relaxed);
    let Some(count) = COUNT.lock().take() else { return };
    // What was set by a guess fires at once, and is set anew.
    write(register::TIMER_INITIAL, u32::from(count.from != u32::MAX));
    write(register::LVT_TIMER, u32::from(irq::TIMER));
}

/// Sets the timer while its rate is being measured, by the rate that most hypervisors give it.
#[cold]
fn set_timer_early(delay_ns: u64) {
    const USUAL_HZ: u64 = 62_500_000;
    let ticks = Scale::ns_to_ticks(USUAL_HZ).apply_saturating(delay_ns);
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX - 1).max(1);
    let mut count = COUNT.lock();
    if cpu_id() == BOOT_CPU {
        *count = Some(Count { before: count.and_then(Count::until_now), from: ticks });
    }
    write(register::LVT_TIMER, u32::from(irq::TIMER));
    write(register::TIMER_INITIAL, ticks);
}

/// Makes the timer interrupt this CPU when the monotonic clock reaches `time_ns`, or earlier if that is too long for it.
/// `u64::MAX` stops it.
#[inline]
pub fn set_timer(time_ns: u64) {
    if time_ns == u64::MAX {
        return stop_timer();
    }
    let (tsc, delay_ns) = clock::until(time_ns);
    if has_tsc_deadline() {
        return wrmsr(MSR_TSC_DEADLINE, tsc.saturating_add(clock::ns_to_tsc(delay_ns)).max(1));
    }
    let factor = TIMER_SCALE.load(Ordering::Relaxed);
    if factor == 0 {
        return set_timer_early(delay_ns);
    }
    let ticks = Scale::from_factor(factor).apply_saturating(delay_ns);
    write(register::TIMER_INITIAL, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
}

/// Stops this CPU's timer.
pub fn stop_timer() {
    if has_tsc_deadline() {
        wrmsr(MSR_TSC_DEADLINE, 0);
    } else {
        write(register::TIMER_INITIAL, 0);
    }
}

// ---- Interrupts between CPUs ----

fn command(apic_id: u32, command: u32) {
    if IS_X2APIC.load(Ordering::Relaxed) {
        // The MSR does not order earlier stores, the register in memory does.
        core::sync::atomic::fence(Ordering::SeqCst);
        return wrmsr(MSR_X2APIC + register::COMMAND, u64::from(apic_id) << 32 | u64::from(command));
    }
    let _guard = IrqGuard::new();
    while read(register::COMMAND) & COMMAND_PENDING != 0 {
        core::hint::spin_loop();
    }
    write(register::COMMAND_HIGH, apic_id << 24);
    write(register::COMMAND, command);
}

/// Interrupts CPU number `cpu`.
#[inline]
pub fn send_ipi(cpu: usize, vector: Vector) {
    if let Some(id) = CPU_IDS.get(cpu) {
        command(id.load(Ordering::Relaxed), COMMAND_ASSERT | u32::from(vector));
    }
}

/// Resets another CPU; it then waits for [`send_startup`].
pub fn send_init(apic_id: u32) {
    command(apic_id, COMMAND_INIT | COMMAND_ASSERT);
}

/// Starts a CPU that was reset: in real mode, at the start of page `page` (below 1 MiB).
pub fn send_startup(apic_id: u32, page: u8) {
    command(apic_id, COMMAND_STARTUP | COMMAND_ASSERT | u32::from(page));
}

// ---- I/O APICs ----

/// An I/O APIC whose registers are mapped: an index and a data register lead to the others.
struct Router {
    window: Mmio,
    gsi_base: u32,
    inputs: u32,
}

impl Router {
    const INDEX: usize = 0;
    const DATA: usize = 0x10;
    const VERSION: u32 = 1;
    const FIRST_INPUT: u32 = 0x10;
    const MASKED: u32 = 1 << 16;
    const LEVEL: u32 = 1 << 15;
    const ACTIVE_LOW: u32 = 1 << 13;

    fn read(&self, index: u32) -> u32 {
        self.window.write32(Self::INDEX, index);
        self.window.read32(Self::DATA)
    }

    fn write(&self, index: u32, value: u32) {
        self.window.write32(Self::INDEX, index);
        self.window.write32(Self::DATA, value);
    }

    /// Routes `input` to the CPU with this APIC id; its mask goes last.
    fn route(&self, input: u32, apic_id: u32, low: u32) {
        let index = Self::FIRST_INPUT + 2 * input;
        self.write(index, Self::MASKED);
        self.write(index + 1, apic_id << 24);
        self.write(index, low);
    }
}

static ROUTERS: SpinLock<Vec<Router>> = SpinLock::new(Vec::new());

fn add_io_apic(io_apic: IoApic) -> Result<()> {
    let window = Mmio::map(io_apic.address, 0x20)?;
    let mut router = Router { window, gsi_base: io_apic.gsi_base, inputs: 0 };
    router.inputs = ((router.read(Router::VERSION) >> 16) & 0xff) + 1;
    for input in 0..router.inputs {
        router.write(Router::FIRST_INPUT + 2 * input, Router::MASKED);
    }
    ROUTERS.lock().push(router);
    Ok(())
}

/// Lets input `gsi` interrupt the boot CPU by `vector`; ENODEV if no I/O APIC has that input.
pub(super) fn route_line(gsi: u32, mode: LineMode, vector: Vector) -> Result<()> {
    let routers = ROUTERS.lock();
    let router = routers
        .iter()
        .find(|router| gsi.checked_sub(router.gsi_base).is_some_and(|input| input < router.inputs))
        .ok_or(Errno::ENODEV)?;
    let level = if mode.is_level { Router::LEVEL } else { 0 };
    let polarity = if mode.is_active_low { Router::ACTIVE_LOW } else { 0 };
    router.route(
        gsi - router.gsi_base,
        CPU_IDS[BOOT_CPU].load(Ordering::Relaxed),
        u32::from(vector) | level | polarity,
    );
    Ok(())
}

/// The address and the data that make a message-signalled interrupt arrive as `vector` at the boot CPU.
pub fn message(vector: Vector) -> (u64, u32) {
    const MESSAGE_BASE: u64 = 0xfee0_0000;
    (MESSAGE_BASE | u64::from(CPU_IDS[BOOT_CPU].load(Ordering::Relaxed)) << 12, u32::from(vector))
}
