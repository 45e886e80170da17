//! Programs that carry the kernel: how one is recognised, and how it launches a VM of its own file.
//!
//! The file has a hand-off page at physical 1 MiB (see `osv/linker-scripts/app.ld`) that says where the program
//! and its configuration lie. The VM's root is in the guest's memory; the workspace's directory is shared
//! read-only at its own path, so that programs and tests find their files, and debug information is found
//! where the compiler has said it would be.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::outcome::Outcome;
use crate::qemu::{self, Wiring};
use crate::vm::Vm;
use crate::{install, session, sys};

const HANDOFF: u64 = 0x10_0000;
const MAGIC: &[u8; 8] = b"OSVHAND1";
const PT_LOAD: u32 = 1;

/// More headers or more configuration than this is no program of ours.
const CONFIG_MAX: u64 = 1 << 20;

/// The kernel under this process is osv: we are in the VM.
pub fn is_guest() -> bool {
    sys::is_osv()
}

/// Launches a VM of this process's own file, and ends the process as the program in the VM has ended.
/// Returns if the program is to run on Linux: with `OSV_NATIVE=1`, when a test runner asks for the list of tests, which
/// is the same anywhere, or when it is a harness whose tests have a VM each.
pub fn launch_unless_native(symbols: PathBuf) {
    let is_native = sys::is_set("OSV_NATIVE") || env::args_os().skip(1).any(|argument| argument == "--list");
    if is_native || is_harness_apart() {
        return;
    }
    sys::prepare_process();
    end(launch(None, env::args_os().collect(), symbols))
}

/// Launches a VM of a program's file with its arguments, and ends the process as the program has ended: for programs
/// that cannot do it themselves.
pub fn launch_file(exe: PathBuf, argv: Vec<OsString>, symbols: PathBuf) -> ! {
    sys::prepare_process();
    end(launch(Some(exe), argv, symbols))
}

/// Whether this process is the harness of tests that have a VM each, and not the start of such a VM.
fn is_harness_apart() -> bool {
    let config = || read_config(&File::open("/proc/self/exe").ok()?).ok()?;
    !sys::is_set("OSV_TEST_APART") && config().is_some_and(|config| config.has_tests_apart)
}

fn end(result: Result<Outcome, String>) -> ! {
    match result {
        Ok(outcome) => outcome.exit(),
        Err(sentence) => {
            eprintln!("osv: {sentence}");
            std::process::exit(125);
        }
    }
}

/// Runs the VM of a program's file; without one, of this process's own.
fn launch(file: Option<PathBuf>, argv: Vec<OsString>, symbols: PathBuf) -> Result<Outcome, String> {
    let (exe, path) = match file {
        Some(file) => (file.clone(), file),
        None => {
            let exe = env::current_exe().map_err(|e| format!("cannot find the program's own file: {e}"))?;
            (exe, "/proc/self/exe".into())
        }
    };
    let file = File::open(path).map_err(|e| format!("cannot read the program's file {}: {e}", exe.display()))?;
    sys::make_inheritable(&file).map_err(|e| e.to_string())?;
    let embedded = read_config(&file)?.ok_or("this program carries no kernel")?;
    let config = embedded.overridden_by(Config::from_env()?);
    let mut vm = machine(&exe, argv);
    vm.kernel = PathBuf::from(sys::fd_path(file.as_raw_fd()));
    vm.symbols = Some(symbols);
    config.apply(&mut vm);
    if let Some(port) = sys::var("OSV_GDB").and_then(|port| port.parse().ok()) {
        vm.wait_for_debugger(port);
    }
    if sys::is_set("OSV_DRY_RUN") {
        vm.kernel = exe;
        return print_command_line(&vm);
    }
    install::ensure_qemu(false)?;
    session::run(&vm).map_err(|e| e.to_string())
}

/// Prints QEMU's command line instead of running it.
///
/// # Errors
/// When standard output is closed.
pub fn print_command_line(vm: &Vm) -> Result<Outcome, String> {
    let program = qemu::find().unwrap_or_else(|| qemu::PROGRAM.into());
    let line = qemu::quoted(&program, &qemu::arguments(vm, &Wiring::Terminal));
    writeln!(io::stdout(), "{line}").map_err(|e| e.to_string())?;
    Ok(Outcome::Exited(0))
}

/// The VM for the program `exe`, which carries the kernel: the environment of this process, its directory, and
/// the workspace.
pub fn machine(exe: &Path, argv: Vec<OsString>) -> Vm {
    let mut vm = Vm::new(exe.to_owned());
    vm.argv = argv;
    vm.env = env::vars_os().collect();
    vm.is_verbose = sys::is_set("OSV_VERBOSE");
    vm.option(if vm.is_verbose { "--verbose" } else { "--quiet" }, "");
    vm.option("--rootfs", "embedded");
    vm.option("--exe", exe);
    if let Ok(cwd) = env::current_dir() {
        let shared = workspace(&cwd);
        if shared.parent().is_some() {
            vm.mount("work", shared.clone(), shared.as_os_str(), false);
        }
        if !exe.starts_with(&shared)
            && let Some(target) = cargo_target(exe).or_else(|| rustdoc_dir(exe))
        {
            vm.mount("target", target.clone(), target.as_os_str(), false);
        }
        vm.option("--cwd", cwd);
    }
    vm
}

/// The directory of the cargo workspace that `dir` is in; `dir` itself if there is none.
fn workspace(dir: &Path) -> PathBuf {
    let manifests = || dir.ancestors().filter(|dir| dir.join("Cargo.toml").is_file());
    let is_workspace = |dir: &&Path| {
        let text = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        text.lines().any(|line| line.trim_start().starts_with("[workspace"))
    };
    manifests().find(is_workspace).or_else(|| manifests().next()).unwrap_or(dir).to_owned()
}

/// The target directory that cargo has built `exe` into.
fn cargo_target(exe: &Path) -> Option<PathBuf> {
    exe.ancestors().skip(1).find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_owned)
}

/// The directory of its own below the temporary one that rustdoc has built `exe` into: doctests start themselves anew,
/// so they must see their own file.
fn rustdoc_dir(exe: &Path) -> Option<PathBuf> {
    let dir = exe.parent()?;
    let name = dir.file_name()?.to_str()?;
    (dir.parent()? == env::temp_dir() && name.starts_with("rustdoctest")).then(|| dir.to_owned())
}

/// The configuration in `file`, or `None` if the file is no program that carries the kernel.
///
/// # Errors
/// A sentence, if there is a configuration that cannot be used.
pub fn read_config(file: &File) -> Result<Option<Config>, String> {
    let Some(segments) = segments(file) else { return Ok(None) };
    let Some(page) = read_physical(file, &segments, HANDOFF, 64) else { return Ok(None) };
    if page.get(..8) != Some(MAGIC) {
        return Ok(None);
    }
    let field = |index: usize| {
        let bytes = page.get(index * 8..index * 8 + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (Some(app), Some(start), Some(end)) = (field(2), field(6), field(7)) else { return Ok(None) };
    if app == 0 {
        return Ok(None);
    }
    let size = end.saturating_sub(start).min(CONFIG_MAX);
    let text = read_physical(file, &segments, start, size).unwrap_or_default();
    Config::parse(&String::from_utf8_lossy(&text)).map(Some)
}

/// The first physical address behind all that `file` loads: with less memory a VM cannot even begin.
pub fn memory_end(file: &File) -> Option<u64> {
    segments(file)?.iter().map(|segment| segment.physical.saturating_add(segment.memory_size)).max()
}

/// A loadable segment: offset, physical address, size in the file and in memory.
struct Segment {
    offset: u64,
    physical: u64,
    size: u64,
    memory_size: u64,
}

fn segments(file: &File) -> Option<Vec<Segment>> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = u64::from_le_bytes(header[0x20..0x28].try_into().ok()?);
    let size = u64::from(u16::from_le_bytes([header[0x36], header[0x37]]));
    let count = u64::from(u16::from_le_bytes([header[0x38], header[0x39]]));
    let segment = |index: u64| {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table.checked_add(index * size)?).ok()?;
        let word = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
        let kind = u32::from_le_bytes(entry[..4].try_into().ok()?);
        let segment = Segment { offset: word(8)?, physical: word(24)?, size: word(32)?, memory_size: word(40)? };
        (kind == PT_LOAD).then_some(segment)
    };
    Some((0..count).filter_map(segment).collect())
}

fn read_physical(file: &File, segments: &[Segment], start: u64, size: u64) -> Option<Vec<u8>> {
    let segment =
        segments.iter().find(|segment| start >= segment.physical && start - segment.physical < segment.size)?;
    let skipped = start - segment.physical;
    let size = size.min(segment.size - skipped);
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut bytes, segment.offset.checked_add(skipped)?).ok()?;
    Some(bytes)
}
