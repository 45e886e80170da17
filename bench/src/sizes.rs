//! What a guest takes: the least memory in which hello boots, and the sizes of the kernel and of a whole hello.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::vm::{Clock, Machine, Output};
use crate::{build, linux, osv, rows};

/// The section of a program that holds the kernel.
const KERNEL_SECTION: &[u8] = b".osv.kernel";

struct Size {
    name: &'static str,
    title: &'static str,
    at_most: f64,
    linux: Option<f64>,
    osv: Option<f64>,
}

/// What was found; a size is `None` where it could not be measured.
pub struct Sizes(Vec<Size>);

/// Boots hello in less and less memory, builds it and looks at its file.
pub fn measure(machine: &str) -> Result<Sizes> {
    const MIB: f64 = 1_048_576.0;
    let hello = build::hello()?;
    let floor = |boot: &dyn Fn(&Machine) -> Result<Output>| smallest(machine, boot).map(f64::from);
    let file = stripped_hello()?;
    Ok(Sizes(vec![
        Size {
            name: "memory_mib",
            title: "memory that boots hello, MiB",
            at_most: 16.0,
            linux: floor(&|machine| linux::boot(machine, &hello, &[])),
            osv: floor(&|machine| osv::boot(machine, &hello, &[])),
        },
        Size {
            name: "kernel_bytes",
            title: "kernel in the file, bytes",
            at_most: MIB,
            linux: fs::metadata(linux::vmlinux()?).ok().map(|file| file.len() as f64),
            osv: section_size(&file, KERNEL_SECTION).map(|size| size as f64),
        },
        Size {
            name: "hello_bytes",
            title: "hello, release and stripped, bytes",
            at_most: 2.5 * MIB,
            linux: None,
            osv: Some(file.len() as f64),
        },
    ]))
}

/// The smallest number of MiB that boots, found by halving; a failed boot means too little.
fn smallest(machine: &str, boot: &dyn Fn(&Machine) -> Result<Output>) -> Option<u32> {
    let boots = |memory_mib| {
        let machine =
            Machine { name: machine.to_owned(), memory_mib, cpus: 1, clock: Clock::Wall, has_programs: false };
        boot(&machine).is_ok_and(|output| output.contains("hello from the guest"))
    };
    let (mut too_little, mut enough) = (1, 256);
    if !boots(enough) {
        return None;
    }
    while enough - too_little > 1 {
        let middle = too_little.midpoint(enough);
        if boots(middle) { enough = middle } else { too_little = middle }
    }
    Some(enough)
}

/// The example `hello` as a user would ship it.
fn stripped_hello() -> Result<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    // A target directory of its own: other settings of the profile must not rebuild the workspace's.
    let target = workspace.join("target/osv-bench");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "-q", "--release", "-p", "osv-examples", "--example", "hello", "--target-dir"])
        .arg(&target)
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .current_dir(workspace);
    ensure!(command.status()?.success(), "{command:?} failed");
    Ok(fs::read(target.join("release/examples/hello"))?)
}

/// The size of a section of a 64-bit ELF file.
fn section_size(file: &[u8], name: &[u8]) -> Option<u64> {
    const HEADER_SIZE: usize = 64;
    let table = word(file, 40)?;
    let [count, names] = [0x3c, 0x3e].map(|at| half(file, at));
    let header = |index: usize| file.get(usize::try_from(table).ok()? + index * HEADER_SIZE..);
    let names_at = word(header(names?)?, 24)?;
    let called = |header: &[u8]| {
        let at = u64::from(u32::from_le_bytes(*header.first_chunk()?)) + names_at;
        let text = file.get(usize::try_from(at).ok()?..)?;
        Some(text.strip_prefix(name)?.first() == Some(&0))
    };
    (0..count?).filter_map(header).find(|header| called(header) == Some(true)).and_then(|header| word(header, 32))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

impl Size {
    fn keeps(&self) -> Option<bool> {
        self.osv.map(|size| size <= self.at_most)
    }
}

impl Sizes {
    /// The sizes for a machine to read.
    pub fn to_json(&self) -> Value {
        let row = |size: &Size| {
            let value = json!({ "linux": size.linux, "osv": size.osv, "budget": size.at_most, "ok": size.keeps() });
            (size.name.to_owned(), value)
        };
        Value::Object(self.0.iter().map(row).collect())
    }

    /// How many are over their budget or could not be measured.
    pub fn misses(&self) -> usize {
        self.0.iter().filter(|size| size.keeps() != Some(true)).count()
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for size in &self.0 {
            let [linux, osv, most] = [size.linux, size.osv, Some(size.at_most)].map(rows::grouped);
            let verdict = rows::verdict(size.keeps());
            writeln!(f, "{:38}{linux:>15}{osv:>15}{:>9}{most:>15}  {verdict}", size.title, "")?;
        }
        Ok(())
    }
}
