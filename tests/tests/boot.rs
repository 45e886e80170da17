//! Boots the kernel by itself, as a hypervisor does, on each machine, with awkward sizes of memory and numbers of CPUs,
//! and reads its log. The quick tests are a few boots; the whole matrix, and the kernel's self-tests, are ignored by
//! default and run by `cargo test -p osv-tests --test boot -- --ignored`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use osv_tests::{osv, run_with_timeout};

/// What the kernel is asked to run: its root is empty, so it ends with a word on the program that is not there.
const NO_PROGRAM: &str = "--rootfs=ram /nothing";

/// QEMU's exit code when the kernel has asked for the end with code 1: by an unknown option.
const ASKED_WITH_1: i32 = 1 << 1 | 1;

/// What a boot left.
struct Boot {
    log: String,
    code: Option<i32>,
}

impl Boot {
    fn says(&self, text: &str) -> &Self {
        assert!(self.log.contains(text), "the log lacks {text:?}; QEMU's exit code is {:?}:\n{}", self.code, self.log);
        self
    }

    fn does_not_say(&self, text: &str) -> &Self {
        assert!(!self.log.contains(text), "the log has {text:?}:\n{}", self.log);
        self
    }
}

/// The kernel that the command `osv` boots.
fn kernel() -> PathBuf {
    let output = Command::new(osv().expect("the command osv")).args(["run", "--dry-run", "--", "/bin/true"]).output();
    let line = String::from_utf8(output.expect("a dry run").stdout).expect("a QEMU command line");
    line.split_whitespace().skip_while(|&word| word != "-kernel").nth(1).expect("a kernel in it").into()
}

fn boot_kernel(kernel: &Path, machine: &str, memory_mib: u32, more: &[&str], command_line: &str) -> Boot {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-accel",
        "tcg",
        "-display",
        "none",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-serial",
        "stdio",
    ])
    .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
    .args(["-M", machine, "-m", &format!("{memory_mib}M"), "-append", command_line])
    .arg("-kernel")
    .arg(kernel)
    .args(more);
    let done = run_with_timeout(qemu, Duration::from_secs(60)).expect("QEMU");
    let errors = String::from_utf8_lossy(&done.stderr);
    Boot { log: format!("{}{errors}", String::from_utf8_lossy(&done.stdout)), code: done.code }
}

fn boot(machine: &str, memory_mib: u32, cpus: u32, command_line: &str) -> Boot {
    let cpus = cpus.to_string();
    boot_kernel(&kernel(), machine, memory_mib, &["-cpu", "max", "-smp", &cpus], command_line)
}

/// The kernel comes up, finds its root and misses the program.
fn comes_up(machine: &str, memory_mib: u32, cpus: u32) {
    println!("{machine}, {memory_mib} MiB, {cpus} CPUs");
    boot(machine, memory_mib, cpus, NO_PROGRAM).says("booted in").says("/nothing").does_not_say("kernel crash");
}

#[test]
fn machines() {
    comes_up("q35", 128, 2);
    comes_up("pc", 16, 1);
    comes_up("microvm", 64, 4);
}

#[test]
fn memory_beyond_the_hole_for_devices() {
    comes_up("q35", 4106, 1);
}

#[test]
fn unknown_options_print_the_list() {
    let boot = boot("microvm", 64, 1, "--verbos");
    boot.says("unknown option --verbos").says("--bootchart");
    assert_eq!(boot.code, Some(ASKED_WITH_1));
}

#[test]
fn options_of_the_boot() {
    boot("microvm", 64, 1, &format!("--quiet {NO_PROGRAM}")).does_not_say("booted in");
    let chart = boot("microvm", 64, 1, &format!("--bootchart {NO_PROGRAM}"));
    for step in ["memory", "clock", "CPUs", "devices", "root file system"] {
        chart.says(step);
    }
}

#[test]
#[ignore = "60 boots"]
fn matrix() {
    const SIZES_MIB: [u32; 8] = [16, 64, 1034, 3584, 4096, 4106, 6144, 16384];
    for machine in ["q35", "pc", "microvm"] {
        for memory_mib in SIZES_MIB {
            comes_up(machine, memory_mib, 1);
        }
        for cpus in [2, 4, 16] {
            comes_up(machine, 128, cpus);
        }
    }
}

#[test]
#[ignore = "builds another kernel"]
fn self_tests() {
    let kernel = self_testing_kernel();
    for cpu in ["max", "qemu64", "Haswell"] {
        boot_kernel(&kernel, "q35", 128, &["-cpu", cpu], "").says("selftest: all good");
        for cpus in ["1", "2", "4", "16"] {
            let more = ["-cpu", cpu, "-smp", cpus];
            boot_kernel(&kernel, "q35", 128, &more, "sched").says("selftest: the scheduler is good");
        }
    }
}

/// Builds the kernel with the feature `selftest`, in a target directory of its own.
fn self_testing_kernel() -> PathBuf {
    const FLAGS: [&str; 4] =
        ["-Crelocation-model=static", "-Ccode-model=kernel", "-Cno-redzone=yes", "-Cforce-frame-pointers=yes"];
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target_dir = root.join("target/selftest");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .args(["build", "-q", "-p", "osv-kernel", "--bin", "osv-kernel", "--features", "image,selftest"])
        .args(["--config", "kernel-build/profiles.toml", "--profile", "kernel", "--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .current_dir(root)
        .status();
    assert!(status.expect("cargo").success(), "the kernel with self-tests builds");
    target_dir.join(TARGET).join("kernel/osv-kernel")
}
