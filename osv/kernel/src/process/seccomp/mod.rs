//! Filters of system calls: seccomp(2).
//!
//! A task that has asked for it enters the kernel through a table of its own ([`Context::set_syscalls`]), whose only entry
//! asks [`judge`] first; all other tasks pay nothing. Filters are a list that only grows at its head, so tasks share its
//! tail by reference: `fork` and threads inherit it, `execve` keeps it, and nothing takes a filter away again.
//!
//! Filters that hand calls to another process (SECCOMP_RET_USER_NOTIF) cannot be given a listener here; as on Linux
//! without one, what they would hand over is ENOSYS.
//!
//! [`Context::set_syscalls`]: crate::arch::Context::set_syscalls

pub mod bpf;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use self::bpf::{DATA_WORDS, Instruction, Program};
use super::signal::info::SignalInfo;
use super::signal::send;
use super::signal::set::Signal;
use super::status::ExitStatus;
use super::task::Task;
use super::{current_task, exit, trace};
use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::log;

/// What a filter says, from the strictest to the mildest: the strictest of all filters counts.
pub mod action {
    /// The process ends by SIGSYS.
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    /// The thread ends.
    pub const KILL_THREAD: u32 = 0;
    /// The thread gets SIGSYS.
    pub const TRAP: u32 = 0x0003_0000;
    /// The call fails with the error in the low half.
    pub const ERRNO: u32 = 0x0005_0000;
    /// Another process decides.
    pub const USER_NOTIF: u32 = 0x7fc0_0000;
    /// A tracer decides.
    pub const TRACE: u32 = 0x7ff0_0000;
    /// The call is made, and named in the log.
    pub const LOG: u32 = 0x7ffc_0000;
    /// The call is made.
    pub const ALLOW: u32 = 0x7fff_0000;
    /// The bits that say which.
    pub const MASK: u32 = 0xffff_0000;
}

/// The architecture in `struct seccomp_data`: AUDIT_ARCH_X86_64.
const ARCHITECTURE: u32 = 0xc000_003e;

/// `si_code` of a SIGSYS by a filter.
const SYS_SECCOMP: i32 = 1;

/// The most instructions of all filters of a task, each counting [`FILTER_COST`] more.
const MAX_TOTAL: usize = 32768;
const FILTER_COST: usize = 4;

/// The calls of strict mode: read, write, exit, rt_sigreturn.
const STRICT_CALLS: [u64; 4] = [0, 1, 60, 15];

/// What a task has asked for.
#[derive(Clone, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Disabled,
    /// Four calls only.
    Strict,
    /// What filters let through.
    Filtered(Arc<Filter>),
}

/// A filter and those that were there before it.
pub struct Filter {
    program: Program,
    logs: bool,
    older: Option<Arc<Filter>>,
    total: usize,
}

impl Filter {
    fn chain(&self) -> impl Iterator<Item = &Filter> {
        core::iter::successors(Some(self), |filter| filter.older.as_deref())
    }

    /// The strictest verdict; of equals, the newest filter's. With it, whether that filter wants it in the log.
    fn judge(&self, data: &[u32; DATA_WORDS]) -> (u32, bool) {
        let strictness = |verdict: u32| (verdict & action::MASK) as i32;
        let verdicts = self.chain().map(|filter| (filter.program.run(data), filter.logs));
        verdicts
            .reduce(|strictest, next| if strictness(next.0) < strictness(strictest.0) { next } else { strictest })
            .unwrap_or((action::ALLOW, false))
    }
}

impl Drop for Filter {
    /// Step by step: the list may be long, and the kernel's stack is not.
    fn drop(&mut self) {
        let mut older = self.older.take();
        while let Some(filter) = older {
            older = Arc::into_inner(filter).and_then(|mut filter| filter.older.take());
        }
    }
}

impl Mode {
    /// As `PR_GET_SECCOMP` and `/proc` say it.
    pub fn number(&self) -> u32 {
        match self {
            Mode::Disabled => 0,
            Mode::Strict => 1,
            Mode::Filtered(_) => 2,
        }
    }

    /// How many filters there are.
    pub fn filters(&self) -> usize {
        match self {
            Mode::Filtered(filter) => filter.chain().count(),
            _ => 0,
        }
    }

    /// The instructions of the filter `index`, the oldest being 0. ENOENT if there is none, EINVAL if there are no filters.
    pub fn instructions(&self, index: usize) -> Result<&[Instruction]> {
        let Mode::Filtered(newest) = self else { return Err(Errno::EINVAL) };
        let from_newest = newest.chain().count().checked_sub(index + 1).ok_or(Errno::ENOENT)?;
        newest.chain().nth(from_newest).map(|filter| filter.program.instructions()).ok_or(Errno::ENOENT)
    }

    fn newest(&self) -> Option<&Arc<Filter>> {
        match self {
            Mode::Filtered(filter) => Some(filter),
            _ => None,
        }
    }

    /// Whether a task in this mode may take over `filter` instead: it has nothing that would be lost.
    fn is_ancestor_of(&self, filter: Option<&Arc<Filter>>) -> bool {
        match self {
            Mode::Disabled => true,
            Mode::Strict => false,
            Mode::Filtered(own) => {
                filter.is_some_and(|filter| filter.chain().any(|other| core::ptr::eq(other, &**own)))
            }
        }
    }
}

impl Task {
    /// What it has asked for.
    pub fn seccomp(&self) -> Mode {
        self.seccomp.lock().clone()
    }

    fn set_seccomp(&self, mode: Mode) {
        let old = core::mem::replace(&mut *self.seccomp.lock(), mode);
        drop(old);
        self.update_syscalls();
    }

    /// A new task is bound by what binds its parent.
    pub(super) fn inherit_seccomp(&self, parent: &Task) {
        *self.seccomp.lock() = parent.seccomp();
    }
}

/// Strict mode for the current task. EINVAL if it has filters.
pub fn set_strict() -> Result<()> {
    let task = current_task();
    if matches!(task.seccomp(), Mode::Filtered(_)) {
        return Err(Errno::EINVAL);
    }
    task.set_seccomp(Mode::Strict);
    Ok(())
}

/// A filter to be added.
pub struct NewFilter {
    /// Its instructions.
    pub instructions: Vec<Instruction>,
    /// What it refuses is named in the log.
    pub logs: bool,
    /// All threads of the process get it.
    pub for_all: bool,
}

/// Adds a filter to the current task, or to all of its process. If one of those has a filter that would be lost, nothing
/// happens and its id is returned.
///
/// # Errors
/// EACCES for those who could fool a set-user-ID program; EINVAL for a program that is none; ENOMEM if it is too much.
pub fn add_filter(new: NewFilter) -> Result<Option<u32>> {
    let task = current_task();
    let credentials = task.credentials();
    let program = Program::new(new.instructions)?;
    let has_no_new_privileges = task.has_no_new_privileges.load(Ordering::Relaxed);
    if !has_no_new_privileges && !credentials.is_capable(linux_raw_sys::general::CAP_SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let old = task.seccomp();
    if matches!(old, Mode::Strict) {
        return Err(Errno::EINVAL);
    }
    let others = if new.for_all { others_of(&task) } else { Vec::new() };
    if let Some(other) = others.iter().find(|other| !other.seccomp().is_ancestor_of(old.newest())) {
        return Ok(Some(other.tid()));
    }
    let total = old.newest().map_or(0, |filter| filter.total + FILTER_COST) + program.instruction_count();
    if total > MAX_TOTAL {
        return Err(Errno::ENOMEM);
    }
    let filter = Arc::new(Filter { program, logs: new.logs, older: old.newest().cloned(), total });
    for other in &others {
        other.has_no_new_privileges.fetch_or(has_no_new_privileges, Ordering::Relaxed);
        other.set_seccomp(Mode::Filtered(Arc::clone(&filter)));
    }
    task.set_seccomp(Mode::Filtered(filter));
    Ok(None)
}

fn others_of(task: &Task) -> Vec<Arc<Task>> {
    let mut tasks = task.process().tasks();
    tasks.retain(|other| !core::ptr::eq(&**other, task));
    tasks
}

/// What becomes of the call that the current task makes: `None` if it is made, else what it returns. A tracer can be asked only
/// if the frame `is_complete`.
pub fn judge(frame: &mut TrapFrame, is_complete: bool) -> Option<u64> {
    let task = current_task();
    match task.seccomp() {
        Mode::Disabled => None,
        Mode::Strict if STRICT_CALLS.contains(&frame.orig_rax) => None,
        Mode::Strict => end_thread(Signal::SIGKILL),
        Mode::Filtered(filter) => {
            let (verdict, logs) = filter.judge(&data_of(frame));
            if verdict & action::MASK != action::TRACE || !is_complete {
                drop(filter);
                return enforce(frame, verdict, logs);
            }
            match trace::seccomp_event(frame, verdict & !action::MASK) {
                None => Some(Errno::ENOSYS.to_rax()),
                Some(false) => Some(frame.rax),
                Some(true) => judge_again(frame, &filter),
            }
        }
    }
}

/// The tracer may have made another call of it: the filters are asked again, and now it is made if they leave it to the tracer.
fn judge_again(frame: &TrapFrame, filter: &Filter) -> Option<u64> {
    let (verdict, logs) = filter.judge(&data_of(frame));
    if verdict & action::MASK == action::TRACE { None } else { enforce(frame, verdict, logs) }
}

fn data_of(frame: &TrapFrame) -> [u32; DATA_WORDS] {
    let mut data = [0; DATA_WORDS];
    let wide = [frame.rip, frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9];
    let words = wide.iter().flat_map(|&value| [value as u32, (value >> 32) as u32]);
    let head = [frame.orig_rax as u32, ARCHITECTURE];
    for (place, word) in data.iter_mut().zip(head.into_iter().chain(words)) {
        *place = word;
    }
    data
}

fn enforce(frame: &TrapFrame, verdict: u32, logs: bool) -> Option<u64> {
    let low = verdict & !action::MASK;
    let what = verdict & action::MASK;
    if logs && !matches!(what, action::ALLOW) || what == action::LOG {
        let task = current_task();
        log::info!("seccomp: {}[{}]: call {}: {what:#x}", task.name_text(), task.tid(), frame.orig_rax);
    }
    match what {
        action::ALLOW | action::LOG => None,
        action::ERRNO => Some(u64::from(low.min(4095)).wrapping_neg()),
        action::TRAP => {
            send::force(Signal::SIGSYS, sigsys(frame, low));
            // The handler sees the registers as they were.
            Some(frame.orig_rax)
        }
        action::TRACE | action::USER_NOTIF => Some(Errno::ENOSYS.to_rax()),
        action::KILL_THREAD if current_task().process().task_count() > 1 => end_thread(Signal::SIGSYS),
        _ => {
            let task = current_task();
            let process = task.process();
            let status = ExitStatus::killed(Signal::SIGSYS, process.leaves_core());
            send::kill_all(process, &mut process.signals.lock(), status);
            Some(frame.orig_rax)
        }
    }
}

fn sigsys(frame: &TrapFrame, data: u32) -> SignalInfo {
    SignalInfo::from_syscall(SYS_SECCOMP, data as i32, frame.rip, frame.orig_rax as u32, ARCHITECTURE)
}

/// Ends the current thread; if it is the last of its process, that ends by `signal`.
fn end_thread(signal: Signal) -> ! {
    let task = current_task();
    if task.process().task_count() == 1 {
        let process = task.process();
        send::kill_all(process, &mut process.signals.lock(), ExitStatus::killed(signal, false));
    }
    exit::exit_task(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returns(verdict: u32, older: Option<Arc<Filter>>) -> Arc<Filter> {
        let instruction = Instruction { code: 6, if_true: 0, if_false: 0, k: verdict };
        Arc::new(Filter { program: Program::new(alloc::vec![instruction]).unwrap(), logs: false, older, total: 1 })
    }

    #[test]
    fn the_strictest_verdict_counts_and_the_newest_of_equals() {
        let data = [0; DATA_WORDS];
        let allow = returns(action::ALLOW, None);
        let errno = returns(action::ERRNO | 1, Some(allow));
        let newer = returns(action::ERRNO | 2, Some(errno));
        assert_eq!(newer.judge(&data).0, action::ERRNO | 2);
        let milder = returns(action::LOG, Some(newer));
        assert_eq!(milder.judge(&data).0, action::ERRNO | 2);
        let kill = returns(action::KILL_THREAD, Some(milder));
        let strictest = returns(action::KILL_PROCESS, Some(kill));
        assert_eq!(strictest.judge(&data).0, action::KILL_PROCESS);
        assert_eq!(strictest.chain().count(), 6);
    }

    #[test]
    fn long_lists_are_dropped_without_recursion() {
        let mut filter = returns(action::ALLOW, None);
        for _ in 0..100_000 {
            filter = returns(action::ALLOW, Some(filter));
        }
        drop(filter);
    }
}
