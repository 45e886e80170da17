//! The kernel's command line without a runner: several programs in one VM, scripts, streams, and what the options do.
//! The root is a directory with busybox, shared by 9p.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use osv_tests::{osv, run_with_timeout};

/// A root of its own for each test.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("osv-commands-{name}-{}", std::process::id()));
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "echo", "cat", "sleep", "pwd", "ps"] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        Self(dir)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the VM prints, and the exit code that the kernel has asked for.
    fn boot(&self, line: &str) -> (String, i32) {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35,accel=tcg", "-cpu", "max", "-m", "64M", "-display", "none", "-nodefaults"]);
        qemu.args(["-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        qemu.arg("-fsdev").arg(format!("local,id=root,path={},security_model=none,readonly=on", self.0.display()));
        qemu.args(["-device", "virtio-9p-pci,fsdev=root,mount_tag=root", "-kernel"]).arg(kernel());
        qemu.arg("-append").arg(format!("--quiet --rootfs=9p:root {line}"));
        let done = run_with_timeout(qemu, Duration::from_secs(60)).unwrap();
        let text = String::from_utf8_lossy(&done.stdout).replace("\r\n", "\n");
        (text, done.code.map_or(-1, |code| code >> 1))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The kernel that the command `osv` boots.
fn kernel() -> PathBuf {
    let output = Command::new(osv().unwrap()).args(["run", "--dry-run", "--", "/bin/true"]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    Path::new(line.split_whitespace().skip_while(|&word| word != "-kernel").nth(1).unwrap()).to_owned()
}

#[test]
fn commands_run_as_their_ends_say() {
    let root = Root::new("ends");
    let slow = "sh -c \"sleep 0.3; echo background; exit 7\"";
    let service = "sh -c \"trap 'echo asked; exit 9' TERM; while :; do sleep 0.1; done\"";
    let left = "sh -c \"sleep 60 & echo leaves\"";
    let line = format!("--env=A=b\\ c {service} &! {slow} & echo \"one $A\"; {left} ! ps ! nosuch; sh -c \"exit 5\"");
    let (text, code) = root.boot(&line);
    let has = |word: &str| text.lines().any(|line| line.contains(word));
    assert!(text.contains("one b c\nleaves\n"), "{text}");
    assert!(!has("sleep 60") && has("init"), "{text}");
    assert!(has("cannot run nosuch: ENOENT"), "{text}");
    assert!(text.ends_with("background\nasked\n"), "{text}");
    assert_eq!(code, 5, "{text}");
    // The last command that is waited for counts, also in the background.
    let (text, code) = root.boot(&format!("echo first; {slow} &"));
    assert_eq!((text.as_str(), code), ("first\nbackground\n", 7));
}

#[test]
fn scripts_run_before_and_between() {
    let root = Root::new("scripts");
    root.file("init/20-program", "#!/bin/sh\necho program\n");
    root.file("init/10-lines", "# a comment\n\n--env=A=1 --env=B?=2 sh -c \"echo lines $A $B $C\"; echo more\n");
    root.file("init/.hidden", "echo hidden\n");
    root.file("loop", "runscript /loop\n");
    root.file("script", "echo $B &\n--cwd=/ echo no\n");
    let path = root.0.join("init/20-program");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (text, code) = root.boot("--env=B=b runscript /script; runscript /loop");
    let expected = "lines 1 b\nmore\nprogram\n\
        osv: a line of /script has --cwd=/, but only --env= may stand there\n\
        osv: cannot run /script: EINVAL\nosv: cannot run /loop: ELOOP\n";
    // The one in the background may be late.
    assert_eq!(text.replace("\nb\n", "\n"), expected);
    assert_eq!(text.lines().filter(|&line| line == "b").count(), 1);
    assert_eq!(code, 126);
    assert_eq!(root.boot("--noinit echo alone").0, "alone\n");
}

#[test]
fn nothing_to_run_is_said() {
    let root = Root::new("nothing");
    let nothing = "osv: nothing to run: the command line names no program\n".to_owned();
    assert_eq!(root.boot(""), (nothing.clone(), 0));
    assert_eq!(root.boot("--cwd=/bin ; &"), (nothing, 0));
    assert_eq!(root.boot("--cwd=/nowhere pwd"), ("osv: cannot start in /nowhere: ENOENT\n".into(), 127));
}

#[test]
fn output_goes_where_the_command_line_says() {
    let root = Root::new("redirect");
    root.file("log", "old\n");
    let show = "sh -c \"cat /log >/dev/console\"";
    let write = "sh -c \"echo out; echo err >&2\"";
    assert_eq!(root.boot(&format!("--redirect=>>/log {write}; {show}")).0, "old\nout\nerr\n");
    assert_eq!(root.boot(&format!("--redirect=/log {write}; {show}")).0, "out\nerr\n");
    assert_eq!(root.boot("--redirect=/none/log echo").1, 127);
    assert_eq!(root.boot("--console=serial --delay=0.1 echo serial").0, "serial\n");
}

#[test]
fn no_signal_reaches_the_kernel_as_init_and_an_interrupt_ends_the_line() {
    let root = Root::new("signals");
    let line = "sh -c \"kill -9 1; kill -STOP 1; echo alive; kill -INT \\$\\$\"; echo never";
    assert_eq!(root.boot(line), ("alive\n".into(), 2));
}

/// Without the option the kernel resets the machine, which would start it again for ever.
#[test]
fn a_crash_can_switch_the_machine_off() {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35,accel=tcg", "-m", "64M", "-display", "none", "-nodefaults", "-serial", "stdio"]);
    qemu.args(["-append", "--rootfs=9p:nowhere --power-off-on-abort", "-kernel"]).arg(kernel());
    let done = run_with_timeout(qemu, Duration::from_secs(60)).unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert_eq!(told.matches("kernel crash: ").count(), 1, "{told}");
    assert_eq!(done.code, Some(0), "{told}");
}
