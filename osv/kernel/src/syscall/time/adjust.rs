//! `adjtimex(2)` and `clock_adjtime(2)`.
//!
//! What a time daemon tells is kept and told back by Linux' rules. Steps (ADJ_SETOFFSET) and small corrections move the clock
//! at once; its rate is the TSC's and stays so, whatever the frequency and tick say.

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Timeval;
use super::clock::{require_time_right, set_time_of_day};
use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::event::Clock;
use crate::mem::user::UserPtr;
use crate::sync::SpinLock;
use crate::syscall::SysResult;

/// `struct timex`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Timex {
    modes: u32,
    padding: u32,
    offset: i64,
    frequency: i64,
    max_error: i64,
    estimated_error: i64,
    status: i32,
    padding_2: u32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    time: Timeval,
    tick: i64,
    pps: [u64; 8],
    tai: i32,
    rest: [u32; 11],
}

const _: () = assert!(size_of::<Timex>() == 208);

// Bits of `modes`.
const OFFSET: u32 = 0x0001;
const FREQUENCY: u32 = 0x0002;
const MAX_ERROR: u32 = 0x0004;
const ESTIMATED_ERROR: u32 = 0x0008;
const STATUS: u32 = 0x0010;
const CONSTANT: u32 = 0x0020;
const TAI: u32 = 0x0080;
const SET_OFFSET: u32 = 0x0100;
const MICRO: u32 = 0x1000;
const NANO: u32 = 0x2000;
const TICK: u32 = 0x4000;
/// The old `adjtime`, with which [`OFFSET`] is a correction and [`NANO`] means that it is only read.
const ADJTIME: u32 = 0x8000;

// Bits of `status`.
const STA_PLL: i32 = 0x0001;
const STA_UNSYNC: i32 = 0x0040;
const STA_NANO: i32 = 0x2000;
const STA_CLOCKERR: i32 = 0x1000;
/// What a program cannot set.
const STA_READ_ONLY: i32 = 0xff00;

/// What `adjtimex` returns for a clock that nobody disciplines.
const TIME_ERROR: u64 = 5;
const NS_PER_SEC: i64 = 1_000_000_000;
/// The largest correction of the phase, in microseconds, and its errors.
const MAX_PHASE_US: i64 = 500_000;
const PHASE_LIMIT_US: i64 = 16_000_000;
/// The largest change of the frequency: 500 parts per million, scaled by 2^16.
const MAX_FREQUENCY: i64 = 500 << 16;
/// Microseconds per tick at 100 ticks per second, and how far they may be off.
const DEFAULT_TICK: i64 = 10_000;
const TICKS: core::ops::RangeInclusive<i64> = 9_000..=11_000;
const MAX_CONSTANT: i64 = 10;

/// What was told.
struct Discipline {
    frequency: i64,
    max_error: i64,
    estimated_error: i64,
    status: i32,
    constant: i64,
    tick: i64,
    tai: i32,
}

static DISCIPLINE: SpinLock<Discipline> = SpinLock::new(Discipline {
    frequency: 0,
    max_error: PHASE_LIMIT_US,
    estimated_error: PHASE_LIMIT_US,
    status: STA_UNSYNC,
    constant: 2,
    tick: DEFAULT_TICK,
    tai: 0,
});

impl Discipline {
    /// Takes what `asked` says. Returns by how much the clock is to move, in nanoseconds.
    fn take(&mut self, asked: &Timex) -> i64 {
        let has = |mode: u32| asked.modes & mode != 0;
        if has(STATUS) {
            self.status = self.status & STA_READ_ONLY | asked.status & !STA_READ_ONLY;
        }
        if has(NANO) {
            self.status |= STA_NANO;
        }
        if has(MICRO) {
            self.status &= !STA_NANO;
        }
        if has(FREQUENCY) {
            self.frequency = asked.frequency.clamp(-MAX_FREQUENCY, MAX_FREQUENCY);
        }
        if has(MAX_ERROR) {
            self.max_error = asked.max_error.clamp(0, PHASE_LIMIT_US);
        }
        if has(ESTIMATED_ERROR) {
            self.estimated_error = asked.estimated_error.clamp(0, PHASE_LIMIT_US);
        }
        if has(CONSTANT) {
            let more = if self.status & STA_NANO == 0 { 4 } else { 0 };
            self.constant = asked.constant.clamp(0, MAX_CONSTANT).saturating_add(more).min(MAX_CONSTANT);
        }
        if has(TAI) && asked.constant >= 0 {
            self.tai = asked.constant as i32;
        }
        if has(TICK) {
            self.tick = asked.tick;
        }
        if has(OFFSET) && self.status & STA_PLL != 0 { self.phase_ns(asked.offset) } else { 0 }
    }

    /// A correction of the phase, given in the unit of the status.
    fn phase_ns(&self, offset: i64) -> i64 {
        let unit_ns = if self.status & STA_NANO != 0 { 1 } else { 1000 };
        offset.clamp(-MAX_PHASE_US * 1000 / unit_ns, MAX_PHASE_US * 1000 / unit_ns) * unit_ns
    }

    fn tell(&self, asked: &Timex) -> Timex {
        let now_ns = clock::realtime_ns();
        let mut time = Timeval::from_nanos(now_ns);
        if self.status & STA_NANO != 0 {
            time.usec = (now_ns % NS_PER_SEC as u64) as i64;
        }
        Timex {
            offset: 0,
            frequency: self.frequency,
            max_error: self.max_error,
            estimated_error: self.estimated_error,
            status: self.status,
            constant: self.constant,
            precision: 1,
            tolerance: MAX_FREQUENCY,
            time,
            tick: self.tick,
            pps: [0; 8],
            tai: self.tai,
            rest: [0; 11],
            ..*asked
        }
    }
}

/// EPERM and EINVAL by Linux' rules.
fn check(asked: &Timex) -> Result<()> {
    let has = |mode: u32| asked.modes & mode != 0;
    if has(ADJTIME) {
        if !has(OFFSET) {
            return Err(Errno::EINVAL);
        }
        if !has(NANO) {
            require_time_right()?;
        }
        return Ok(());
    }
    if asked.modes != 0 {
        require_time_right()?;
    }
    if has(TICK) && !TICKS.contains(&asked.tick) {
        return Err(Errno::EINVAL);
    }
    let parts = if has(NANO) { NS_PER_SEC } else { 1_000_000 };
    if has(SET_OFFSET) && !(0..parts).contains(&asked.time.usec) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// How far `asked` wants the clock to step.
fn step_ns(asked: &Timex) -> i64 {
    let unit_ns = if asked.modes & NANO != 0 { 1 } else { 1000 };
    asked.time.sec.saturating_mul(NS_PER_SEC).saturating_add(asked.time.usec * unit_ns)
}

/// <https://man7.org/linux/man-pages/man2/adjtimex.2.html>
pub fn adjtimex(state: UserPtr<Timex>) -> SysResult {
    let asked = state.read()?;
    check(&asked)?;
    let has = |mode: u32| asked.modes & mode != 0;
    let moves_ns = if has(ADJTIME) {
        if has(NANO) { 0 } else { asked.offset.saturating_mul(1000) }
    } else {
        let phase_ns = DISCIPLINE.lock().take(&asked);
        if has(SET_OFFSET) { step_ns(&asked) } else { phase_ns }
    };
    if moves_ns != 0 {
        let now_ns = clock::realtime_ns().checked_add_signed(moves_ns).ok_or(Errno::EINVAL)?;
        set_time_of_day(now_ns)?;
    }
    let (told, status) = {
        let discipline = DISCIPLINE.lock();
        (discipline.tell(&asked), discipline.status)
    };
    state.write(&told)?;
    Ok(if status & (STA_UNSYNC | STA_CLOCKERR) != 0 { TIME_ERROR } else { 0 })
}

/// `adjtimex` for a clock that is named. <https://man7.org/linux/man-pages/man2/clock_adjtime.2.html>
pub fn clock_adjtime(clock: i32, state: UserPtr<Timex>) -> SysResult {
    Clock::from_id(clock)?;
    if clock as u32 != general::CLOCK_REALTIME {
        return Err(Errno::EOPNOTSUPP);
    }
    adjtimex(state)
}
