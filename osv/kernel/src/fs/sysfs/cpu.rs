//! `/sys/devices/system/cpu`: the CPUs and how they lie together.
//!
//! A hypervisor's CPUs are shown as cores of one socket, one thread each, which is what the scheduler takes them for.

use alloc::format;
use alloc::sync::Arc;

use super::{fixed, list, map};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Children, Context, Directory, Entry, Text, Volume, parse_number};
use crate::fs::{FileType, Inode};
use crate::sched::{self, CpuMask};

pub(super) static ENTRIES: &[Entry<()>] = &[
    fixed!("isolated", ""),
    fixed!("kernel_max", "63"),
    fixed!("offline", ""),
    Entry::file("online", online),
    Entry::file("possible", online),
    Entry::file("present", online),
    Entry::directory("smt", &[fixed!("active", "0"), fixed!("control", "notsupported")]),
    Entry::directory("vulnerabilities", &[]),
];

fn online(_: &(), out: &mut Text) -> Result<()> {
    list(sched::online_cpus(), out)
}

/// One CPU.
#[derive(Clone, Copy)]
struct Cpu(usize);

impl Context for Cpu {}

static CPU: &[Entry<Cpu>] = &[
    Entry::link("node0", |_, out| {
        out.push(b"../../node/node0");
        Ok(())
    }),
    fixed!("online", "1"),
    Entry::directory("topology", TOPOLOGY),
];

static TOPOLOGY: &[Entry<Cpu>] = &[
    fixed!("cluster_id", "65535"),
    Entry::file("core_cpus", own_map),
    Entry::file("core_cpus_list", own_list),
    Entry::file("core_id", core_id),
    Entry::file("core_siblings", all_map),
    Entry::file("core_siblings_list", all_list),
    Entry::file("die_cpus", all_map),
    Entry::file("die_cpus_list", all_list),
    fixed!("die_id", "0"),
    Entry::file("package_cpus", all_map),
    Entry::file("package_cpus_list", all_list),
    fixed!("physical_package_id", "0"),
    Entry::file("thread_siblings", own_map),
    Entry::file("thread_siblings_list", own_list),
];

fn count() -> usize {
    sched::online_cpus().iter().count()
}

fn core_id(cpu: &Cpu, out: &mut Text) -> Result<()> {
    writeln!(out, "{}", cpu.0);
    Ok(())
}

fn own_map(cpu: &Cpu, out: &mut Text) -> Result<()> {
    map(CpuMask::only(cpu.0), count(), out)
}

fn own_list(cpu: &Cpu, out: &mut Text) -> Result<()> {
    list(CpuMask::only(cpu.0), out)
}

fn all_map(_: &Cpu, out: &mut Text) -> Result<()> {
    map(sched::online_cpus(), count(), out)
}

fn all_list(_: &Cpu, out: &mut Text) -> Result<()> {
    list(sched::online_cpus(), out)
}

/// The directories `cpu0`, `cpu1` …
pub(super) struct Cpus;

impl Children<()> for Cpus {
    fn lookup(&self, _: &(), volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>> {
        let number = name.strip_prefix(b"cpu").and_then(parse_number).ok_or(Errno::ENOENT)? as usize;
        if !sched::online_cpus().contains(number) {
            return Err(Errno::ENOENT);
        }
        Ok(Directory::new(volume, Cpu(number), ino, CPU, None))
    }

    fn list(&self, _: &(), first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()> {
        for cpu in sched::online_cpus().iter().filter(|&cpu| cpu as u64 >= first) {
            if !emit(cpu as u64, format!("cpu{cpu}").as_bytes(), FileType::Directory) {
                break;
            }
        }
        Ok(())
    }
}
