//! Interrupt vectors: who gets which, and the way from a vector to its handler.
//!
//! The vectors that the kernel itself needs are constants here, the others are handed out to devices on demand. A
//! handler is called with interrupts off on the CPU that took the interrupt; it must not sleep, and it must not take a
//! lock other than an `IrqOff` one. `dispatch` ends the interrupt at the local APIC after the handler. Handlers
//! are never taken away: a device that goes keeps its vector, so that dispatch needs one load and no lock.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::drivers::apic;
use crate::errno::{Errno, Result};
use crate::sync::{Once, SpinLock};
use crate::warn;

/// An interrupt vector.
pub type Vector = u8;

/// First vector for devices; the exceptions and the PIC's (masked) range lie below.
const FIRST_DEVICE: Vector = 0x30;
/// Last vector for devices.
const LAST_DEVICE: Vector = 0xef;
/// The local APIC's timer.
pub const TIMER: Vector = 0xf0;
/// Another CPU has put a thread on this CPU's run queue.
pub const RESCHEDULE: Vector = 0xf1;
/// Another CPU has changed page tables that this CPU may have cached.
pub const TLB_SHOOTDOWN: Vector = 0xf2;
/// Another CPU wants a function called here.
pub const CALL_FUNCTION: Vector = 0xf3;
/// The local APIC reports an error of its own.
pub const APIC_ERROR: Vector = 0xfe;
/// An interrupt that went away before it could be told; needs no end.
pub const SPURIOUS: Vector = 0xff;

/// What is called when an interrupt arrives.
pub type Handler = &'static (dyn Fn() + Sync);

const VECTORS: usize = 256;

static HANDLERS: [Once<Handler>; VECTORS] = [const { Once::new() }; VECTORS];
static NEXT_DEVICE: AtomicU8 = AtomicU8::new(FIRST_DEVICE);
/// Vectors that came without a handler and were named in the log.
static WAS_SAID: [AtomicBool; VECTORS] = [const { AtomicBool::new(false) }; VECTORS];

/// Installs the handler of one of the kernel's own vectors; the first one stays.
pub fn set_handler(vector: Vector, handler: Handler) {
    if let Some(slot) = HANDLERS.get(usize::from(vector)) {
        slot.call_once(|| handler);
    }
}

/// Takes a free vector for a device whose interrupts call `handler`; ENOSPC if there is none.
pub fn register(handler: impl Fn() + Sync + 'static) -> Result<Vector> {
    let take = |next: Vector| (next <= LAST_DEVICE).then_some(next.wrapping_add(1));
    let vector = NEXT_DEVICE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| Errno::ENOSPC)?;
    set_handler(vector, Box::leak(Box::new(handler)));
    Ok(vector)
}

/// Calls the handler of `vector` and ends the interrupt. Called with interrupts off by the entry code.
#[inline]
pub fn dispatch(vector: Vector) {
    match HANDLERS.get(usize::from(vector)).and_then(Once::get) {
        Some(handler) => handler(),
        None => unexpected(vector),
    }
    if vector != SPURIOUS {
        apic::end_of_interrupt();
    }
}

/// Says in the log that nobody handles a vector, once for each.
#[cold]
fn unexpected(vector: Vector) {
    if let Some(was_said) = WAS_SAID.get(usize::from(vector))
        && !was_said.swap(true, Ordering::Relaxed)
    {
        warn!("interrupt {vector:#x}, which nobody handles");
    }
}

/// Makes another CPU look at its run queue.
#[inline]
pub fn send_reschedule(cpu: usize) {
    apic::send_ipi(cpu, RESCHEDULE);
}

/// At most so many devices share one line.
const SHARERS_MAX: usize = 16;

/// The devices on one input of the I/O APICs. All are asked at each interrupt, since a level-triggered line is shared.
struct Line {
    gsi: u32,
    devices: [Once<Handler>; SHARERS_MAX],
}

impl Line {
    fn call_all(&self) {
        self.devices.iter().map_while(Once::get).for_each(|handler| handler());
    }

    fn add(&self, handler: Handler) -> Result<()> {
        self.devices.iter().find(|slot| !slot.is_completed()).ok_or(Errno::ENOSPC)?.call_once(|| handler);
        Ok(())
    }
}

static LINES: SpinLock<alloc::vec::Vec<&'static Line>> = SpinLock::new(alloc::vec::Vec::new());

/// How a line tells of its interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineMode {
    /// Level triggered instead of edge.
    pub is_level: bool,
    /// Active low instead of high.
    pub is_active_low: bool,
}

/// Calls `handler` at each interrupt of input `gsi`. The handler is asked also when another device on the same line
/// has an interrupt, and must make its own device let go of the line.
pub fn register_line(gsi: u32, mode: LineMode, handler: impl Fn() + Sync + 'static) -> Result<()> {
    let handler: Handler = Box::leak(Box::new(handler));
    let mut lines = LINES.lock();
    if let Some(line) = lines.iter().find(|line| line.gsi == gsi) {
        return line.add(handler);
    }
    let line: &'static Line = Box::leak(Box::new(Line { gsi, devices: [const { Once::new() }; SHARERS_MAX] }));
    line.add(handler)?;
    let vector = register(|| line.call_all())?;
    apic::route_line(gsi, mode, vector)?;
    lines.push(line);
    Ok(())
}
