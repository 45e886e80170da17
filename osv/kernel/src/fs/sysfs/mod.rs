//! sysfs: the machine as a tree of files, one value each. Source: sysfs(5).
//!
//! What is here is what programs ask: which CPUs and memory nodes there are and how they lie together (nproc, lscpu,
//! numactl, the runtimes' thread pools), and how large pages behave. The directories that Linux always has are there,
//! empty where there is nothing to show.

mod cpu;
mod node;

use alloc::sync::Arc;

use linux_raw_sys::general::SYSFS_MAGIC;

use super::generated::{Directory, Entry, Text, Volume};
use super::procfs::cpu_list;
use super::{FileSystem, Inode, StatFs};
use crate::errno::Result;
use crate::sched::CpuMask;
use crate::sync::Once;

const ROOT_INO: u64 = 1;

/// A file with one fixed line.
macro_rules! fixed {
    ($name:literal, $value:literal) => {
        crate::fs::generated::Entry::file($name, |_, out| {
            out.push(concat!($value, "\n").as_bytes());
            Ok(())
        })
    };
}
use fixed;

static ROOT: &[Entry<()>] = &[
    Entry::directory("block", &[]),
    Entry::directory("bus", &[]),
    Entry::directory("class", &[Entry::directory("block", &[]), Entry::directory("net", &[])]),
    Entry::directory("dev", &[Entry::directory("block", &[]), Entry::directory("char", &[])]),
    Entry::directory("devices", &[Entry::directory("system", SYSTEM), Entry::directory("virtual", &[])]),
    Entry::directory("firmware", &[]),
    Entry::directory("fs", &[Entry::directory("cgroup", &[])]),
    Entry::directory("kernel", KERNEL),
    Entry::directory("module", &[]),
    Entry::directory("power", &[]),
];

static SYSTEM: &[Entry<()>] = &[
    Entry::directory("clocksource", &[Entry::directory("clocksource0", CLOCK_SOURCE)]),
    Entry::dynamic_directory("cpu", cpu::ENTRIES, &cpu::Cpus),
    Entry::directory("node", node::ENTRIES),
];

static CLOCK_SOURCE: &[Entry<()>] = &[fixed!("available_clocksource", "tsc "), fixed!("current_clocksource", "tsc")];

static KERNEL: &[Entry<()>] = &[
    fixed!("address_bits", "64"),
    fixed!("cpu_byteorder", "little"),
    Entry::directory("debug", &[]),
    fixed!("fscaps", "1"),
    Entry::directory("mm", MM),
    fixed!("profiling", "0"),
    Entry::directory("security", &[]),
    fixed!("uevent_seqnum", "0"),
];

static MM: &[Entry<()>] = &[
    Entry::directory("hugepages", &[Entry::directory("hugepages-2048kB", HUGE_PAGES)]),
    Entry::directory("transparent_hugepage", TRANSPARENT_HUGE_PAGES),
];

/// There is no pool of huge pages that is set aside.
static HUGE_PAGES: &[Entry<()>] = &[
    fixed!("free_hugepages", "0"),
    fixed!("nr_hugepages", "0"),
    fixed!("nr_overcommit_hugepages", "0"),
    fixed!("resv_hugepages", "0"),
    fixed!("surplus_hugepages", "0"),
];

static TRANSPARENT_HUGE_PAGES: &[Entry<()>] = &[
    fixed!("defrag", "always defer defer+madvise [madvise] never"),
    fixed!("enabled", "[always] madvise never"),
    fixed!("hpage_pmd_size", "2097152"),
    Entry::directory("khugepaged", &[fixed!("defrag", "0"), fixed!("max_ptes_none", "511")]),
    fixed!("shmem_enabled", "always within_size advise [never] deny force"),
    fixed!("use_zero_page", "1"),
];

/// A set of CPUs as a line of ranges.
fn list(cpus: CpuMask, out: &mut Text) -> Result<()> {
    cpu_list(cpus, out);
    out.push(b"\n");
    Ok(())
}

/// A set of CPUs as a line of hexadecimal words of 32 bits, as many as there are CPUs.
fn map(cpus: CpuMask, count: usize, out: &mut Text) -> Result<()> {
    let (high, low) = (cpus.0 >> 32, cpus.0 & 0xffff_ffff);
    match count {
        0..=32 => writeln!(out, "{low:0width$x}", width = count.div_ceil(4).max(1)),
        _ => writeln!(out, "{high:0width$x},{low:08x}", width = (count - 32).div_ceil(4)),
    }
    Ok(())
}

/// The one sysfs.
pub struct SysFs {
    root: Arc<Directory<()>>,
}

/// The instance that all mounts show.
pub fn instance() -> Arc<SysFs> {
    static INSTANCE: Once<Arc<SysFs>> = Once::new();
    INSTANCE.call_once(|| Arc::new(SysFs { root: Directory::new(Volume::new(), (), ROOT_INO, ROOT, None) })).clone()
}

impl FileSystem for SysFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs { magic: u64::from(SYSFS_MAGIC), block_size: 4096, name_max: 255, ..StatFs::default() })
    }

    fn name(&self) -> &'static str {
        "sysfs"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_as_wide_as_there_are_cpus() {
        let map = |mask, count| {
            let mut out = Text::default();
            super::map(CpuMask(mask), count, &mut out).unwrap();
            String::from_utf8(out.into_bytes().unwrap()).unwrap()
        };
        assert_eq!([map(3, 2), map(1, 1), map(0x1f, 5), map(1, 40)], ["3\n", "1\n", "1f\n", "00,00000001\n"]);
    }
}
