//! Files of `/proc` about memory.

use crate::errno::Result;
use crate::fs::generated::Text;
use crate::mem;

const KIB: u64 = 1024;
const PAGE: u64 = 4096;

/// `/proc/meminfo`.
pub(super) fn meminfo(_: &(), out: &mut Text) -> Result<()> {
    let stats = mem::stats();
    let used_by_programs = stats.total.saturating_sub(stats.free + stats.cached + stats.heap);
    let lines: &[(&str, u64)] = &[
        ("MemTotal", stats.total),
        ("MemFree", stats.free),
        ("MemAvailable", stats.available.saturating_add(stats.cached).min(stats.total)),
        ("Buffers", 0),
        ("Cached", stats.cached),
        ("SwapCached", 0),
        ("Active", used_by_programs),
        ("Inactive", stats.cached),
        ("Active(anon)", used_by_programs),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", stats.cached),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used_by_programs),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", stats.heap),
        ("SReclaimable", 0),
        ("SUnreclaim", stats.heap),
    ];
    for &(name, bytes) in lines {
        line(out, name, bytes);
    }
    writeln!(out, "KernelStack:    {:8} kB", 0);
    for name in ["PageTables", "SecPageTables", "NFS_Unstable", "Bounce", "WritebackTmp"] {
        line(out, name, 0);
    }
    line(out, "CommitLimit", stats.total / 2);
    line(out, "Committed_AS", used_by_programs);
    writeln!(out, "VmallocTotal:   {:8} kB", (1u64 << 45) / KIB - 1);
    for name in ["VmallocUsed", "VmallocChunk", "Percpu", "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped"] {
        line(out, name, 0);
    }
    line(out, "FileHugePages", 0);
    line(out, "FilePmdMapped", 0);
    for name in ["Total", "Free", "Rsvd", "Surp"] {
        writeln!(out, "HugePages_{name}:   {:5}", 0);
    }
    line(out, "Hugepagesize", 2048 * KIB);
    line(out, "Hugetlb", 0);
    line(out, "DirectMap4k", 0);
    line(out, "DirectMap2M", stats.total);
    line(out, "DirectMap1G", 0);
    Ok(())
}

fn line(out: &mut Text, name: &str, bytes: u64) {
    let start = out.len();
    write!(out, "{name}:");
    out.pad_to(start, 16);
    writeln!(out, "{:8} kB", bytes / KIB);
}

/// `/proc/vmstat`: the counters that there are, and those that tools insist on.
pub(super) fn vmstat(_: &(), out: &mut Text) -> Result<()> {
    let stats = mem::stats();
    let used_by_programs = stats.total.saturating_sub(stats.free + stats.cached + stats.heap);
    let counters: &[(&str, u64)] = &[
        ("nr_free_pages", stats.free / PAGE),
        ("nr_zone_inactive_file", stats.cached / PAGE),
        ("nr_inactive_file", stats.cached / PAGE),
        ("nr_active_anon", used_by_programs / PAGE),
        ("nr_slab_reclaimable", 0),
        ("nr_slab_unreclaimable", stats.heap / PAGE),
        ("nr_anon_pages", used_by_programs / PAGE),
        ("nr_mapped", 0),
        ("nr_file_pages", stats.cached / PAGE),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", 0),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", 0),
        ("pgmajfault", 0),
        ("oom_kill", 0),
    ];
    for (name, value) in counters {
        writeln!(out, "{name} {value}");
    }
    Ok(())
}

/// `/proc/buddyinfo`: all memory is one zone; how it is split is not told.
pub(super) fn buddyinfo(_: &(), out: &mut Text) -> Result<()> {
    write!(out, "Node 0, zone {:>8} ", "Normal");
    for order in 0..11 {
        let blocks = if order == 10 { (mem::stats().free / PAGE) >> order } else { 0 };
        write!(out, "{blocks:6} ");
    }
    out.push(b"\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_wide_as_on_linux() {
        let mut out = Text::default();
        line(&mut out, "MemTotal", 24_684_084 * KIB);
        line(&mut out, "SwapTotal", 0);
        line(&mut out, "Active(anon)", 1588 * KIB);
        assert_eq!(
            out.into_bytes().unwrap(),
            b"MemTotal:       24684084 kB\nSwapTotal:             0 kB\nActive(anon):       1588 kB\n"
        );
    }
}
