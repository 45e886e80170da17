//! `/sys/devices/system/node`: one memory node, to which all CPUs and all memory belong.

use super::{fixed, list, map};
use crate::errno::Result;
use crate::fs::generated::{Entry, Text};
use crate::{mem, sched};

const KIB: u64 = 1024;

pub(super) static ENTRIES: &[Entry<()>] = &[
    fixed!("has_cpu", "0"),
    fixed!("has_memory", "0"),
    fixed!("has_normal_memory", "0"),
    Entry::directory("node0", NODE),
    fixed!("online", "0"),
    fixed!("possible", "0"),
];

static NODE: &[Entry<()>] = &[
    Entry::file("cpulist", |_, out| list(sched::online_cpus(), out)),
    Entry::file("cpumap", |_, out| map(sched::online_cpus(), sched::online_cpus().iter().count(), out)),
    fixed!("distance", "10"),
    Entry::file("meminfo", meminfo),
    fixed!("numastat", "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0"),
];

fn meminfo(_: &(), out: &mut Text) -> Result<()> {
    let stats = mem::stats();
    let rows = [
        ("MemTotal", stats.total),
        ("MemFree", stats.free),
        ("MemUsed", stats.total.saturating_sub(stats.free)),
        ("Active", 0),
        ("Inactive", stats.cached),
        ("Dirty", 0),
        ("Writeback", 0),
        ("FilePages", stats.cached),
        ("Mapped", 0),
        ("AnonPages", 0),
        ("Shmem", 0),
        ("Slab", stats.heap),
    ];
    for (name, bytes) in rows {
        let start = out.len();
        write!(out, "Node 0 {name}:");
        out.pad_to(start, 23);
        writeln!(out, "{:8} kB", bytes / KIB);
    }
    for name in ["Total", "Free", "Surp"] {
        writeln!(out, "Node 0 HugePages_{name}:  {:5}", 0);
    }
    Ok(())
}
