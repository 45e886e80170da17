//! procfs: what the kernel tells of processes and of itself, as files. Source: proc(5).
//!
//! The formats are those of Linux 6.1, byte for byte, because programs parse them; what does not exist here (swap,
//! modules, zones) reads as it does on a Linux that has none of it. Each file is one small function; the tables of
//! [`generated`](super::generated) make inodes of them.

mod cpuinfo;
mod descriptors;
mod load;
mod machine;
mod maps;
mod memory;
mod memory_file;
mod mounts;
mod net;
mod pagemap;
mod process;
mod stat;
mod status;
mod sysctl;
mod sysvipc;
mod terminals;

pub use load::load_averages;
pub use process::process_of;
pub use status::cpu_list;

use alloc::sync::Arc;

use linux_raw_sys::general::PROC_SUPER_MAGIC;

use super::generated::{Directory, Entry, Text, Volume};
use super::{FileSystem, Inode, StatFs};
use crate::errno::Result;
use crate::sync::Once;

/// Inode number of the root, as on Linux.
const ROOT_INO: u64 = 1;

static ROOT: &[Entry<()>] = &[
    Entry::file("buddyinfo", memory::buddyinfo),
    Entry::file("cgroups", machine::cgroups),
    Entry::file("cmdline", machine::cmdline),
    Entry::file("consoles", machine::consoles),
    Entry::file("cpuinfo", cpuinfo::cpuinfo),
    Entry::file("devices", machine::devices),
    Entry::file("diskstats", machine::diskstats),
    Entry::file("filesystems", machine::filesystems),
    Entry::file("interrupts", machine::interrupts),
    Entry::file("loadavg", load::loadavg),
    Entry::file("locks", machine::locks),
    Entry::file("meminfo", memory::meminfo),
    Entry::file("misc", machine::misc),
    Entry::file("modules", machine::modules),
    Entry::link("mounts", |_, out| text(out, "self/mounts")),
    Entry::link("net", |_, out| text(out, "self/net")),
    Entry::file("partitions", machine::partitions),
    Entry::link("self", process::self_link),
    Entry::file("softirqs", machine::softirqs),
    Entry::file("stat", load::stat),
    Entry::file("swaps", machine::swaps),
    Entry::directory("sys", sysctl::ROOT),
    Entry::directory("sysvipc", sysvipc::ENTRIES),
    Entry::link("thread-self", process::thread_self_link),
    Entry::directory("tty", terminals::TERMINALS),
    Entry::file("uptime", load::uptime),
    Entry::file("version", machine::version),
    Entry::file("vmstat", memory::vmstat),
];

fn text(out: &mut Text, text: &str) -> Result<()> {
    out.push(text.as_bytes());
    Ok(())
}

/// The one procfs.
pub struct ProcFs {
    root: Arc<Directory<()>>,
}

/// The instance that all mounts show.
pub fn instance() -> Arc<ProcFs> {
    static INSTANCE: Once<Arc<ProcFs>> = Once::new();
    INSTANCE
        .call_once(|| {
            Arc::new(ProcFs {
                root: Directory::new(Volume::of_processes(), (), ROOT_INO, ROOT, Some(&process::Processes)),
            })
        })
        .clone()
}

impl FileSystem for ProcFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs { magic: u64::from(PROC_SUPER_MAGIC), block_size: 4096, name_max: 255, ..StatFs::default() })
    }

    fn name(&self) -> &'static str {
        "proc"
    }
}
