//! A process: what all tasks of one program share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::limits::{Limit, Limits, Resource};
use super::loader::space_limits;
use super::resources::Usage;
use super::signal::action::{Action, Actions};
use super::signal::queue::Queue;
use super::signal::set::{Signal, SignalSet};
use super::status::{ChildEvent, ExitStatus};
use super::task::Task;
use super::timers::Timers;
use crate::drivers::clock::monotonic_ns;
use crate::errno::{Errno, Result};
use crate::event::Pollee;
use crate::fs::PathRef;
use crate::fs::text::Running;
use crate::mem::space::AddressSpace;
use crate::sched::WaitQueue;
use crate::sync::{IrqOff, SpinLock};

/// A process.
pub struct Process {
    pid: u32,
    // Copies of what the tree says, changed under its lock.
    pub(super) parent: AtomicU32,
    pub(super) group: AtomicU32,
    pub(super) session: AtomicU32,
    /// The task of its parent that made it (`__WNOTHREAD`).
    pub(super) creator: AtomicU32,
    /// The signal that its parent gets at its end; 0 for none.
    pub(super) exit_signal: AtomicU32,
    /// No signal reaches it.
    pub(super) is_immortal: bool,
    space: SpinLock<Option<Arc<AddressSpace>>>,
    executable: SpinLock<Executable>,
    pub(super) signals: SpinLock<Signals, IrqOff>,
    pub(super) limits: SpinLock<Limits>,
    pub(super) usage: SpinLock<Usage, IrqOff>,
    /// The real user of its first task, when last asked or at its end.
    pub(super) last_uid: AtomicU32,
    pub(super) has_ended: AtomicBool,
    pub(super) timers: Timers,
    /// Where `wait` of this process waits for its children.
    pub(super) child_events: WaitQueue,
    /// Where its stopped tasks wait to go on, and the task that runs `execve` for the others to end.
    pub(super) resumed: WaitQueue,
    /// Tells signalfds of new signals.
    signal_events: Pollee,
    /// Tells pidfds of the end.
    exit_events: Pollee,
    start_time_ns: u64,
    /// Orphans below it become its children (`PR_SET_CHILD_SUBREAPER`).
    pub(crate) is_subreaper: AtomicBool,
    pub(crate) is_dumpable: AtomicU32,
    /// It does not count its session's terminal as its own any more (`TIOCNOTTY`).
    pub(super) left_terminal: AtomicBool,
    /// Its parent is not the one that made it.
    pub(super) is_adopted: AtomicBool,
    /// It has run `execve` since it was forked: its parent may no longer change its group.
    pub(super) has_execed: AtomicBool,
    pub(crate) personality: AtomicU32,
    /// The commands by which it has asked for barriers that reach its threads on other CPUs.
    pub(crate) membarriers: AtomicU32,
    /// `PR_MCE_KILL` and `PR_SET_IO_FLUSHER`.
    pub(crate) machine_check_kill: AtomicU32,
    pub(crate) is_io_flusher: AtomicBool,
    /// `PR_SET_THP_DISABLE`.
    pub(crate) has_no_huge_pages: AtomicBool,
    pub(super) oom_score_adjust: AtomicU32,
}

/// What signals need of a process.
pub(super) struct Signals {
    /// Sent to the process as a whole.
    pub(super) pending: Queue,
    pub(super) actions: Arc<SpinLock<Actions, IrqOff>>,
    /// The tasks that have not ended, the first one being the oldest.
    pub(super) tasks: Vec<Arc<Task>>,
    /// Set while it is stopped or stopping, to the signal that did it.
    pub(super) stop: Option<Signal>,
    /// The number of that stop.
    pub(super) stop_number: u32,
    /// How many tasks have yet to stop.
    pub(super) stopping: usize,
    /// What `wait` with WUNTRACED or WCONTINUED has not reported yet.
    pub(super) unreported: Option<ChildEvent>,
    /// A change that the next task to deliver signals tells the parent of.
    pub(super) announcement: Option<ChildEvent>,
    /// Set when it begins to end as a whole.
    pub(super) exit: Option<ExitStatus>,
    /// What its first task gave to `exit`, if that has ended.
    pub(super) leader_code: Option<u8>,
    /// The task that runs `execve` and wants to be the only one.
    pub(super) exec: Option<u32>,
}

/// What program a process runs.
#[derive(Clone, Default)]
pub struct Executable {
    /// The file, unless it is an image in the kernel.
    pub path: Option<PathRef>,
    /// Keeps the file from being written.
    pub running: Option<Arc<Running>>,
    /// Where its arguments lie in its memory.
    pub arguments: (u64, u64),
    /// Where its environment lies.
    pub environment: (u64, u64),
    /// Where its auxiliary vector lies, and its length.
    pub auxiliary: (u64, usize),
}

/// What a new process starts with.
pub(super) struct NewProcess {
    pub(super) pid: u32,
    pub(super) exit_signal: u32,
    pub(super) space: Arc<AddressSpace>,
    pub(super) executable: Executable,
    pub(super) actions: Arc<SpinLock<Actions, IrqOff>>,
    pub(super) limits: Limits,
    pub(super) is_immortal: bool,
}

impl Process {
    pub(super) fn new(new: NewProcess) -> Process {
        Process {
            pid: new.pid,
            parent: AtomicU32::new(0),
            group: AtomicU32::new(0),
            session: AtomicU32::new(0),
            creator: AtomicU32::new(0),
            exit_signal: AtomicU32::new(new.exit_signal),
            is_immortal: new.is_immortal,
            space: SpinLock::new(Some(new.space)),
            executable: SpinLock::new(new.executable),
            signals: SpinLock::new(Signals {
                pending: Queue::new(),
                actions: new.actions,
                tasks: Vec::new(),
                stop: None,
                stop_number: 0,
                stopping: 0,
                unreported: None,
                announcement: None,
                exit: None,
                leader_code: None,
                exec: None,
            }),
            limits: SpinLock::new(new.limits),
            usage: SpinLock::new(Usage::default()),
            last_uid: AtomicU32::new(0),
            has_ended: AtomicBool::new(false),
            timers: Timers::new(),
            child_events: WaitQueue::new(),
            resumed: WaitQueue::new(),
            signal_events: Pollee::new(),
            exit_events: Pollee::new(),
            start_time_ns: monotonic_ns(),
            is_subreaper: AtomicBool::new(false),
            is_dumpable: AtomicU32::new(1),
            left_terminal: AtomicBool::new(false),
            is_adopted: AtomicBool::new(false),
            has_execed: AtomicBool::new(false),
            personality: AtomicU32::new(0),
            membarriers: AtomicU32::new(0),
            machine_check_kill: AtomicU32::new(2),
            is_io_flusher: AtomicBool::new(false),
            has_no_huge_pages: AtomicBool::new(false),
            oom_score_adjust: AtomicU32::new(0),
        }
    }

    /// Whether it does not count its session's terminal as its own any more.
    pub fn has_left_terminal(&self) -> bool {
        self.left_terminal.load(Ordering::Relaxed)
    }

    /// It does not count its session's terminal as its own from now on.
    pub fn leave_terminal(&self) {
        self.left_terminal.store(true, Ordering::Relaxed);
    }

    /// Its id: what `getpid` returns.
    #[inline]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The id of its parent; 0 if it has none.
    #[inline]
    pub fn parent_pid(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }

    /// The id of its group.
    pub fn group_id(&self) -> u32 {
        self.group.load(Ordering::Relaxed)
    }

    /// The id of its session.
    pub fn session_id(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    /// Its address space, unless it has ended.
    #[inline(always)]
    pub fn try_space(&self) -> Option<Arc<AddressSpace>> {
        self.space.lock().clone()
    }

    /// Its address space; ESRCH if it has ended.
    #[inline]
    pub fn space(&self) -> Result<Arc<AddressSpace>> {
        self.try_space().ok_or(Errno::ESRCH)
    }

    /// Asks its address space something short; ESRCH if it has ended.
    #[inline]
    pub fn with_space<T>(&self, ask: impl FnOnce(&AddressSpace) -> T) -> Result<T> {
        self.space.lock().as_deref().map(ask).ok_or(Errno::ESRCH)
    }

    /// Puts another address space in place of the old one, which is returned for the caller to drop when no CPU needs it.
    pub(super) fn replace_space(&self, space: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        core::mem::replace(&mut *self.space.lock(), space)
    }

    /// Makes the CPU use its address space. Interrupts are off, or the caller is one of its tasks.
    #[inline]
    pub(super) fn activate_space(&self) {
        match &*self.space.lock() {
            Some(space) => space.activate(),
            None => AddressSpace::activate_kernel(),
        }
    }

    /// Makes the CPU use the address space that the process, the current one, has got, or none.
    pub(super) fn load_space(&self) {
        let _irq = crate::arch::IrqGuard::new();
        self.activate_space();
    }

    /// Whether all its tasks have ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// What program it runs.
    pub fn executable(&self) -> Executable {
        self.executable.lock().clone()
    }

    pub(crate) fn set_executable(&self, executable: Executable) {
        let old = core::mem::replace(&mut *self.executable.lock(), executable);
        drop(old);
    }

    /// What counts for `resource`.
    #[inline]
    pub fn limit(&self, resource: Resource) -> u64 {
        self.limits.lock().soft(resource)
    }

    /// A copy of its limits.
    pub fn limits(&self) -> Limits {
        self.limits.lock().clone()
    }

    /// Sets a limit by the rules of setrlimit(2), and puts it in force; returns the old one.
    pub fn set_limit(self: &Arc<Self>, resource: Resource, new: Limit, is_privileged: bool) -> Result<Limit> {
        let old = self.limits.lock().set(resource, new, is_privileged)?;
        match resource {
            Resource::Cpu => self.watch_cpu_limit(),
            Resource::AddressSpace | Resource::Data | Resource::Stack => {
                if let Some(space) = self.try_space() {
                    space.set_limits(space_limits(&self.limits()));
                }
            }
            _ => {}
        }
        Ok(old)
    }

    /// What it does when `signal` arrives.
    pub fn action(&self, signal: Signal) -> Action {
        *self.signals.lock().actions.lock().get(signal)
    }

    /// Sets what it does when `signal` arrives, and returns what it did. A signal that is ignored from now on is not pending
    /// any more.
    pub fn set_action(&self, signal: Signal, action: Action) -> Action {
        let mut signals = self.signals.lock();
        let (old, drops) = {
            let mut actions = signals.actions.lock();
            (actions.set(signal, action), actions.drops(signal))
        };
        if drops {
            signals.pending.discard(signal.bit());
            for task in &signals.tasks {
                task.signals.pending.lock().discard(signal.bit());
            }
        }
        old
    }

    /// Whether its end by a signal that dumps core says so.
    pub(super) fn leaves_core(&self) -> bool {
        self.limit(Resource::Core) >= 4096 && self.is_dumpable.load(Ordering::Relaxed) == 1
    }

    /// Whether it has begun to end as a whole.
    pub fn is_ending(&self) -> bool {
        self.signals.lock().exit.is_some()
    }

    /// Where its signal handlers lie in the kernel: the same for those who share them.
    pub fn actions_address(&self) -> usize {
        Arc::as_ptr(&self.signals.lock().actions) as usize
    }

    /// When it was made, in nanoseconds since boot.
    pub fn start_time_ns(&self) -> u64 {
        self.start_time_ns
    }

    /// Its tasks that have not ended.
    pub fn tasks(&self) -> Vec<Arc<Task>> {
        self.signals.lock().tasks.clone()
    }

    /// How many tasks have not ended.
    pub fn task_count(&self) -> usize {
        self.signals.lock().tasks.len()
    }

    /// The task that stands for the process: its oldest.
    pub fn first_task(&self) -> Option<Arc<Task>> {
        self.signals.lock().tasks.first().cloned()
    }

    /// The signals that it ignores explicitly, and those that it has handlers for.
    pub fn signal_dispositions(&self) -> (SignalSet, SignalSet) {
        let actions = Arc::clone(&self.signals.lock().actions);
        let actions = actions.lock();
        (actions.ignored(), actions.caught())
    }

    /// The signals that are pending for it as a whole.
    pub fn pending(&self) -> SignalSet {
        self.signals.lock().pending.set()
    }

    /// Whether it is stopped by job control.
    pub fn is_stopped(&self) -> bool {
        let signals = self.signals.lock();
        signals.stop.is_some() && signals.stopping == 0
    }

    /// Tells signalfds of new signals.
    pub fn signal_events(&self) -> &Pollee {
        &self.signal_events
    }

    /// Tells pidfds of the end.
    pub fn exit_events(&self) -> &Pollee {
        &self.exit_events
    }

    /// Whether orphans below it become its children.
    pub fn is_subreaper(&self) -> bool {
        self.is_subreaper.load(Ordering::Relaxed)
    }

    /// What `/proc/PID/oom_score_adj` holds.
    pub fn oom_score_adjust(&self) -> i32 {
        self.oom_score_adjust.load(Ordering::Relaxed) as i32
    }

    /// Sets what `/proc/PID/oom_score_adj` holds.
    pub fn set_oom_score_adjust(&self, value: i32) {
        self.oom_score_adjust.store(value as u32, Ordering::Relaxed);
    }
}

/// A one-word counter of processes ever made, for `/proc/stat`.
pub(super) static FORKS: AtomicU64 = AtomicU64::new(0);

/// How many processes and tasks have been made since boot.
pub fn forks() -> u64 {
    FORKS.load(Ordering::Relaxed)
}
