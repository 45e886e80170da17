//! Devices that only a hypervisor's other side can judge: the balloon, pvpanic, the ways to power off.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use osv_tests::{compile, osv, run_with_timeout};

/// What QEMU ends with when the kernel has crashed and nobody but the debug-exit device heard of it.
const CRASHED: i32 = 0x63 << 1 | 1;

/// The kernel that the command `osv` boots.
fn kernel() -> String {
    let output = Command::new(osv().expect("the command osv")).args(["run", "--dry-run", "--", "/bin/true"]).output();
    let line = String::from_utf8(output.expect("a dry run").stdout).expect("a QEMU command line");
    line.split_whitespace().skip_while(|&word| word != "-kernel").nth(1).expect("a kernel in it").into()
}

fn qemu(machine: &str, more: &[&str]) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "128", "-smp", "2", "-display", "none", "-nodefaults"])
        .args(["-no-user-config", "-no-reboot", "-serial", "stdio", "-M", machine])
        .args(more);
    qemu
}

/// Boots and returns the log and QEMU's exit code.
fn boot(machine: &str, more: &[&str]) -> (String, Option<i32>) {
    let done = run_with_timeout(qemu(machine, more), Duration::from_secs(60)).expect("QEMU");
    (String::from_utf8_lossy(&done.stdout).into_owned(), done.code)
}

#[test]
fn every_way_to_power_off() {
    let kernel = kernel();
    let run = ["-kernel", &kernel, "-append", "--rootfs=ram /nothing"];
    // ACPI's soft-off state; its reset register and the i8042 on machines whose ACPI has no such state, or none at all.
    for machine in ["q35", "pc", "microvm,acpi=on", "microvm,acpi=off"] {
        let (log, code) = boot(machine, &run);
        assert!(log.contains("the program ended: exit 127"), "{machine}: {log}");
        assert_eq!(code, Some(0), "{machine}: {log}");
    }
    let debug_exit = [&run[..], &["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]].concat();
    assert_eq!(boot("q35", &debug_exit).1, Some(127 << 1 | 1));
}

#[test]
fn a_crash_is_told_to_the_host() {
    let kernel = kernel();
    let run =
        ["-kernel", &kernel, "-append", "--rootfs=erofs:nowhere", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"];
    let (log, code) = boot("q35", &run);
    assert!(log.contains("kernel crash"), "{log}");
    assert_eq!(code, Some(CRASHED), "{log}");
    for device in ["pvpanic", "pvpanic-pci"] {
        // QEMU ends by itself as soon as it hears of the crash.
        let (log, code) = boot("q35", &[&run[..], &["-device", device]].concat());
        assert!(log.contains("kernel crash"), "{log}");
        assert_eq!(code, Some(0), "{device}: {log}");
    }
}

#[test]
fn the_balloon_follows_the_host() {
    let sleeper = compile::gcc("sleeper.c", "sleeper", &["-static"]).expect("gcc");
    let directory = compile::output_dir();
    let image = directory.join("sleeper.elf");
    let osv = osv().expect("the command osv");
    let built = Command::new(osv).args(["build", "--format", "elf", "-o"]).arg(&image).arg(&sleeper).output();
    assert!(built.expect("osv build").status.success());
    for (machine, device) in [("q35", "virtio-balloon-pci"), ("microvm", "virtio-balloon-device")] {
        let socket = directory.join("qmp.sock");
        let _ = fs::remove_file(&socket);
        let server = format!("unix:{},server=on,wait=off", socket.display());
        let image = image.to_str().expect("a path");
        let mut command =
            qemu(machine, &["-kernel", image, "-device", &format!("{device},id=balloon"), "-qmp", &server]);
        let child = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("QEMU"));
        let mut monitor = Monitor::connect(&socket);
        for mib in [64u64, 128, 32, 100] {
            monitor.ask(&format!(r#"{{"execute": "balloon", "arguments": {{"value": {}}}}}"#, mib << 20));
            monitor.wait_for(r#"{"execute": "query-balloon"}"#, &format!("\"actual\": {}", mib << 20));
        }
        let path = r#""path": "/machine/peripheral/balloon""#;
        monitor.ask(&format!(
            r#"{{"execute": "qom-set", "arguments": {{{path}, "property": "guest-stats-polling-interval", "value": 1}}}}"#
        ));
        let statistics = format!(r#"{{"execute": "qom-get", "arguments": {{{path}, "property": "guest-stats"}}}}"#);
        let answer = monitor.wait_for(&statistics, "\"stat-total-memory\": 13");
        assert!(!answer.contains("\"stat-free-memory\": 18446744073709551615"), "{answer}");
        drop(child);
    }
}

/// A QEMU that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// QEMU's monitor.
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn connect(socket: &Path) -> Self {
        let begin = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(20), "{error}"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        let mut monitor = Self(BufReader::new(stream));
        monitor.ask(r#"{"execute": "qmp_capabilities"}"#);
        monitor
    }

    /// Sends a command and returns the answer; events and greetings are skipped.
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.0.get_mut(), "{command}").expect("QEMU listens");
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).expect("an answer"), 0, "QEMU has ended");
            if line.contains("\"return\"") || line.contains("\"error\"") {
                assert!(!line.contains("\"error\""), "{command}: {line}");
                return line;
            }
        }
    }

    /// Asks until the answer has `text` in it.
    fn wait_for(&mut self, command: &str, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let answer = self.ask(command);
            if answer.contains(text) {
                return answer;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{command} never says {text}: {answer}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
