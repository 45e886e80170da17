//! The benchmark command: the same static program (`programs/micro.c`) on a Linux guest and on osv, in the same QEMU with
//! the same machine, CPU and memory; prints both, their ratio, and osv's budget.
//!
//! By default the unit is the instruction (`-icount shift=0`, one CPU: exact however noisy the machine is); `--wall`
//! measures nanoseconds of wall time on one and two CPUs instead. `--sizes` adds the memory floor and file sizes.
//! The numbers that osv has to reach are in [`rows`]; `--json` prints what a CI can compare.
//!
//! `cargo run -p osv-bench`, or with `-- --help`.

mod build;
mod cpio;
mod linux;
mod osv;
mod profile;
mod root;
mod rows;
mod sizes;
mod vm;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use rows::{Measured, Report};
use vm::{Clock, Machine};

/// What the user asked for.
#[derive(Parser)]
#[command(name = "osv-bench", about = "Benchmarks osv against a Linux guest in the same QEMU")]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Tool>,
    /// Wall-clock nanoseconds on 1 and 2 CPUs instead of instructions on 1.
    #[arg(long)]
    wall: bool,
    /// QEMU's machine type.
    #[arg(long, default_value = "q35")]
    machine: String,
    /// Memory of the guests in MiB.
    #[arg(long, default_value_t = 128)]
    memory: u32,
    /// Which guests to run.
    #[arg(long, value_enum, default_value_t = Guests::Both)]
    guest: Guests,
    /// Also find the smallest memory that boots hello, and the sizes of kernel and hello.
    #[arg(long)]
    sizes: bool,
    /// The rows that run a shell and a compiler, in 512 MiB, instead of the others. Takes minutes.
    #[arg(long)]
    programs: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Exit with failure if osv is over a budget or a row is missing.
    #[arg(long)]
    check: bool,
    /// Only these rows.
    rows: Vec<String>,
}

/// What the benchmark can do besides.
#[derive(Subcommand)]
enum Tool {
    /// Counts the instructions of one row, of the boot or of any kernel, by function.
    ///
    /// `profile futex_round_trip` gives them per operation, `profile boot` from the kernel's entry to `main`, and
    /// `profile --kernel ELF --append 'command line' [--marked]` for a kernel that is booted as it is, whole or
    /// between pairs of the instruction `xchg bx, bx`. `--by line` and `--by address --only NAME` look closer.
    Profile(profile::Options),
}

/// The memory in MiB that a compiler needs, beside a root that lies in memory.
const PROGRAMS_MIB: u32 = 512;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Guests {
    Both,
    Linux,
    Osv,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(Tool::Profile(options)) = &options.command {
        return profile::run(options);
    }
    let reports = measure_all(&options)?;
    let sizes = options.sizes.then(|| sizes::measure(&options.machine)).transpose()?;
    if options.json {
        let sizes = sizes.as_ref().map(sizes::Sizes::to_json);
        let reports: Vec<_> = reports.iter().map(Report::to_json).collect();
        println!("{:#}", serde_json::json!({ "reports": reports, "sizes": sizes }));
    } else {
        reports.iter().for_each(|report| print!("{report}"));
        if let Some(sizes) = &sizes {
            print!("{sizes}");
        }
    }
    let over = reports.iter().map(Report::misses).sum::<usize>() + sizes.as_ref().map_or(0, sizes::Sizes::misses);
    if options.check && over > 0 {
        bail!("{over} rows are over their budget or missing");
    }
    Ok(())
}

fn measure_all(options: &Options) -> Result<Vec<Report>> {
    let setups: &[(Clock, u32)] =
        if options.wall { &[(Clock::Wall, 1), (Clock::Wall, 2)] } else { &[(Clock::Instructions, 1)] };
    setups.iter().map(|&(clock, cpus)| measure(options, clock, cpus)).collect()
}

/// How a guest is run and how its firmware is measured.
struct Guest {
    run: fn(&Machine, &[String]) -> Result<vm::Output>,
    firmware: fn(&Machine) -> Result<vm::Firmware>,
}

fn measure(options: &Options, clock: Clock, cpus: u32) -> Result<Report> {
    let selected = if options.programs { rows::programs() } else { options.rows.clone() };
    let memory_mib = if options.programs { options.memory.max(PROGRAMS_MIB) } else { options.memory };
    let has_programs = options.programs;
    let machine = Machine { name: options.machine.clone(), memory_mib, cpus, clock, has_programs };
    let run = |wanted: bool, name: &str, guest: Guest| -> Result<Measured> {
        if !wanted {
            return Ok(BTreeMap::new());
        }
        eprintln!("{name}: {} CPU(s), {clock}", machine.cpus);
        let firmware = (guest.firmware)(&machine).with_context(|| format!("measuring {name}'s firmware"))?;
        let output = (guest.run)(&machine, &selected).with_context(|| format!("running the {name} guest"))?;
        rows::parse(&output, &firmware, clock)
    };
    let linux = Guest { run: linux::run, firmware: linux::firmware };
    let osv = Guest { run: osv::run, firmware: osv::firmware };
    Ok(Report {
        clock,
        cpus,
        linux: run(options.guest != Guests::Osv, "Linux", linux)?,
        osv: run(options.guest != Guests::Linux, "osv", osv)?,
        selected,
    })
}
