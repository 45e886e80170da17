//! `/proc/PID/stat`, `statm`, `io`, `sched` and `schedstat`: numbers in a row.

use super::load::TICK_NS;
use super::process::Subject;
use crate::errno::Result;
use crate::fs::generated::Text;
use crate::process::status::ChildEvent;
use crate::process::{Process, session, tree};

const PAGE: u64 = 4096;

/// What a process does, as one letter and one word.
pub(super) fn state(subject: &Subject) -> (char, &'static str) {
    let Ok(task) = subject.task() else { return ('Z', "zombie") };
    if task.is_in_trace_stop() {
        return ('t', "tracing stop");
    }
    if subject.process.is_stopped() {
        return ('T', "stopped");
    }
    match task.thread() {
        Some(thread) if thread.is_runnable() => ('R', "running"),
        Some(_) => ('S', "sleeping"),
        None => ('Z', "zombie"),
    }
}

/// The name of the program; of a process that has ended too.
fn name(subject: &Subject) -> alloc::string::String {
    subject.task().map(|task| task.name_text()).unwrap_or_default()
}

/// The number of the terminal that controls a process, and the group in its foreground.
fn terminal(process: &Process) -> (u64, i32) {
    let terminal = session::of_process(process.pid()).and_then(|session| session.terminal());
    match terminal.filter(|_| !process.has_left_terminal()) {
        Some(terminal) => (terminal.device_number(), terminal.foreground_group() as i32),
        None => (0, -1),
    }
}

pub(super) fn stat(subject: &Subject, out: &mut Text) -> Result<()> {
    let process = &subject.process;
    let task = subject.task().ok();
    let thread = task.as_ref().and_then(|task| task.thread());
    let whole = process.used();
    let used = if subject.is_whole() { whole } else { task.as_ref().map(|task| task.used()).unwrap_or_default() };
    let children = process.children_used();
    let usage = process.try_space().map(|space| space.usage()).unwrap_or_default();
    let (terminal, foreground) = terminal(process);
    write!(out, "{} ({}) {} ", subject.id(), name(subject), state(subject).0);
    write!(out, "{} {} {} ", process.parent_pid(), process.group_id(), process.session_id());
    write!(out, "{terminal} {foreground} 4194304 ");
    write!(out, "{} {} ", whole.minor_faults, children.minor_faults);
    write!(out, "{} {} ", whole.major_faults, children.major_faults);
    for ns in [used.user_ns, used.system_ns, children.user_ns, children.system_ns] {
        write!(out, "{} ", ns / TICK_NS);
    }
    let nice = thread.as_ref().map_or(0, |thread| thread.nice());
    write!(out, "{} {nice} {} 0 ", 20 + i32::from(nice), process.task_count());
    write!(out, "{} {} ", process.start_time_ns() / TICK_NS, usage.total);
    write!(out, "{} {} ", (usage.anonymous + usage.file) / PAGE, u64::MAX);
    let executable = process.executable();
    // Start and end of the code, the stack, and the registers: told to no one, as Linux does to strangers.
    out.push(b"1 1 0 0 0 ");
    let (pending, blocked, ignored, caught) = task.map_or((0, 0, 0, 0), |task| {
        let (ignored, caught) = process.signal_dispositions();
        (task.own_pending().0, task.blocked().0, ignored.0, caught.0)
    });
    let low = |set: u64| set & 0x7fff_ffff;
    write!(out, "{} {} {} {} ", low(pending), low(blocked), low(ignored), low(caught));
    let cpu = thread.map_or(0, |thread| thread.cpu());
    write!(out, "0 0 0 17 {cpu} 0 0 0 0 0 0 0 0 ");
    write!(out, "{} {} ", executable.arguments.0, executable.arguments.1);
    writeln!(out, "{} {} {}", executable.environment.0, executable.environment.1, exit_code(subject));
    Ok(())
}

fn exit_code(subject: &Subject) -> u32 {
    tree::exit_status(subject.process.pid()).map_or(0, |status| ChildEvent::Ended(status).status_word())
}

/// Sizes in pages: all, resident, of files, code, libraries (never told), data and stack, dirty (never told).
pub(super) fn statm(subject: &Subject, out: &mut Text) -> Result<()> {
    let usage = subject.space().map(|space| space.usage()).unwrap_or_default();
    write!(out, "{} {} ", usage.total / PAGE, (usage.anonymous + usage.file) / PAGE);
    write!(out, "{} {} ", usage.file / PAGE, usage.code / PAGE);
    writeln!(out, "0 {} 0", (usage.data + usage.stack) / PAGE);
    Ok(())
}

/// Bytes read and written are not counted per process.
pub(super) fn io(_: &Subject, out: &mut Text) -> Result<()> {
    for name in ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"] {
        writeln!(out, "{name}: 0");
    }
    Ok(())
}

pub(super) fn sched(subject: &Subject, out: &mut Text) -> Result<()> {
    let used = subject.task()?.used();
    writeln!(out, "{} ({}, #threads: {})", name(subject), subject.id(), subject.process.task_count());
    out.push(b"-------------------------------------------------------------------\n");
    let run_ns = used.cpu_ns();
    writeln!(out, "{:<45}:{:>14}.{:06}", "se.sum_exec_runtime", run_ns / 1_000_000, run_ns % 1_000_000);
    let rows = [
        ("nr_switches", used.voluntary_switches + used.involuntary_switches),
        ("nr_voluntary_switches", used.voluntary_switches),
        ("nr_involuntary_switches", used.involuntary_switches),
    ];
    for (name, value) in rows.into_iter().chain([("policy", 0), ("prio", 120)]) {
        writeln!(out, "{name:<45}:{value:>21}");
    }
    Ok(())
}

/// Time on CPUs, time spent waiting for one (not known), and how often it was put on one.
pub(super) fn schedstat(subject: &Subject, out: &mut Text) -> Result<()> {
    let used = subject.task()?.used();
    writeln!(out, "{} 0 {}", used.cpu_ns(), used.voluntary_switches + used.involuntary_switches);
    Ok(())
}
