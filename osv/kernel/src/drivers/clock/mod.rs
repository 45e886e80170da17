//! Time: a monotonic clock from the TSC, the time of day, and each CPU's one-shot timer in terms of the clock.
//!
//! The clock is `base_ns + (tsc - base_tsc) × factor`. Its numbers lie in one page, [`VdsoData`], which the kernel reads
//! like every program does through the vDSO; a sequence lock guards it. The TSC's rate comes from CPUID or KVM where they
//! tell it. Else it is measured against a counter of known rate, without a wait: from [`init`] to [`settle`] the boot goes on,
//! and time goes slower than it could, so that it never has to go back. That gives a part in a hundred; timers measure
//! again after 20 milliseconds and after a second, which gives parts per million.
//! The TSCs of the CPUs are taken to agree, as hypervisors make them do.

mod kvm;
mod reference;
mod rtc;
mod scale;

use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use alloc::sync::Arc;

use crate::arch::{self, IrqGuard};
use crate::drivers::acpi::Platform;
use crate::drivers::{apic, cpuid};
use crate::sched::timer::{Deadline, Timer};
use crate::sync::{IrqOff, Once, SpinLock};

use reference::Reference;
pub use scale::{NS_PER_SEC, SHIFT, Scale};

/// How long the first measurement takes at least.
const MEASURE_NS: u64 = 50_000;
/// How long the measurement takes that has the CPU to itself.
const MEASURE_APIC_NS: u64 = 100_000;
/// When the TSC is measured again; the first time soon, since the rate is a rough one until then.
const REFINE_NS: [u64; 2] = [20_000_000, NS_PER_SEC];
/// The divider that the local APIC's timer is set to.
const APIC_DIVIDER: u64 = 16;
/// A rate that is assumed when nothing tells it and nothing can measure it.
const TSC_HZ_GUESS: u64 = 1_000_000_000;
/// No TSC is faster or slower: what time and timers count by while the rate is being measured.
const TSC_HZ_BOUNDS: (u64, u64) = (500_000_000, 8_000_000_000);

/// What a program needs to tell the time by itself: the vDSO's data page, in the kernel's image.
///
/// A reader takes `sequence` until it is even, reads the rest, and starts anew if `sequence` has changed.
/// monotonic = `base_ns + ((tsc - base_tsc) × factor) >> 32` with a product of 128 bits; realtime = monotonic + `wall_offset_ns`.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct VdsoData {
    /// Odd while the fields change.
    pub sequence: AtomicU32,
    /// The version of this layout.
    pub version: AtomicU32,
    /// Nanoseconds per tick, with 32 binary places.
    pub factor: AtomicU64,
    /// The TSC at `base_ns`.
    pub base_tsc: AtomicU64,
    /// Nanoseconds since boot at `base_tsc`.
    pub base_ns: AtomicU64,
    /// Nanoseconds from the monotonic clock to the time of day (since 1970, UTC).
    pub wall_offset_ns: AtomicU64,
    /// Where calls of the vDSO's `__vdso_osv_call` go.
    gate: unsafe extern "C" fn(),
}

// The vDSO knows where it is.
const _: () = assert!(core::mem::offset_of!(VdsoData, gate) == 40);

/// The clock's numbers, to be mapped read-only into programs.
pub static VDSO_DATA: VdsoData = VdsoData {
    sequence: AtomicU32::new(0),
    version: AtomicU32::new(1),
    factor: AtomicU64::new(1 << SHIFT),
    base_tsc: AtomicU64::new(0),
    base_ns: AtomicU64::new(0),
    wall_offset_ns: AtomicU64::new(0),
    gate: arch::gate_entry,
};

/// Factor of the scale from nanoseconds to ticks of the TSC.
static TICKS_PER_NS: AtomicU64 = AtomicU64::new(0);

/// Who writes the page, and what the refinement needs.
struct Keeper {
    reference: Option<Reference>,
    /// The first moment of the measurement.
    start: Moment,
    /// Measurements with the timer below that are done.
    refined: usize,
}

static KEEPER: SpinLock<Keeper, IrqOff> =
    SpinLock::new(Keeper { reference: None, start: Moment { tsc: 0, reference: 0 }, refined: 0 });

/// The timer that has the TSC measured again.
static REFINEMENT: Once<Arc<Timer>> = Once::new();

/// The time stamp counter, read after all instructions before it.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY:
    // - SSE2 and the TSC exist on every x86-64 CPU; neither instruction touches memory.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

impl VdsoData {
    /// Calls `read` until it has seen all fields of one moment.
    #[inline]
    fn consistent<T>(&self, read: impl Fn(&Self) -> T) -> T {
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            let value = read(self);
            fence(Ordering::Acquire);
            if sequence & 1 == 0 && self.sequence.load(Ordering::Relaxed) == sequence {
                return value;
            }
            core::hint::spin_loop();
        }
    }

    /// Changes the fields. The caller holds `KEEPER`, so there is one writer.
    fn change(&self, write: impl FnOnce(&Self)) {
        self.sequence.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        write(self);
        self.sequence.fetch_add(1, Ordering::Release);
    }

    #[inline]
    fn monotonic_at(&self, tsc: u64) -> u64 {
        let factor = Scale::from_factor(self.factor.load(Ordering::Relaxed));
        let ticks = tsc.wrapping_sub(self.base_tsc.load(Ordering::Relaxed));
        self.base_ns.load(Ordering::Relaxed).wrapping_add(factor.apply(ticks))
    }
}

/// Nanoseconds since boot.
#[inline]
pub fn monotonic_ns() -> u64 {
    VDSO_DATA.consistent(|data| data.monotonic_at(tsc()))
}

/// Nanoseconds since boot when the TSC was `tsc`.
pub fn monotonic_ns_at(tsc: u64) -> u64 {
    VDSO_DATA.consistent(|data| data.monotonic_at(tsc))
}

/// The rate of the TSC in kHz, as far as it is known by now.
pub fn tsc_khz() -> u64 {
    Scale::from_factor(VDSO_DATA.factor.load(Ordering::Relaxed)).inverse().apply(1_000_000)
}

/// Nanoseconds since 1970 (UTC).
#[inline]
pub fn realtime_ns() -> u64 {
    VDSO_DATA.consistent(|data| data.monotonic_at(tsc()).wrapping_add(data.wall_offset_ns.load(Ordering::Relaxed)))
}

/// Nanoseconds from the monotonic clock to the time of day.
pub fn wall_offset_ns() -> u64 {
    VDSO_DATA.wall_offset_ns.load(Ordering::Relaxed)
}

/// Sets the time of day.
pub fn set_realtime_ns(now_ns: u64) {
    let _keeper = KEEPER.lock();
    let offset = now_ns.wrapping_sub(monotonic_ns());
    VDSO_DATA.change(|data| data.wall_offset_ns.store(offset, Ordering::Relaxed));
}

/// Starts the clock: finds the rates of the TSC and of the APIC's timer or begins to measure them, and asks for the time of
/// day. [`settle`] has to follow.
///
/// `boot_tsc` is the TSC at the kernel's entry, from where monotonic time counts.
pub fn init(platform: &Platform, boot_tsc: u64) {
    let kvm = kvm::KvmClock::find();
    let told = kvm.as_ref().and_then(kvm::KvmClock::scale).or_else(|| cpuid::tsc_hz().map(Scale::ticks_to_ns));
    if told.is_none() {
        begin_to_measure(platform);
    }
    let wall_ns = kvm.and_then(|clock| clock.wall_ns()).or_else(|| rtc::unix_seconds().map(|s| s * NS_PER_SEC));
    let keeper = KEEPER.lock();
    let is_measured = keeper.reference.is_some();
    let scale = told.unwrap_or_else(|| Scale::ticks_to_ns(if is_measured { TSC_HZ_BOUNDS.1 } else { TSC_HZ_GUESS }));
    set_tick_length(if is_measured { Scale::ticks_to_ns(TSC_HZ_BOUNDS.0) } else { scale });
    VDSO_DATA.change(|data| {
        data.factor.store(scale.factor(), Ordering::Relaxed);
        data.base_tsc.store(boot_tsc, Ordering::Relaxed);
        data.base_ns.store(0, Ordering::Relaxed);
        let offset = wall_ns.map_or(0, |wall_ns| wall_ns.wrapping_sub(data.monotonic_at(tsc())));
        data.wall_offset_ns.store(offset, Ordering::Relaxed);
    });
    drop(keeper);
    if !apic::has_tsc_deadline() && !is_measured {
        apic::set_timer_rate(told_apic_rate().unwrap_or_else(|| measure_apic(scale)));
    }
}

/// The rate of the APIC's timer behind its divider, where it is told.
fn told_apic_rate() -> Option<u64> {
    cpuid::apic_timer_hz().map(|hz| hz / APIC_DIVIDER)
}

fn set_tick_length(scale: Scale) {
    TICKS_PER_NS.store(scale.inverse().factor(), Ordering::Relaxed);
}

/// Both counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    tsc: u64,
    reference: u32,
}

/// Reads both counters as close together as they were in the best of a few attempts. Not inlined, so that an emulator
/// has translated it when it counts.
#[inline(never)]
fn moment(reference: &Reference) -> Moment {
    const ATTEMPTS: usize = 4;
    let attempt = || {
        let before = tsc();
        let reference = reference.read();
        let width = tsc().wrapping_sub(before);
        (width, Moment { tsc: before.wrapping_add(width / 2), reference })
    };
    let mut best = attempt();
    for _ in 1..ATTEMPTS {
        let next = attempt();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// Takes the first readings of the TSC and the APIC's timer against the best reference there is.
fn begin_to_measure(platform: &Platform) {
    let Some(reference) = Reference::find(platform) else { return };
    if !apic::has_tsc_deadline() {
        apic::start_counting();
    }
    moment(&reference);
    *KEEPER.lock() = Keeper { reference: Some(reference), start: moment(&reference), refined: 0 };
}

/// Ends the measurement that [`init`] began: from here on time is told as it is. To be called on the CPU of `init`, by
/// a thread, before there are programs.
pub fn settle() {
    let _here = IrqGuard::new();
    let keeper = KEEPER.lock();
    let Keeper { reference: Some(reference), start, .. } = *keeper else { return };
    drop(keeper);
    let window = Scale::ns_to_ticks(reference.hz).apply(MEASURE_NS) as u32;
    while reference.elapsed(start.reference, reference.read()) < window {}
    let apic_ticks = apic::counted();
    let end = moment(&reference);
    let elapsed = u64::from(reference.elapsed(start.reference, end.reference));
    let hz = scale::rate(end.tsc.wrapping_sub(start.tsc), elapsed, reference.hz);
    let scale = Scale::ticks_to_ns(if hz == 0 { TSC_HZ_GUESS } else { hz });
    let keeper = KEEPER.lock();
    set_tick_length(scale);
    VDSO_DATA.change(|data| data.factor.store(scale.factor(), Ordering::Relaxed));
    drop(keeper);
    if !apic::has_tsc_deadline() {
        let measured = || match apic_ticks {
            Some(ticks) => scale::rate(u64::from(ticks), elapsed, reference.hz),
            None => measure_apic(scale),
        };
        apic::set_timer_rate(told_apic_rate().unwrap_or_else(measured));
    }
    refine_later(start, &reference, 0);
}

/// Measures the rate of the APIC's timer against a TSC of known rate.
fn measure_apic(tsc_scale: Scale) -> u64 {
    apic::start_counting();
    let start = tsc();
    let elapsed_ns = loop {
        let elapsed_ns = tsc_scale.apply(tsc().wrapping_sub(start));
        if elapsed_ns >= MEASURE_APIC_NS {
            break elapsed_ns;
        }
    };
    scale::rate(u64::from(apic::counted().unwrap_or(0)), elapsed_ns, NS_PER_SEC)
}

/// Has the TSC measured again when it is time for that, or before the reference's counter has made a turn.
fn refine_later(start: Moment, reference: &Reference, refined: usize) {
    let Some(&delay_ns) = REFINE_NS.get(refined) else { return };
    let is_last = refined + 1 == REFINE_NS.len();
    let at_most_ns = reference.turn_ns() / if is_last { 2 } else { 4 };
    let start_ns = VDSO_DATA.consistent(|data| data.monotonic_at(start.tsc));
    REFINEMENT.call_once(|| Timer::new(refine)).arm(Deadline::at(start_ns + delay_ns.min(at_most_ns)));
}

/// Measures the TSC again over the whole time since boot. In interrupt context.
fn refine() {
    let mut keeper = KEEPER.lock();
    let Keeper { reference: Some(reference), start, ref mut refined } = *keeper else { return };
    *refined += 1;
    let refined = *refined;
    correct(start, &reference);
    drop(keeper);
    refine_later(start, &reference, refined);
}

/// Corrects the rate by what has passed since `start`. Too late, it does nothing. The caller holds `KEEPER`.
fn correct(start: Moment, reference: &Reference) {
    let end = moment(reference);
    let ticks = end.tsc.wrapping_sub(start.tsc);
    let age_ns = Scale::from_factor(VDSO_DATA.factor.load(Ordering::Relaxed)).apply(ticks);
    if age_ns > reference.turn_ns() / 16 * 15 {
        return;
    }
    let elapsed = u64::from(reference.elapsed(start.reference, end.reference));
    let hz = scale::rate(ticks, elapsed, reference.hz);
    let scale = Scale::ticks_to_ns(hz);
    let old = VDSO_DATA.factor.load(Ordering::Relaxed);
    // More than one part in 16 off is no refinement: somebody stopped one of the counters.
    if hz == 0 || scale.factor().abs_diff(old) > old / 16 {
        return;
    }
    set_tick_length(scale);
    VDSO_DATA.change(|data| {
        let now = tsc();
        let now_ns = data.monotonic_at(now);
        data.base_tsc.store(now, Ordering::Relaxed);
        data.base_ns.store(now_ns, Ordering::Relaxed);
        data.factor.store(scale.factor(), Ordering::Relaxed);
    });
}

/// The TSC as it is now, and how long it is from now until the monotonic clock reaches `time_ns`.
#[inline]
pub(super) fn until(time_ns: u64) -> (u64, u64) {
    let now = tsc();
    (now, time_ns.saturating_sub(VDSO_DATA.consistent(|data| data.monotonic_at(now))))
}

/// Ticks of the TSC in `duration_ns`.
#[inline]
pub(super) fn ns_to_tsc(duration_ns: u64) -> u64 {
    Scale::from_factor(TICKS_PER_NS.load(Ordering::Relaxed)).apply_saturating(duration_ns)
}
