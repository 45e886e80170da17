//! Tracing of tasks by other tasks: ptrace(2).
//!
//! Who traces whom stands twice: in the tree, where `wait` looks for it, and as a [`Link`] in the tracee. A tracee runs
//! through the table of system calls for those who are observed, so that all others pay nothing.
//!
//! A tracee that stops ([`stop`]) lays out a copy of its registers in a `Stop` and sleeps; its tracer reads and changes the
//! copy ([`request`]), under a lock, and the tracee takes over what has changed when it goes on. So nobody ever touches the
//! frame of another thread, and a tracee that is killed meanwhile is in nobody's way. What the tracer sets is checked where
//! it is set ([`registers`], [`watch`]): whatever it is, it cannot make the kernel trap.
//!
//! Locks, in order: the tree; a process' signals; a task's [`Tracing`].

mod registers;
mod request;
mod stop;
mod watch;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::ptrace as linux;

use super::Current;
use super::signal::send;
use super::structure::Signals;
use super::task::Task;
use super::tree::{self, Tracee, Tree};
use crate::arch::{self, SyscallTable};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, Once, SpinLock};

pub use registers::{REGISTER_COUNT, Registers};
pub use request::{
    Attach, Found, Resume, SyscallInfo, attach, attach_to_parent, check_options, detach, find, interrupt, kill, listen,
};
pub(super) use stop::{
    Trap, after_exec, after_vfork, at_exit, before_handler, clone_event, in_handler, offer, on_clone, on_continue,
    on_step, pending_trap, seccomp_event, trap,
};
pub use stop::{enter_call, leave_call};

/// What a task knows of being traced.
#[derive(Default)]
pub(super) struct Tracing {
    is_traced: AtomicBool,
    state: SpinLock<State, IrqOff>,
}

#[derive(Default)]
struct State {
    link: Option<Box<Link>>,
    stop: Option<Box<stop::Stop>>,
    /// The flag TF of the program is the tracer's, not its own.
    is_step_forced: bool,
}

/// How far a tracee runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Until {
    /// To the next signal or event.
    #[default]
    Signal,
    /// To the next begin or end of a system call.
    Syscall,
    /// To the next system call, which is not made.
    Emulation,
}

/// What binds a tracee to its tracer.
#[derive(Default)]
struct Link {
    /// The tracer's process and task.
    tracer: u32,
    tracer_tid: u32,
    is_seized: bool,
    /// `PTRACE_O_*`.
    options: u32,
    until: Until,
    is_stepping: bool,
    /// It is to stop as soon as it can, unless it does anyway (PTRACE_INTERRUPT).
    is_interrupted: bool,
    /// It is to tell that SIGCONT or a new stop has come. Changes under the process' `signals`, where stops begin and end.
    has_news: bool,
    /// The stop of its process that it has told of.
    told_stop: u32,
    /// What PTRACE_GETEVENTMSG gives.
    message: u64,
    watch: watch::Watch,
}

/// The tables of system calls of tasks that somebody observes: filtered, and traced.
pub struct Tables {
    /// Each call is judged by filters.
    pub filtered: &'static SyscallTable,
    /// Each call may stop.
    pub traced: &'static SyscallTable,
}

static TABLES: Once<Tables> = Once::new();

/// Says which tables of system calls there are. To be called once, before there are programs.
pub fn set_tables(tables: Tables) {
    TABLES.call_once(|| tables);
}

impl Task {
    /// Whether somebody traces it.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.trace.is_traced.load(Ordering::Relaxed)
    }

    /// The id of its tracer; 0 if it has none.
    pub fn tracer_tid(&self) -> u32 {
        self.trace.state.lock().link.as_ref().map_or(0, |link| link.tracer_tid)
    }

    /// The number of its tracer has become another one.
    pub(super) fn set_tracer_tid(&self, tid: u32) {
        if let Some(link) = &mut self.trace.state.lock().link {
            link.tracer_tid = tid;
        }
    }

    /// Whether it has stopped for its tracer.
    pub fn is_in_trace_stop(&self) -> bool {
        self.trace.state.lock().stop.is_some()
    }

    /// Whether its tracer may not give it new privileges: then `execve` gives none.
    pub(super) fn is_traced_by_unprivileged(&self) -> bool {
        let tracer = self.tracer_tid();
        tracer != 0
            && tree::find_task(tracer)
                .is_ok_and(|tracer| !tracer.credentials().is_capable(linux_raw_sys::general::CAP_SYS_PTRACE))
    }

    /// Has its system calls handled by the table for those who are observed as it is.
    pub(super) fn update_syscalls(&self) {
        let (Some(thread), Some(tables)) = (self.thread(), TABLES.get()) else { return };
        let table = match self.is_traced() {
            true => Some(tables.traced),
            false if self.seccomp().number() != 0 => Some(tables.filtered),
            false => arch::syscall_table(),
        };
        if let Some(table) = table {
            thread.context.set_syscalls(table);
        }
    }
}

/// Binds `tracee` to the task `tracer_tid` of the process `tracer`. EPERM if it is traced already.
fn bind(tree: &mut Tree, tracee: &Arc<Task>, link: Link) -> Result<()> {
    let entry = Tracee { task: Arc::clone(tracee), tracer: link.tracer, tracer_tid: link.tracer_tid, status: None };
    let link = Box::new(link);
    {
        let mut state = tracee.trace.state.lock();
        if state.link.is_some() {
            return Err(Errno::EPERM);
        }
        state.link = Some(link);
        tracee.trace.is_traced.store(true, Ordering::SeqCst);
    }
    tree.add_tracee(tracee.tid(), entry);
    tracee.update_syscalls();
    Ok(())
}

/// What is left of a binding, for the caller to drop without locks.
type Remains = (Option<Box<Link>>, Option<Tracee>);

/// Ends the binding of a tracee, which goes on if it was stopped, with `signal` if its tracer says one.
fn unbind(tree: &mut Tree, tracee: &Task, signal: Option<u32>) -> Remains {
    let link = {
        let mut state = tracee.trace.state.lock();
        tracee.trace.is_traced.store(false, Ordering::SeqCst);
        if let Some(stop) = &mut state.stop {
            match signal {
                Some(signal) => stop.resume(signal),
                None => stop.abandon(),
            }
        }
        state.link.take()
    };
    tracee.update_syscalls();
    if tracee.process().signals.lock().stop.is_some() {
        send::interrupt(tracee);
    }
    tracee.process().resumed.wake_all();
    (link, tree.remove_tracee(tracee.tid()))
}

/// A new task of the current one may be traced from its birth, by the same tracer. Called with the new task in the tree.
pub(super) fn inherit(tree: &mut Tree, child: &Arc<Task>, parent: &Current, is_wanted: bool) {
    let link = {
        let state = parent.trace.state.lock();
        state.link.as_ref().filter(|_| is_wanted).map(|link| Link {
            tracer: link.tracer,
            tracer_tid: link.tracer_tid,
            is_seized: link.is_seized,
            options: link.options,
            is_interrupted: link.is_seized,
            ..Link::default()
        })
    };
    let Some(link) = link else { return child.update_syscalls() };
    let is_seized = link.is_seized;
    if bind(tree, child, link).is_ok() {
        stop::begin_stopped(child, is_seized);
    }
}

/// The task, which is about to end, lets all go that it traces, or takes them along (PTRACE_O_EXITKILL).
pub(super) fn release_tracees(task: &Task) {
    let mut remains: Vec<Remains> = Vec::new();
    let (mut reaped, mut kept) = (Vec::new(), Vec::new());
    {
        let mut tree = tree::lock();
        let own = tree.tracees(task.process().pid(), Some(task.tid()));
        let own: Vec<Arc<Task>> = own.map(|tracee| Arc::clone(&tracee.task)).collect();
        for tracee in own {
            let kills = has_option(&tracee, linux::PTRACE_O_EXITKILL);
            remains.push(unbind(&mut tree, &tracee, None));
            if kills {
                send::kill_process(tracee.process());
            }
            reaped.extend(tell_parent_of_end(&mut tree, &tracee));
            kept.push(tracee);
        }
    }
    drop((remains, reaped, kept));
}

/// Nobody traces the first task of a process any more, which has ended: so its parent is told now.
pub(super) fn tell_parent_of_end(tree: &mut Tree, tracee: &Task) -> Option<Arc<super::Process>> {
    let status = tree.node(tracee.tid()).filter(|_| tracee.is_leader()).and_then(|node| node.status)?;
    super::wait::notify_of_end(tree, tracee.tid(), status)
}

/// Whether the tracer of `task` asked for `option`, one of `PTRACE_O_*`.
fn has_option(task: &Task, option: u32) -> bool {
    task.is_traced() && task.trace.state.lock().link.as_ref().is_some_and(|link| link.options & option != 0)
}

/// Tells all tracees among `signals`' tasks that their process stops anew.
pub(super) fn on_new_stop(signals: &Signals) {
    for task in signals.tasks.iter().filter(|task| task.is_traced()) {
        if let Some(link) = &mut task.trace.state.lock().link {
            link.told_stop = 0;
        }
        on_continue(task);
    }
}
