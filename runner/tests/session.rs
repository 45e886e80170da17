//! The runner against a guest that is a shell script in QEMU's place: consoles, signals, exit codes and
//! clean-up, without a kernel.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Finds the descriptors of the ports among QEMU's arguments.
const PRELUDE: &str = r#"#!/bin/bash
for argument; do
    case $argument in
    socket,id=*) name=${argument#socket,id=}; declare "${name%%,*}=${argument##*=}" ;;
    name=opt/org.osv/argv,*) argv=${argument##*file=} ;;
    name=opt/org.osv/envp,*) envp=${argument##*file=} ;;
    esac
done
"#;

/// A script in QEMU's place, removed in the end.
struct Guest {
    path: PathBuf,
}

impl Guest {
    fn new(name: &str, script: &str) -> Self {
        let path = std::env::temp_dir().join(format!("osv-guest-{name}-{}", std::process::id()));
        // Written by another process: a child that a test beside this one forks would inherit a descriptor of
        // ours, and a file that is open for writing cannot be executed.
        let mut install = Command::new("install");
        let mut install = install.args(["-m", "755", "/dev/stdin"]).arg(&path).stdin(Stdio::piped()).spawn().unwrap();
        writeln!(install.stdin.take().unwrap(), "{PRELUDE}{script}").unwrap();
        assert!(install.wait().unwrap().success());
        Self { path }
    }

    fn osv(&self, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osv"));
        command.env("OSV_QEMU", &self.path).arg("run").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, input: &[u8]) -> Output {
        let mut child = self.osv(&["/bin/true".as_ref()]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    fn start(&self, options: &[&str]) -> Child {
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        arguments.push("/bin/true".as_ref());
        self.osv(&arguments).spawn().unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn kill(child: &Child, signal: i32) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn streams_are_kept_apart_and_end() {
    let guest = Guest::new("streams", "cat <&$stdin >&$stdout; echo oops >&$stderr; echo 'exit 77' >&$control");
    let output = guest.run(b"one\ntwo");
    assert_eq!(output.stdout, b"one\ntwo");
    assert_eq!(output.stderr, b"oops\n");
    assert_eq!(output.status.code(), Some(77));
}

#[test]
fn all_eight_bits_of_the_exit_code_pass() {
    for code in [0, 1, 124, 125, 199, 255] {
        let guest = Guest::new("code", &format!("echo 'exit {code}' >&$control"));
        assert_eq!(guest.run(b"").status.code(), Some(code));
    }
}

#[test]
fn no_byte_is_lost_when_the_reader_is_slow() {
    let guest = Guest::new("slow", "head -c 3000000 /dev/zero >&$stdout; echo 'exit 0' >&$control");
    let mut child = guest.start(&[]);
    std::thread::sleep(Duration::from_millis(300));
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 3_000_000);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn arguments_and_environment_pass_whatever_they_hold() {
    let guest = Guest::new(
        "argv",
        "cat $argv >&$stdout; tr '\\0' '\\n' <$envp | grep ^ODD= >&$stderr; echo 'exit 0' >&$control",
    );
    let odd = OsStr::from_bytes(b"a b\"c\\ \xff\n,,=");
    let mut command = guest.osv(&["-e".as_ref(), "ODD=x=y z".as_ref(), "/bin/true".as_ref(), odd, "".as_ref()]);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"/bin/true\0a b\"c\\ \xff\n,,=\0\0");
    assert_eq!(output.stderr, b"ODD=x=y z\n");
}

#[test]
fn a_signal_reaches_the_guest_and_its_death_us() {
    let script = "echo ready >&$stdout; read -r word number <&$control; echo \"$word $number\" >&$control";
    let guest = Guest::new("signal", script);
    let mut child = guest.start(&[]);
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    kill(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn who_insists_is_heard() {
    let guest = Guest::new("deaf", "echo ready >&$stdout; exec sleep 60");
    let mut child = guest.start(&[]);
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    // On a busy machine signals that come close together become one: insist until it helps, as users do. Not by SIGINT,
    // which a shell's background jobs, and so perhaps this test, ignore from birth.
    wait_until("the runner ends its VM", || {
        let _ = Command::new("kill").arg("-TERM").arg(child.id().to_string()).stderr(Stdio::null()).status();
        std::thread::sleep(Duration::from_millis(100));
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn a_crash_of_the_kernel_is_125() {
    let guest = Guest::new("crash", "echo 'osv: kernel crash: out of paper' >&$log; exit 199");
    let output = guest.run(b"");
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kernel crash: out of paper"));
}

#[test]
fn a_vm_without_last_words_is_a_crash() {
    let guest = Guest::new("silent", "exit 0");
    let output = guest.run(b"");
    assert_eq!(output.status.code(), Some(125));
    let guest = Guest::new("complaint", "echo 'qemu: no such thing' >&2; exit 1");
    let output = guest.run(b"");
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("qemu: no such thing"));
}

#[test]
fn the_debug_exit_device_speaks_for_a_silent_guest() {
    let guest = Guest::new("debug-exit", "exit 15");
    assert_eq!(guest.run(b"").status.code(), Some(7));
}

#[test]
fn the_time_is_limited() {
    let guest = Guest::new("timeout", "exec sleep 60");
    let start = Instant::now();
    let mut child = guest.start(&["--timeout", "0.2"]);
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn no_hypervisor_outlives_the_runner() {
    let guest = Guest::new("stray", "echo $$ >&$stdout; exec sleep 60");
    let mut child = guest.start(&[]);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let process = Path::new("/proc").join(line.trim());
    assert!(process.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("QEMU is still there", || {
        fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn what_cannot_run_is_said_in_a_sentence() {
    let run = |program: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_osv")).args(["run", program]).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("no-such-program").contains("there is no program `no-such-program`"));
    assert!(run("/etc/passwd").contains("/etc/passwd is no program"));
    let output = Command::new(env!("CARGO_BIN_EXE_osv"))
        .args(["run", "/bin/true"])
        .env("OSV_QEMU", "/nonexistent/qemu")
        .env_remove("CI")
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("QEMU is not installed"));
}

#[test]
fn too_little_memory_is_said_before_the_start() {
    let guest = Guest::new("memory", "echo 'exit 0' >&$control");
    let output = guest.osv(&["-m".as_ref(), "1M".as_ref(), "/bin/true".as_ref()]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a VM of 1024 KiB cannot hold the program"));
}

#[test]
fn a_dry_run_prints_what_would_be_started() {
    let arguments = ["run", "--dry-run", "--machine", "microvm", "-m", "64M", "-c", "3", "--", "/bin/echo", "a b"];
    let output = Command::new(env!("CARGO_BIN_EXE_osv")).args(arguments).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    for part in ["-machine microvm", "-m size=65536K", "-smp 3", "virtio-9p-device", "mount_tag=root"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
