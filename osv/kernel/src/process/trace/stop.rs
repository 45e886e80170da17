//! The tracee's side: where it stops, what it tells, and how it goes on.
//!
//! A tracee stops on its way back to its program (signals, group stops), around system calls, and inside those that
//! are events for its tracer. It is always the tracee itself that stops; others only ask it to ([`Link`](super::Link)) and send
//! it through [`deliver`](super::super::signal::deliver).

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use linux_raw_sys::general;
use linux_raw_sys::ptrace as linux;

use super::registers::{Registers, has_stack, set_step};
use super::{State, Until, has_option};
use crate::arch::{self, DEBUG_STATUS_STEP, IrqGuard, TrapFrame, fpu, work};
use crate::errno::Errno;
use crate::process::signal::info::SignalInfo;
use crate::process::signal::send;
use crate::process::signal::set::Signal;
use crate::process::status::{ChildEvent, ExitStatus};
use crate::process::structure::Signals;
use crate::process::task::Task;
use crate::process::{Current, clone, current_task, wait};
use crate::sched;

/// Why a tracee has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A signal is about to be delivered.
    Signal,
    /// A system call begins.
    Entry,
    /// A system call ends.
    Exit,
    /// `PTRACE_EVENT_*`.
    Event(u32),
    /// Its process stops, or its tracer wants it to.
    Group,
}

/// A tracee that has stopped.
pub(super) struct Stop {
    pub(super) kind: Kind,
    /// What `wait` tells: a signal's number, and an event above it.
    pub(super) code: u32,
    /// `wait` has told it.
    pub(super) is_reported: bool,
    /// It stays stopped, but is not its tracer's to change (PTRACE_LISTEN).
    pub(super) is_listening: bool,
    /// What PTRACE_GETSIGINFO gives.
    pub(super) info: Option<SignalInfo>,
    pub(super) registers: Registers,
    pub(super) is_changed: bool,
    /// The signal to go on with, once it is to go on.
    resumed: Option<u32>,
}

impl Stop {
    /// Has the tracee go on with `signal`, unless it does already.
    pub(super) fn resume(&mut self, signal: u32) {
        self.resumed.get_or_insert(signal);
    }

    /// Has the tracee go on because its tracer has gone: with the signal that it has told nobody of.
    pub(super) fn abandon(&mut self) {
        let is_untold = self.kind == Kind::Signal && !self.is_reported;
        self.resume(if is_untold { self.code } else { 0 });
    }

    /// Whether it is its tracer's to change.
    pub(super) fn is_open(&self) -> bool {
        self.resumed.is_none() && !self.is_listening
    }

    /// What `wait` has not told yet.
    fn unreported(&self) -> Option<ChildEvent> {
        (!self.is_reported && self.is_open()).then_some(ChildEvent::Trapped(self.code))
    }
}

/// With what a tracee goes on.
struct Resumed {
    signal: u32,
    info: Option<SignalInfo>,
}

impl Task {
    /// What `wait` of its tracer has not told yet.
    pub(in crate::process) fn trace_report(&self) -> Option<ChildEvent> {
        self.trace.state.lock().stop.as_ref()?.unreported()
    }

    /// `wait` of its tracer has told it.
    pub(in crate::process) fn take_trace_report(&self) {
        if let Some(stop) = &mut self.trace.state.lock().stop {
            stop.is_reported = true;
        }
    }

    /// Ends a stop because SIGKILL has come.
    pub(in crate::process) fn end_trace_stop(&self) {
        if let Some(stop) = &mut self.trace.state.lock().stop {
            stop.resume(0);
        }
    }
}

/// Stops until the tracer lets the task go on. `None` if nobody traces it any more, or it is to end.
fn stop(task: &Current, frame: &mut TrapFrame, kind: Kind, code: u32, info: Option<SignalInfo>) -> Option<Resumed> {
    let ends_anyway = kind == Kind::Event(linux::PTRACE_EVENT_EXIT);
    let is_killed = || !ends_anyway && task.signals.is_killed.load(Ordering::SeqCst);
    if is_killed() {
        return None;
    }
    begin(task, frame, kind, code, info)?;
    wait::notify_tracer(task, code, kind == Kind::Group);
    task.process().resumed.wait_until(|| {
        let is_over = task.trace.state.lock().stop.as_ref().is_none_or(|stop| stop.resumed.is_some());
        (is_over || is_killed()).then_some(())
    });
    finish(task, frame)
}

/// Lays out the registers for the tracer.
fn begin(task: &Current, frame: &mut TrapFrame, kind: Kind, code: u32, info: Option<SignalInfo>) -> Option<()> {
    let is_step_forced = core::mem::take(&mut task.trace.state.lock().is_step_forced);
    if is_step_forced {
        set_step(frame, false);
    }
    let extended = fpu::save_for_debugger(frame).unwrap_or_default();
    let registers = Registers { frame: frame.clone(), fs_base: arch::fs_base(), gs_base: arch::gs_base(), extended };
    let stop = Box::new(Stop {
        kind,
        code,
        is_reported: false,
        is_listening: false,
        info,
        registers,
        is_changed: false,
        resumed: None,
    });
    let mut state = task.trace.state.lock();
    let link = state.link.as_mut()?;
    link.is_interrupted = false;
    match kind {
        Kind::Entry => link.message = u64::from(linux::PTRACE_EVENTMSG_SYSCALL_ENTRY),
        Kind::Exit => link.message = u64::from(linux::PTRACE_EVENTMSG_SYSCALL_EXIT),
        _ => {}
    }
    state.stop = Some(stop);
    Some(())
}

/// Takes over what the tracer has changed.
fn finish(task: &Current, frame: &mut TrapFrame) -> Option<Resumed> {
    let (stop, mut watch, is_stepping) = {
        let mut state = task.trace.state.lock();
        let stop = state.stop.take()?;
        let link = state.link.as_ref();
        let is_stepping = link.is_some_and(|link| link.is_stepping);
        (stop, link.map(|link| link.watch).unwrap_or_default(), is_stepping)
    };
    if stop.is_changed {
        *frame = stop.registers.frame.clone();
        if !stop.registers.extended.is_empty() {
            fpu::load_from_debugger(frame, &stop.registers.extended);
        }
        arch::set_fs_base(stop.registers.fs_base);
        arch::set_gs_base(stop.registers.gs_base);
    }
    if is_stepping {
        watch.begin_step(watch.look());
        if let Some(link) = &mut task.trace.state.lock().link {
            link.watch = watch;
        }
    }
    {
        let _irq = IrqGuard::new();
        arch::load_debug_registers(Some(&watch.registers(is_stepping)));
    }
    let has_own_step = frame.rflags & arch::RFLAGS_TF != 0;
    if is_stepping && !has_own_step {
        task.trace.state.lock().is_step_forced = true;
        set_step(frame, true);
    }
    sched::current().context.work.fetch_or(work::FRAME_REWRITTEN, Ordering::Relaxed);
    if !has_stack(frame) {
        send::force(Signal::SIGSEGV, SignalInfo::from_kernel(Signal::SIGSEGV));
    }
    let signal = stop.resumed?;
    Some(Resumed { signal, info: stop.info })
}

/// The code and the information of a stop that is no signal's, as Linux makes them.
fn trap_info(task: &Current, code: u32) -> Option<SignalInfo> {
    let signal = Signal::new(code & 0x7f)?;
    let uid = task.credentials().user.real;
    Some(SignalInfo::from_process(signal, code as i32, task.tid(), uid))
}

/// Stops for an event, unless the tracer does not ask for it.
fn event(task: &Current, frame: &mut TrapFrame, option: u32, event: u32, message: u64) -> bool {
    if !has_option(task, option) {
        return false;
    }
    if let Some(link) = &mut task.trace.state.lock().link {
        link.message = message;
    }
    let code = Signal::SIGTRAP.number() | event << 8;
    stop(task, frame, Kind::Event(event), code, trap_info(task, code));
    true
}

/// An event inside a system call, whose frame is not complete.
fn event_in_call(task: &Current, frame: &mut TrapFrame, option: u32, number: u32, message: u64) {
    if has_option(task, option) {
        frame.rax = Errno::ENOSYS.to_rax();
        sched::current().context.complete(frame);
        event(task, frame, option, number, message);
    }
}

/// A signal is about to be delivered to a task: what its tracer makes of it.
pub(in crate::process) fn offer(
    task: &Current,
    frame: &mut TrapFrame,
    signal: Signal,
    info: SignalInfo,
) -> Option<(Signal, SignalInfo)> {
    if !task.is_traced() {
        return Some((signal, info));
    }
    let Some(resumed) = stop(task, frame, Kind::Signal, signal.number(), Some(info)) else {
        return Some((signal, info));
    };
    let signal = Signal::new(resumed.signal)?;
    let info = match resumed.info {
        Some(info) if info.number as u32 == signal.number() => info,
        _ => {
            let tracer = task.tracer_tid();
            SignalInfo::from_process(signal, general::SI_USER as i32, tracer, task.credentials().user.real)
        }
    };
    if task.blocked().contains(signal) {
        let _ = send::to_task(task, signal, info);
        return None;
    }
    Some((signal, info))
}

/// A stop that is not for a signal, as yet to be made.
pub(in crate::process) struct Trap {
    /// The signal that stops the process, if one does.
    stopped_by: Option<Signal>,
}

/// The stop that a traced task has to make before it goes on. `signals` are those of its process.
pub(in crate::process) fn pending_trap(task: &Task, signals: &Signals) -> Option<Trap> {
    let mut state = task.trace.state.lock();
    let link = state.link.as_mut()?;
    let is_new = signals.stop.is_some() && link.told_stop != signals.stop_number;
    if !is_new && !link.is_interrupted && !link.has_news {
        return None;
    }
    link.has_news = false;
    link.told_stop = signals.stop_number;
    Some(Trap { stopped_by: signals.stop })
}

/// Makes it.
pub(in crate::process) fn trap(task: &Current, frame: &mut TrapFrame, trap: Trap) {
    let signal = trap.stopped_by.unwrap_or(Signal::SIGTRAP).number();
    let is_seized = task.trace.state.lock().link.as_ref().is_some_and(|link| link.is_seized);
    if is_seized {
        let code = signal | linux::PTRACE_EVENT_STOP << 8;
        stop(task, frame, Kind::Group, code, trap_info(task, code));
    } else {
        stop(task, frame, Kind::Group, signal, None);
    }
}

/// A child that is traced from its birth begins with a stop.
pub(super) fn begin_stopped(child: &Task, is_seized: bool) {
    if !is_seized {
        let _ = child.signals.pending.lock().push(Signal::SIGSTOP, SignalInfo::from_kernel(Signal::SIGSTOP), true);
    }
    if let Some(thread) = child.thread() {
        // It has not started, so it need not be woken.
        thread.context.work.fetch_or(work::SIGNAL, Ordering::SeqCst);
    }
}

/// SIGCONT, or a new stop, has come for a task: who was seized tells its tracer.
pub(in crate::process) fn on_continue(task: &Task) {
    if !task.is_traced() {
        return;
    }
    let mut state = task.trace.state.lock();
    let State { link: Some(link), stop, .. } = &mut *state else { return };
    link.has_news |= link.is_seized;
    if let Some(stop) = stop.as_mut().filter(|stop| stop.is_listening) {
        stop.resume(0);
    }
    drop(state);
    send::interrupt(task);
}

/// A task has made another by `request`: the event for that, and its number for the one that is over.
pub(in crate::process) fn on_clone(task: &Current, frame: &mut TrapFrame, request: &clone::Request, tid: u32) {
    if let Some((option, number)) = clone_event(task, request) {
        event_in_call(task, frame, option, number, u64::from(tid));
    }
}

/// The event, with its option, that a call of `clone` by `task` is, if the tracer wants to know.
pub(in crate::process) fn clone_event(task: &Task, request: &clone::Request) -> Option<(u32, u32)> {
    let (option, number) = if request.flags & u64::from(general::CLONE_VFORK) != 0 {
        (linux::PTRACE_O_TRACEVFORK, linux::PTRACE_EVENT_VFORK)
    } else if request.exit_signal != Signal::SIGCHLD.number() {
        (linux::PTRACE_O_TRACECLONE, linux::PTRACE_EVENT_CLONE)
    } else {
        (linux::PTRACE_O_TRACEFORK, linux::PTRACE_EVENT_FORK)
    };
    let is_wanted = request.flags & u64::from(general::CLONE_UNTRACED) == 0 && has_option(task, option);
    is_wanted.then_some((option, number))
}

/// A child has given back the memory of `task`.
pub(in crate::process) fn after_vfork(task: &Current, frame: &mut TrapFrame, tid: u32) {
    event_in_call(task, frame, linux::PTRACE_O_TRACEVFORKDONE, linux::PTRACE_EVENT_VFORK_DONE, u64::from(tid));
}

/// A task, whose number was `old_tid`, runs another program, whose first frame is given.
pub(in crate::process) fn after_exec(task: &Current, frame: &mut TrapFrame, old_tid: u32) {
    let is_seized = {
        let mut state = task.trace.state.lock();
        let Some(link) = &mut state.link else { return };
        link.watch = super::watch::Watch::default();
        link.is_seized
    };
    let is_told = event(task, frame, linux::PTRACE_O_TRACEEXEC, linux::PTRACE_EVENT_EXEC, u64::from(old_tid));
    if !is_told && !is_seized {
        let info = SignalInfo::from_process(Signal::SIGTRAP, 0, task.process().pid(), task.credentials().user.real);
        let _ = send::to_task(task, Signal::SIGTRAP, info);
    }
}

/// A task is about to end, with `code` unless its whole process does. As on Linux, SIGKILL is held up, but only one.
pub(in crate::process) fn at_exit(task: &Current, code: u8) {
    if !has_option(task, linux::PTRACE_O_TRACEEXIT) {
        return;
    }
    let exit = task.process().signals.lock().exit.unwrap_or(ExitStatus::Exited(code));
    let status = ChildEvent::Ended(exit).status_word();
    let mut frame = arch::last_frame();
    event(task, &mut frame, linux::PTRACE_O_TRACEEXIT, linux::PTRACE_EVENT_EXIT, u64::from(status));
}

/// A filter leaves the decision on a system call to the tracer. `None` if that does not want it, else whether to go on.
pub(in crate::process) fn seccomp_event(frame: &mut TrapFrame, data: u32) -> Option<bool> {
    let task = current_task();
    let is_wanted = event(&task, frame, linux::PTRACE_O_TRACESECCOMP, linux::PTRACE_EVENT_SECCOMP, u64::from(data));
    is_wanted.then(|| frame.orig_rax as i32 >= 0 && !task.signals.is_killed.load(Ordering::SeqCst))
}

/// A system call begins. Returns whether it is to be made.
pub fn enter_call(frame: &mut TrapFrame) -> bool {
    let task = current_task();
    match until(&task) {
        Until::Signal => true,
        until => {
            around_call(&task, frame, Kind::Entry);
            until == Until::Syscall && !task.signals.is_killed.load(Ordering::SeqCst)
        }
    }
}

/// A system call is over, or was not made; RAX in the frame is what it returns.
pub fn leave_call(frame: &mut TrapFrame) {
    let task = current_task();
    let is_stepping = task.trace.state.lock().link.as_ref().is_some_and(|link| link.is_stepping);
    match until(&task) {
        Until::Emulation => {}
        _ if is_stepping => {
            send::force(
                Signal::SIGTRAP,
                SignalInfo::from_fault(Signal::SIGTRAP, general::TRAP_BRKPT as i32, frame.rip),
            );
        }
        Until::Syscall => around_call(&task, frame, Kind::Exit),
        Until::Signal => {}
    }
}

fn until(task: &Task) -> Until {
    task.trace.state.lock().link.as_ref().map_or(Until::Signal, |link| link.until)
}

/// Stops at the begin or end of a system call; a signal that comes back is sent.
fn around_call(task: &Current, frame: &mut TrapFrame, kind: Kind) {
    let good = if has_option(task, linux::PTRACE_O_TRACESYSGOOD) { 0x80 } else { 0 };
    let code = Signal::SIGTRAP.number() | good;
    let info = SignalInfo::from_process(Signal::SIGTRAP, code as i32, task.tid(), task.credentials().user.real);
    let resumed = stop(task, frame, kind, code, Some(info));
    if let Some(signal) = resumed.and_then(|resumed| Signal::new(resumed.signal)) {
        let _ = send::to_task(task, signal, SignalInfo::from_kernel(signal));
    }
}

/// The program steps, or has touched what is watched; `status` is DR6. Returns whether that is nobody's business.
pub(in crate::process) fn on_step(frame: &mut TrapFrame, status: u64) -> bool {
    let task = current_task();
    let is_step = status & DEBUG_STATUS_STEP != 0;
    let watch = task.trace.state.lock().link.as_ref().map(|link| link.watch);
    let changes = watch.filter(|_| is_step).map_or(0, |watch| watch.changes(watch.look()));
    let mut state = task.trace.state.lock();
    let Some(link) = &mut state.link else {
        // The tracer has gone in the middle of a step.
        if core::mem::take(&mut state.is_step_forced) {
            set_step(frame, false);
            return true;
        }
        return false;
    };
    link.watch.status = status | changes;
    if link.watch.is_before_instruction(status) {
        frame.rflags |= RFLAGS_RF;
    }
    false
}

/// The next instruction does not trap for being watched.
const RFLAGS_RF: u64 = 1 << 16;

/// A handler is about to be entered: the frame that it returns to has only what is the program's own. Returns whether the
/// task is stepping.
pub(in crate::process) fn before_handler(task: &Task, frame: &mut TrapFrame) -> bool {
    if !task.is_traced() {
        return false;
    }
    let mut state = task.trace.state.lock();
    if core::mem::take(&mut state.is_step_forced) {
        set_step(frame, false);
    }
    state.link.as_ref().is_some_and(|link| link.is_stepping)
}

/// A step has led into a handler.
pub(in crate::process) fn in_handler(task: &Current, frame: &mut TrapFrame) {
    let code = Signal::SIGTRAP.number();
    stop(task, frame, Kind::Signal, code, trap_info(task, code));
}

impl Task {
    /// Has this CPU watch what the task, which is about to run on it, watches. Interrupts are off.
    pub(in crate::process) fn load_watch(&self) {
        let registers = match self.is_traced() {
            true => self.trace.state.lock().link.as_ref().map(|link| link.watch.registers(link.is_stepping)),
            false => None,
        };
        arch::load_debug_registers(registers.as_ref());
    }
}
