//! The first program: what it is, its arguments, environment and streams, and what its end means.
//!
//! The runner passes arguments and environment by fw_cfg, where any bytes may stand; without a runner the kernel's
//! command line names the program. Its end is the end of the VM: the status goes to the runner by the control port.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::arch;
use crate::cmdline::Options;
use crate::drivers::fw_cfg::FwCfg;
use crate::drivers::{console, power};
use crate::errno::{Errno, Result};
use crate::fs::{self, Caller, FsContext, Start, Subject};
use crate::mem::object::PageSource;
use crate::process::embedded;
use crate::process::exec::{self, Init};
use crate::process::exit;
use crate::process::session::Terminal;
use crate::process::status::ExitStatus;
use crate::{error, kprintln};

/// The exit status of the VM when the first program cannot be started, as a shell's: not found, or not executable.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Starts the program that runner or command line name, in the world of `context`.
pub fn start(options: &Options, context: FsContext) {
    exit::set_init_exit_hook(end_vm);
    let (mut arguments, environment) = words(options);
    let app = embedded_app();
    let own_name = app.is_some().then(|| b"/app".to_vec());
    let Some(path) = options.exe.as_ref().or(arguments.first()).or(own_name.as_ref()) else {
        kprintln!("osv: nothing to run: the command line names no program");
        power::power_off(0);
    };
    let path = path.clone();
    if arguments.is_empty() {
        arguments.push(path.clone());
    }
    let app = app.filter(|_| !is_on_shared_directory(options, &context));
    if let Err(errno) = spawn(&path, app, arguments, environment, options, context) {
        error!("{}", exec::describe_failure(&path, errno));
        end_with_code(if errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE });
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

fn spawn(
    path: &[u8],
    embedded: Option<Arc<dyn PageSource>>,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
    options: &Options,
    context: FsContext,
) -> Result<()> {
    if let Some(directory) = &options.cwd {
        context.set_current(Caller::new(&context, &Subject::ROOT).resolve(Start::Current, directory, true)?);
    }
    let path = if embedded.is_some() { path.to_vec() } else { find_program(path, &environment, &context) };
    let files = fs::console::standard_streams(&Caller::new(&context, &Subject::ROOT))?;
    exec::spawn_init(Init {
        path,
        embedded,
        arguments,
        environment,
        fs: Arc::new(context),
        files: Arc::new(files),
        terminal: fs::console::terminal().map(|terminal| terminal as Arc<dyn Terminal>),
    })
}

/// A name without a slash is looked for in `PATH`, as a shell does.
fn find_program(name: &[u8], environment: &[Vec<u8>], context: &FsContext) -> Vec<u8> {
    let search = environment.iter().find_map(|variable| variable.strip_prefix(b"PATH="));
    if name.contains(&b'/') {
        return name.to_vec();
    }
    let directories = search.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let candidates = directories.split(|&byte| byte == b':').map(|directory| [directory, b"/", name].concat());
    let caller = Caller::new(context, &Subject::ROOT);
    let exists = |path: &Vec<u8>| caller.resolve(Start::Current, path, true).is_ok();
    candidates.into_iter().find(exists).unwrap_or_else(|| name.to_vec())
}

/// Arguments and environment: the runner's, or the command line's.
fn words(options: &Options) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let fw_cfg = FwCfg::find();
    let file = |name: &[u8]| fw_cfg.as_ref().and_then(|device| device.file(name).ok());
    let arguments = file(b"opt/org.osv/argv").map(|bytes| strings(&bytes)).unwrap_or_else(|| options.program.clone());
    let mut environment = file(b"opt/org.osv/envp").map(|bytes| strings(&bytes)).unwrap_or_default();
    environment.extend(options.environment.iter().cloned());
    (arguments, environment)
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
    for port in console::ports() {
        port.flush();
    }
    if let Some(control) = console::port(console::CONTROL) {
        // The runner may be gone; then nobody is left to tell.
        let _ = control.write_all(line.as_bytes());
        control.flush();
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
