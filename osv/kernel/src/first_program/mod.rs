//! What the VM runs: one program or the commands of a line, their arguments, environment and streams, and what their
//! end means.
//!
//! The runner passes a program with its arguments and environment by fw_cfg, where any bytes may stand; without a
//! runner the kernel's command line says what to run. One program is the first process itself; for several that is a
//! thread of the kernel (see `commands`). The end of the first process is the end of the VM: the status goes to the
//! runner by the control port.

mod commands;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::cmdline::{Command, Console, End, Environment, Options, Redirect};
use crate::drivers::fw_cfg::FwCfg;
use crate::drivers::{console, power};
use crate::errno::{Errno, Result};
use crate::fs::{self, Caller, FdTable, FsContext, OpenFlags, ResolveFlags, Start, Subject};
use crate::mem::object::PageSource;
use crate::process::exec::{self, NewProgram};
use crate::process::exit;
use crate::process::init::{self, World};
use crate::process::session::Terminal;
use crate::process::status::ExitStatus;
use crate::process::{ADDR_NO_RANDOMIZE, embedded};
use crate::sched::{Deadline, WaitQueue};
use crate::{error, info, kprintln};

/// The exit status of the VM when the first program cannot be started, as a shell's: not found, or not executable.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The embedded program's path where no host shares it.
const APP: &[u8] = b"/app";

/// The VM is to go on when its programs have ended.
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// Starts what runner or command line name, in the world of `context`.
pub fn start(options: &Options, context: FsContext) {
    exit::set_init_exit_hook(end_vm);
    GOES_ON.store(options.has_no_shutdown, Ordering::Relaxed);
    wait(options.delay_ns);
    let world = match make_world(options, context) {
        Ok(world) => world,
        Err(errno) => end_with_code(failure_code(errno)),
    };
    let app = embedded_app().filter(|_| !is_on_shared_directory(options, &world.fs));
    let (commands, environment) = commands(options, app.is_some());
    let scripts = if options.skips_init { Vec::new() } else { commands::scripts_in_init(&world.fs) };
    if commands.is_empty() && scripts.is_empty() {
        kprintln!("osv: nothing to run: the command line names no program");
        power::power_off(0);
    }
    let terminal = fs::console::terminal().map(|terminal| terminal as Arc<dyn Terminal>);
    if let ([command], []) = (commands.as_slice(), scripts.as_slice())
        && is_plain(command, options)
    {
        let path = options.exe.as_ref().or(command.words.first()).cloned().unwrap_or_default();
        run_first(path, app, command, &environment, world, terminal);
        return;
    }
    let programs = commands::Programs::new(world.duplicate(), environment, app, scripts, commands);
    if let Err(errno) = programs.run_as_init(world, terminal) {
        error!("cannot start the first process: {errno}");
        end_with_code(NOT_EXECUTABLE);
    }
}

/// Whether the command can be the first process itself.
fn is_plain(command: &Command, options: &Options) -> bool {
    !options.has_no_shutdown && matches!(command.end, End::Wait) && !commands::is_script(command)
}

fn run_first(
    path: Vec<u8>,
    embedded: Option<Arc<dyn PageSource>>,
    command: &Command,
    environment: &Environment,
    world: World,
    terminal: Option<Arc<dyn Terminal>>,
) {
    let found = if embedded.is_some() { path } else { find_program(&path, environment, &world.fs) };
    let program =
        NewProgram { path: found.clone(), embedded, arguments: &command.words, environment: environment.strings() };
    if let Err(errno) = init::spawn_init(program, world, terminal) {
        error!("{}", exec::describe_failure(&found, errno));
        end_with_code(failure_code(errno));
    }
}

fn failure_code(errno: Errno) -> u8 {
    if errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE }
}

fn wait(delay_ns: u64) {
    if delay_ns != 0 {
        // Nothing but the time ends this.
        let _ = WaitQueue::new().wait_interruptible(Some(Deadline::after(delay_ns)), || None::<()>);
    }
}

/// The program that came with the kernel in one file.
fn embedded_app() -> Option<Arc<dyn PageSource>> {
    let app = arch::boot_info().handoff.app;
    embedded::pages(app.start, app.end)
}

/// Whether the embedded app is better run from a directory that the host shares: there it has its debug information.
fn is_on_shared_directory(options: &Options, context: &FsContext) -> bool {
    let caller = Caller::new(context, &Subject::ROOT);
    options.exe.as_ref().is_some_and(|path| caller.resolve(Start::Current, path, true).is_ok())
}

/// Working directory and streams, as the command line wants them.
fn make_world(options: &Options, context: FsContext) -> Result<World> {
    let caller = Caller::new(&context, &Subject::ROOT);
    if let Some(directory) = &options.cwd {
        let place = caller.resolve(Start::Current, directory, true);
        let place = place.inspect_err(|errno| error!("cannot start in {}: {errno}", directory.escape_ascii()))?;
        context.set_current(place);
    }
    let files = fs::console::standard_streams(&caller, options.console == Console::Serial)?;
    if let Some(redirect) = &options.redirect {
        let result = redirect_to(redirect, &caller, &files);
        result.inspect_err(|errno| error!("cannot write to {}: {errno}", redirect.path.escape_ascii()))?;
    }
    let personality = if options.has_no_aslr { ADDR_NO_RANDOMIZE } else { 0 };
    Ok(World { fs: Arc::new(context), files: Arc::new(files), personality })
}

/// Makes descriptors 1 and 2 a file.
fn redirect_to(redirect: &Redirect, caller: &Caller<'_>, files: &FdTable) -> Result<()> {
    let end = if redirect.appends { OpenFlags::APPEND } else { OpenFlags::TRUNC };
    let flags = OpenFlags::WRONLY | OpenFlags::CREAT | end;
    let file = caller.open(Start::Current, &redirect.path, flags, 0o644, ResolveFlags::empty())?;
    for descriptor in [1, 2] {
        files.install_at(Arc::clone(&file), descriptor, false, fs::MAX_FDS as u64)?;
    }
    Ok(())
}

/// A name without a slash is looked for in `PATH`, as a shell does.
fn find_program(name: &[u8], environment: &Environment, context: &FsContext) -> Vec<u8> {
    if name.contains(&b'/') {
        return name.to_vec();
    }
    let directories =
        environment.get(b"PATH").unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let candidates = directories.split(|&byte| byte == b':').map(|directory| [directory, b"/", name].concat());
    let caller = Caller::new(context, &Subject::ROOT);
    let exists = |path: &Vec<u8>| caller.resolve(Start::Current, path, true).is_ok();
    candidates.into_iter().find(exists).unwrap_or_else(|| name.to_vec())
}

/// What to run, and the environment: the runner's, or the command line's; or the embedded program.
fn commands(options: &Options, has_app: bool) -> (Vec<Command>, Environment) {
    let fw_cfg = FwCfg::find();
    let file = |name: &[u8]| fw_cfg.as_ref().and_then(|device| device.file(name).ok());
    let inherited = file(b"opt/org.osv/envp").map(|bytes| strings(&bytes)).unwrap_or_default();
    let mut environment = Environment::from_strings(inherited);
    environment.extend(&options.environment);
    let command = |words| Vec::from([Command { words, end: End::Wait }]);
    let commands = match file(b"opt/org.osv/argv").map(|bytes| strings(&bytes)) {
        Some(words) if !words.is_empty() => command(words),
        _ => Command::parse_line(&options.line, &environment),
    };
    if commands.is_empty() && has_app {
        let path = options.exe.clone().unwrap_or_else(|| APP.to_vec());
        return (command(Vec::from([path])), environment);
    }
    (commands, environment)
}

/// Strings that end with NUL each.
fn strings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut strings: Vec<Vec<u8>> = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    if strings.last().is_some_and(Vec::is_empty) {
        strings.pop();
    }
    strings
}

/// The first program has ended: tells the runner how, once everything it wrote is out, and switches off.
fn end_vm(status: ExitStatus) -> ! {
    match status {
        ExitStatus::Exited(code) => end_with_code(code),
        ExitStatus::Killed { signal, .. } => end(&format!("signal {}\n", signal.number()), 128 + signal.number() as u8),
    }
}

fn end_with_code(code: u8) -> ! {
    end(&format!("exit {code}\n"), code)
}

fn end(line: &str, code: u8) -> ! {
    fs::flush_streams();
    fs::console::flush();
    if GOES_ON.load(Ordering::Relaxed) {
        kprintln!("osv: all programs have ended ({}); the VM goes on", line.trim_end());
        WaitQueue::new().wait_until(|| None::<()>);
    }
    for port in console::ports() {
        port.flush();
    }
    if let Some(control) = console::port(console::CONTROL) {
        // The runner may be gone; then nobody is left to tell.
        let _ = control.write_all(line.as_bytes());
        control.flush();
    } else {
        // Hypervisors that take no exit code have their log read.
        info!("the program ended: {}", line.trim_end());
    }
    power::power_off(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_nul() {
        assert_eq!(strings(b"a\0\0b c\0"), [&b"a"[..], b"", b"b c"]);
        assert_eq!(strings(b""), Vec::<Vec<u8>>::new());
        assert_eq!(strings(b"cut"), [b"cut"]);
    }
}
