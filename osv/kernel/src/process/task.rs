//! A task: one thread of a program.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::credentials::Credentials;
use super::resources::Division;
use super::seccomp::Mode;
use super::signal::altstack::AltStack;
use super::signal::fault::Fault;
use super::signal::queue::Queue;
use super::signal::set::SignalSet;
use super::structure::Process;
use super::trace::Tracing;
use crate::arch::TrapFrame;
use crate::fs::{FdTable, FsContext};
use crate::ipc::sem::undo::UndoList;
use crate::mem::space::Policy;
use crate::sched::Thread;
use crate::sync::{IrqOff, Once, OwnerCell, SpinLock};
use crate::syscall::SysResult;
use alloc::boxed::Box;

/// Bytes of a task's name with its final NUL.
pub const NAME_SIZE: usize = 16;

/// How a call goes on after a signal: what `restart_syscall` runs.
pub type Restart = Box<dyn FnOnce() -> SysResult + Send>;

/// One thread of a program.
pub struct Task {
    /// Changes only when the task becomes the first of its process by `execve`.
    tid: AtomicU32,
    process: Arc<Process>,
    thread: Once<Weak<Thread>>,
    pub(super) signals: TaskSignals,
    pub(super) credentials: OwnerCell<Credentials>,
    pub(super) files: OwnerCell<FdTable>,
    pub(super) fs: OwnerCell<FsContext>,
    name: SpinLock<[u8; NAME_SIZE]>,
    /// Where to write 0 and wake a futex when the task ends.
    pub(crate) clear_child_tid: AtomicU64,
    /// Where to write its id when it starts.
    pub(super) set_child_tid: AtomicU64,
    pub(crate) robust_list: AtomicU64,
    pub(super) restart: SpinLock<Option<Restart>>,
    /// Where new memory of its shall be.
    memory_policy: SpinLock<Option<Policy>>,
    /// What its end gives back to semaphores; made when first asked for.
    pub(super) sem_undo: SpinLock<Option<Arc<UndoList>>>,
    /// Whoever called `vfork` and waits for this task to be done with its memory.
    pub(super) vfork: SpinLock<Option<Arc<super::clone::Release>>>,
    /// The registers with which a new task starts.
    pub(super) first_frame: SpinLock<Option<Box<TrapFrame>>>,
    /// The signal that the task's end of its parent sends (`PR_SET_PDEATHSIG`).
    pub(crate) parent_death_signal: AtomicU32,
    pub(super) is_exiting: AtomicBool,
    /// SCHED_*, with SCHED_RESET_ON_FORK if that is set, and the priority of real-time policies.
    pub(crate) policy: AtomicU32,
    pub(crate) rt_priority: AtomicU32,
    pub(crate) timer_slack_ns: AtomicU64,
    /// Set-id bits of files have no effect any more (`PR_SET_NO_NEW_PRIVS`). A filter for all can set it for others.
    pub(crate) has_no_new_privileges: AtomicBool,
    /// Where it has registered `struct rseq`; 0 if nowhere.
    pub(super) rseq: AtomicU64,
    pub(super) rseq_signature: AtomicU32,
    /// The CPU that was written there last.
    pub(super) rseq_cpu: AtomicU32,
    /// What `ioprio_set` said.
    pub(crate) io_priority: AtomicU32,
    /// What filters its system calls.
    pub(super) seccomp: SpinLock<Mode>,
    pub(super) minor_faults: AtomicU64,
    /// Who traces it.
    pub(super) trace: Tracing,
    /// How its time was divided when somebody last asked.
    pub(super) division: SpinLock<Division, IrqOff>,
}

/// What signals need to know of a task. The mask is changed by the task itself only.
pub(super) struct TaskSignals {
    pub(super) blocked: AtomicU64,
    /// The mask while `sigtimedwait` listens for signals that are blocked otherwise; else equal to nothing.
    pub(super) awaited: AtomicU64,
    /// The mask to restore when a call that replaced it for its duration is over.
    pub(super) saved_mask: SpinLock<Option<SignalSet>>,
    pub(super) pending: SpinLock<Queue, IrqOff>,
    pub(super) alt_stack: SpinLock<AltStack>,
    /// The stop of its process, by number, that it has stopped for.
    pub(super) stopped_for: AtomicU32,
    /// SIGKILL, or the end of the process, has reached the task.
    pub(super) is_killed: AtomicBool,
    pub(super) last_fault: SpinLock<Fault>,
}

/// What a new task starts with.
pub(super) struct NewTask {
    pub(super) tid: u32,
    pub(super) process: Arc<Process>,
    pub(super) blocked: SignalSet,
    pub(super) alt_stack: AltStack,
    pub(super) credentials: Arc<Credentials>,
    pub(super) files: Arc<FdTable>,
    pub(super) fs: Arc<FsContext>,
    pub(super) name: [u8; NAME_SIZE],
}

impl Task {
    pub(super) fn new(new: NewTask) -> Task {
        Task {
            tid: AtomicU32::new(new.tid),
            process: new.process,
            thread: Once::new(),
            signals: TaskSignals {
                blocked: AtomicU64::new(new.blocked.0),
                awaited: AtomicU64::new(0),
                saved_mask: SpinLock::new(None),
                pending: SpinLock::new(Queue::new()),
                alt_stack: SpinLock::new(new.alt_stack),
                stopped_for: AtomicU32::new(0),
                is_killed: AtomicBool::new(false),
                last_fault: SpinLock::new(Fault::default()),
            },
            credentials: OwnerCell::new(Some(new.credentials)),
            files: OwnerCell::new(Some(new.files)),
            fs: OwnerCell::new(Some(new.fs)),
            name: SpinLock::new(new.name),
            clear_child_tid: AtomicU64::new(0),
            set_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            restart: SpinLock::new(None),
            memory_policy: SpinLock::new(None),
            sem_undo: SpinLock::new(None),
            vfork: SpinLock::new(None),
            first_frame: SpinLock::new(None),
            parent_death_signal: AtomicU32::new(0),
            is_exiting: AtomicBool::new(false),
            policy: AtomicU32::new(0),
            rt_priority: AtomicU32::new(0),
            timer_slack_ns: AtomicU64::new(50_000),
            has_no_new_privileges: AtomicBool::new(false),
            rseq: AtomicU64::new(0),
            rseq_signature: AtomicU32::new(0),
            rseq_cpu: AtomicU32::new(0),
            io_priority: AtomicU32::new(0),
            seccomp: SpinLock::new(Mode::Disabled),
            minor_faults: AtomicU64::new(0),
            trace: Tracing::default(),
            division: SpinLock::new(Division::default()),
        }
    }

    /// Its id: what `gettid` returns.
    #[inline]
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    pub(super) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// The process that it belongs to.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Whether the process began with it.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid()
    }

    /// Changes how it is scheduled.
    pub(crate) fn set_policy(&self, policy: u32, priority: u32) {
        self.policy.store(policy, Ordering::Relaxed);
        self.rt_priority.store(priority, Ordering::Relaxed);
        if let Some(thread) = self.thread() {
            self.apply_policy(&thread);
        }
    }

    /// Tells the scheduler's side.
    pub(super) fn apply_policy(&self, thread: &Thread) {
        let policy = self.policy.load(Ordering::Relaxed) & !linux_raw_sys::general::SCHED_RESET_ON_FORK;
        thread.set_idle_share(policy == linux_raw_sys::general::SCHED_IDLE);
        let priority = self.rt_priority.load(Ordering::Relaxed) as u8;
        thread.set_priority(priority, policy == linux_raw_sys::general::SCHED_RR);
    }

    /// Whether it may look into `other` as a debugger may.
    pub fn may_access(&self, other: &Task) -> bool {
        if Arc::ptr_eq(&self.process, &other.process) {
            return true;
        }
        let own = self.credentials();
        let is_open = other.process.is_dumpable.load(Ordering::Relaxed) == 1;
        own.may_trace(&other.credentials()) && (is_open || own.is_capable(linux_raw_sys::general::CAP_SYS_PTRACE))
    }

    /// Takes over how the parent is scheduled, unless it said that children shall not (SCHED_RESET_ON_FORK).
    pub(super) fn inherit_scheduling(&self, parent: &Task) {
        let copy = |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        if !parent.resets_on_fork() {
            copy(&self.policy, &parent.policy);
            copy(&self.rt_priority, &parent.rt_priority);
        }
        copy(&self.io_priority, &parent.io_priority);
        self.timer_slack_ns.store(parent.timer_slack_ns.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether its children are scheduled as by default.
    pub(super) fn resets_on_fork(&self) -> bool {
        self.policy.load(Ordering::Relaxed) & linux_raw_sys::general::SCHED_RESET_ON_FORK != 0
    }

    pub(super) fn set_thread(&self, thread: &Arc<Thread>) {
        self.thread.call_once(|| Arc::downgrade(thread));
    }

    /// The scheduler's side of it; `None` before it starts and after it has ended.
    pub fn thread(&self) -> Option<Arc<Thread>> {
        self.thread.get()?.upgrade()
    }

    /// Whether it is on its way out.
    pub fn is_exiting(&self) -> bool {
        self.is_exiting.load(Ordering::Relaxed)
    }

    /// Who it is. The task itself has [`Current::credentials`](super::Current::credentials).
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.share().unwrap_or_else(|| unreachable!("a task has credentials to its end"))
    }

    /// Its descriptors, if it has not given them up.
    pub fn try_files(&self) -> Option<Arc<FdTable>> {
        self.files.share()
    }

    /// Root, working directory and umask, if it has not given them up.
    pub fn try_fs(&self) -> Option<Arc<FsContext>> {
        self.fs.share()
    }

    /// Where new memory of its shall be.
    pub fn memory_policy(&self) -> Option<Policy> {
        *self.memory_policy.lock()
    }

    /// Says where new memory of its shall be.
    pub fn set_memory_policy(&self, policy: Option<Policy>) {
        *self.memory_policy.lock() = policy;
    }

    /// What its end gives back to semaphores.
    pub fn sem_undo(&self) -> Arc<UndoList> {
        Arc::clone(self.sem_undo.lock().get_or_insert_with(UndoList::new))
    }

    /// Where that is kept: the same for those who share it, 0 as long as there is nothing.
    pub fn sem_undo_address(&self) -> usize {
        self.sem_undo.lock().as_ref().map_or(0, |list| Arc::as_ptr(list) as usize)
    }

    /// Gives nothing back any more, and does so now if no other task shares that (`exit`, `unshare`).
    pub fn release_sem_undo(&self) {
        let list = self.sem_undo.lock().take();
        drop(list);
    }

    /// The name, padded with zeros: what `ps` shows.
    pub fn name(&self) -> [u8; NAME_SIZE] {
        *self.name.lock()
    }

    /// The name as text.
    pub fn name_text(&self) -> alloc::string::String {
        let name = self.name();
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        alloc::string::String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned()
    }

    /// Sets the name to the first 15 bytes of `name`.
    pub fn set_name(&self, name: &[u8]) {
        let mut padded = [0; NAME_SIZE];
        for (place, &byte) in padded.iter_mut().take(NAME_SIZE - 1).zip(name.iter().take_while(|&&byte| byte != 0)) {
            *place = byte;
        }
        *self.name.lock() = padded;
    }

    /// The stack for its handlers.
    pub fn alt_stack(&self) -> AltStack {
        *self.signals.alt_stack.lock()
    }

    /// Changes the stack for its handlers.
    pub fn set_alt_stack(&self, stack: AltStack) {
        *self.signals.alt_stack.lock() = stack;
    }

    /// How the call goes on that a signal without handler interrupted, once.
    pub fn take_restart(&self) -> Option<Restart> {
        self.restart.lock().take()
    }

    /// The task becomes somebody else: its parent's end sends nothing any more, and its core is its own.
    pub fn on_identity_change(&self) {
        self.parent_death_signal.store(0, Ordering::Relaxed);
        self.process.is_dumpable.store(0, Ordering::Relaxed);
    }

    /// Sets how late its timers may be; 0 for the default. Timers here are always exact.
    pub fn set_timer_slack(&self, slack_ns: u64) {
        const DEFAULT_NS: u64 = 50_000;
        self.timer_slack_ns.store(if slack_ns == 0 { DEFAULT_NS } else { slack_ns }, Ordering::Relaxed);
    }

    /// Remembers how the current call goes on should a signal without handler interrupt it; the caller returns the
    /// error that this gives. See restart_syscall(2).
    pub fn restart_with(&self, restart: Restart) -> crate::errno::Errno {
        *self.restart.lock() = Some(restart);
        crate::errno::Errno::ERESTART_RESTARTBLOCK
    }
}
