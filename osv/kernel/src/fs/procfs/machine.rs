//! Small files of `/proc` about the machine and the kernel.

use alloc::vec::Vec;

use crate::cmdline;
use crate::errno::Result;
use crate::fs::generated::Text;
use crate::fs::{console, types};
use crate::sorting::sort_by;
use crate::{sched, uts};

/// `/proc/version`.
pub(super) fn version(_: &(), out: &mut Text) -> Result<()> {
    writeln!(out, "{} version {} (osv@osv) (rustc) {}", uts::SYSTEM, uts::RELEASE, uts::VERSION);
    Ok(())
}

/// `/proc/cmdline`.
pub(super) fn cmdline(_: &(), out: &mut Text) -> Result<()> {
    out.push(cmdline::text());
    out.push(b"\n");
    Ok(())
}

/// `/proc/filesystems`: the types that can be mounted.
pub(super) fn filesystems(_: &(), out: &mut Text) -> Result<()> {
    for (name, needs_device) in types::list() {
        out.push(if needs_device { b"\t" } else { b"nodev\t" });
        out.push(name);
        out.push(b"\n");
    }
    Ok(())
}

/// `/proc/devices`.
pub(super) fn devices(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"Character devices:\n");
    let mut character = Vec::from([(1, "mem"), (5, "/dev/tty"), (5, "/dev/console"), (5, "/dev/ptmx"), (10, "misc")]);
    character.extend([(128, "ptm"), (136, "pts")]);
    character.extend(console::driver().map(|(_, node, major, _)| (major, node)));
    let mut in_order: Vec<_> =
        character.iter().enumerate().map(|(place, (major, name))| (major, place, name)).collect();
    sort_by(&mut in_order, |a, b| a < b);
    for (major, _, name) in in_order {
        writeln!(out, "{major:3} {name}");
    }
    out.push(b"\nBlock devices:\n254 virtblk\n");
    Ok(())
}

/// `/proc/misc`.
pub(super) fn misc(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"183 hw_random\n");
    Ok(())
}

/// `/proc/consoles`.
pub(super) fn consoles(_: &(), out: &mut Text) -> Result<()> {
    if let Some((_, node, major, minor)) = console::driver() {
        writeln!(out, "{:<21}-W- (EC  p  ) {major:4}:{minor}", alloc::format!("{node}0"));
    }
    Ok(())
}

/// `/proc/interrupts`: the heading; there are no counters per line.
pub(super) fn interrupts(_: &(), out: &mut Text) -> Result<()> {
    per_cpu_heading(out, 11);
    write!(out, "ERR: {:10}\nMIS: {:10}\n", 0, 0);
    Ok(())
}

/// `/proc/softirqs`: there are none, so all of them have happened never.
pub(super) fn softirqs(_: &(), out: &mut Text) -> Result<()> {
    per_cpu_heading(out, 21);
    for name in ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"] {
        write!(out, "{name:>12}:");
        for _ in sched::online_cpus().iter() {
            write!(out, " {:10}", 0);
        }
        out.push(b"\n");
    }
    Ok(())
}

fn per_cpu_heading(out: &mut Text, indent: usize) {
    write!(out, "{:1$}", "", indent - 4);
    for cpu in sched::online_cpus().iter() {
        write!(out, "    CPU{cpu:<4}");
    }
    out.push(b"\n");
}

/// `/proc/swaps`: never any.
pub(super) fn swaps(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    Ok(())
}

/// `/proc/partitions`.
pub(super) fn partitions(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"major minor  #blocks  name\n\n");
    Ok(())
}

/// `/proc/cgroups`: no controllers.
pub(super) fn cgroups(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
    Ok(())
}

/// `/proc/diskstats`: no disks are counted.
pub(super) fn diskstats(_: &(), _: &mut Text) -> Result<()> {
    Ok(())
}

/// `/proc/modules`: the kernel is one piece.
pub(super) fn modules(_: &(), _: &mut Text) -> Result<()> {
    Ok(())
}

/// `/proc/locks`.
pub(super) fn locks(_: &(), _: &mut Text) -> Result<()> {
    Ok(())
}
