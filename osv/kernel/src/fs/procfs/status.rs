//! `/proc/PID/status` and `limits`: numbers with names.

use super::process::Subject;
use super::stat::state;
use core::sync::atomic::Ordering;

use crate::errno::Result;
use crate::fs::generated::Text;
use crate::process::Credentials;
use crate::process::limits::{INFINITY, Resource};
use crate::sched::{self, CpuMask};

const KIB: u64 = 1024;

pub(super) fn status(subject: &Subject, out: &mut Text) -> Result<()> {
    let process = &subject.process;
    let task = subject.task().ok();
    let (letter, word) = state(subject);
    let name = task.as_ref().map(|task| task.name_text()).unwrap_or_default();
    writeln!(out, "Name:\t{name}");
    if let Some(fs) = task.as_ref().and_then(|task| task.try_fs()) {
        writeln!(out, "Umask:\t{:04o}", fs.umask());
    }
    write!(out, "State:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\n", process.pid(), subject.id());
    let tracer = task.as_ref().map_or(0, |task| task.tracer_tid());
    write!(out, "PPid:\t{}\nTracerPid:\t{tracer}\n", process.parent_pid());
    let credentials = task.as_ref().map(|task| task.credentials());
    if let Some(credentials) = &credentials {
        ids(credentials, out);
    }
    let fd_size = task.as_ref().and_then(|task| task.try_files()).map_or(0, |files| files.size());
    write!(out, "FDSize:\t{}\nGroups:\t", fd_size.next_multiple_of(64));
    for group in credentials.iter().flat_map(|credentials| credentials.groups.iter()) {
        write!(out, "{group} ");
    }
    write!(out, "\nNStgid:\t{}\nNSpid:\t{}\n", process.pid(), subject.id());
    write!(out, "NSpgid:\t{}\nNSsid:\t{}\n", process.group_id(), process.session_id());
    memory(subject, out);
    writeln!(out, "Threads:\t{}", process.task_count());
    signals(subject, out);
    if let Some(credentials) = &credentials {
        capabilities(credentials, out);
    }
    let has_no_new_privileges = task.as_ref().is_some_and(|task| task.has_no_new_privileges.load(Ordering::Relaxed));
    writeln!(out, "NoNewPrivs:\t{}", u32::from(has_no_new_privileges));
    let mode = task.as_ref().map(|task| task.seccomp()).unwrap_or_default();
    write!(out, "Seccomp:\t{}\nSeccomp_filters:\t{}\n", mode.number(), mode.filters());
    out.push(b"Speculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:\tconditional enabled\n");
    placement(subject, out);
    Ok(())
}

fn ids(credentials: &Credentials, out: &mut Text) {
    for (name, ids) in [("Uid", &credentials.user), ("Gid", &credentials.group)] {
        writeln!(out, "{name}:\t{}\t{}\t{}\t{}", ids.real, ids.effective, ids.saved, ids.file_system);
    }
}

/// Left out for a process that has no memory any more.
fn memory(subject: &Subject, out: &mut Text) {
    let Some(space) = subject.space() else { return };
    let usage = space.usage();
    let resident = usage.anonymous + usage.file;
    let lines = [
        ("VmPeak", usage.total),
        ("VmSize", usage.total),
        ("VmLck", space.locked_bytes()),
        ("VmPin", 0),
        ("VmHWM", usage.peak_resident.max(resident)),
        ("VmRSS", resident),
        ("RssAnon", usage.anonymous),
        ("RssFile", usage.file),
        ("RssShmem", 0),
        ("VmData", usage.data),
        ("VmStk", usage.stack),
        ("VmExe", usage.code),
        ("VmLib", 0),
        ("VmPTE", 0),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ];
    for (name, bytes) in lines {
        writeln!(out, "{name}:\t{:8} kB", bytes / KIB);
    }
    out.push(b"CoreDumping:\t0\nTHP_enabled:\t1\n");
}

fn signals(subject: &Subject, out: &mut Text) {
    let process = &subject.process;
    let task = subject.task().ok();
    let (own, shared, blocked) = task.map_or((0, 0, 0), |task| {
        let own = task.own_pending();
        (own.0, process.pending().0, task.blocked().0)
    });
    let (ignored, caught) = process.signal_dispositions();
    let limit = process.limit(Resource::PendingSignals);
    writeln!(out, "SigQ:\t{}/{limit}", (own.count_ones() + shared.count_ones()));
    let sets = [("SigPnd", own), ("ShdPnd", shared), ("SigBlk", blocked), ("SigIgn", ignored.0), ("SigCgt", caught.0)];
    for (name, set) in sets {
        writeln!(out, "{name}:\t{set:016x}");
    }
}

fn capabilities(credentials: &Credentials, out: &mut Text) {
    let sets = &credentials.capabilities;
    let lines = [
        ("CapInh", sets.inheritable),
        ("CapPrm", sets.permitted),
        ("CapEff", sets.effective),
        ("CapBnd", sets.bounding),
        ("CapAmb", sets.ambient),
    ];
    for (name, set) in lines {
        writeln!(out, "{name}:\t{set:016x}");
    }
}

/// CPUs and memory nodes that it may use, and how often it was switched.
fn placement(subject: &Subject, out: &mut Text) {
    let Ok(task) = subject.task() else { return };
    let cpus = task.thread().map_or(CpuMask::ALL, |thread| thread.affinity()).and(sched::online_cpus());
    write!(out, "Cpus_allowed:\t{:x}\nCpus_allowed_list:\t", cpus.0);
    cpu_list(cpus, out);
    let used = task.used();
    out.push(b"\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
    writeln!(out, "voluntary_ctxt_switches:\t{}", used.voluntary_switches);
    writeln!(out, "nonvoluntary_ctxt_switches:\t{}", used.involuntary_switches);
}

/// A set of CPUs as ranges: `0-3,5`.
pub fn cpu_list(cpus: CpuMask, out: &mut Text) {
    let mut separator = "";
    let mut cpu = 0;
    while cpu < 64 {
        if !cpus.contains(cpu) {
            cpu += 1;
            continue;
        }
        let first = cpu;
        while cpus.contains(cpu) {
            cpu += 1;
        }
        match cpu - 1 {
            last if last == first => write!(out, "{separator}{first}"),
            last => write!(out, "{separator}{first}-{last}"),
        }
        separator = ",";
    }
}

pub(super) fn limits(subject: &Subject, out: &mut Text) -> Result<()> {
    writeln!(out, "{:<25} {:<20} {:<20} {:<10}", "Limit", "Soft Limit", "Hard Limit", "Units");
    let rows = [
        ("Max cpu time", "seconds", Resource::Cpu),
        ("Max file size", "bytes", Resource::FileSize),
        ("Max data size", "bytes", Resource::Data),
        ("Max stack size", "bytes", Resource::Stack),
        ("Max core file size", "bytes", Resource::Core),
        ("Max resident set", "bytes", Resource::Rss),
        ("Max processes", "processes", Resource::Processes),
        ("Max open files", "files", Resource::OpenFiles),
        ("Max locked memory", "bytes", Resource::LockedMemory),
        ("Max address space", "bytes", Resource::AddressSpace),
        ("Max file locks", "locks", Resource::Locks),
        ("Max pending signals", "signals", Resource::PendingSignals),
        ("Max msgqueue size", "bytes", Resource::MessageQueues),
        ("Max nice priority", "", Resource::Nice),
        ("Max realtime priority", "", Resource::RealTimePriority),
        ("Max realtime timeout", "us", Resource::RealTime),
    ];
    let limits = subject.process.limits();
    for (name, unit, resource) in rows {
        let limit = limits.get(resource);
        write!(out, "{name:<25} ");
        for value in [limit.soft, limit.hard] {
            match value {
                INFINITY => write!(out, "{:<20} ", "unlimited"),
                value => write!(out, "{value:<20} "),
            }
        }
        if unit.is_empty() {
            out.push(b"\n");
        } else {
            writeln!(out, "{unit:<10}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_listed_as_ranges() {
        let list = |mask| {
            let mut out = Text::default();
            cpu_list(CpuMask(mask), &mut out);
            String::from_utf8(out.into_bytes().unwrap()).unwrap()
        };
        assert_eq!([list(0b1), list(0b10_1111), list(0), list(u64::MAX)], ["0", "0-3,5", "", "0-63"]);
    }
}
