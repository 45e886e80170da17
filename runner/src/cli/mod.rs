//! The command's grammar.

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use osv_runner::Outcome;
use osv_runner::config::{parse_cpus, parse_seconds};
use osv_runner::vm::{Machine, Memory};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

mod image;
mod kernel;
mod run;

/// Runs Linux programs on osv, a library OS.
#[derive(Debug, Parser)]
#[command(name = "osv", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a program of this machine in a VM; it sees this machine's files, and can change nothing of them
    Run(Run),
    /// Builds a root image (EROFS) from a program, all that it needs, and further files
    Build(Build),
}

/// Options of `osv run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What the VM is
    #[command(flatten)]
    vm: VmOptions,
    /// Set a variable of the environment (without a value: remove it)
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Start with an empty environment
    #[arg(long)]
    clear_env: bool,
    /// Directory in which the program starts [default: this one]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Share a directory of the host, read-only or writable
    #[arg(long, value_name = "HOST:GUEST[:rw]")]
    mount: Vec<OsString>,
    /// Boot from an image that holds the program and what it needs, instead of this machine's files
    #[arg(long)]
    image: bool,
    /// Let the VM read the image from a disk, instead of having it in memory
    #[arg(long)]
    disk: bool,
    /// What the image holds
    #[command(flatten)]
    contents: ImageOptions,
    /// The program, by path or by name
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM [ARGUMENT]...")]
    program: Vec<OsString>,
}

/// Options of `osv build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The image's file
    #[arg(long, short, default_value = "root.erofs")]
    output: PathBuf,
    /// What the image holds
    #[command(flatten)]
    image: ImageOptions,
    /// The program, by path or by name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// What goes into an image.
#[derive(Debug, Args)]
pub struct ImageOptions {
    /// Start from a directory, a tar archive or a finished image (implies --image)
    #[arg(long, value_name = "DIR|TAR|EROFS")]
    rootfs: Option<PathBuf>,
    /// Add a file or directory of this machine (implies --image)
    #[arg(long, short, value_name = "HOST[:GUEST]")]
    file: Vec<OsString>,
}

/// Options for the VM.
#[derive(Debug, Args)]
pub struct VmOptions {
    /// Memory, like 256M or 2G [default: 512M]
    #[arg(long, short)]
    memory: Option<Memory>,
    /// Number of CPUs [default: the host's, at most 4]
    #[arg(long, short, value_parser = parse_cpus)]
    cpus: Option<usize>,
    /// The machine: q35, pc or microvm [default: q35]
    #[arg(long)]
    machine: Option<Machine>,
    /// End the VM after this many seconds, with status 124 (with --verbose, show what each thread
    /// does by then)
    #[arg(long, value_parser = parse_seconds, value_name = "SECONDS")]
    timeout: Option<Duration>,
    /// Wait for a debugger on this TCP port
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234")]
    gdb: Option<u16>,
    /// Print the program's system calls with their results
    #[arg(long)]
    strace: bool,
    /// Print the time that each step of the boot takes
    #[arg(long)]
    bootchart: bool,
    /// Let QEMU's command line and the kernel's log be seen
    #[arg(long, short)]
    verbose: bool,
    /// Only print QEMU's command line
    #[arg(long)]
    dry_run: bool,
    /// Install QEMU if it is missing
    #[arg(long)]
    install: bool,
    /// A further option for the kernel
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    kernel_arg: Vec<OsString>,
    /// A further option for QEMU
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    qemu_arg: Vec<OsString>,
    /// Boot this kernel instead of the built-in one
    #[arg(long, value_name = "ELF")]
    kernel: Option<PathBuf>,
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<Outcome> {
    match cli.command {
        Verb::Run(options) => run::run(options),
        Verb::Build(options) => image::build(options),
    }
}
