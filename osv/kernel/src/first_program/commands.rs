//! Several programs: the first process is a thread of the kernel that runs the scripts in `/init`, then the commands of
//! the line, and ends the VM when all has ended.
//!
//! The VM's status is that of the last command that was waited for. A command that a signal from the terminal has ended
//! takes those behind it along, as in a shell.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{APP, end_vm, failure_code, find_program};
use crate::cmdline::{BadOption, Command, End, Environment, script};
use crate::errno::{Errno, Result};
use crate::fs::{Caller, FsContext, OpenFlags, ResolveFlags, Start, Subject};
use crate::mem::object::PageSource;
use crate::mem::user::Dest;
use crate::process::exec::{self, NewProgram};
use crate::process::init::{self, World};
use crate::process::session::Terminal;
use crate::process::signal::Signal;
use crate::process::status::ExitStatus;
use crate::process::wait;
use crate::sched::Deadline;
use crate::sorting::sort_by;
use crate::sync::SpinLock;
use crate::{error, kprintln};

/// Where scripts lie that run first.
const INIT_DIRECTORY: &[u8] = b"/init";

/// A script is not longer than this.
const SCRIPT_MAX: usize = 1 << 20;

/// Scripts that run scripts go no deeper than this.
const DEPTH_MAX: usize = 8;

/// How long services may take to end when they are asked to.
const PATIENCE_NS: u64 = 10_000_000_000;

/// What ends a sequence: signals that a user sends from the terminal.
const INTERRUPTS: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// Whether the commands that follow are to be run.
#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    Stop,
}

/// Programs to run, and those that run.
pub struct Programs {
    world: World,
    environment: Environment,
    app: Option<Arc<dyn PageSource>>,
    scripts: Vec<Vec<u8>>,
    commands: Vec<Command>,
    background: Vec<u32>,
    services: Vec<u32>,
    /// The last command that is waited for, and how it has ended.
    last: u32,
    status: ExitStatus,
}

/// What the first process is to run.
static PROGRAMS: SpinLock<Option<Programs>> = SpinLock::new(None);

extern "C" fn run(_: usize) -> ! {
    let programs = PROGRAMS.lock().take();
    match programs {
        Some(programs) => end_vm(programs.run()),
        None => unreachable!("the first process begins once, and finds what its maker has put there"),
    }
}

/// Whether the command is `runscript`.
pub fn is_script(command: &Command) -> bool {
    command.words.first().is_some_and(|word| word == b"runscript")
}

/// The files in `/init`, in order.
pub fn scripts_in_init(context: &FsContext) -> Vec<Vec<u8>> {
    let caller = Caller::new(context, &Subject::ROOT);
    let flags = OpenFlags::DIRECTORY;
    let Ok(file) = caller.open(Start::Current, INIT_DIRECTORY, flags, 0, ResolveFlags::empty()) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let read = file.read_dir(&mut |entry| {
        if !entry.name.starts_with(b".") {
            names.push([INIT_DIRECTORY, b"/", entry.name].concat());
        }
        true
    });
    if let Err(errno) = read {
        error!("cannot read /init: {errno}");
    }
    sort_by(&mut names, |a, b| a < b);
    names
}

impl Programs {
    /// The scripts, then the commands.
    pub fn new(
        world: World,
        environment: Environment,
        app: Option<Arc<dyn PageSource>>,
        scripts: Vec<Vec<u8>>,
        commands: Vec<Command>,
    ) -> Programs {
        Programs {
            world,
            environment,
            app,
            scripts,
            commands,
            background: Vec::new(),
            services: Vec::new(),
            last: 0,
            status: ExitStatus::Exited(0),
        }
    }

    /// Makes the first process, which runs all this.
    pub fn run_as_init(self, world: World, terminal: Option<Arc<dyn Terminal>>) -> Result<()> {
        *PROGRAMS.lock() = Some(self);
        init::spawn_kernel_init(world, terminal, run)
    }

    fn run(mut self) -> ExitStatus {
        let environment = self.environment.clone();
        let (scripts, commands) = (core::mem::take(&mut self.scripts), core::mem::take(&mut self.commands));
        let is_done = scripts.iter().all(|path| self.run_file(path, &environment) == Flow::Go);
        if is_done {
            self.run_commands(&commands, &environment, 0);
        }
        while !self.background.is_empty() && self.reap(None).is_some() {}
        self.end_services();
        self.status
    }

    /// Asks the services to end, and waits for them, but not for ever.
    fn end_services(&mut self) {
        for &pid in &self.services {
            init::signal_child(pid, Signal::SIGTERM);
        }
        let deadline = Deadline::after(PATIENCE_NS);
        while !self.services.is_empty() && self.reap(Some(deadline)).is_some() {}
    }

    fn run_commands(&mut self, commands: &[Command], environment: &Environment, depth: usize) -> Flow {
        let is_done = commands.iter().all(|command| self.run_command(command, environment, depth) == Flow::Go);
        if is_done { Flow::Go } else { Flow::Stop }
    }

    fn run_command(&mut self, command: &Command, environment: &Environment, depth: usize) -> Flow {
        if is_script(command) {
            return match command.words.get(1) {
                Some(path) => self.run_script(path, environment, depth),
                None => self.fail(Errno::ENOENT, b"runscript"),
            };
        }
        let before = wait::living_children();
        let pid = match self.spawn(command, environment) {
            Ok(pid) => pid,
            Err(errno) => return self.fail(errno, command.words.first().map(Vec::as_slice).unwrap_or_default()),
        };
        match command.end {
            End::Service => {
                self.services.push(pid);
                return Flow::Go;
            }
            End::Background => {
                self.last = pid;
                self.background.push(pid);
                return Flow::Go;
            }
            End::Wait | End::WaitAndKill => self.last = pid,
        }
        while self.reap(None).is_some_and(|ended| ended != pid) {}
        if command.end == End::WaitAndKill {
            self.kill_all_but(&before);
        }
        match self.status {
            ExitStatus::Killed { signal, .. } if INTERRUPTS.contains(&signal) => Flow::Stop,
            _ => Flow::Go,
        }
    }

    /// A file of `/init`: a program, or a script.
    fn run_file(&mut self, path: &[u8], environment: &Environment) -> Flow {
        let is_program = match self.read(path, 4) {
            Ok(head) => head.starts_with(b"\x7fELF") || head.starts_with(b"#!"),
            Err(errno) => return self.fail(errno, path),
        };
        if !is_program {
            return self.run_script(path, environment, 0);
        }
        self.run_command(&Command { words: Vec::from([path.to_vec()]), end: End::Wait }, environment, 0)
    }

    fn run_script(&mut self, path: &[u8], environment: &Environment, depth: usize) -> Flow {
        if depth == DEPTH_MAX {
            return self.fail(Errno::ELOOP, path);
        }
        let text = match self.read(path, SCRIPT_MAX) {
            Ok(text) => text,
            Err(errno) => return self.fail(errno, path),
        };
        for line in text.split(|&byte| byte == b'\n') {
            let flow = match script::parse(line, environment) {
                Ok(None) => Flow::Go,
                Ok(Some(line)) => self.run_commands(&line.commands, &line.environment, depth + 1),
                Err(BadOption(option)) => {
                    kprintln!(
                        "osv: a line of {} has {}, but only --env= may stand there",
                        path.escape_ascii(),
                        option.escape_ascii()
                    );
                    self.fail(Errno::EINVAL, path)
                }
            };
            if flow == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Go
    }

    /// Says that something could not be run; what follows is run nevertheless.
    fn fail(&mut self, errno: Errno, path: &[u8]) -> Flow {
        error!("{}", exec::describe_failure(path, errno));
        self.last = 0;
        self.status = ExitStatus::Exited(failure_code(errno));
        Flow::Go
    }

    fn spawn(&self, command: &Command, environment: &Environment) -> Result<u32> {
        let name = command.words.first().ok_or(Errno::ENOENT)?;
        let embedded = self.app.clone().filter(|_| name == APP);
        let path = if embedded.is_some() { name.clone() } else { find_program(name, environment, &self.world.fs) };
        let program = NewProgram { path, embedded, arguments: &command.words, environment: environment.strings() };
        init::spawn_child(program, self.world.duplicate())
    }

    /// Waits for the end of any child. Its id; `None` if there is none, or the time is up.
    fn reap(&mut self, deadline: Option<Deadline>) -> Option<u32> {
        let (pid, status) = wait::wait_for_end(deadline)?;
        self.background.retain(|&other| other != pid);
        self.services.retain(|&other| other != pid);
        if pid == self.last {
            self.status = status;
        }
        Some(pid)
    }

    /// Ends all children that were not there `before`, and what they leave.
    fn kill_all_but(&mut self, before: &[u32]) {
        loop {
            let mut left = wait::living_children();
            left.retain(|pid| !before.contains(pid));
            if left.is_empty() {
                return;
            }
            for pid in left {
                init::signal_child(pid, Signal::SIGKILL);
            }
            self.reap(None);
        }
    }

    /// The first `most` bytes of a file.
    fn read(&self, path: &[u8], most: usize) -> Result<Vec<u8>> {
        let caller = Caller::new(&self.world.fs, &Subject::ROOT);
        let file = caller.open(Start::Current, path, OpenFlags::empty(), 0, ResolveFlags::empty())?;
        let mut text = Vec::new();
        let mut piece = [0; 512];
        while text.len() < most {
            let room = piece.len().min(most - text.len());
            let count = file.read(&mut Dest::from_slice(piece.get_mut(..room).unwrap_or_default()))?;
            if count == 0 {
                break;
            }
            text.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        Ok(text)
    }
}
