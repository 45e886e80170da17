//! The scheduler: which thread runs on which CPU.
//!
//! Each CPU has a run queue under a lock that is only taken with interrupts off. A thread's state changes under the
//! lock of the CPU it belongs to; only its own announcement that it will block needs no lock, because a waker that
//! finds it announced but still running just takes the announcement back. A thread that wakes goes to the CPU it
//! ran on if that idles, else to an idle one, else to where it was. A CPU that runs dry steals before it halts.
//!
//! The scheduler owns one reference to every thread, as a raw pointer, from [`adopt`] until [`finish_switch`] after
//! the thread's last run: switching touches no reference counts.

use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::cpu_mask::{AtomicCpuMask, CpuMask, MAX_CPUS};
use super::run_queue::{RANKS, RunQueue};
use super::thread::{CurrentThread, MAX_PRIORITY, NICE_0_WEIGHT, NewThread, State, Thread, create};
use super::timer;
use crate::arch::{self, IrqGuard, work};
use crate::drivers::{clock, irq};
use crate::errno::Result;
use crate::mem::tlb;
use crate::sync::SpinLock;

/// How long a thread runs while others wait, in nanoseconds.
const SLICE_NS: u64 = 3_000_000;
/// A thread that wakes displaces the running one if it is this much behind, in nanoseconds of virtual time.
const WAKE_UP_GRANULARITY_NS: u64 = 500_000;
/// How often a busy CPU looks whether another has more to do, in nanoseconds.
const BALANCE_INTERVAL_NS: u64 = 20_000_000;
/// How often a CPU that runs programs looks whether it is in the program or in the kernel, in nanoseconds.
const TICK_NS: u64 = 4_000_000;

/// When a CPU has run nothing but real-time threads for this long, in nanoseconds, one of the others gets a slice: a thread that
/// never sleeps must not take the machine for ever.
const MOST_REAL_TIME_NS: u64 = 950_000_000;

/// What the scheduler keeps per CPU.
struct Cpu {
    /// Only locked with interrupts off.
    queue: SpinLock<Queue>,
    /// Set while switching: whose stack the CPU has just left.
    previous: AtomicPtr<Thread>,
    /// When the running thread's slice ends while others wait; `u64::MAX` without any.
    slice_end_ns: AtomicU64,
    next_balance_ns: AtomicU64,
    /// When the next tick is due; `u64::MAX` while no program runs here.
    tick_ns: AtomicU64,
}

struct Queue {
    waiting: RunQueue<ThreadRef>,
    current: *const Thread,
    idle: *const Thread,
    /// When `current` was last accounted for.
    accounted_ns: u64,
    /// When a thread without real-time priority was last accounted for.
    fair_ns: u64,
    /// How often the CPU has switched.
    switches: u64,
}

/// The scheduler's own reference to a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ThreadRef(NonNull<Thread>);

// SAFETY:
// - threads are `Send + Sync`, and the scheduler's reference keeps them alive.
unsafe impl Send for ThreadRef {}
// SAFETY:
// - the raw pointers stand for references to threads that the scheduler keeps alive;
// - they are read and written under the queue's lock.
unsafe impl Send for Queue {}

impl ThreadRef {
    #[inline(always)]
    fn get(&self) -> &'static Thread {
        // SAFETY:
        // - the scheduler's reference keeps the thread alive until it is dead and no `ThreadRef` to it is left.
        unsafe { self.0.as_ref() }
    }
}

impl Cpu {
    const fn new() -> Cpu {
        Cpu {
            queue: SpinLock::new(Queue {
                waiting: RunQueue::new(),
                current: ptr::null(),
                idle: ptr::null(),
                accounted_ns: 0,
                fair_ns: 0,
                switches: 0,
            }),
            previous: AtomicPtr::new(ptr::null_mut()),
            slice_end_ns: AtomicU64::new(u64::MAX),
            next_balance_ns: AtomicU64::new(0),
            tick_ns: AtomicU64::new(u64::MAX),
        }
    }
}

static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

/// CPUs that take part.
static ONLINE: AtomicCpuMask = AtomicCpuMask::new(CpuMask(0));

/// CPUs that halt, or are about to.
static IDLE: AtomicCpuMask = AtomicCpuMask::new(CpuMask(0));

#[inline(always)]
fn this_cpu() -> &'static Cpu {
    &CPUS[arch::cpu_id() % MAX_CPUS]
}

/// The thread that asks.
#[inline(always)]
pub fn current() -> CurrentThread {
    // SAFETY:
    // - `Context` is the first field of the `repr(C)` struct `Thread`, and only contexts of threads become current;
    // - the current thread lives while it runs, and the handle stays on its stack.
    CurrentThread::new(unsafe { &*arch::current().cast::<Thread>() })
}

/// A counted reference to a thread that is known to be alive.
pub(super) fn share(thread: &Thread) -> Arc<Thread> {
    // SAFETY:
    // - every thread is in an `Arc` from `create` on, and `thread` proves that it is alive.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}

/// Takes the scheduler's reference to a new thread.
pub(super) fn adopt(thread: Arc<Thread>) {
    let _ = ManuallyDrop::new(thread);
}

/// Makes what runs on this CPU now its idle thread and lets the CPU take part. Once per CPU, at boot.
///
/// # Errors
/// ENOMEM.
pub fn init_cpu() -> Result<()> {
    let cpu_id = arch::cpu_id();
    let idle = create(NewThread {
        name: "idle",
        entry: idle_entry,
        argument: 0,
        extension: None,
        affinity: CpuMask::only(cpu_id),
        nice: 19,
    })?;
    idle.set_state(State::Runnable);
    idle.on_cpu.store(true, Ordering::Relaxed);
    idle.cpu.store(cpu_id, Ordering::Relaxed);
    let _irq = IrqGuard::new();
    let mut queue = this_cpu().queue.lock();
    queue.idle = Arc::into_raw(idle);
    queue.current = queue.idle;
    queue.accounted_ns = clock::monotonic_ns();
    // SAFETY:
    // - the idle thread is never dropped: the reference was leaked into the queue above.
    arch::set_current(unsafe { &(*queue.idle).context });
    ONLINE.insert(cpu_id);
    Ok(())
}

/// Idle threads are adopted by the code that boots their CPU and never start at an entry of their own.
extern "C" fn idle_entry(_: usize) -> ! {
    run_idle_loop()
}

/// Runs whatever there is to run on this CPU, and halts it between. What calls it becomes the idle thread's life.
pub fn run_idle_loop() -> ! {
    loop {
        schedule();
        halt_until_interrupt();
    }
}

/// Halts unless there is work; leaves the idle set before it returns.
fn halt_until_interrupt() {
    let cpu_id = arch::cpu_id();
    IDLE.insert(cpu_id);
    arch::disable_interrupts();
    let has_work = has_work(cpu_id) || steal_for(cpu_id);
    if has_work {
        arch::enable_interrupts();
    } else {
        tlb::rest();
        arch::enable_interrupts_and_halt();
    }
    IDLE.remove(cpu_id);
}

fn has_work(cpu_id: usize) -> bool {
    !CPUS[cpu_id].queue.lock().waiting.is_empty()
}

/// CPUs that halt right now.
pub fn idle_cpus() -> CpuMask {
    IDLE.load()
}

/// How many threads run or wait to run, for load averages.
pub fn runnable_threads() -> usize {
    ONLINE.load().iter().map(|cpu_id| waiting_on(cpu_id) + usize::from(!IDLE.load().contains(cpu_id))).sum()
}

/// How long `cpu_id` has been idle, in nanoseconds.
pub fn idle_time_ns(cpu_id: usize) -> u64 {
    let _irq = IrqGuard::new();
    let queue = CPUS[cpu_id % MAX_CPUS].queue.lock();
    if queue.idle.is_null() {
        return 0;
    }
    // SAFETY:
    // - the idle thread of a CPU is never dropped.
    let accounted_ns = unsafe { (*queue.idle).cpu_time_ns.load(Ordering::Relaxed) };
    let is_idle = ptr::eq(queue.current, queue.idle);
    let running_ns = if is_idle { clock::monotonic_ns().saturating_sub(queue.accounted_ns) } else { 0 };
    accounted_ns + running_ns
}

/// How often all CPUs have switched between threads since boot.
pub fn switch_count() -> u64 {
    let _irq = IrqGuard::new();
    ONLINE.load().iter().map(|cpu_id| CPUS[cpu_id].queue.lock().switches).sum()
}

fn waiting_on(cpu_id: usize) -> usize {
    let _irq = IrqGuard::new();
    CPUS[cpu_id].queue.lock().waiting.len()
}

/// Lets others run if the current thread's time is over; for long loops in the kernel. The host tests of the floors
/// above have no threads of ours, and nobody to let run.
#[inline]
pub fn relax() {
    if cfg!(test) {
        return;
    }
    if current().context.work.load(Ordering::Relaxed) & work::RESCHED != 0 {
        schedule();
    }
}

/// Whether a signal waits for the current thread: what takes long gives up then, where it may fail with EINTR.
pub fn has_signal() -> bool {
    !cfg!(test) && current().has_signal()
}

/// Lets all others of this CPU run once before the current thread goes on.
pub fn yield_now() {
    let _irq = IrqGuard::new();
    let queue = this_cpu().queue.lock();
    current().gives_way.store(true, Ordering::Relaxed);
    if let Some(least) = queue.waiting.least() {
        current().virtual_time.fetch_max(least.saturating_add(1), Ordering::Relaxed);
    }
    drop(queue);
    schedule();
}

/// Ends the current kernel thread. Floors above have taken leave of it before.
pub fn exit_thread() -> ! {
    arch::disable_interrupts();
    current().set_state(State::Dead);
    schedule();
    unreachable!("a dead thread ran again");
}

/// Gives the CPU to the thread that should have it: another one if the current thread has announced that it blocks,
/// has used up its time, or has yielded. Must not be called with spin locks held.
pub fn schedule() {
    let irq = IrqGuard::new();
    let dead = switch_if_needed();
    drop(irq);
    drop(dead);
}

/// The body of [`schedule`], with interrupts off. Returns the thread that ended to make room for the current one.
#[inline]
fn switch_if_needed() -> Option<Arc<Thread>> {
    let cpu = this_cpu();
    let now_ns = clock::monotonic_ns();
    let mut queue = cpu.queue.lock();
    let previous = current().forever();
    account(&mut queue, previous, now_ns);
    if previous.context.work.load(Ordering::Relaxed) & work::RESCHED != 0 {
        previous.context.work.fetch_and(!work::RESCHED, Ordering::Relaxed);
    }
    let next = pick_next(&mut queue, previous);
    arm_slice(cpu, &queue, now_ns);
    if ptr::eq(next, previous) {
        return None;
    }
    queue.current = next;
    queue.switches += 1;
    drop(queue);
    switch_to(cpu, previous, next)
}

/// Adds the time since the last call to the current thread.
#[inline]
fn account(queue: &mut Queue, thread: &Thread, now_ns: u64) {
    let ran_ns = now_ns.saturating_sub(queue.accounted_ns);
    queue.accounted_ns = now_ns;
    increase(&thread.cpu_time_ns, ran_ns);
    if thread.effective_priority() != 0 {
        return;
    }
    queue.fair_ns = now_ns;
    let weight = u64::from(thread.weight.load(Ordering::Relaxed));
    let virtual_ns = if weight == NICE_0_WEIGHT { ran_ns } else { ran_ns.saturating_mul(NICE_0_WEIGHT) / weight };
    let virtual_time = thread.virtual_time.load(Ordering::Relaxed).saturating_add(virtual_ns);
    thread.virtual_time.store(virtual_time, Ordering::Relaxed);
}

/// Adds to a counter of a thread that only the thread's own CPU changes: no atomic addition is needed.
#[inline(always)]
fn increase(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Puts the current thread back into the queue if it can run on, and takes the one that runs next.
#[inline]
fn pick_next(queue: &mut Queue, previous: &'static Thread) -> &'static Thread {
    if ptr::eq(previous, queue.idle) {
        return queue.waiting.pop().map_or(previous, |next| next.get());
    }
    if previous.state() == State::Runnable {
        let may_stay = previous.affinity().contains(arch::cpu_id());
        let place = place_of(previous);
        if may_stay
            && place < RANKS
            && queue.accounted_ns.saturating_sub(queue.fair_ns) > MOST_REAL_TIME_NS
            && let Some(other) = queue.waiting.take(|other| other.get().effective_priority() == 0)
        {
            increase(&previous.involuntary_switches, 1);
            queue.waiting.push(ThreadRef(NonNull::from(previous)), place);
            return other.get();
        }
        if may_stay && queue.waiting.least().is_none_or(|least| stays_before(previous, place, least)) {
            return previous;
        }
        increase(&previous.involuntary_switches, 1);
        queue.waiting.push(ThreadRef(NonNull::from(previous)), place);
        if !may_stay {
            return pick_after_ban(queue, previous);
        }
    } else {
        increase(&previous.voluntary_switches, 1);
    }
    match queue.waiting.pop() {
        Some(next) => next.get(),
        // SAFETY:
        // - the idle thread of a CPU that takes part exists for ever.
        None => unsafe { &*queue.idle },
    }
}

/// Where a thread stands among those that wait: real-time threads by rank, before the others by virtual time.
#[inline]
fn place_of(thread: &Thread) -> u64 {
    match thread.effective_priority() {
        0 => thread.virtual_time.load(Ordering::Relaxed),
        priority => u64::from(MAX_PRIORITY.saturating_sub(priority)),
    }
}

/// Whether the running thread, which has `place`, goes on although somebody waits at `least`.
#[inline]
fn stays_before(thread: &Thread, place: u64, least: u64) -> bool {
    let gives_way = thread.gives_way.load(Ordering::Relaxed);
    if gives_way {
        thread.gives_way.store(false, Ordering::Relaxed);
    }
    place < least || place == least && !gives_way
}

/// The priority of a thread has changed: it moves to its new place, wherever it is.
pub(super) fn reposition(thread: &Thread) {
    let _irq = IrqGuard::new();
    loop {
        let cpu_id = thread.cpu.load(Ordering::SeqCst) % MAX_CPUS;
        let mut queue = CPUS[cpu_id].queue.lock();
        if thread.cpu.load(Ordering::SeqCst) != cpu_id {
            continue;
        }
        if ptr::eq(queue.current, thread) {
            drop(queue);
            return kick(thread);
        }
        if let Some(waiting) = queue.waiting.take(|other| ptr::eq(other.get(), thread)) {
            enqueue(cpu_id, &mut queue, waiting, None);
        }
        return;
    }
}

/// The current thread may no longer run here: it stands in the queue for another CPU to fetch, which
/// [`finish_switch`] asks for.
#[cold]
fn pick_after_ban(queue: &mut Queue, previous: &'static Thread) -> &'static Thread {
    match queue.waiting.take(|thread| !ptr::eq(thread.get(), previous)) {
        Some(next) => next.get(),
        // SAFETY:
        // - the idle thread of a CPU that takes part exists for ever.
        None => unsafe { &*queue.idle },
    }
}

/// Starts the slice of whoever runs next, or stops the clock if nobody else waits.
#[inline]
fn arm_slice(cpu: &Cpu, queue: &Queue, now_ns: u64) {
    if queue.waiting.is_empty() {
        cpu.slice_end_ns.store(u64::MAX, Ordering::Relaxed);
        return;
    }
    let end_ns = now_ns + SLICE_NS;
    cpu.slice_end_ns.store(end_ns, Ordering::Relaxed);
    timer::interrupt_no_later_than(end_ns);
}

/// Leaves the stack of `previous` for that of `next`. Returns when `previous` runs again, on whatever CPU.
#[inline]
fn switch_to(cpu: &Cpu, previous: &Thread, next: &'static Thread) -> Option<Arc<Thread>> {
    while next.on_cpu.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    next.on_cpu.store(true, Ordering::Relaxed);
    cpu.previous.store(ptr::from_ref(previous).cast_mut(), Ordering::Relaxed);
    if let Some(extension) = next.extension() {
        if cpu.tick_ns.load(Ordering::Relaxed) == u64::MAX {
            start_ticks(cpu);
        }
        extension.switch_to(&next.context, next.space_id == previous.space_id);
    }
    // SAFETY:
    // - interrupts are off (`schedule`);
    // - `previous` is the current context, `next` has been left by every CPU and is claimed by `on_cpu`.
    unsafe { arch::switch(&previous.context, &next.context) };
    finish_switch()
}

/// What the new thread does first for the one that ran before it. If that one has ended, the scheduler's reference
/// is returned, to be dropped with interrupts on: with it may go a whole process.
#[inline(always)]
fn finish_switch() -> Option<Arc<Thread>> {
    // Only this CPU uses the field, with interrupts off.
    let previous = this_cpu().previous.load(Ordering::Relaxed);
    // SAFETY:
    // - the scheduler's reference keeps `previous` alive, at least until the drop below.
    let thread = unsafe { previous.as_ref() }?;
    let is_dead = thread.state() == State::Dead;
    let is_banned = !thread.affinity().contains(arch::cpu_id());
    thread.on_cpu.store(false, Ordering::Release);
    if is_dead {
        // SAFETY:
        // - this is the reference that `adopt` took; no queue has the thread, and its stack is not in use any more.
        return Some(unsafe { Arc::from_raw(previous) });
    }
    if is_banned {
        move_banned_threads();
    }
    None
}

/// The first thing that runs on a new thread's stack, with interrupts off: arch's start-up code calls it. Leaves
/// them on.
pub fn on_first_run() {
    let dead = finish_switch();
    arch::enable_interrupts();
    drop(dead);
}

/// Sends threads away that wait here but may not run here any more.
#[cold]
fn move_banned_threads() {
    let cpu_id = arch::cpu_id();
    loop {
        let mut queue = CPUS[cpu_id].queue.lock();
        let Some(banned) = queue.waiting.take(|thread| !thread.get().affinity().contains(cpu_id)) else { return };
        let origin = queue.waiting.virtual_time();
        let target = choose_cpu(banned.get(), cpu_id);
        banned.get().cpu.store(target, Ordering::SeqCst);
        drop(queue);
        enqueue_on(target, banned, Some(origin));
    }
}

/// Makes a blocked thread runnable. Callable anywhere, interrupt handlers included.
pub(super) fn wake(thread: &Thread) -> bool {
    let _irq = IrqGuard::new();
    loop {
        let cpu_id = thread.cpu.load(Ordering::SeqCst) % MAX_CPUS;
        let mut queue = CPUS[cpu_id].queue.lock();
        if thread.cpu.load(Ordering::SeqCst) != cpu_id {
            continue;
        }
        if thread.state() != State::Blocked {
            return false;
        }
        thread.set_state(State::Runnable);
        if ptr::eq(queue.current, thread) {
            return true;
        }
        let target = choose_cpu(thread, cpu_id);
        let woken = ThreadRef(NonNull::from(thread));
        if target == cpu_id {
            enqueue(cpu_id, &mut queue, woken, None);
        } else {
            let origin = queue.waiting.virtual_time();
            thread.cpu.store(target, Ordering::SeqCst);
            drop(queue);
            enqueue_on(target, woken, Some(origin));
        }
        return true;
    }
}

/// Where a thread that belongs to `home` should run now.
#[inline]
fn choose_cpu(thread: &Thread, home: usize) -> usize {
    let allowed = thread.affinity().and(ONLINE.load());
    let idle = IDLE.load().and(allowed);
    if idle.contains(home) || (idle.0 == 0 && allowed.contains(home)) {
        return home;
    }
    idle.first().or(allowed.first()).unwrap_or(home)
}

#[inline(never)]
fn enqueue_on(cpu_id: usize, thread: ThreadRef, origin: Option<u64>) {
    let mut queue = CPUS[cpu_id].queue.lock();
    enqueue(cpu_id, &mut queue, thread, origin);
}

/// Adds a runnable thread to a queue and sees to it that the CPU notices.
#[inline(always)]
fn enqueue(cpu_id: usize, queue: &mut Queue, thread: ThreadRef, origin: Option<u64>) {
    let virtual_time = thread.get().virtual_time.load(Ordering::Relaxed);
    let virtual_time = match origin {
        Some(origin) => queue.waiting.placement_from(virtual_time, origin),
        None => queue.waiting.placement(virtual_time),
    };
    thread.get().virtual_time.store(virtual_time, Ordering::Relaxed);
    let was_alone = queue.waiting.is_empty();
    let place = place_of(thread.get());
    queue.waiting.push(thread, place);
    if should_displace(queue, place) {
        // SAFETY:
        // - the running thread of a queue is alive while the queue is locked.
        unsafe { &*queue.current }.context.work.fetch_or(work::RESCHED, Ordering::SeqCst);
        if cpu_id != arch::cpu_id() {
            irq::send_reschedule(cpu_id);
        }
    } else if was_alone {
        start_slice(cpu_id, queue.accounted_ns);
    }
}

/// Whether a thread that wakes at `place` should run before the current one.
#[inline]
fn should_displace(queue: &Queue, place: u64) -> bool {
    if ptr::eq(queue.current, queue.idle) {
        return true;
    }
    // SAFETY:
    // - the running thread of a queue is alive while the queue is locked.
    let running = place_of(unsafe { &*queue.current });
    let granularity = if place < RANKS { 0 } else { WAKE_UP_GRANULARITY_NS };
    place.saturating_add(granularity) < running
}

/// The running thread of `cpu_id`, which has been running since `since_ns` at least, is no longer alone: its slice
/// counts from then. If it is over already, the timer says so at once.
#[inline(always)]
fn start_slice(cpu_id: usize, since_ns: u64) {
    if cpu_id != arch::cpu_id() {
        return irq::send_reschedule(cpu_id);
    }
    let end_ns = since_ns + SLICE_NS;
    CPUS[cpu_id].slice_end_ns.store(end_ns, Ordering::Relaxed);
    timer::interrupt_no_later_than(end_ns);
}

/// Makes the CPU of a running thread come into the kernel, where it sees what has changed.
pub(super) fn kick(thread: &Thread) {
    let _irq = IrqGuard::new();
    thread.context.work.fetch_or(work::RESCHED, Ordering::SeqCst);
    let cpu_id = thread.cpu.load(Ordering::SeqCst);
    if cpu_id != arch::cpu_id() && thread.on_cpu.load(Ordering::SeqCst) {
        irq::send_reschedule(cpu_id);
    }
}

/// How long `thread` has run: what it was accounted for, and what has passed since if it runs.
pub(super) fn cpu_time_ns(thread: &Thread) -> u64 {
    let _irq = IrqGuard::new();
    // A thread that moves meanwhile is not the running one any more, and has been accounted for.
    let queue = CPUS[thread.cpu.load(Ordering::SeqCst) % MAX_CPUS].queue.lock();
    let accounted_ns = thread.cpu_time_ns.load(Ordering::Relaxed);
    if !ptr::eq(queue.current, thread) {
        return accounted_ns;
    }
    accounted_ns + clock::monotonic_ns().saturating_sub(queue.accounted_ns)
}

/// The first program for a while runs on this CPU.
#[cold]
fn start_ticks(cpu: &Cpu) {
    let due_ns = clock::monotonic_ns() + TICK_NS;
    cpu.tick_ns.store(due_ns, Ordering::Relaxed);
    timer::interrupt_no_later_than(due_ns);
}

/// The timer of this CPU has interrupted a program, or the kernel. If a tick is due, it counts for the thread that runs: so is
/// time in the program told from time in the kernel, which costs system calls nothing. A CPU that runs no program has no ticks.
/// To be called in interrupt context, before [`on_timer_interrupt`].
pub fn sample(is_program: bool) {
    let cpu = this_cpu();
    let now_ns = clock::monotonic_ns();
    if cpu.tick_ns.load(Ordering::Relaxed) > now_ns {
        return;
    }
    let thread = current();
    if thread.extension().is_none() {
        return cpu.tick_ns.store(u64::MAX, Ordering::Relaxed);
    }
    increase(if is_program { &thread.user_ticks } else { &thread.system_ticks }, 1);
    cpu.tick_ns.store(now_ns + TICK_NS, Ordering::Relaxed);
}

/// Another CPU has put work into this one's queue. In interrupt context.
pub fn on_reschedule_interrupt() {
    let cpu_id = arch::cpu_id();
    let queue = CPUS[cpu_id].queue.lock();
    // The idle thread has no slice: it gives way as soon as it gets the CPU back from this handler.
    let must_share = !queue.waiting.is_empty() && !ptr::eq(queue.current, queue.idle);
    let since_ns = queue.accounted_ns;
    drop(queue);
    if must_share && CPUS[cpu_id].slice_end_ns.load(Ordering::Relaxed) == u64::MAX {
        start_slice(cpu_id, since_ns);
    }
}

/// The timer of this CPU has fired. In interrupt context.
pub fn on_timer_interrupt() {
    let now_ns = clock::monotonic_ns();
    timer::run_expired(now_ns);
    let cpu = this_cpu();
    let tick_ns = cpu.tick_ns.load(Ordering::Relaxed);
    if tick_ns != u64::MAX {
        timer::interrupt_no_later_than(tick_ns);
    }
    let slice_end_ns = cpu.slice_end_ns.load(Ordering::Relaxed);
    if slice_end_ns <= now_ns {
        cpu.slice_end_ns.store(u64::MAX, Ordering::Relaxed);
        let thread = current();
        if thread.is_round_robin.load(Ordering::Relaxed) {
            thread.gives_way.store(true, Ordering::Relaxed);
        }
        thread.context.work.fetch_or(work::RESCHED, Ordering::Relaxed);
        balance(cpu, now_ns);
    } else if slice_end_ns != u64::MAX {
        timer::interrupt_no_later_than(slice_end_ns);
    }
}

/// A busy CPU takes over a thread from one that has at least two more to run, now and then.
fn balance(cpu: &Cpu, now_ns: u64) {
    if cpu.next_balance_ns.load(Ordering::Relaxed) > now_ns {
        return;
    }
    cpu.next_balance_ns.store(now_ns + BALANCE_INTERVAL_NS, Ordering::Relaxed);
    let own = cpu.queue.lock().waiting.len();
    let cpu_id = arch::cpu_id();
    let busiest = ONLINE.load().iter().filter(|&other| other != cpu_id).max_by_key(|&other| waiting_on(other));
    if let Some(busiest) = busiest
        && waiting_on(busiest) >= own + 2
    {
        steal_from(busiest, cpu_id);
    }
}

/// Fetches a thread for a CPU that has none. Interrupts are off.
fn steal_for(cpu_id: usize) -> bool {
    ONLINE.load().iter().filter(|&other| other != cpu_id).any(|other| steal_from(other, cpu_id))
}

/// Moves one thread that may run on `cpu_id` from the queue of `other`. Interrupts are off.
fn steal_from(other: usize, cpu_id: usize) -> bool {
    let Some(mut queue) = CPUS[other].queue.try_lock() else { return false };
    if queue.waiting.is_empty() {
        return false;
    }
    let origin = queue.waiting.virtual_time();
    let Some(stolen) = queue.waiting.take(|thread| thread.get().affinity().contains(cpu_id)) else { return false };
    stolen.get().cpu.store(cpu_id, Ordering::SeqCst);
    drop(queue);
    enqueue_on(cpu_id, stolen, Some(origin));
    true
}

/// Whether this CPU takes part, so that there is a current thread.
pub fn is_running() -> bool {
    ONLINE.load().contains(arch::cpu_id())
}

/// CPUs that take part.
pub fn online_cpus() -> CpuMask {
    ONLINE.load()
}
