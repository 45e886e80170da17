//! The osv guest: the kernel with the same static program, in a root that holds nothing else.
//!
//! The root is an image (`osv run --rootfs`), not the host's file system, so that a file is a file on ramfs as in the
//! Linux guest's initramfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build;
use crate::vm::{self, Machine, Output};

/// Runs the micro-benchmarks on osv.
pub fn run(machine: &Machine, rows: &[String]) -> Result<Output> {
    run_with(machine, rows, &[])
}

/// Runs them with more arguments for QEMU.
pub fn run_with(machine: &Machine, rows: &[String], qemu_args: &[String]) -> Result<Output> {
    boot_with(machine, &build::micro()?, rows, qemu_args)
}

/// Boots osv with `program` as its first process.
pub fn boot(machine: &Machine, program: &Path, args: &[String]) -> Result<Output> {
    boot_with(machine, program, args, &[])
}

fn boot_with(machine: &Machine, program: &Path, args: &[String], qemu_args: &[String]) -> Result<Output> {
    let mut command = Command::new(osv()?);
    command
        .args(["run", "--machine", &machine.name])
        .args(["--memory", &format!("{}M", machine.memory_mib), "--cpus", &machine.cpus.to_string()])
        .arg("--rootfs")
        .arg(rootfs(program)?);
    let clock_args = machine.clock_args().iter().copied();
    for arg in clock_args.chain(qemu_args.iter().map(String::as_str)) {
        command.arg(format!("--qemu-arg={arg}"));
    }
    command.args(["--", "/init", "--dir", "/tmp"]).args(args);
    vm::run(command, Duration::from_secs(300))
}

/// A directory with the program as `/init` and an empty `/tmp`.
fn rootfs(program: &Path) -> Result<PathBuf> {
    let root = build::cache()?.join("rootfs");
    fs::create_dir_all(root.join("tmp"))?;
    fs::copy(program, root.join("init")).context("copying the program")?;
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
    Ok(osv()?.with_file_name("osv-kernel").join("x86_64-unknown-linux-gnu/kernel/osv-kernel"))
}
