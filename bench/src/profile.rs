//! `osv-bench profile`: which functions of the kernel the instructions of an operation go to.
//!
//! A plugin of QEMU's (`programs/profile.c`) counts each guest instruction, exactly, on one CPU; here the counts are
//! given to the kernel's functions and lines, inlined ones included, by its debug information. Three things can be
//! profiled:
//! - a row of the benchmark, per operation: `osv-bench profile futex_round_trip`;
//! - the boot, from the kernel's entry to `main`: `osv-bench profile boot`;
//! - any kernel, such as one of `/work/kboot` or with self-tests: `osv-bench profile --kernel ELF --append 'cmdline'`,
//!   whole or (`--marked`) between pairs of the instruction `xchg bx, bx`, which marks regions in rows, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use addr2line::Loader;
use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use crate::vm::{self, Clock, Machine, Output};
use crate::{build, osv};

/// Where the kernel's half of the address space begins.
const KERNEL_START: u64 = 0xffff_8000_0000_0000;

/// What to profile, and how to show it.
#[derive(Args)]
pub struct Options {
    /// A row of the benchmark, or `boot`.
    #[arg(required_unless_present = "kernel")]
    what: Option<String>,
    /// Take this kernel instead of the one of the command `osv`; without a row it is booted as it is.
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// Where the kernel's symbols are, if it is a program that carries the kernel.
    #[arg(long, requires = "kernel")]
    symbols: Option<PathBuf>,
    /// Its command line.
    #[arg(long, default_value = "", conflicts_with = "what")]
    append: String,
    /// Count only between marks.
    #[arg(long, conflicts_with = "what")]
    marked: bool,
    /// Divide the counts by this.
    #[arg(long, conflicts_with = "what", default_value_t = 1)]
    operations: u64,
    /// What the counts are summed by.
    #[arg(long, value_enum, default_value_t = By::Function)]
    by: By,
    /// How many lines to print.
    #[arg(long, default_value_t = 40)]
    top: usize,
    /// Only what has this text in its name.
    #[arg(long, default_value = "")]
    only: String,
    /// QEMU's machine type.
    #[arg(long, default_value = "q35")]
    machine: String,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 128)]
    memory: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The kernel's functions, inlined ones too; code of Rust's libraries counts for who uses it.
    Function,
    /// Source lines of the kernel.
    Line,
    /// What is left as a function after inlining.
    Symbol,
    /// Each instruction.
    Address,
}

/// How often each instruction was executed, by address.
type Counts = BTreeMap<u64, u64>;

/// Runs what is asked for and prints its profile.
pub fn run(options: &Options) -> Result<()> {
    let machine = Machine {
        name: options.machine.clone(),
        memory_mib: options.memory,
        cpus: 1,
        clock: Clock::Instructions,
        has_programs: false,
    };
    let counts_file = build::cache()?.join(format!("profile-{}.txt", std::process::id()));
    let kernel = options.kernel.clone().map_or_else(osv::kernel, Ok)?;
    let operations = match options.what.as_deref() {
        None => {
            let entry = osv_kernel_build::flatten(&fs::read(&kernel)?, 0).map(|flat| flat.pvh_entry);
            let mode = match (options.marked, entry) {
                (true, _) => ",marked=on".to_owned(),
                (false, Ok(entry)) if entry != 0 => format!(",until=mark,from={entry:x}"),
                _ => String::new(),
            };
            let plugin = plugin(&counts_file, &mode)?;
            print!("{}", boot_kernel(&machine, &kernel, &options.append, &plugin)?.text());
            options.operations.max(1)
        }
        Some("boot") => {
            run_rows(&machine, &kernel, "none", plugin(&counts_file, ",until=mark")?)?;
            1
        }
        Some(row) => {
            let output = run_rows(&machine, &kernel, row, plugin(&counts_file, ",marked=on")?)?;
            let turns = output.value(&format!("{row}.turns"));
            let (_, turns) = turns.with_context(|| format!("no row {row:?}; the guest said:\n{}", output.text()))?;
            turns.parse()?
        }
    };
    let counts = read_counts(&counts_file)?;
    fs::remove_file(&counts_file)?;
    print(options, &counts, options.symbols.as_deref().unwrap_or(&kernel), operations)
}

/// Builds the plugin and gives QEMU's argument for it.
fn plugin(counts: &Path, mode: &str) -> Result<String> {
    Ok(format!("file={},out={}{mode}", build::profile_plugin()?.display(), counts.display()))
}

fn run_rows(machine: &Machine, kernel: &Path, row: &str, plugin: String) -> Result<Output> {
    let options =
        [format!("--kernel={}", kernel.display()), "--qemu-arg=-plugin".into(), format!("--qemu-arg={plugin}")];
    osv::run_with(machine, &[row.to_owned()], &options)
}

fn boot_kernel(machine: &Machine, kernel: &Path, append: &str, plugin: &str) -> Result<Output> {
    let mut command: Command = machine.qemu();
    command.arg("-kernel").arg(kernel).args(["-append", append, "-plugin", plugin]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    vm::run(command, Duration::from_secs(300))
}

fn read_counts(path: &Path) -> Result<Counts> {
    let text = fs::read_to_string(path).context("QEMU's plugin has left no counts")?;
    let line = |line: &str| {
        let (address, count) = line.split_once(' ')?;
        Some((u64::from_str_radix(address, 16).ok()?, count.parse().ok()?))
    };
    text.lines().map(|text| line(text).with_context(|| format!("a count like {text:?}"))).collect()
}

fn print(options: &Options, counts: &Counts, kernel: &Path, operations: u64) -> Result<()> {
    let symbols = Loader::new(kernel).map_err(|error| anyhow!("reading {}: {error}", kernel.display()))?;
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let mut kernel_total = 0;
    for (&address, &count) in counts.range(KERNEL_START..) {
        kernel_total += count;
        *sums.entry(name(&symbols, address, options.by)).or_default() += count;
    }
    let other: u64 = counts.range(..KERNEL_START).map(|(_, count)| count).sum();
    ensure!(kernel_total > 0, "the kernel did nothing in the profiled region");
    let per_operation = |count: u64| count as f64 / operations as f64;
    println!(
        "{:.1} instructions in the kernel, {:.1} outside of it, in each of {operations} operations",
        per_operation(kernel_total),
        per_operation(other)
    );
    let mut lines: Vec<_> = sums.into_iter().filter(|(name, _)| name.contains(&options.only)).collect();
    if options.by != By::Address {
        lines.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    }
    for (name, count) in lines.into_iter().take(options.top) {
        println!("{:12.1} {:5.1}%  {name}", per_operation(count), count as f64 * 100.0 / kernel_total as f64);
    }
    Ok(())
}

/// What an instruction belongs to.
fn name(symbols: &Loader, address: u64, by: By) -> String {
    let symbol = || {
        let symbol = symbols.find_symbol(address).unwrap_or("?");
        format!("{:#}", rustc_demangle::demangle(symbol))
    };
    if by == By::Symbol {
        return symbol();
    }
    let place = place(symbols, address);
    match by {
        By::Address => format!("{address:#x} {} {}", symbol(), place.map_or_else(String::new, |place| place.line)),
        By::Line => place.map_or_else(symbol, |place| format!("{}  {}", place.line, place.function)),
        _ => place.map_or_else(symbol, |place| format!("{}  {}", place.function, place.file)),
    }
}

/// A place in the kernel's source.
struct Place {
    function: String,
    file: String,
    line: String,
}

/// The innermost frame at `address` that is the kernel's own source, not a library's.
fn place(symbols: &Loader, address: u64) -> Option<Place> {
    let mut frames = symbols.find_frames(address).ok()?;
    while let Ok(Some(frame)) = frames.next() {
        let (Some(function), Some(location)) = (&frame.function, &frame.location) else { continue };
        let Some((_, file)) = location.file.and_then(|file| file.rsplit_once("osv/kernel/src/")) else { continue };
        let function = function.raw_name().map_or_else(|_| "?".to_owned(), |name| short(&name));
        let line = format!("{file}:{}", location.line.unwrap_or(0));
        return Some(Place { function, file: file.to_owned(), line });
    }
    None
}

/// A function's name without hash and type arguments, which fill lines and say little.
fn short(mangled: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    let name = name.strip_prefix("osv_kernel::").unwrap_or(&name);
    if name.starts_with('<') {
        return name.to_owned();
    }
    let mut depth = 0;
    let is_outside = |c: &char| {
        depth += i32::from(*c == '<');
        let is_outside = depth == 0;
        depth -= i32::from(*c == '>');
        is_outside
    };
    name.chars().filter(is_outside).collect()
}
