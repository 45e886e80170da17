//! A thread: a kernel stack, a saved context, and what the scheduler knows of it.
//!
//! What a thread means to programs (process, signals, credentials) hangs off its [`Extension`], so that this floor
//! need not know it. The scheduler owns one reference to every thread from [`create`] until its last switch.

use alloc::sync::Arc;
use core::any::Any;
use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicI8, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::cpu_mask::{AtomicCpuMask, CpuMask};
use super::scheduler;
use super::timer::{Alarm, Deadline, Timer};
use crate::arch::{Context, work};
use crate::errno::Result;
use crate::mem::KernelStack;
use crate::sync::Once;

/// The share of a thread with nice 0.
pub(super) const NICE_0_WEIGHT: u64 = 1024;

/// The share of a thread of SCHED_IDLE, as on Linux.
const IDLE_WEIGHT: u32 = 3;

/// The highest real-time priority.
pub const MAX_PRIORITY: u8 = 99;

/// What the floors above hang on a thread.
///
/// # Safety
/// - A single type implements it: whoever knows that a thread has an extension takes it for that type.
pub unsafe trait Extension: Any + Send + Sync {
    /// The thread, whose context is given, is about to run on this CPU: make its address space current, unless it is,
    /// because the previous thread has the same. Interrupts are off.
    fn switch_to(&self, context: &Context, is_space_current: bool);
    /// A number, not 0, that it has in common with threads of the same address space.
    fn space_id(&self) -> usize;
    /// The name for last words and logs, padded with zeros.
    fn name(&self) -> [u8; 16];
}

/// Whether a thread can run. Changes under the lock of its CPU's run queue, but for a thread's own announcements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    /// Runs, or stands in a run queue.
    Runnable,
    /// Sleeps, or is about to.
    Blocked,
    /// Has run for the last time.
    Dead,
}

/// A thread. `context` comes first, since the CPU's `current` pointer leads to it.
#[repr(C)]
pub struct Thread {
    /// What the CPU needs to run it.
    pub context: Context,
    id: u64,
    name: &'static str,
    state: AtomicU8,
    /// A CPU still runs on its stack; whoever wants to switch to it waits for the end of that.
    pub(super) on_cpu: AtomicBool,
    pub(super) cpu: AtomicUsize,
    pub(super) affinity: AtomicCpuMask,
    nice: AtomicI8,
    /// Real-time priority, 1 to 99; 0 for a fair share. What it was given, and what it inherits from those who wait for it.
    own_priority: AtomicU8,
    inherited_priority: AtomicU8,
    /// Takes turns with others of its priority.
    pub(super) is_round_robin: AtomicBool,
    /// Its turn is over.
    pub(super) gives_way: AtomicBool,
    pub(super) weight: AtomicU32,
    /// Run time divided by weight; the thread with the least runs next. Under the run queue's lock.
    pub(super) virtual_time: AtomicU64,
    pub(super) cpu_time_ns: AtomicU64,
    /// Ticks of the clock that found its program running, and that found the kernel running for it.
    pub(super) user_ticks: AtomicU64,
    pub(super) system_ticks: AtomicU64,
    pub(super) voluntary_switches: AtomicU64,
    pub(super) involuntary_switches: AtomicU64,
    alarm: Once<Arc<Timer>>,
    stack: KernelStack,
    extension: Option<Arc<dyn Extension>>,
    /// The extension's `space_id`, or 0.
    pub(super) space_id: usize,
    /// The extension's own address, or null, so that asking for it as its type calls and compares nothing.
    extension_data: AtomicPtr<()>,
}

/// What a new thread starts with.
pub struct NewThread {
    /// The name of a kernel thread; programs' threads are named by their extension.
    pub name: &'static str,
    /// Where it starts, on its own kernel stack with interrupts on.
    pub entry: extern "C" fn(usize) -> !,
    /// What `entry` gets.
    pub argument: usize,
    /// What the floors above hang on it; with one, the thread has program state that switches save.
    pub extension: Option<Arc<dyn Extension>>,
    /// Where it may run.
    pub affinity: CpuMask,
    /// From -20 (much) to 19 (little).
    pub nice: i8,
}

/// Makes a thread that does not run before [`Thread::start`].
///
/// # Errors
/// ENOMEM without room for a stack.
pub fn create(new: NewThread) -> Result<Arc<Thread>> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    let stack = KernelStack::new()?;
    let is_user = new.extension.is_some();
    let extension_data =
        new.extension.as_ref().map_or(core::ptr::null(), |extension| Arc::as_ptr(extension).cast::<()>());
    let space_id = new.extension.as_ref().map_or(0, |extension| extension.space_id());
    let context = Context::new(stack.top(), new.entry, new.argument, is_user)?;
    let thread = Thread {
        context,
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        name: new.name,
        state: AtomicU8::new(State::Blocked as u8),
        on_cpu: AtomicBool::new(false),
        cpu: AtomicUsize::new(crate::arch::cpu_id()),
        affinity: AtomicCpuMask::new(new.affinity),
        nice: AtomicI8::new(0),
        own_priority: AtomicU8::new(0),
        inherited_priority: AtomicU8::new(0),
        is_round_robin: AtomicBool::new(false),
        gives_way: AtomicBool::new(false),
        weight: AtomicU32::new(NICE_0_WEIGHT as u32),
        virtual_time: AtomicU64::new(0),
        cpu_time_ns: AtomicU64::new(0),
        user_ticks: AtomicU64::new(0),
        system_ticks: AtomicU64::new(0),
        voluntary_switches: AtomicU64::new(0),
        involuntary_switches: AtomicU64::new(0),
        alarm: Once::new(),
        stack,
        extension: new.extension,
        space_id,
        extension_data: AtomicPtr::new(extension_data.cast_mut()),
    };
    thread.set_nice(new.nice);
    Ok(Arc::new(thread))
}

/// Makes a thread and lets it run.
///
/// # Errors
/// ENOMEM without room for a stack.
pub fn spawn(new: NewThread) -> Result<Arc<Thread>> {
    let thread = create(new)?;
    thread.start();
    Ok(thread)
}

impl Thread {
    /// Lets a thread run that [`create`] made. To be called once.
    pub fn start(self: &Arc<Self>) {
        scheduler::adopt(Arc::clone(self));
        self.wake();
    }

    /// Whether a CPU runs it; a hint for diagnostics.
    pub fn is_on_cpu(&self) -> bool {
        self.on_cpu.load(Ordering::Relaxed)
    }

    /// What it does, in a word, for diagnostics.
    pub fn doing(&self) -> &'static str {
        match self.state.load(Ordering::Relaxed) {
            _ if self.is_on_cpu() => "runs",
            state if state == State::Runnable as u8 => "waits for a CPU",
            state if state == State::Blocked as u8 => "sleeps",
            _ => "is dead",
        }
    }

    /// A number that no other thread of this kernel has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name, padded with zeros.
    pub fn name(&self) -> [u8; 16] {
        if let Some(extension) = &self.extension {
            return extension.name();
        }
        let mut name = [0; 16];
        let length = self.name.len().min(name.len() - 1);
        name[..length].copy_from_slice(&self.name.as_bytes()[..length]);
        name
    }

    /// What the floors above hung on it.
    #[inline(always)]
    pub fn extension(&self) -> Option<&Arc<dyn Extension>> {
        self.extension.as_ref()
    }

    /// What the floors above hung on it, as what it is.
    #[inline(always)]
    pub fn extension_as<T: Extension>(&self) -> Option<&T> {
        // SAFETY:
        // - the address was taken from `extension`, which never changes and lives as long as the thread;
        // - `T` is the one type that an extension can have.
        unsafe { self.extension_data.load(Ordering::Relaxed).cast::<T>().as_ref() }
    }

    /// Makes a blocked thread runnable. Returns whether it was blocked.
    #[inline]
    pub fn wake(&self) -> bool {
        scheduler::wake(self)
    }

    /// Tells the thread of a signal: an interruptible sleep ends, and a running program comes into the kernel.
    pub fn interrupt(&self) {
        self.context.work.fetch_or(work::SIGNAL, Ordering::SeqCst);
        if !self.wake() {
            scheduler::kick(self);
        }
    }

    /// Whether a signal waits for the thread.
    #[inline(always)]
    pub fn has_signal(&self) -> bool {
        self.context.work.load(Ordering::SeqCst) & work::SIGNAL != 0
    }

    /// The CPU that runs it, or ran it last.
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// Where it may run.
    pub fn affinity(&self) -> CpuMask {
        self.affinity.load()
    }

    /// Says where it may run from now on; a running thread moves at once.
    pub fn set_affinity(&self, mask: CpuMask) {
        self.affinity.store(mask);
        scheduler::kick(self);
    }

    /// Makes it run before all with a lower priority, 1 to 99, or by its fair share (0).
    pub fn set_priority(&self, priority: u8, is_round_robin: bool) {
        self.is_round_robin.store(is_round_robin, Ordering::Relaxed);
        self.own_priority.store(priority.min(MAX_PRIORITY), Ordering::Relaxed);
        scheduler::reposition(self);
    }

    /// Gives it at least this priority, because somebody waits for it. Returns whether anything has changed.
    pub fn set_inherited_priority(&self, priority: u8) -> bool {
        let before = self.effective_priority();
        self.inherited_priority.store(priority.min(MAX_PRIORITY), Ordering::Relaxed);
        let has_changed = self.effective_priority() != before;
        if has_changed {
            scheduler::reposition(self);
        }
        has_changed
    }

    /// The priority that counts.
    #[inline]
    pub fn effective_priority(&self) -> u8 {
        self.own_priority.load(Ordering::Relaxed).max(self.inherited_priority.load(Ordering::Relaxed))
    }

    /// From -20 (much) to 19 (little).
    pub fn nice(&self) -> i8 {
        self.nice.load(Ordering::Relaxed)
    }

    /// Gives it the share of SCHED_IDLE, less than any nice value does, or back that of its nice value.
    pub fn set_idle_share(&self, is_idle: bool) {
        let weight = if is_idle { IDLE_WEIGHT } else { weight_of(self.nice()) };
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Changes its share of the CPU: each step is a factor of 1.25, as on Linux.
    pub fn set_nice(&self, nice: i8) {
        let nice = nice.clamp(-20, 19);
        self.nice.store(nice, Ordering::Relaxed);
        self.weight.store(weight_of(nice), Ordering::Relaxed);
    }

    /// How long it has run up to now, in nanoseconds.
    pub fn cpu_time_ns(&self) -> u64 {
        scheduler::cpu_time_ns(self)
    }

    /// How many ticks of the clock found its program running, and how many the kernel on its behalf.
    pub fn ticks(&self) -> (u64, u64) {
        (self.user_ticks.load(Ordering::Relaxed), self.system_ticks.load(Ordering::Relaxed))
    }

    /// How often it gave up the CPU of itself, and how often it was made to.
    pub fn switches(&self) -> (u64, u64) {
        (self.voluntary_switches.load(Ordering::Relaxed), self.involuntary_switches.load(Ordering::Relaxed))
    }

    /// Whether it runs or could.
    pub fn is_runnable(&self) -> bool {
        self.state() == State::Runnable
    }

    /// The stack that system calls and traps of this thread run on.
    pub fn kernel_stack(&self) -> &KernelStack {
        &self.stack
    }

    #[inline(always)]
    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            0 => State::Runnable,
            1 => State::Blocked,
            _ => State::Dead,
        }
    }

    #[inline(always)]
    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// The current thread announces that it will block. It looks at its condition after this, so that a wake-up
    /// in between is not lost.
    #[inline(always)]
    pub(super) fn prepare_to_block(&self) {
        self.set_state(State::Blocked);
    }

    /// The current thread takes the announcement back.
    #[inline(always)]
    pub(super) fn stay_runnable(&self) {
        self.set_state(State::Runnable);
    }

    /// Has the current thread woken at `deadline` while the alarm lives.
    pub(super) fn alarm(&self, deadline: Deadline) -> Alarm<'_> {
        let timer = self.alarm.call_once(|| {
            let thread = Arc::downgrade(&current_arc());
            Timer::new(move || {
                if let Some(thread) = thread.upgrade() {
                    thread.wake();
                }
            })
        });
        Alarm::new(timer, deadline)
    }
}

fn current_arc() -> Arc<Thread> {
    scheduler::current().arc()
}

/// Linux' table of weights: 1024 at nice 0, a factor of 1.25 per step.
fn weight_of(nice: i8) -> u32 {
    const WEIGHTS: [u32; 40] = [
        88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121, 2501,
        1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
    ];
    WEIGHTS[(nice.clamp(-20, 19) + 20) as usize]
}

/// The thread that asks. Not `Send`, since it stays on its own stack.
#[derive(Clone, Copy)]
pub struct CurrentThread {
    thread: &'static Thread,
    not_send: PhantomData<*const ()>,
}

impl CurrentThread {
    /// `thread` must be the current one, which lives at least as long as it runs.
    #[inline(always)]
    pub(super) fn new(thread: &'static Thread) -> Self {
        CurrentThread { thread, not_send: PhantomData }
    }

    /// The thread for the scheduler's own use, which does not outlive the thread's run.
    #[inline(always)]
    pub fn forever(self) -> &'static Thread {
        self.thread
    }

    /// A reference that can be kept.
    pub fn arc(self) -> Arc<Thread> {
        scheduler::share(self.thread)
    }
}

impl Deref for CurrentThread {
    type Target = Thread;
    #[inline(always)]
    fn deref(&self) -> &Thread {
        self.thread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_linux() {
        assert_eq!(weight_of(0), 1024);
        assert_eq!(weight_of(-20), 88761);
        assert_eq!(weight_of(19), 15);
        assert_eq!(weight_of(100), 15);
    }
}
