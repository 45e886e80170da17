//! The command's grammar.

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use osv_runner::Outcome;
use osv_runner::config::{parse_cpus, parse_seconds};
use osv_runner::vm::{Machine, Memory};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

mod bootable;
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
    /// Builds an image from a program, all that it needs, and further files: of its files alone, or one that boots
    Build(Build),
    /// Looks into an image that boots
    #[command(subcommand)]
    Image(ImageCommand),
}

/// What `osv image` can do.
#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Prints what an image that boots does by itself
    Show {
        /// The image
        file: PathBuf,
    },
    /// Changes the command line of an image that boots
    SetCmdline {
        /// The image
        file: PathBuf,
        /// Options of the kernel, then the program and its arguments
        #[arg(allow_hyphen_values = true)]
        line: String,
    },
}

/// What `osv build` can make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The files alone: a root image for `osv run --rootfs`, an initrd or a disk
    #[default]
    Erofs,
    /// Kernel and files in an uncompressed ELF file: PVH, Firecracker, GRUB's multiboot2
    Elf,
    /// Kernel and files as Linux' vmlinuz
    Bzimage,
    /// Kernel and files for multiboot 1 and 2
    Multiboot,
    /// A disk that boots by BIOS and UEFI
    Raw,
    /// The same as QEMU's disk format
    Qcow2,
    /// A CD that boots by BIOS and UEFI
    Iso,
}

impl Format {
    fn default_name(self) -> &'static str {
        match self {
            Self::Erofs => "root.erofs",
            Self::Elf => "osv.elf",
            Self::Bzimage => "vmlinuz",
            Self::Multiboot => "osv.multiboot",
            Self::Raw => "osv.img",
            Self::Qcow2 => "osv.qcow2",
            Self::Iso => "osv.iso",
        }
    }

    /// Whether the files are a partition of it.
    fn has_partition(self) -> bool {
        matches!(self, Self::Raw | Self::Qcow2)
    }
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
    /// The image's file [default: named after the format]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// What to build
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// An option for the kernel, where the image boots by itself
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    kernel_arg: Vec<OsString>,
    /// Take this kernel instead of the built-in one
    #[arg(long, value_name = "ELF")]
    kernel: Option<PathBuf>,
    /// What the image holds
    #[command(flatten)]
    image: ImageOptions,
    /// The program, by path or by name, and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM [ARGUMENT]...")]
    program: Vec<OsString>,
}

/// Who runs the VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Hypervisor {
    /// QEMU, with KVM where that works
    #[default]
    Qemu,
    /// Firecracker
    Firecracker,
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
    /// The hypervisor: Firecracker runs images only, and prints its configuration with --dry-run
    #[arg(long, value_enum, default_value_t)]
    hypervisor: Hypervisor,
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
        Verb::Build(options) if options.format == Format::Erofs => image::build(options),
        Verb::Build(options) => bootable::build(&options),
        Verb::Image(command) => bootable::image(command),
    }
}
