//! Processes that no other process makes: the first one, and its children if it is the kernel itself.
//!
//! Where one program is to run, it is the first process, and its end is the end of the VM. Where there are several,
//! the first process is a thread of the kernel ([`spawn_kernel_init`]) that starts them as its children, waits for
//! them, and inherits orphans as any first process; no signal reaches it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::clone;
use super::credentials::Credentials;
use super::exec::{self, NewProgram, Prepared};
use super::limits::Limits;
use super::loader;
use super::session::{Session, Terminal};
use super::signal::action::Actions;
use super::signal::altstack::AltStack;
use super::signal::info::SignalInfo;
use super::signal::send;
use super::signal::set::{Signal, SignalSet};
use super::structure::{Executable, NewProcess, Process};
use super::task::{NAME_SIZE, NewTask, Task};
use super::tree;
use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::{FdTable, FsContext};
use crate::mem::space::AddressSpace;
use crate::sched::Thread;
use crate::sync::SpinLock;

/// The id of the first process.
pub const INIT: u32 = 1;

/// What a process of the kernel's making has besides its program.
#[derive(Clone)]
pub struct World {
    /// Root and working directory.
    pub fs: Arc<FsContext>,
    /// Descriptors.
    pub files: Arc<FdTable>,
    /// What `personality` has set.
    pub personality: u32,
}

impl World {
    /// The same root, directory and descriptors, to be changed apart.
    pub fn duplicate(&self) -> World {
        let World { fs, files, personality } = self;
        World { fs: Arc::new(fs.duplicate()), files: Arc::new(files.duplicate()), personality: *personality }
    }
}

/// Whose child a process is.
enum Family {
    /// Nobody's: it is the first one, and its session has this terminal.
    First(Option<Arc<dyn Terminal>>),
    /// The first process', whose group and session it shares.
    OfFirst,
}

/// Makes the first process and lets it run. Its end is the end of the VM: see [`super::exit::set_init_exit_hook`].
///
/// # Errors
/// Those of execve(2).
pub fn spawn_init(program: NewProgram<'_>, world: World, terminal: Option<Arc<dyn Terminal>>) -> Result<()> {
    spawn(program, world, Family::First(terminal)).map(drop)
}

/// Makes a child of the first process, in its group, and lets it run. Returns its id.
///
/// # Errors
/// Those of execve(2).
pub fn spawn_child(program: NewProgram<'_>, world: World) -> Result<u32> {
    spawn(program, world, Family::OfFirst)
}

/// Makes the first process one that has no program but runs `entry` in the kernel: no signal reaches it.
///
/// # Errors
/// ENOMEM.
pub fn spawn_kernel_init(
    world: World,
    terminal: Option<Arc<dyn Terminal>>,
    entry: extern "C" fn(usize) -> !,
) -> Result<()> {
    let limits = Limits::default();
    let pid = tree::lock().allocate_id()?;
    let process = Arc::new(Process::new(NewProcess {
        pid,
        exit_signal: 0,
        space: AddressSpace::new(0, loader::space_limits(&limits))?,
        executable: Executable::default(),
        actions: Arc::new(SpinLock::new(Actions::default())),
        limits,
        is_immortal: true,
    }));
    let task = new_task(&process, Credentials::root(), world, b"init");
    Family::First(terminal).enter(process, Arc::new(task), entry)?.start();
    Ok(())
}

/// Sends a signal to a process, if it is still there.
pub fn signal_child(pid: u32, signal: Signal) {
    let process = tree::lock().node(pid).map(|node| Arc::clone(&node.process));
    if let Some(process) = process {
        // A signal that finds the receiver's queue full is one of many.
        let _ = send::to_process(&process, signal, SignalInfo::from_kernel(signal));
    }
}

fn spawn(program: NewProgram<'_>, world: World, family: Family) -> Result<u32> {
    let limits = Limits::default();
    let prepared = exec::prepare_new(program, &world.fs, &limits, world.personality)?;
    let Prepared { loaded, executable, credentials, name, .. } = prepared;
    let pid = tree::lock().allocate_id()?;
    let process = Arc::new(Process::new(NewProcess {
        pid,
        exit_signal: Signal::SIGCHLD.number(),
        space: loaded.space,
        executable,
        actions: Arc::new(SpinLock::new(Actions::default())),
        limits,
        is_immortal: false,
    }));
    let task = new_task(&process, credentials, world, &name);
    *task.first_frame.lock() = Some(Box::new(TrapFrame::new(loaded.entry, loaded.stack_pointer)));
    family.enter(process, Arc::new(task), clone::begin)?.start();
    Ok(pid)
}

fn new_task(process: &Arc<Process>, credentials: Credentials, world: World, name: &[u8]) -> Task {
    process.personality.store(world.personality, Ordering::Relaxed);
    let task = Task::new(NewTask {
        tid: process.pid(),
        process: Arc::clone(process),
        blocked: SignalSet::EMPTY,
        alt_stack: AltStack::NONE,
        credentials: Arc::new(credentials),
        files: world.files,
        fs: world.fs,
        name: [0; NAME_SIZE],
    });
    task.set_name(name);
    task
}

impl Family {
    /// Makes a process with its task known, and gives the task a thread that begins with `entry`.
    fn enter(self, process: Arc<Process>, task: Arc<Task>, entry: extern "C" fn(usize) -> !) -> Result<Arc<Thread>> {
        let pid = process.pid();
        let (parent, group, session) = match self {
            Family::First(terminal) => {
                let session = Session::new(pid);
                if let Some(terminal) = terminal {
                    session.give_terminal(terminal, pid)?;
                }
                (0, pid, session)
            }
            Family::OfFirst => {
                let tree = tree::lock();
                let first = tree.node(INIT).ok_or(Errno::ESRCH)?;
                (INIT, first.process.group_id(), Arc::clone(&first.session))
            }
        };
        let thread = clone::make_thread(&task, entry)?;
        process.signals.lock().tasks.push(Arc::clone(&task));
        let mut tree = tree::lock();
        tree.add_task(task);
        tree.add_process(process, parent, group, session);
        Ok(thread)
    }
}
