//! New tasks and processes: clone(2), clone3(2), fork(2), vfork(2).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use linux_raw_sys::general as linux;

use super::Current;
use super::limits::Resource;
use super::pidfd::PidFd;
use super::signal::altstack::AltStack;
use super::signal::set::Signal;
use super::structure::{FORKS, NewProcess, Process};
use super::task::{NewTask, Task};
use super::{current_task, trace, tree};
use crate::arch::{self, TrapFrame};
use crate::errno::{Errno, Result};
use crate::fs::{OpenFile, OpenFlags};
use crate::mem::user::{USER_END, UserPtr};
use crate::sched::{self, Extension, NewThread, Thread, WaitQueue};
use crate::sync::SpinLock;

/// What asks for a new task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// `CLONE_*`, without the exit signal.
    pub flags: u64,
    /// The signal that the parent gets at the new process' end; 0 for none.
    pub exit_signal: u32,
    /// Its first stack pointer; 0 for the caller's.
    pub stack: u64,
    /// Its thread pointer, with CLONE_SETTLS.
    pub tls: u64,
    /// Where the caller finds the new id, with CLONE_PARENT_SETTID.
    pub parent_tid: u64,
    /// Where the new task finds its id, with CLONE_CHILD_SETTID; where 0 is written at its end, with CLONE_CHILD_CLEARTID.
    pub child_tid: u64,
    /// Where the caller finds a descriptor of the new process, with CLONE_PIDFD.
    pub pidfd: u64,
    /// The id that it is to have, if the caller chooses.
    pub wanted_tid: Option<u32>,
}

/// Namespaces of which there is one each.
const NAMESPACES: u64 = (linux::CLONE_NEWCGROUP
    | linux::CLONE_NEWUTS
    | linux::CLONE_NEWIPC
    | linux::CLONE_NEWUSER
    | linux::CLONE_NEWPID
    | linux::CLONE_NEWNET
    | linux::CLONE_NEWTIME) as u64;

/// New namespaces need a privilege (EPERM). There is one of each kind but of mounts: EINVAL, as from a kernel without them,
/// for those who could have asked for one.
pub fn check_namespaces(flags: u64) -> Result<()> {
    let wanted = flags & (NAMESPACES | u64::from(linux::CLONE_NEWNS));
    if wanted == 0 {
        return Ok(());
    }
    let needs_privilege = wanted & u64::from(linux::CLONE_NEWUSER) == 0;
    if needs_privilege && !current_task().credentials().is_capable(linux::CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    if wanted & NAMESPACES == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

impl Request {
    fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }

    /// What fork(2) asks for.
    pub fn fork() -> Request {
        Request { exit_signal: Signal::SIGCHLD.number(), ..Request::default() }
    }

    /// What vfork(2) asks for.
    pub fn vfork() -> Request {
        Request { flags: u64::from(linux::CLONE_VFORK | linux::CLONE_VM), ..Request::fork() }
    }

    /// Combinations that Linux refuses.
    fn check(&self) -> Result<()> {
        let has = |flag| self.has(flag);
        let clears_actions = self.flags & linux::CLONE_CLEAR_SIGHAND != 0;
        let is_wrong = has(linux::CLONE_THREAD) && !has(linux::CLONE_SIGHAND)
            || has(linux::CLONE_SIGHAND) && (!has(linux::CLONE_VM) || clears_actions)
            || has(linux::CLONE_FS) && (has(linux::CLONE_NEWNS) || has(linux::CLONE_NEWUSER))
            || has(linux::CLONE_THREAD) && has(linux::CLONE_PIDFD)
            || has(linux::CLONE_PARENT) && current_task().process().pid() == 1;
        if is_wrong {
            return Err(Errno::EINVAL);
        }
        check_namespaces(self.flags)?;
        if has(linux::CLONE_SETTLS) && self.tls >= USER_END {
            return Err(Errno::EPERM);
        }
        Ok(())
    }
}

/// Whom `vfork` waits for.
pub(super) struct Release {
    is_done: AtomicBool,
    waiter: WaitQueue,
}

impl Release {
    fn new() -> Arc<Release> {
        Arc::new(Release { is_done: AtomicBool::new(false), waiter: WaitQueue::new() })
    }

    /// The memory is free.
    pub(super) fn finish(this: &Arc<Release>) {
        this.is_done.store(true, Ordering::SeqCst);
        this.waiter.wake_all();
    }

    /// Waits for that, or for the end of the waiting task.
    fn wait(&self, task: &Task) {
        self.waiter.wait_until(|| {
            let is_over = self.is_done.load(Ordering::SeqCst) || task.signals.is_killed.load(Ordering::SeqCst);
            is_over.then_some(())
        });
    }
}

/// Makes a task as `request` says, in the image of the current one, whose complete frame is given. Returns its id.
pub fn clone(frame: &mut TrapFrame, request: &Request) -> Result<u32> {
    request.check()?;
    let parent = current_task();
    check_process_limit(&parent)?;
    let tid = match request.wanted_tid {
        Some(tid) => tree::lock().take_id(tid)?,
        None => tree::lock().allocate_id()?,
    };
    let made = make(&parent, frame, request, tid);
    let Ok((task, thread)) = made else {
        tree::lock().release_id(tid);
        return made.map(|_| tid);
    };
    let pidfd = if request.has(linux::CLONE_PIDFD) { Some(give_pidfd(&parent, &task, request.pidfd)) } else { None };
    let entered = match pidfd {
        Some(Err(errno)) => Err(errno),
        _ => enter(&parent, &task, request),
    };
    if let Err(errno) = entered {
        if let Some(Ok(fd)) = pidfd {
            let _ = parent.files().close(fd);
        }
        tree::lock().release_id(tid);
        return Err(errno);
    }
    FORKS.fetch_add(1, Ordering::Relaxed);
    if request.has(linux::CLONE_PARENT_SETTID) {
        // As on Linux, an address that is not there is the caller's own loss.
        let _ = UserPtr::<u32>::new(request.parent_tid).write(&tid);
    }
    let release = request.has(linux::CLONE_VFORK).then(|| {
        let release = Release::new();
        *task.vfork.lock() = Some(Arc::clone(&release));
        release
    });
    drop(task);
    thread.start();
    drop(thread);
    if parent.is_traced() {
        trace::on_clone(&parent, frame, request, tid);
    }
    if let Some(release) = release {
        release.wait(&parent);
        if parent.is_traced() {
            trace::after_vfork(&parent, frame, tid);
        }
    }
    Ok(tid)
}

/// RLIMIT_NPROC, for those whom it binds.
fn check_process_limit(parent: &Current) -> Result<()> {
    let credentials = parent.credentials();
    let is_free = credentials.user.real == 0
        || credentials.is_capable(linux::CAP_SYS_RESOURCE)
        || credentials.is_capable(linux::CAP_SYS_ADMIN);
    let limit = parent.process().limit(Resource::Processes);
    if is_free || limit == super::limits::INFINITY {
        return Ok(());
    }
    if tree::count_tasks_of(credentials.user.real) as u64 >= limit { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// Makes the task, its process if it gets one of its own, and its thread, none of which anybody knows yet.
fn make(parent: &Current, frame: &TrapFrame, request: &Request, tid: u32) -> Result<(Arc<Task>, Arc<Thread>)> {
    let process = match request.has(linux::CLONE_THREAD) {
        true => Arc::clone(parent.process()),
        false => Arc::new(make_process(parent.process(), request, tid)?),
    };
    let files = parent.try_files().ok_or(Errno::ESRCH)?;
    let fs = parent.try_fs().ok_or(Errno::ESRCH)?;
    let fs = if request.has(linux::CLONE_FS) { fs } else { Arc::new(fs.duplicate()) };
    if request.has(linux::CLONE_NEWNS) {
        fs.copy_namespace()?;
    }
    let shares_memory = request.has(linux::CLONE_VM) && !request.has(linux::CLONE_VFORK);
    let task = Task::new(NewTask {
        tid,
        process,
        blocked: parent.blocked(),
        alt_stack: if shares_memory { AltStack::NONE } else { *parent.signals.alt_stack.lock() },
        credentials: parent.task().credentials(),
        files: if request.has(linux::CLONE_FILES) { files } else { Arc::new(files.duplicate()) },
        fs,
        name: parent.name(),
    });
    task.inherit_scheduling(parent);
    task.set_memory_policy(parent.memory_policy());
    task.has_no_new_privileges.store(parent.has_no_new_privileges.load(Ordering::Relaxed), Ordering::Relaxed);
    if request.has(linux::CLONE_SYSVSEM) {
        *task.sem_undo.lock() = Some(parent.sem_undo());
    }
    task.inherit_seccomp(parent);
    if request.has(linux::CLONE_CHILD_CLEARTID) {
        task.clear_child_tid.store(request.child_tid, Ordering::Relaxed);
    }
    if request.has(linux::CLONE_CHILD_SETTID) {
        task.set_child_tid.store(request.child_tid, Ordering::Relaxed);
    }
    let mut first = frame.clone();
    first.rax = 0;
    (first.rcx, first.r11) = (first.rip, first.rflags);
    first.orig_rax = u64::MAX;
    if request.stack != 0 {
        first.rsp = request.stack;
    }
    *task.first_frame.lock() = Some(Box::new(first));
    let task = Arc::new(task);
    let thread = make_thread(&task, begin)?;
    thread.context.inherit(frame);
    if request.has(linux::CLONE_SETTLS) {
        thread.context.set_initial_fs_base(request.tls);
    }
    if !request.has(linux::CLONE_VM) {
        task.inherit_rseq(parent);
        thread.context.work.fetch_or(super::rseq::WORK, Ordering::Relaxed);
    }
    let current = sched::current();
    thread.set_affinity(current.affinity());
    thread.set_nice(if parent.resets_on_fork() { current.nice().max(0) } else { current.nice() });
    task.apply_policy(&thread);
    Ok((task, thread))
}

/// The scheduler's side of a task that does not run yet and is to begin with `entry`.
pub(super) fn make_thread(task: &Arc<Task>, entry: extern "C" fn(usize) -> !) -> Result<Arc<Thread>> {
    let extension: Arc<dyn Extension> = Arc::clone(task) as _;
    let thread = sched::create(NewThread {
        name: "",
        entry,
        argument: 0,
        extension: Some(extension),
        affinity: sched::CpuMask::ALL,
        nice: 0,
    })?;
    task.set_thread(&thread);
    Ok(thread)
}

fn make_process(parent: &Process, request: &Request, pid: u32) -> Result<Process> {
    let space = parent.space()?;
    let space = if request.has(linux::CLONE_VM) { space } else { space.fork()? };
    let actions = {
        let signals = parent.signals.lock();
        if request.has(linux::CLONE_SIGHAND) {
            Arc::clone(&signals.actions)
        } else {
            let actions = signals.actions.lock();
            let clears = request.flags & linux::CLONE_CLEAR_SIGHAND != 0;
            Arc::new(SpinLock::new(if clears { actions.cleared() } else { actions.clone() }))
        }
    };
    let process = Process::new(NewProcess {
        pid,
        exit_signal: request.exit_signal,
        space,
        executable: parent.executable(),
        actions,
        limits: parent.limits(),
        is_immortal: false,
    });
    let copy = |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    copy(&process.personality, &parent.personality);
    copy(&process.machine_check_kill, &parent.machine_check_kill);
    copy(&process.membarriers, &parent.membarriers);
    copy(&process.is_dumpable, &parent.is_dumpable);
    copy(&process.oom_score_adjust, &parent.oom_score_adjust);
    process.left_terminal.store(parent.has_left_terminal(), Ordering::Relaxed);
    Ok(process)
}

/// Makes the task known: from here on it can be found, signalled and waited for.
fn enter(parent: &Current, task: &Arc<Task>, request: &Request) -> Result<()> {
    let process = task.process();
    let mut tree = tree::lock();
    let mut signals = process.signals.lock();
    if signals.exit.is_some() || signals.exec.is_some() || parent.signals.is_killed.load(Ordering::SeqCst) {
        return Err(Errno::ERESTARTNOINTR);
    }
    signals.tasks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    signals.tasks.push(Arc::clone(task));
    // Once more: a filter for all threads may have come since the task was made.
    task.inherit_seccomp(parent);
    if let Some(thread) = task.thread() {
        thread.context.inherit_syscalls();
    }
    drop(signals);
    tree.add_task(Arc::clone(task));
    if parent.is_traced() {
        let is_wanted = request.has(linux::CLONE_PTRACE) || trace::clone_event(parent, request).is_some();
        trace::inherit(&mut tree, task, parent, is_wanted);
    }
    if request.has(linux::CLONE_THREAD) {
        return Ok(());
    }
    process.creator.store(parent.tid(), Ordering::Relaxed);
    let creator = parent.process();
    let parent_pid = if request.has(linux::CLONE_PARENT) {
        process.exit_signal.store(creator.exit_signal.load(Ordering::Relaxed), Ordering::Relaxed);
        creator.parent_pid()
    } else {
        creator.pid()
    };
    let (group, session) = match tree.node(creator.pid()) {
        Some(node) => (creator.group_id(), Arc::clone(&node.session)),
        None => return Err(Errno::ESRCH),
    };
    tree.add_process(Arc::clone(process), parent_pid, group, session);
    drop(tree);
    process.watch_cpu_limit();
    Ok(())
}

/// A descriptor of the new process for its parent.
fn give_pidfd(parent: &Current, task: &Task, to: u64) -> Result<i32> {
    let file = OpenFile::anonymous(PidFd::new(task.process()), OpenFlags::RDWR);
    let fd = parent.files().install(file, true, parent.process().limit(Resource::OpenFiles))?;
    if let Err(errno) = UserPtr::<i32>::new(to).write(&fd) {
        let _ = parent.files().close(fd);
        return Err(errno);
    }
    Ok(fd)
}

/// The first code of a new task, on its own kernel stack.
pub(super) extern "C" fn begin(_: usize) -> ! {
    let frame = prepare_first_entry();
    arch::enter_program(&frame)
}

/// What is left to do in the new task's own memory. Returns the registers to start with.
fn prepare_first_entry() -> TrapFrame {
    let task = current_task();
    let set_child_tid = task.set_child_tid.swap(0, Ordering::Relaxed);
    if set_child_tid != 0 {
        let _ = UserPtr::<u32>::new(set_child_tid).write(&task.tid());
    }
    let first = task.first_frame.lock().take();
    match first {
        Some(frame) => *frame,
        None => unreachable!("a task begins once, with the frame that its maker has given it"),
    }
}
