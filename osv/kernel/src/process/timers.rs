//! Timers of programs: setitimer(2), timer_create(2), and the limit on CPU time.
//!
//! They are all [`Alarm`]s: at a moment of a clock a signal is sent, and perhaps again after each interval. As on Linux the next
//! interval begins when the signal is taken out of its queue: intervals that passed meanwhile are counted, not
//! sent, so that no interval, however short, can flood anybody. Alarms on CPU time look at the clock when they could be due at
//! the earliest, and again.

use alloc::sync::{Arc, Weak};

use linux_raw_sys::general as linux;

use super::limits::{self, Resource};
use super::signal::info::SignalInfo;
use super::signal::send;
use super::signal::set::Signal;
use super::structure::Process;
use super::task::Task;
use crate::drivers::clock::{self, monotonic_ns};
use crate::errno::{Errno, Result};
use crate::sched::Deadline;
use crate::sched::timer::Timer;
use crate::sorted_map::SortedMap;
use crate::sync::{IrqOff, SpinLock};

const NS_PER_SEC: u64 = 1_000_000_000;

/// Timers whose signal nobody takes come again after this long at the earliest.
const MIN_IGNORED_INTERVAL_NS: u64 = 1_000_000;

/// The clock of an alarm.
pub enum TimeBase {
    /// Time since boot; programs give it as a time of day if it is to be that.
    Monotonic {
        /// Whether absolute times are times of day.
        is_realtime: bool,
    },
    /// What the process has used of the CPUs.
    ProcessCpu,
    /// What its program has used of them, without the kernel.
    ProcessUser,
    /// What a task has used of the CPUs.
    TaskCpu(Weak<Task>),
}

/// What happens when the time is over.
enum Event {
    /// A signal for the process, of a timer of `setitimer`.
    Interval(Signal),
    /// A signal of a timer of `timer_create`, for the process or one task.
    Posix { signal: Signal, timer: u32, value: u64, task: Option<Weak<Task>> },
    /// Nothing: somebody looks at it.
    Silent,
    /// SIGXCPU, then SIGKILL.
    CpuLimit,
}

/// An alarm.
pub struct Alarm {
    process: Weak<Process>,
    base: TimeBase,
    event: Event,
    state: SpinLock<State, IrqOff>,
    timer: SpinLock<Option<Arc<Timer>>, IrqOff>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// When it is due, by its clock; `None` if it is not set.
    target_ns: Option<u64>,
    interval_ns: u64,
    /// Its signal has been sent, and not been taken.
    is_sent: bool,
    /// Intervals that passed before the last signal that was taken, and those after it that nobody wanted.
    overruns: u32,
    missed: u64,
}

/// When an alarm is due, from now, and how often again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Time until then, in nanoseconds; 0 if it is not set.
    pub remaining_ns: u64,
    /// The interval after that; 0 for none.
    pub interval_ns: u64,
}

impl Alarm {
    fn new(process: &Arc<Process>, base: TimeBase, event: Event) -> Arc<Alarm> {
        let alarm = Arc::new(Alarm {
            process: Arc::downgrade(process),
            base,
            event,
            state: SpinLock::new(State::default()),
            timer: SpinLock::new(None),
        });
        let weak = Arc::downgrade(&alarm);
        let timer = Timer::new(move || {
            if let Some(alarm) = weak.upgrade() {
                alarm.fire();
            }
        });
        *alarm.timer.lock() = Some(timer);
        alarm
    }

    /// The time by its clock.
    fn now_ns(&self) -> u64 {
        match &self.base {
            TimeBase::Monotonic { .. } => monotonic_ns(),
            TimeBase::ProcessCpu => self.process.upgrade().map_or(0, |process| process.cpu_time_ns()),
            TimeBase::ProcessUser => self.process.upgrade().map_or(0, |process| process.divided_time_ns().0),
            TimeBase::TaskCpu(task) => task.upgrade().and_then(|task| task.thread()).map_or(0, |t| t.cpu_time_ns()),
        }
    }

    /// Sets it to a time of its clock, or to nothing; returns what it was set to.
    fn set(&self, target_ns: Option<u64>, interval_ns: u64) -> Setting {
        let old = self.setting();
        let mut state = self.state.lock();
        *state = State { target_ns, interval_ns, ..State::default() };
        self.arm(&state);
        old
    }

    /// Programs the scheduler's timer.
    fn arm(&self, state: &State) {
        let timer = self.timer.lock();
        let Some(timer) = &*timer else { return };
        match state.target_ns {
            Some(target_ns) if !matches!(self.event, Event::Silent) => {
                let delay_ns = target_ns.saturating_sub(self.now_ns());
                timer.arm(Deadline::after(delay_ns));
            }
            _ => timer.cancel(),
        }
    }

    /// What is left of it.
    fn setting(&self) -> Setting {
        let state = *self.state.lock();
        let Some(target_ns) = state.target_ns else {
            return Setting { remaining_ns: 0, interval_ns: state.interval_ns };
        };
        let now_ns = self.now_ns();
        let remaining_ns = match target_ns.checked_sub(now_ns) {
            Some(remaining_ns) => remaining_ns.max(1),
            None if state.interval_ns == 0 => u64::from(!matches!(self.event, Event::Silent)),
            None => state.interval_ns - (now_ns - target_ns) % state.interval_ns,
        };
        Setting { remaining_ns, interval_ns: state.interval_ns }
    }

    /// The scheduler's timer is over. In interrupt context.
    fn fire(&self) {
        let Some(process) = self.process.upgrade() else { return };
        {
            let mut state = self.state.lock();
            let Some(target_ns) = state.target_ns else { return };
            if self.now_ns() < target_ns {
                return self.arm(&state);
            }
            if let Event::CpuLimit = self.event {
                state.target_ns = Some(target_ns.saturating_add(NS_PER_SEC));
                self.arm(&state);
            } else {
                state.is_sent = true;
            }
        }
        if !self.send(&process) {
            self.advance(false);
        }
    }

    /// Sends what there is to send. Returns whether somebody will take it.
    fn send(&self, process: &Arc<Process>) -> bool {
        match &self.event {
            Event::Interval(signal) => send::for_timer(process, None, *signal, SignalInfo::from_kernel(*signal)),
            Event::Posix { signal, timer, value, task } => {
                let info = SignalInfo::from_timer(*signal, *timer, 0, *value);
                let task = task.as_ref().map(Weak::upgrade);
                match task {
                    Some(None) => true,
                    Some(Some(task)) => send::for_timer(process, Some(&task), *signal, info),
                    None => send::for_timer(process, None, *signal, info),
                }
            }
            Event::Silent => true,
            Event::CpuLimit => {
                self.enforce_cpu_limit(process);
                true
            }
        }
    }

    fn enforce_cpu_limit(&self, process: &Arc<Process>) {
        let Some(limit) = process.limits.try_lock().map(|limits| limits.get(Resource::Cpu)) else { return };
        let is_over = self.now_ns() / NS_PER_SEC >= limit.hard;
        let signal = if is_over { Signal::SIGKILL } else { Signal::SIGXCPU };
        let _ = send::to_process(process, signal, SignalInfo::from_kernel(signal));
    }

    /// The signal has been taken, or nobody wants it: the next interval begins. Returns how many passed meanwhile.
    fn advance(&self, is_taken: bool) -> u32 {
        let mut state = self.state.lock();
        if !state.is_sent {
            return 0;
        }
        state.is_sent = false;
        let Some(target_ns) = state.target_ns else { return 0 };
        if state.interval_ns == 0 {
            state.target_ns = None;
            return 0;
        }
        let pause_ns = if is_taken { 0 } else { MIN_IGNORED_INTERVAL_NS };
        let late_ns = self.now_ns().saturating_sub(target_ns).saturating_add(pause_ns);
        let overruns = late_ns / state.interval_ns;
        let passed_ns = state.interval_ns.saturating_mul(overruns.saturating_add(1));
        state.target_ns = Some(target_ns.saturating_add(passed_ns));
        let all = state.missed.saturating_add(overruns);
        if is_taken {
            state.missed = 0;
            state.overruns = u32::try_from(all).unwrap_or(u32::MAX).min(i32::MAX as u32);
        } else {
            state.missed = all.saturating_add(1);
        }
        self.arm(&state);
        state.overruns
    }

    fn cancel(&self) {
        *self.state.lock() = State::default();
        let timer = self.timer.lock().take();
        if let Some(timer) = timer {
            timer.cancel();
        }
    }
}

/// The timers of a process.
pub struct Timers {
    /// Those of `setitimer`, by number.
    interval: SpinLock<[Option<Arc<Alarm>>; INTERVAL_TIMERS], IrqOff>,
    /// Those of `timer_create`.
    posix: SpinLock<SortedMap<u32, Arc<Alarm>>, IrqOff>,
    cpu_limit: SpinLock<Option<Arc<Alarm>>, IrqOff>,
}

const INTERVAL_TIMERS: usize = 3;

/// How a timer of `timer_create` tells that it is over.
pub enum Notify {
    /// Not at all.
    Silently,
    /// By a signal for the process.
    Process(Signal, Option<u64>),
    /// By a signal for a task.
    Task(Signal, u64, Arc<Task>),
}

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers {
            interval: SpinLock::new([const { None }; INTERVAL_TIMERS]),
            posix: SpinLock::new(SortedMap::new()),
            cpu_limit: SpinLock::new(None),
        }
    }

    /// The process ends.
    pub(super) fn cancel_all(&self) {
        let interval = core::mem::take(&mut *self.interval.lock());
        let limit = self.cpu_limit.lock().take();
        for alarm in interval.into_iter().flatten().chain(limit) {
            alarm.cancel();
        }
        self.delete_posix();
    }

    /// The process runs another program: timers of `timer_create` are gone.
    pub(super) fn delete_posix(&self) {
        let posix = core::mem::take(&mut *self.posix.lock());
        for alarm in posix.into_values() {
            alarm.cancel();
        }
    }

    /// A signal was taken out of its queue: if a timer had sent it, the timer's next interval begins, and the signal says how
    /// many have passed.
    pub(super) fn on_signal_taken(&self, signal: Signal, info: &mut SignalInfo) {
        if info.code == linux::SI_TIMER {
            let alarm = self.posix.lock().get(&info.timer()).cloned();
            if let Some(alarm) = alarm {
                *info = info.with_overrun(alarm.advance(true));
            }
        } else if let Some(which) = interval_timer_of(signal)
            && let Some(alarm) = self.interval.lock().get(which).cloned().flatten()
        {
            alarm.advance(true);
        }
    }
}

fn interval_timer_of(signal: Signal) -> Option<usize> {
    [Signal::SIGALRM, Signal::SIGVTALRM, Signal::SIGPROF].iter().position(|&other| other == signal)
}

impl Process {
    /// `setitimer`: returns the old setting. EINVAL for a number that is none.
    pub fn set_interval_timer(self: &Arc<Self>, which: u32, new: Setting) -> Result<Setting> {
        let (base, signal) = match which {
            linux::ITIMER_REAL => (TimeBase::Monotonic { is_realtime: false }, Signal::SIGALRM),
            linux::ITIMER_VIRTUAL => (TimeBase::ProcessUser, Signal::SIGVTALRM),
            linux::ITIMER_PROF => (TimeBase::ProcessCpu, Signal::SIGPROF),
            _ => return Err(Errno::EINVAL),
        };
        // Of a timer that is not set, those on CPU time remember the interval.
        let is_kept = new.remaining_ns != 0 || which != linux::ITIMER_REAL;
        let interval_ns = if is_kept { new.interval_ns } else { 0 };
        let existing = self.timers.interval.lock().get(which as usize).cloned().flatten();
        let alarm = match existing {
            Some(alarm) => alarm,
            None if new.remaining_ns == 0 && interval_ns == 0 => return Ok(Setting::default()),
            None => {
                let alarm = Alarm::new(self, base, Event::Interval(signal));
                if let Some(place) = self.timers.interval.lock().get_mut(which as usize) {
                    *place = Some(Arc::clone(&alarm));
                }
                alarm
            }
        };
        let target_ns = (new.remaining_ns != 0).then(|| alarm.now_ns().saturating_add(new.remaining_ns));
        Ok(alarm.set(target_ns, interval_ns))
    }

    /// `getitimer`.
    pub fn interval_timer(&self, which: u32) -> Result<Setting> {
        let timers = self.timers.interval.lock();
        let place = timers.get(which as usize).ok_or(Errno::EINVAL)?.clone();
        drop(timers);
        Ok(place.map_or(Setting::default(), |alarm| alarm.setting()))
    }

    /// `timer_create`: returns the timer's number. EAGAIN if there are too many.
    pub fn create_timer(self: &Arc<Self>, base: TimeBase, notify: Notify) -> Result<u32> {
        let limit = self.limit(Resource::PendingSignals);
        let id = {
            let timers = self.timers.posix.lock();
            if timers.len() as u64 >= limit {
                return Err(Errno::EAGAIN);
            }
            (0..).find(|id| !timers.contains_key(id)).ok_or(Errno::EAGAIN)?
        };
        let event = match notify {
            Notify::Silently => Event::Silent,
            Notify::Process(signal, value) => {
                Event::Posix { signal, timer: id, value: value.unwrap_or(u64::from(id)), task: None }
            }
            Notify::Task(signal, value, task) => {
                Event::Posix { signal, timer: id, value, task: Some(Arc::downgrade(&task)) }
            }
        };
        let alarm = Alarm::new(self, base, event);
        self.signals.lock().pending.reserve(1)?;
        self.timers.posix.lock().insert(id, alarm);
        Ok(id)
    }

    fn timer(&self, id: u32) -> Result<Arc<Alarm>> {
        self.timers.posix.lock().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// `timer_settime`: to a duration from now, or to a time of the timer's clock. Returns the old setting.
    pub fn set_timer(&self, id: u32, new: Setting, is_absolute: bool) -> Result<Setting> {
        let alarm = self.timer(id)?;
        let target_ns = (new.remaining_ns != 0).then(|| match alarm.base {
            _ if !is_absolute => alarm.now_ns().saturating_add(new.remaining_ns),
            TimeBase::Monotonic { is_realtime: true } => new.remaining_ns.saturating_sub(clock::wall_offset_ns()),
            _ => new.remaining_ns,
        });
        Ok(alarm.set(target_ns, new.interval_ns))
    }

    /// `timer_gettime`.
    pub fn timer_setting(&self, id: u32) -> Result<Setting> {
        Ok(self.timer(id)?.setting())
    }

    /// `timer_getoverrun`.
    pub fn timer_overruns(&self, id: u32) -> Result<u32> {
        Ok(self.timer(id)?.state.lock().overruns)
    }

    /// `timer_delete`.
    pub fn delete_timer(&self, id: u32) -> Result<()> {
        let alarm = self.timers.posix.lock().remove(&id).ok_or(Errno::EINVAL)?;
        alarm.cancel();
        Ok(())
    }

    /// Watches over RLIMIT_CPU, after it has changed or was inherited.
    pub(super) fn watch_cpu_limit(self: &Arc<Self>) {
        let limit = self.limits.lock().get(Resource::Cpu);
        if limit.soft == limits::INFINITY && self.timers.cpu_limit.lock().is_none() {
            return;
        }
        let alarm = {
            let mut place = self.timers.cpu_limit.lock();
            Arc::clone(place.get_or_insert_with(|| Alarm::new(self, TimeBase::ProcessCpu, Event::CpuLimit)))
        };
        let target_ns = (limit.soft != limits::INFINITY).then(|| limit.soft.max(1).saturating_mul(NS_PER_SEC));
        alarm.set(target_ns, 0);
    }
}
