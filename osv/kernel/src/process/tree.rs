//! Who is whose child, and in which group and session: all processes, in one place.
//!
//! One lock guards it all, since most questions cross processes: a signal for a group, a wait for any child,
//! orphans and their new parents. Ids (of tasks, processes, groups and sessions) come from one set of numbers and
//! are free again when nothing uses them any more. The tree refers to processes by id; ids are looked up in
//! balanced trees, so that listing `/proc` is in order.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::session::Session;
use super::signal::Signal;
use super::status::ExitStatus;
use super::structure::Process;
use super::task::Task;
use crate::errno::{Errno, Result};
use crate::sorted_map::SortedMap;
use crate::sync::{IrqOff, SpinLock, SpinLockGuard};

/// Ids are below this, as on a Linux with default settings.
pub const MAX_ID: u32 = 32768;

/// Where numbering goes on after it has come to the end once.
const FIRST_REUSED_ID: u32 = 300;

static TREE: SpinLock<Tree, IrqOff> = SpinLock::new(Tree::new());

/// All processes and tasks.
pub(super) struct Tree {
    /// How many things have each number: tasks, processes, groups, sessions.
    uses: SortedMap<u32, u32>,
    last_id: u32,
    tasks: SortedMap<u32, Arc<Task>>,
    nodes: SortedMap<u32, Node>,
    groups: SortedMap<u32, Group>,
    /// By the numbers of the tasks, which are kept as long as they stand here.
    tracees: SortedMap<u32, Tracee>,
}

/// A task that another one traces.
pub(super) struct Tracee {
    pub(super) task: Arc<Task>,
    /// The tracer's process, and itself.
    pub(super) tracer: u32,
    pub(super) tracer_tid: u32,
    /// Set when the task, which is not the first of its process, has ended and waits for its tracer.
    pub(super) status: Option<ExitStatus>,
}

/// A process in the tree.
pub(super) struct Node {
    pub(super) process: Arc<Process>,
    pub(super) children: Vec<u32>,
    pub(super) session: Arc<Session>,
    /// Set when it has ended and waits for its parent.
    pub(super) status: Option<ExitStatus>,
}

/// A process group; there while it has members.
pub(super) struct Group {
    pub(super) session: Arc<Session>,
    members: Vec<u32>,
}

/// Shows each task to `show`, unless the tree is locked: for diagnostics that must not wait.
pub fn try_each_task(mut show: impl FnMut(&Arc<Task>)) -> bool {
    let Some(tree) = TREE.try_lock() else { return false };
    tree.tasks.values().for_each(&mut show);
    true
}

/// Takes the tree's lock.
pub(super) fn lock() -> SpinLockGuard<'static, Tree, IrqOff> {
    TREE.lock()
}

impl Tree {
    const fn new() -> Tree {
        Tree {
            uses: SortedMap::new(),
            last_id: 0,
            tasks: SortedMap::new(),
            nodes: SortedMap::new(),
            groups: SortedMap::new(),
            tracees: SortedMap::new(),
        }
    }

    /// A free number, taken for a task. EAGAIN if there is none.
    pub(super) fn allocate_id(&mut self) -> Result<u32> {
        for _ in 0..MAX_ID {
            self.last_id += 1;
            if self.last_id >= MAX_ID {
                self.last_id = FIRST_REUSED_ID;
            }
            if !self.uses.contains_key(&self.last_id) {
                self.uses.insert(self.last_id, 1);
                return Ok(self.last_id);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Takes a number that the caller has chosen. EEXIST if something has it.
    pub(super) fn take_id(&mut self, id: u32) -> Result<u32> {
        if self.uses.contains_key(&id) {
            return Err(Errno::EEXIST);
        }
        self.uses.insert(id, 1);
        Ok(id)
    }

    pub(super) fn retain_id(&mut self, id: u32) {
        *self.uses.get_or_insert_with(id, || 0) += 1;
    }

    /// One thing less has this number.
    pub(super) fn release_id(&mut self, id: u32) {
        if let Some(uses) = self.uses.get_mut(&id) {
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&id);
            }
        }
    }

    /// Enters a task, whose number was taken by [`Tree::allocate_id`].
    pub(super) fn add_task(&mut self, task: Arc<Task>) {
        self.tasks.insert(task.tid(), task);
    }

    /// Takes a task out.
    pub(super) fn remove_task(&mut self, tid: u32) -> Option<Arc<Task>> {
        let task = self.tasks.remove(&tid)?;
        self.release_id(tid);
        Some(task)
    }

    /// Enters a task that is traced.
    pub(super) fn add_tracee(&mut self, tid: u32, tracee: Tracee) {
        self.retain_id(tid);
        self.tracees.insert(tid, tracee);
    }

    /// Takes a task out that is traced no longer.
    pub(super) fn remove_tracee(&mut self, tid: u32) -> Option<Tracee> {
        if self.tracees.is_empty() {
            return None;
        }
        let tracee = self.tracees.remove(&tid)?;
        self.release_id(tid);
        Some(tracee)
    }

    /// The entry of a task that is traced.
    pub(super) fn tracee_mut(&mut self, tid: u32) -> Option<&mut Tracee> {
        self.tracees.get_mut(&tid)
    }

    /// The process that traces the task.
    pub(super) fn tracer_of(&self, tid: u32) -> Option<u32> {
        if self.tracees.is_empty() {
            return None;
        }
        self.tracees.get(&tid).map(|tracee| tracee.tracer)
    }

    /// The tasks that a process traces, or one task of it.
    pub(super) fn tracees(&self, tracer: u32, tracer_tid: Option<u32>) -> impl Iterator<Item = &Tracee> {
        let is_own =
            move |tracee: &&Tracee| tracee.tracer == tracer && tracer_tid.is_none_or(|tid| tracee.tracer_tid == tid);
        self.tracees.values().filter(is_own)
    }

    /// The number `from` of a task that traces or is traced has become `to`.
    pub(super) fn renumber_tracing(&mut self, from: u32, to: u32) -> Option<Tracee> {
        let old = self.remove_tracee(to);
        if let Some(tracee) = self.remove_tracee(from) {
            self.add_tracee(to, tracee);
        }
        let tracees: Vec<u32> = self.tracees.keys().copied().collect();
        for tid in tracees {
            if let Some(tracee) = self.tracees.get_mut(&tid).filter(|tracee| tracee.tracer_tid == from) {
                tracee.tracer_tid = to;
                tracee.task.set_tracer_tid(to);
            }
        }
        old
    }

    /// The task with this number.
    pub(super) fn task(&self, tid: u32) -> Option<&Arc<Task>> {
        self.tasks.get(&tid)
    }

    /// How many tasks there are.
    pub(super) fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Enters a process as a child of `parent` (0 for none), in its group and session.
    pub(super) fn add_process(&mut self, process: Arc<Process>, parent: u32, group: u32, session: Arc<Session>) {
        let pid = process.pid();
        self.retain_id(pid);
        process.parent.store(parent, Ordering::Relaxed);
        process.session.store(session.id(), Ordering::Relaxed);
        if let Some(parent) = self.nodes.get_mut(&parent) {
            parent.children.push(pid);
        }
        self.nodes.insert(pid, Node { process, children: Vec::new(), session: Arc::clone(&session), status: None });
        self.join_group(pid, group, session);
    }

    /// Takes a process out that has ended; its number becomes free.
    pub(super) fn remove_process(&mut self, pid: u32) -> Option<Arc<Process>> {
        let node = self.nodes.remove(&pid)?;
        // The task's last reference may be this one, but not that of its process, which the caller drops.
        drop(self.remove_tracee(pid));
        let parent = node.process.parent_pid();
        if let Some(parent) = self.nodes.get_mut(&parent) {
            remove(&mut parent.children, pid);
        }
        self.leave_group(pid, node.process.group_id());
        self.release_id(pid);
        Some(node.process)
    }

    /// The process with this number, ended or not.
    pub(super) fn node(&self, pid: u32) -> Option<&Node> {
        self.nodes.get(&pid)
    }

    /// The process with this number, to change it.
    pub(super) fn node_mut(&mut self, pid: u32) -> Option<&mut Node> {
        self.nodes.get_mut(&pid)
    }

    /// All processes, in the order of their numbers.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The group with this number.
    pub(super) fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// The processes of a group.
    pub(super) fn members(&self, group: u32) -> impl Iterator<Item = &Node> {
        let members = self.groups.get(&group).map_or(&[][..], |group| &group.members);
        members.iter().filter_map(|pid| self.nodes.get(pid))
    }

    /// Moves a process to a group, which is made if it does not exist.
    pub(super) fn join_group(&mut self, pid: u32, id: u32, session: Arc<Session>) {
        if !self.groups.contains_key(&id) {
            self.retain_id(id);
            self.groups.insert(id, Group { session, members: Vec::new() });
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.members.push(pid);
        }
        if let Some(node) = self.nodes.get(&pid) {
            node.process.group.store(id, Ordering::Relaxed);
        }
    }

    /// Takes a process out of its group, which goes with its last member.
    pub(super) fn leave_group(&mut self, pid: u32, id: u32) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        remove(&mut group.members, pid);
        if group.members.is_empty() {
            self.groups.remove(&id);
            self.release_id(id);
        }
    }

    /// Makes the process the leader of a new session and group of its own number.
    pub(super) fn begin_session(&mut self, pid: u32) {
        let Some(node) = self.nodes.get_mut(&pid) else { return };
        let session = Session::new(pid);
        node.session = Arc::clone(&session);
        node.process.session.store(pid, Ordering::Relaxed);
        let old_group = node.process.group_id();
        self.leave_group(pid, old_group);
        self.join_group(pid, pid, session);
    }

    /// Gives all children of `pid` to its heir, to whom their ends are `SIGCHLD` whatever they agreed with their parent;
    /// returns those that have ended already.
    pub(super) fn hand_over_children(&mut self, pid: u32) -> Vec<u32> {
        let children = self.nodes.get_mut(&pid).map(|node| core::mem::take(&mut node.children)).unwrap_or_default();
        if children.is_empty() {
            // The way to an heir is as long as the line of ancestors, and nobody needs to go it.
            return children;
        }
        let heir = self.heir_of(pid);
        let mut ended = Vec::new();
        for &child in &children {
            if let Some(node) = self.nodes.get(&child) {
                node.process.parent.store(heir, Ordering::Relaxed);
                node.process.exit_signal.store(Signal::SIGCHLD.number(), Ordering::Relaxed);
                node.process.is_adopted.store(true, Ordering::Relaxed);
                if node.status.is_some() {
                    ended.push(child);
                }
            }
        }
        if let Some(heir) = self.nodes.get_mut(&heir) {
            heir.children.extend(children);
        }
        ended
    }

    /// Who gets the children of `pid` at its end: the nearest ancestor that asked for it, else the first process.
    fn heir_of(&self, pid: u32) -> u32 {
        let mut ancestor = self.parent_of(pid);
        while let Some(node) = self.nodes.get(&ancestor) {
            if node.process.is_subreaper() && node.status.is_none() {
                return ancestor;
            }
            ancestor = node.process.parent_pid();
        }
        if pid == 1 { 0 } else { 1 }
    }

    fn parent_of(&self, pid: u32) -> u32 {
        self.nodes.get(&pid).map_or(0, |node| node.process.parent_pid())
    }

    /// Whether no member of the group has a parent in another group of the session, `without` not counting: then nobody
    /// could let it go on if it stopped. The first process counts for those that it made itself: it may be a shell.
    pub(super) fn is_orphaned(&self, group: u32, without: Option<u32>) -> bool {
        !self.members(group).any(|member| {
            let is_counted = Some(member.process.pid()) != without && member.status.is_none();
            let parent = self.nodes.get(&member.process.parent_pid());
            is_counted
                && parent.is_some_and(|parent| {
                    !(parent.process.pid() == 1 && member.process.is_adopted.load(Ordering::Relaxed))
                        && parent.process.group_id() != group
                        && parent.process.session_id() == member.process.session_id()
                })
        })
    }
}

fn remove(list: &mut Vec<u32>, id: u32) {
    if let Some(position) = list.iter().rposition(|&other| other == id) {
        list.swap_remove(position);
    }
}

/// The process with this number, ended or not (ESRCH).
pub fn find(pid: u32) -> Result<Arc<Process>> {
    TREE.lock().node(pid).map(|node| Arc::clone(&node.process)).ok_or(Errno::ESRCH)
}

/// The task with this number (ESRCH).
pub fn find_task(tid: u32) -> Result<Arc<Task>> {
    TREE.lock().task(tid).cloned().ok_or(Errno::ESRCH)
}

/// The process that the task or process with this number belongs to (ESRCH).
pub fn find_by_any_id(id: u32) -> Result<Arc<Process>> {
    let tree = TREE.lock();
    match tree.node(id) {
        Some(node) => Ok(Arc::clone(&node.process)),
        None => tree.task(id).map(|task| Arc::clone(task.process())).ok_or(Errno::ESRCH),
    }
}

/// All processes, also those that have ended and wait for their parent, in the order of their numbers.
pub fn all() -> Vec<Arc<Process>> {
    TREE.lock().nodes().map(|node| Arc::clone(&node.process)).collect()
}

/// The process with the highest `score`, if one has any. `score` may not sleep.
pub(super) fn highest(score: impl Fn(&Process) -> Option<u64>) -> Option<Arc<Process>> {
    let tree = TREE.lock();
    let scored = tree.nodes().filter_map(|node| Some((score(&node.process)?, &node.process)));
    scored.max_by_key(|(score, _)| *score).map(|(_, process)| Arc::clone(process))
}

/// How a process ended, if it has and its parent has not asked.
pub fn exit_status(pid: u32) -> Option<ExitStatus> {
    TREE.lock().node(pid)?.status
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    TREE.lock().node(pid).map(|node| node.children.clone()).unwrap_or_default()
}

/// How many tasks a user has.
pub(super) fn count_tasks_of(uid: u32) -> usize {
    TREE.lock().tasks.values().filter(|task| task.credentials().user.real == uid).count()
}

/// How many tasks there are.
pub fn task_count() -> usize {
    TREE.lock().task_count()
}

/// The number given last, for `/proc/loadavg`.
pub fn last_id() -> u32 {
    TREE.lock().last_id
}
