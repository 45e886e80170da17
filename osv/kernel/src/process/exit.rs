//! The end of tasks and processes.
//!
//! A task gives back what it holds, from the outermost to the innermost: locks of the program's that other tasks may
//! wait for, descriptors, its place in the process. The last one takes the process along: the address space goes,
//! children get a new parent, the parent is told. What stays is the process' status, until the parent asks.
//! The end of the first process is the end of the VM.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::Current;
use super::clone::Release;
use super::init::INIT;
use super::pi;
use super::robust;
use super::session;
use super::signal::SignalInfo;
use super::signal::send;
use super::signal::set::{Signal, SignalSet};
use super::status::ExitStatus;
use super::structure::Process;
use super::task::Task;
use super::trace;
use super::tree;
use super::wait;
use super::{current_task, structure::Signals};
use crate::errno::Result;
use crate::event::PollEvents;
use crate::mem::user::UserPtr;
use crate::sched;
use crate::sync::Once;

/// What ends the VM when the first process has ended.
static ON_INIT_EXIT: Once<fn(ExitStatus) -> !> = Once::new();

/// Says what ends the VM when the first process has ended. To be called once, before there is one.
pub fn set_init_exit_hook(hook: fn(ExitStatus) -> !) {
    ON_INIT_EXIT.call_once(|| hook);
}

/// Ends the process that runs, with all its tasks.
pub fn exit_group(code: u8) -> ! {
    let task = current_task();
    {
        let mut signals = task.process().signals.lock();
        send::kill_all(task.process(), &mut signals, ExitStatus::Exited(code));
    }
    exit_task(code)
}

/// Ends the task that runs. The last task's end is the end of its process, with the status that the process has been given, or
/// the code of its first task.
pub fn exit_task(code: u8) -> ! {
    let task = current_task();
    trace::at_exit(&task, code);
    task.is_exiting.store(true, Ordering::SeqCst);
    trace::release_tracees(&task);
    release_memory_users(&task);
    release_vfork(&task);
    task.release_sem_undo();
    task.give_up_files();
    task.process().last_uid.store(task.credentials().user.real, Ordering::Relaxed);
    wait::tell_tracer_of_end(&task, code);
    match leave_process(&task, code) {
        Some(status) => end_process(task.process(), status),
        None => task.retarget(SignalSet::ALL),
    }
    let removed = tree::lock().remove_task(task.tid());
    drop(removed);
    sched::exit_thread()
}

/// What others wait for in the task's memory: robust futexes and the word of `set_tid_address`.
pub(super) fn release_memory_users(task: &Task) {
    robust::release(task);
    pi::release(task);
    let clear_child_tid = task.clear_child_tid.swap(0, Ordering::Relaxed);
    if clear_child_tid != 0 && UserPtr::<u32>::new(clear_child_tid).write(&0).is_ok() {
        robust::wake_one(clear_child_tid);
    }
}

/// The task does not use its parent's memory any more.
pub(super) fn release_vfork(task: &Task) {
    let waiting = task.vfork.lock().take();
    if let Some(release) = waiting {
        Release::finish(&release);
    }
}

/// Takes the task out of its process. The status of the process if it was the last.
fn leave_process(task: &Current, code: u8) -> Option<ExitStatus> {
    let process = task.process();
    let (removed, status, announcement) = {
        let mut signals = process.signals.lock();
        if task.is_leader() {
            signals.leader_code = Some(code);
        }
        process.usage.lock().add_ended(task);
        let removed = remove(&mut signals.tasks, task.tid());
        let status = signals.tasks.is_empty().then(|| {
            let code = signals.leader_code.unwrap_or(code);
            let status = signals.exit.unwrap_or(ExitStatus::Exited(code));
            signals.exit = Some(status);
            status
        });
        (removed, status, stop_without(&mut signals, task, status.is_some()))
    };
    drop(removed);
    process.resumed.wake_all();
    if let Some(event) = announcement {
        wait::notify_parent(process, event);
    }
    status
}

fn remove(tasks: &mut Vec<Arc<Task>>, tid: u32) -> Option<Arc<Task>> {
    let position = tasks.iter().position(|task| task.tid() == tid)?;
    Some(tasks.remove(position))
}

/// A task that ends instead of stopping may have been the last that a stop waited for.
fn stop_without(signals: &mut Signals, task: &Task, is_last: bool) -> Option<super::status::ChildEvent> {
    let signal = signals.stop?;
    let has_stopped = task.signals.stopped_for.load(Ordering::Relaxed) == signals.stop_number;
    if is_last || has_stopped || signals.stopping == 0 {
        return None;
    }
    signals.stopping -= 1;
    if signals.stopping != 0 {
        return None;
    }
    let event = super::status::ChildEvent::Stopped(signal);
    signals.unreported = Some(event);
    Some(event)
}

/// The end of a process that has no task any more but the one that runs.
fn end_process(process: &Arc<Process>, status: ExitStatus) {
    process.timers.cancel_all();
    if process.pid() == INIT {
        end_vm(status);
    }
    process.account_space();
    let space = process.replace_space(None);
    process.load_space();
    drop(space);
    end_session(process);
    let mut reaped: Vec<Arc<Process>> = Vec::new();
    {
        let mut tree = tree::lock();
        send_death_signals(&tree, process.pid());
        for child in tree.hand_over_children(process.pid()) {
            if let Some(status) = tree.node(child).and_then(|node| node.status) {
                reaped.extend(wait::announce_end(&mut tree, child, status));
            }
        }
        hang_up_orphans(&tree, process);
        if let Some(node) = tree.node_mut(process.pid()) {
            node.status = Some(status);
        }
        process.has_ended.store(true, Ordering::SeqCst);
        reaped.extend(wait::announce_end(&mut tree, process.pid(), status));
    }
    process.exit_events().notify(PollEvents::READABLE);
    drop(reaped);
}

/// The end of the VM, as if the first process had ended with `status`.
pub fn end_vm(status: ExitStatus) -> ! {
    match ON_INIT_EXIT.get() {
        Some(hook) => hook(status),
        None => panic!("the first process has ended: {status:?}"),
    }
}

/// The leader of a session takes the terminal from it.
fn end_session(process: &Process) {
    if process.session_id() != process.pid() {
        return;
    }
    let session = tree::lock().node(process.pid()).map(|node| Arc::clone(&node.session));
    if let Some(session) = session {
        session::end(&session);
    }
}

/// Children that asked for it are told that their parent has ended.
fn send_death_signals(tree: &tree::Tree, pid: u32) {
    let Some(node) = tree.node(pid) else { return };
    for child in node.children.iter().filter_map(|&child| tree.node(child)) {
        let wanted: Vec<_> = child.process.signals.lock().tasks.iter().filter_map(|task| task.death_signal()).collect();
        for signal in wanted {
            let info = SignalInfo::from_process(signal, 0, pid, 0);
            let _ = send::to_process(&child.process, signal, info);
        }
    }
}

/// Groups that nobody can let go on any more because this process has ended, and that are stopped, go on and are told.
fn hang_up_orphans(tree: &tree::Tree, process: &Process) {
    let own = process.group_id();
    let mut groups: Vec<u32> = Vec::new();
    groups.push(own);
    if let Some(node) = tree.node(process.pid()) {
        let of_children = node.children.iter().filter_map(|&child| tree.node(child));
        groups.extend(of_children.map(|child| child.process.group_id()).filter(|&group| group != own));
    }
    groups.dedup();
    for group in groups {
        let is_stopped = tree.members(group).any(|member| member.process.is_stopped());
        if !is_stopped || !tree.is_orphaned(group, Some(process.pid())) {
            continue;
        }
        for member in tree.members(group).filter(|member| member.status.is_none()) {
            for signal in [Signal::SIGHUP, Signal::SIGCONT] {
                let _ = send::to_process(&member.process, signal, SignalInfo::from_kernel(signal));
            }
        }
    }
}

impl Task {
    /// The signal that it wants at its parent's end.
    pub fn death_signal(&self) -> Option<Signal> {
        Signal::new(self.parent_death_signal.load(Ordering::Relaxed))
    }
}

/// Makes the tasks of the current process but the current one end, and waits for them: `execve`. EAGAIN if another task
/// is at it, or the process ends.
pub(super) fn become_only_task(task: &Current) -> Result<()> {
    let process = task.process();
    {
        let mut signals = process.signals.lock();
        if signals.exit.is_some() || signals.exec.is_some() {
            return Err(crate::errno::Errno::EAGAIN);
        }
        if signals.tasks.len() == 1 {
            return Ok(());
        }
        signals.exec = Some(task.tid());
        signals.stop = None;
        for other in signals.tasks.iter().filter(|other| other.tid() != task.tid()) {
            send::kill(other);
        }
    }
    process.resumed.wake_all();
    process.resumed.wait_until(|| (process.signals.lock().tasks.len() == 1).then_some(()));
    process.signals.lock().exec = None;
    Ok(())
}
