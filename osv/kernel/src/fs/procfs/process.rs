//! `/proc/PID` and `/proc/PID/task/TID`: which processes there are, and the tables of their files.

use alloc::format;
use alloc::sync::Arc;

use super::{descriptors, maps, memory_file, mounts, net, pagemap, stat, status};
use crate::errno::{Errno, Result};
use crate::fs::anonymous::place_of;
use crate::fs::generated::{Children, Context, Directory, Entry, Text, Volume, parse_number, parse_written};
use crate::fs::nsfs::{self, NamespaceFile};
use crate::fs::{File, FileType, FsContext, Inode, OpenFile, OpenFlags, PathRef};
use crate::mem::space::AddressSpace;
use crate::mem::user::Dest;
use crate::process::{Process, Task, current_task, oom, tree, try_current_task};
use crate::sorting::sort_by;

/// Longest command line or environment that is shown.
const MAX_STRINGS: u64 = 2 << 20;

/// Whose files they are: a process, or one task of it.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) process: Arc<Process>,
    /// Set below `/proc/PID/task`.
    only: Option<Arc<Task>>,
}

impl Subject {
    /// The task that the files are about: for a process its oldest. ESRCH if all have ended.
    pub(super) fn task(&self) -> Result<Arc<Task>> {
        self.only.clone().or_else(|| self.process.first_task()).ok_or(Errno::ESRCH)
    }

    /// The number that the directory bears.
    pub(super) fn id(&self) -> u32 {
        self.only.as_ref().map_or(self.process.pid(), |task| task.tid())
    }

    /// Whether the files are about the whole process.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_none()
    }

    pub(super) fn space(&self) -> Option<Arc<AddressSpace>> {
        self.process.try_space()
    }

    pub(super) fn fs(&self) -> Result<Arc<FsContext>> {
        self.task()?.try_fs().ok_or(Errno::ENOENT)
    }
}

impl Context for Subject {
    fn owner(&self) -> (u32, u32) {
        self.task().map_or((0, 0), |task| {
            let credentials = task.credentials();
            (credentials.user.effective, credentials.group.effective)
        })
    }
}

/// What a process and each of its tasks have.
macro_rules! common_entries {
    ($($more:expr),* $(,)?) => {
        &[
            Entry::file("auxv", auxv).with_mode(0o400),
            Entry::file("cgroup", |_, out| constant(out, "0::/\n")),
            Entry::writable("clear_refs", |_, _| Err(Errno::EINVAL), maps::clear_refs).with_mode(0o200),
            Entry::file("cmdline", cmdline),
            Entry::writable("comm", comm, set_comm),
            Entry::magic_link("cwd", cwd_text, cwd),
            Entry::file("environ", environ).with_mode(0o400),
            Entry::magic_link("exe", exe_text, exe),
            Entry::dynamic_directory("fd", &[], &descriptors::Links).with_mode(0o500),
            Entry::dynamic_directory("fdinfo", &[], &descriptors::Infos),
            Entry::file("gid_map", |_, out| constant(out, "         0          0 4294967295\n")),
            Entry::file("io", stat::io).with_mode(0o400),
            Entry::file("limits", status::limits),
            Entry::file("loginuid", |_, out| constant(out, "4294967295")),
            Entry::file("maps", maps::maps),
            Entry::other("mem", FileType::Regular, memory_file::make).with_mode(0o600),
            Entry::file("mountinfo", mounts::mountinfo),
            Entry::file("mounts", mounts::mounts),
            Entry::file("mountstats", mounts::mountstats),
            Entry::directory("net", net::ENTRIES),
            Entry::directory("ns", NAMESPACES),
            Entry::file("numa_maps", maps::numa_maps),
            Entry::file("oom_adj", |_, out| constant(out, "0\n")),
            Entry::file("oom_score", oom_score),
            Entry::writable("oom_score_adj", oom_score_adj, set_oom_score_adj),
            Entry::other("pagemap", FileType::Regular, pagemap::make).with_mode(0o400),
            Entry::file("personality", |_, out| constant(out, "00000000\n")).with_mode(0o400),
            Entry::magic_link("root", root_text, root),
            Entry::file("sched", stat::sched),
            Entry::file("schedstat", stat::schedstat),
            Entry::file("sessionid", |_, out| constant(out, "4294967295")),
            Entry::file("setgroups", |_, out| constant(out, "allow\n")),
            Entry::file("smaps", maps::smaps),
            Entry::file("smaps_rollup", maps::smaps_rollup),
            Entry::file("stat", stat::stat),
            Entry::file("statm", stat::statm),
            Entry::file("status", status::status),
            Entry::file("uid_map", |_, out| constant(out, "         0          0 4294967295\n")),
            Entry::file("wchan", |_, out| constant(out, "0")),
            $($more),*
        ]
    };
}

static PROCESS: &[Entry<Subject>] = common_entries![
    Entry::file("coredump_filter", |_, out| constant(out, "00000033\n")),
    Entry::dynamic_directory("task", &[], &Tasks),
    Entry::file("timerslack_ns", |_, out| constant(out, "50000\n")),
];

static TASK: &[Entry<Subject>] = common_entries![Entry::file("children", children)];

/// One namespace of each kind for all.
/// A link to the namespace of a kind, by the kind's place in the list.
macro_rules! namespace {
    ($name:literal, $at:literal) => {
        Entry::magic_link(
            $name,
            |subject, out| {
                let mut text = alloc::vec::Vec::new();
                namespace(subject, $at)?.link_text(&mut text);
                out.push(&text);
                Ok(())
            },
            |subject| place_of(&OpenFile::with_file(namespace(subject, $at)?, None, OpenFlags::empty())),
        )
    };
}

fn namespace(subject: &Subject, at: usize) -> Result<Arc<NamespaceFile>> {
    let kind = *nsfs::KINDS.get(at).ok_or(Errno::ENOENT)?;
    Ok(NamespaceFile::new(kind, subject.fs()?.namespace()))
}

static NAMESPACES: &[Entry<Subject>] = &[
    namespace!("cgroup", 0),
    namespace!("ipc", 1),
    namespace!("mnt", 2),
    namespace!("net", 3),
    namespace!("pid", 4),
    namespace!("pid_for_children", 4),
    namespace!("time", 5),
    namespace!("time_for_children", 5),
    namespace!("user", 6),
    namespace!("uts", 7),
];

/// The processes in the root directory. A task's number leads there too, without being listed, as on Linux.
pub(super) struct Processes;

impl Children<()> for Processes {
    fn lookup(&self, _: &(), volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>> {
        let id = parse_number(name).ok_or(Errno::ENOENT)?;
        let process = tree::find_by_any_id(id).map_err(|_| Errno::ENOENT)?;
        Ok(Directory::new(volume, Subject { process, only: None }, ino, PROCESS, None))
    }

    fn list(&self, _: &(), first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()> {
        for id in tree::all().iter().map(|process| process.pid()).filter(|&id| u64::from(id) >= first) {
            if !emit(u64::from(id), format!("{id}").as_bytes(), FileType::Directory) {
                break;
            }
        }
        Ok(())
    }
}

/// The process whose directory `/proc/PID` is open as `file`.
pub fn process_of(file: &OpenFile) -> Option<Arc<Process>> {
    let subject = Directory::<Subject>::context_of(&**file.inode()?, PROCESS)?;
    Some(Arc::clone(&subject.process))
}

/// The tasks in `/proc/PID/task`.
struct Tasks;

impl Children<Subject> for Tasks {
    fn lookup(&self, subject: &Subject, volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>> {
        let id = parse_number(name).ok_or(Errno::ENOENT)?;
        let task = subject.process.tasks().into_iter().find(|task| task.tid() == id).ok_or(Errno::ENOENT)?;
        let subject = Subject { process: subject.process.clone(), only: Some(task) };
        Ok(Directory::new(volume, subject, ino, TASK, None))
    }

    fn list(&self, subject: &Subject, first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()> {
        let mut ids: alloc::vec::Vec<u32> = subject.process.tasks().iter().map(|task| task.tid()).collect();
        sort_by(&mut ids, |a, b| a < b);
        for id in ids.into_iter().filter(|&id| u64::from(id) >= first) {
            if !emit(u64::from(id), format!("{id}").as_bytes(), FileType::Directory) {
                break;
            }
        }
        Ok(())
    }
}

/// `/proc/self`.
pub(super) fn self_link(_: &(), out: &mut Text) -> Result<()> {
    let task = try_current_task().ok_or(Errno::ENOENT)?;
    write!(out, "{}", task.process().pid());
    Ok(())
}

/// `/proc/thread-self`.
pub(super) fn thread_self_link(_: &(), out: &mut Text) -> Result<()> {
    let task = try_current_task().ok_or(Errno::ENOENT)?;
    write!(out, "{}/task/{}", task.process().pid(), task.tid());
    Ok(())
}

fn constant(out: &mut Text, text: &str) -> Result<()> {
    out.push(text.as_bytes());
    Ok(())
}

/// Shows a piece of the program's memory.
fn memory(subject: &Subject, start: u64, len: u64, out: &mut Text) -> Result<()> {
    let Some(space) = subject.space() else { return Ok(()) };
    let end = start.saturating_add(len.min(MAX_STRINGS));
    let mut at = start;
    let mut chunk = [0; 512];
    while at < end {
        let want = chunk.len().min((end - at) as usize);
        let count = match space.read_remote(at, &mut Dest::from_slice(&mut chunk[..want])) {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        out.push(&chunk[..count]);
        at += count as u64;
    }
    Ok(())
}

fn cmdline(subject: &Subject, out: &mut Text) -> Result<()> {
    let (start, end) = subject.process.executable().arguments;
    memory(subject, start, end.saturating_sub(start), out)
}

fn environ(subject: &Subject, out: &mut Text) -> Result<()> {
    let (start, end) = subject.process.executable().environment;
    memory(subject, start, end.saturating_sub(start), out)
}

fn auxv(subject: &Subject, out: &mut Text) -> Result<()> {
    let (start, len) = subject.process.executable().auxiliary;
    memory(subject, start, len as u64, out)
}

fn comm(subject: &Subject, out: &mut Text) -> Result<()> {
    writeln!(out, "{}", subject.task()?.name_text());
    Ok(())
}

/// Only tasks of the same process may be renamed.
fn set_comm(subject: &Subject, name: &[u8]) -> Result<()> {
    if !Arc::ptr_eq(current_task().process(), &subject.process) {
        return Err(Errno::EINVAL);
    }
    let end = name.iter().position(|&byte| byte == b'\n').unwrap_or(name.len());
    subject.task()?.set_name(&name[..end]);
    Ok(())
}

/// In thousandths of all memory, as Linux scales it: 666 for who is neither large nor small.
fn oom_score(subject: &Subject, out: &mut Text) -> Result<()> {
    let total = crate::mem::stats().total.max(1);
    let score =
        oom::score(&subject.process, total).map_or(0, |score| 666 + (score / (total / 1000).max(1)) * 666 / 1000);
    writeln!(out, "{score}");
    Ok(())
}

fn oom_score_adj(subject: &Subject, out: &mut Text) -> Result<()> {
    writeln!(out, "{}", subject.process.oom_score_adjust());
    Ok(())
}

fn set_oom_score_adj(subject: &Subject, text: &[u8]) -> Result<()> {
    let value = i32::try_from(parse_written(text)?).map_err(|_| Errno::EINVAL)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    subject.process.set_oom_score_adjust(value);
    Ok(())
}

fn children(subject: &Subject, out: &mut Text) -> Result<()> {
    if subject.id() == subject.process.pid() {
        for child in tree::children(subject.process.pid()) {
            write!(out, "{child} ");
        }
    }
    Ok(())
}

/// A place's path as the reader sees it.
fn place_text(place: &PathRef, out: &mut Text) -> Result<()> {
    let root = current_task().fs().root();
    out.push(&place.link_text(&root));
    Ok(())
}

fn cwd(subject: &Subject) -> Result<PathRef> {
    Ok(subject.fs()?.current())
}

fn cwd_text(subject: &Subject, out: &mut Text) -> Result<()> {
    place_text(&cwd(subject)?, out)
}

fn root(subject: &Subject) -> Result<PathRef> {
    Ok(subject.fs()?.root())
}

fn root_text(subject: &Subject, out: &mut Text) -> Result<()> {
    place_text(&root(subject)?, out)
}

fn exe(subject: &Subject) -> Result<PathRef> {
    subject.process.executable().path.ok_or(Errno::ENOENT)
}

fn exe_text(subject: &Subject, out: &mut Text) -> Result<()> {
    place_text(&exe(subject)?, out)
}
