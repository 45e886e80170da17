//! Running programs: execve(2), and the start of the first one.
//!
//! [`prepare`] does all that can fail (finding the file, scripts, the interpreter, the new address space) without
//! touching the caller; after it comes the point of no return, where the other tasks of the process end and the old
//! program goes. The first process is made from the same parts.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::credentials::Credentials;
use super::limits::{Limits, Resource};
use super::loader::{self, Loaded, Program, ProgramFile};
use super::script::{self, PROBE_SIZE};
use super::signal::altstack::AltStack;
use super::stack::{self, Strings};
use super::structure::{Executable, Process};
use super::task::Task;
use super::{Current, current_task, exit, trace, tree};
use crate::arch::{self, TrapFrame, fpu, work};
use crate::errno::{Errno, Result};
use crate::fs::text::Running;
use crate::fs::{Access, Caller, FileType, FsContext, MountFlags, PathRef, Start};
use crate::log;
use crate::mem::object::PageSource;
use crate::sched;
use crate::sync::SpinLock;

/// Interpreters that are scripts themselves, as far as Linux follows them.
const MAX_SCRIPTS: usize = 5;

const SET_USER: u16 = 0o4000;
const SET_GROUP: u16 = 0o2000;
const GROUP_EXECUTE: u16 = 0o010;

/// What to run.
pub struct Request {
    /// The path, as the program will see it in its auxiliary vector.
    pub path: Vec<u8>,
    /// The file.
    pub place: PathRef,
    /// Scripts cannot be run from it: the interpreter could not open it (a descriptor with FD_CLOEXEC).
    pub is_hidden: bool,
    /// Arguments.
    pub arguments: Strings,
    /// Environment.
    pub environment: Strings,
}

/// Who runs it.
struct Runner<'a> {
    fs: &'a FsContext,
    credentials: &'a Credentials,
    limits: &'a Limits,
    personality: u32,
    /// Set-id bits have no effect.
    has_no_new_privileges: bool,
}

/// A program that is ready to run.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    pub(super) executable: Executable,
    pub(super) credentials: Credentials,
    is_secure: bool,
    is_dumpable: bool,
    pub(super) name: Vec<u8>,
}

/// What the kernel itself starts.
pub struct NewProgram<'a> {
    /// The path of its file.
    pub path: Vec<u8>,
    /// The program, if it is not a file but an image that the boot loader has laid out in memory.
    pub embedded: Option<Arc<dyn PageSource>>,
    /// Its arguments, the first one being its name.
    pub arguments: &'a [Vec<u8>],
    /// Its environment.
    pub environment: &'a [Vec<u8>],
}

impl Runner<'_> {
    /// The file at `path`, which must be one that may be run.
    fn find(&self, path: &[u8]) -> Result<PathRef> {
        let subject = self.credentials.subject();
        Caller::new(self.fs, &subject).resolve(Start::Current, path, true)
    }

    /// EACCES unless the file may be run, ETXTBSY if somebody may write it; nobody can as long as the second value lives.
    fn check(&self, place: &PathRef) -> Result<(ProgramFile, Running)> {
        if place.kind() != FileType::Regular || place.mount().flags().contains(MountFlags::NOEXEC) {
            return Err(Errno::EACCES);
        }
        let inode = place.inode();
        self.credentials.subject().check(FileType::Regular, inode.permissions()?, Access::EXECUTE)?;
        let pages = inode.clone().pages().ok_or(Errno::EACCES)?;
        Ok((ProgramFile::new(pages, Arc::new(place.clone())), Running::new(inode)?))
    }

    /// The set-user-ID and set-group-ID owners of the file, where they count.
    fn set_ids(&self, place: &PathRef) -> Result<(Option<u32>, Option<u32>)> {
        if place.mount().flags().contains(MountFlags::NOSUID) {
            return Ok((None, None));
        }
        let file = place.inode().permissions()?;
        let user = (file.mode & SET_USER != 0).then_some(file.uid);
        let group = (file.mode & (SET_GROUP | GROUP_EXECUTE) == SET_GROUP | GROUP_EXECUTE).then_some(file.gid);
        Ok((user, group))
    }
}

/// Does all that can fail. Follows scripts to their interpreters.
fn prepare(runner: &Runner<'_>, mut request: Request) -> Result<Prepared> {
    let name = base_name(&request.path).to_vec();
    let path = request.path.clone();
    for _ in 0..=MAX_SCRIPTS {
        let (file, running) = runner.check(&request.place)?;
        let mut probe = [0; PROBE_SIZE];
        let len = file.read(0, &mut probe)?;
        match script::parse(probe.get(..len).unwrap_or_default()) {
            None => return prepare_program(runner, &request, &path, name, file, running),
            Some(script) => {
                let script = script?;
                if request.is_hidden {
                    return Err(Errno::ENOENT);
                }
                follow(runner, &mut request, &script)?;
            }
        }
    }
    Err(Errno::ELOOP)
}

/// The script's interpreter is to be run instead, with the script as an argument.
fn follow(runner: &Runner<'_>, request: &mut Request, script: &script::Script<'_>) -> Result<()> {
    let mut front: Vec<&[u8]> = alloc::vec![script.interpreter];
    front.extend(script.argument);
    let script_path = core::mem::take(&mut request.path);
    front.push(&script_path);
    request.arguments.replace_front(1, &front)?;
    request.path = script.interpreter.to_vec();
    request.place = runner.find(script.interpreter)?;
    Ok(())
}

fn prepare_program(
    runner: &Runner<'_>,
    request: &Request,
    path: &[u8],
    name: Vec<u8>,
    file: ProgramFile,
    running: Running,
) -> Result<Prepared> {
    let (set_user, set_group) = runner.set_ids(&request.place)?;
    let program = Program::read(file)?;
    let interpreter = match program.interpreter()? {
        Some(name) => {
            let (file, _) = runner.check(&runner.find(&name)?)?;
            Some(Program::read(file).map_err(bad_interpreter)?)
        }
        None => None,
    };
    let place = Some((request.place.clone(), Some(Arc::new(running))));
    let strings = (&request.arguments, &request.environment);
    finish(runner, &program, interpreter.as_ref(), path, strings, (set_user, set_group), place, name)
}

fn bad_interpreter(errno: Errno) -> Errno {
    if errno == Errno::ENOEXEC { Errno::ELIBBAD } else { errno }
}

#[allow(clippy::too_many_arguments, reason = "the parts of a program come from as many places")]
fn finish(
    runner: &Runner<'_>,
    program: &Program,
    interpreter: Option<&Program>,
    path: &[u8],
    (arguments, environment): (&Strings, &Strings),
    (set_user, set_group): (Option<u32>, Option<u32>),
    place: Option<(PathRef, Option<Arc<Running>>)>,
    name: Vec<u8>,
) -> Result<Prepared> {
    stack::check_size(arguments, environment, path.len(), runner.limits.soft(Resource::Stack))?;
    let (set_user, set_group) = if runner.has_no_new_privileges { (None, None) } else { (set_user, set_group) };
    let credentials = runner.credentials.after_exec(set_user, set_group);
    let is_secure = runner.credentials.is_secure_exec(&credentials);
    let start = loader::Start {
        path,
        arguments,
        environment,
        credentials: &credentials,
        is_secure,
        limits: runner.limits,
        personality: runner.personality,
    };
    let loaded = loader::load(program, interpreter, &start)?;
    let (path, running) = place.map_or((None, None), |(path, running)| (Some(path), running));
    let executable = Executable {
        path,
        running,
        arguments: loaded.arguments,
        environment: loaded.environment,
        auxiliary: loaded.auxiliary,
    };
    let is_dumpable =
        credentials.user.effective == credentials.user.real && credentials.group.effective == credentials.group.real;
    Ok(Prepared { loaded, executable, credentials, is_secure, is_dumpable, name })
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// Runs another program in the current process, whose frame is given. On success the frame is that program's first.
///
/// # Errors
/// Those of execve(2); the caller goes on unchanged, unless it is killed meanwhile.
pub fn execute(frame: &mut TrapFrame, mut request: Request) -> Result<()> {
    let task = current_task();
    if request.arguments.count() == 0 {
        log::warn_once!("process '{}' launched a program with an empty argument list", task.name_text());
        request.arguments.push(b"")?;
    }
    let process = Arc::clone(task.process());
    let prepared = {
        let runner = Runner {
            fs: &task.fs(),
            credentials: &task.credentials(),
            limits: &process.limits(),
            personality: process.personality.load(Ordering::Relaxed),
            has_no_new_privileges: task.has_no_new_privileges.load(Ordering::Relaxed)
                || task.is_traced_by_unprivileged(),
        };
        prepare(&runner, request)?
    };
    exit::become_only_task(&task)?;
    let (old_tid, number) = (task.tid(), frame.orig_rax);
    replace(task, &process, frame, prepared);
    if task.is_traced() {
        frame.orig_rax = number;
        trace::after_exec(&task, frame, old_tid);
    }
    Ok(())
}

/// The point of no return: the old program goes.
fn replace(task: Current, process: &Arc<Process>, frame: &mut TrapFrame, prepared: Prepared) {
    take_over_pid(&task, process);
    exit::release_memory_users(&task);
    task.forget_rseq();
    process.timers.delete_posix();
    process.account_space();
    let old = process.replace_space(Some(prepared.loaded.space));
    process.load_space();
    exit::release_vfork(&task);
    drop(old);

    reset_actions(process);
    *task.signals.alt_stack.lock() = AltStack::NONE;
    *task.restart.lock() = None;
    task.unshare_files();
    task.files().close_on_exec();
    if prepared.is_secure {
        task.parent_death_signal.store(0, Ordering::Relaxed);
    }
    process.is_dumpable.store(u32::from(prepared.is_dumpable), Ordering::Relaxed);
    process.membarriers.store(0, Ordering::Relaxed);
    process.has_execed.store(true, Ordering::Relaxed);
    process.exit_signal.store(super::signal::Signal::SIGCHLD.number(), Ordering::Relaxed);
    process.last_uid.store(prepared.credentials.user.real, Ordering::Relaxed);
    process.set_executable(prepared.executable);
    task.set_credentials(prepared.credentials);
    task.set_name(&prepared.name);

    *frame = TrapFrame::new(prepared.loaded.entry, prepared.loaded.stack_pointer);
    fpu::reset(frame);
    arch::set_fs_base(0);
    arch::set_gs_base(0);
    sched::current().context.work.fetch_or(work::FRAME_REWRITTEN, Ordering::Relaxed);
}

/// A task that is not the first becomes it, with its id.
fn take_over_pid(task: &Task, process: &Process) {
    if task.is_leader() {
        return;
    }
    let mut tree = tree::lock();
    let old_tid = task.tid();
    if let Some(task) = tree.remove_task(old_tid) {
        task.set_tid(process.pid());
        tree.retain_id(process.pid());
        tree.add_task(task);
    }
    let gone = tree.renumber_tracing(old_tid, process.pid());
    drop(tree);
    drop(gone);
    process.signals.lock().leader_code = None;
}

/// Handlers are gone; a table that was shared is shared no longer.
fn reset_actions(process: &Process) {
    let mut signals = process.signals.lock();
    let actions = signals.actions.lock().cleared();
    signals.actions = Arc::new(SpinLock::new(actions));
}

/// Does all that can fail for a program that the kernel itself starts, which may be an `embedded` one.
pub(super) fn prepare_new(
    program: NewProgram<'_>,
    fs: &FsContext,
    limits: &Limits,
    personality: u32,
) -> Result<Prepared> {
    let credentials = Credentials::root();
    let runner = Runner { fs, credentials: &credentials, limits, personality, has_no_new_privileges: false };
    let arguments = Strings::from_list(program.arguments.iter().map(Vec::as_slice))?;
    let environment = Strings::from_list(program.environment.iter().map(Vec::as_slice))?;
    let path = program.path;
    let Some(pages) = program.embedded else {
        let place = runner.find(&path)?;
        return prepare(&runner, Request { path, place, is_hidden: false, arguments, environment });
    };
    let program = Program::read(ProgramFile::laid_out(pages))?;
    let name = base_name(&path).to_vec();
    let place = runner.find(&path).ok().map(|place| (place, None));
    finish(&runner, &program, None, &path, (&arguments, &environment), (None, None), place, name)
}

/// What a failed start says to whoever booted the VM.
pub fn describe_failure(path: &[u8], errno: Errno) -> String {
    alloc::format!("cannot run {}: {}", path.escape_ascii(), errno)
}
