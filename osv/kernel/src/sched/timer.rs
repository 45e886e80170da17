//! Timers: something to happen at a moment of the monotonic clock, with the precision of the CPU's own timer.
//!
//! Each CPU keeps its timers in order of their deadlines and programs its hardware for the earliest. The hardware
//! is only reprogrammed when something earlier comes up: a timer that was cancelled costs at most one interrupt that
//! finds nothing, while re-arming on each switch would cost an exit to the hypervisor each time. Callbacks run in
//! interrupt context: they wake threads and raise signals, and never sleep.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu_mask::MAX_CPUS;
use crate::arch::{self, IrqGuard};
use crate::drivers::{apic, clock};
use crate::sync::{IrqOff, SpinLock};

/// A moment of the monotonic clock, in nanoseconds since boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// The moment `time_ns` of the monotonic clock.
    pub const fn at(time_ns: u64) -> Deadline {
        Deadline(time_ns)
    }

    /// `duration_ns` from now; never, if that is beyond the clock.
    pub fn after(duration_ns: u64) -> Deadline {
        Deadline(clock::monotonic_ns().saturating_add(duration_ns))
    }

    /// In nanoseconds of the monotonic clock.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        clock::monotonic_ns() >= self.0
    }

    /// How long it is until then, in nanoseconds; 0 if it is over.
    pub fn remaining_ns(self) -> u64 {
        self.0.saturating_sub(clock::monotonic_ns())
    }
}

/// Something to be done at a moment that can be set again and again.
pub struct Timer {
    armed: SpinLock<Option<Armed>, IrqOff>,
    callback: Box<dyn Fn() + Send + Sync>,
}

/// Where an armed timer stands.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Armed {
    cpu_id: usize,
    key: Key,
}

/// The order of timers: by deadline, then by arming.
type Key = (u64, u64);

struct CpuTimers {
    queue: SpinLock<BTreeMap<Key, Arc<Timer>>, IrqOff>,
    /// When the hardware will fire; 0 if it is not armed, so that the table is zeros, which no file has to hold.
    programmed_ns: AtomicU64,
}

static TIMERS: [CpuTimers; MAX_CPUS] =
    [const { CpuTimers { queue: SpinLock::new(BTreeMap::new()), programmed_ns: AtomicU64::new(0) } }; MAX_CPUS];

static NEXT_SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl Timer {
    /// A timer that is not armed. `callback` runs in interrupt context.
    pub fn new(callback: impl Fn() + Send + Sync + 'static) -> Arc<Timer> {
        Arc::new(Timer { armed: SpinLock::new(None), callback: Box::new(callback) })
    }

    /// Calls back at `deadline`, instead of whenever it was to be before.
    pub fn arm(self: &Arc<Self>, deadline: Deadline) {
        let _irq = IrqGuard::new();
        let mut armed = self.armed.lock();
        remove(armed.take());
        let cpu_id = arch::cpu_id() % MAX_CPUS;
        let key = (deadline.0, NEXT_SEQUENCE.fetch_add(1, Ordering::Relaxed));
        *armed = Some(Armed { cpu_id, key });
        TIMERS[cpu_id].queue.lock().insert(key, Arc::clone(self));
        drop(armed);
        interrupt_no_later_than(deadline.0);
    }

    /// Does not call back any more. A callback that has already begun may still run.
    pub fn cancel(&self) {
        let mut armed = self.armed.lock();
        let timer = remove(armed.take());
        drop(armed);
        drop(timer);
    }

    /// Whether a call is still to come.
    pub fn is_armed(&self) -> bool {
        self.armed.lock().is_some()
    }

    /// The moment is over: calls back, unless the timer was set anew or cancelled meanwhile.
    fn fire(&self, fired: Armed) {
        let mut armed = self.armed.lock();
        if *armed != Some(fired) {
            return;
        }
        *armed = None;
        drop(armed);
        (self.callback)();
    }
}

/// Takes an armed timer out of its queue; the reference is for the caller to drop without locks.
fn remove(armed: Option<Armed>) -> Option<Arc<Timer>> {
    let Armed { cpu_id, key } = armed?;
    TIMERS[cpu_id].queue.lock().remove(&key)
}

/// Sees to it that this CPU's timer fires at `time_ns` or before. Interrupts are off.
#[inline]
pub(super) fn interrupt_no_later_than(time_ns: u64) {
    let programmed_ns = &TIMERS[arch::cpu_id() % MAX_CPUS].programmed_ns;
    if (1..=time_ns).contains(&programmed_ns.load(Ordering::Relaxed)) {
        return;
    }
    programmed_ns.store(time_ns, Ordering::Relaxed);
    apic::set_timer(time_ns);
}

/// Runs what is over on this CPU, and programs the hardware for what is not. In interrupt context.
pub(super) fn run_expired(now_ns: u64) {
    let cpu_id = arch::cpu_id() % MAX_CPUS;
    let timers = &TIMERS[cpu_id];
    timers.programmed_ns.store(0, Ordering::Relaxed);
    while let Some((key, timer)) = pop_expired(timers, now_ns) {
        timer.fire(Armed { cpu_id, key });
    }
    let next = timers.queue.lock().first_key_value().map(|(&(deadline_ns, _), _)| deadline_ns);
    if let Some(deadline_ns) = next {
        interrupt_no_later_than(deadline_ns);
    }
}

fn pop_expired(timers: &CpuTimers, now_ns: u64) -> Option<(Key, Arc<Timer>)> {
    let mut queue = timers.queue.lock();
    let first = queue.first_entry()?;
    if first.key().0 > now_ns {
        return None;
    }
    Some(first.remove_entry())
}

/// An armed timer that is cancelled when dropped: a time-out of something that ends before.
pub(super) struct Alarm<'a> {
    timer: &'a Arc<Timer>,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(timer: &'a Arc<Timer>, deadline: Deadline) -> Self {
        timer.arm(deadline);
        Alarm { timer }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.timer.cancel();
    }
}
