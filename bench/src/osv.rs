//! The osv guest: the kernel with the same static program, in a root that holds nothing else.
//!
//! The root is an image (`osv run --rootfs`), not the host's file system, so that a file is a file on ramfs as in the
//! Linux guest's initramfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::vm::{self, Firmware, Machine, Output};
use crate::{build, root};

/// Runs the micro-benchmarks on osv.
pub fn run(machine: &Machine, rows: &[String]) -> Result<Output> {
    run_with(machine, rows, &[])
}

/// Runs them with more options for the command `osv run`.
pub fn run_with(machine: &Machine, rows: &[String], options: &[String]) -> Result<Output> {
    boot_with(machine, &build::micro()?, rows, options)
}

/// Boots osv with `program` as its first process.
pub fn boot(machine: &Machine, program: &Path, args: &[String]) -> Result<Output> {
    boot_with(machine, program, args, &[])
}

/// What the firmware takes before it enters the kernel.
pub fn firmware(machine: &Machine) -> Result<Firmware> {
    let kernel = format!("--kernel={}", build::entry()?.display());
    Firmware::of(&boot_with(machine, &build::micro()?, &[], &[kernel])?)
}

fn boot_with(machine: &Machine, program: &Path, args: &[String], options: &[String]) -> Result<Output> {
    let mut command = Command::new(osv()?);
    command
        .args(["run", "--machine", &machine.name])
        .args(["--memory", &format!("{}M", machine.memory_mib), "--cpus", &machine.cpus.to_string()])
        .arg("--rootfs")
        .arg(rootfs(program, machine.has_programs)?);
    for arg in machine.clock_args() {
        command.arg(format!("--qemu-arg={arg}"));
    }
    command.args(options);
    command.args(["--", "/init", "--dir", "/tmp"]).args(args);
    vm::run(command, machine.patience())
}

/// A directory with the program as `/init`, an empty `/tmp`, and what the rows that run programs need.
fn rootfs(program: &Path, has_programs: bool) -> Result<PathBuf> {
    let root = build::cache()?.join(if has_programs { "rootfs-with-programs" } else { "rootfs" });
    fs::create_dir_all(root.join("tmp"))?;
    fs::copy(program, root.join("init")).context("copying the program")?;
    for file in if has_programs { root::programs()? } else { Vec::new() } {
        let path = root.join(&file.guest);
        fs::create_dir_all(path.parent().context("a path has a parent")?)?;
        fs::copy(&file.host, path).with_context(|| format!("copying {}", file.host.display()))?;
    }
    Ok(root)
}

/// The command `osv`, built beside this one.
fn osv() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-q", "-p", "osv-runner", "--bin", "osv"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    ensure!(build.status()?.success(), "{build:?} failed");
    Ok(std::env::current_exe()?.with_file_name("osv"))
}

/// The ELF of the kernel that the command boots, with its symbols.
pub fn kernel() -> Result<PathBuf> {
    let output = Command::new(osv()?).args(["run", "--dry-run", "--", "/bin/true"]).output()?;
    let line = String::from_utf8(output.stdout)?;
    let kernel = line.split_whitespace().skip_while(|&word| word != "-kernel").nth(1);
    Ok(kernel.context("a QEMU command line with a kernel")?.into())
}
