//! The tracer's side: who may trace whom, and what a tracer asks of a tracee.
//!
//! A [`Found`] is a tracee of the current task. What needs it stopped goes through [`Found::with_stop`], which gives ESRCH
//! for one that runs, as Linux does.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::ptrace as linux;

use super::registers::Registers;
use super::stop::{Kind, Stop};
use super::{Link, Until, bind, tell_parent_of_end, unbind};
use crate::arch::fpu;
use crate::errno::{Errno, Result};
use crate::process::signal::info::SignalInfo;
use crate::process::signal::send;
use crate::process::signal::set::{Signal, SignalSet};
use crate::process::task::Task;
use crate::process::{current_task, tree};

/// How a task begins to be traced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attach {
    /// It stops (PTRACE_ATTACH).
    Stop,
    /// It goes on, with these options (PTRACE_SEIZE).
    Seize(u32),
}

/// How a tracee goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// It stops around the next system call.
    pub to_call: bool,
    /// The next system call is not made.
    pub emulates: bool,
    /// It stops after one instruction.
    pub steps: bool,
    /// The signal that it gets; 0 for none.
    pub signal: u32,
}

/// What PTRACE_GET_SYSCALL_INFO tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyscallInfo {
    /// It is in no system call.
    None,
    /// The number and arguments of one that begins.
    Entry(u64, [u64; 6]),
    /// The result of one that ends.
    Exit(i64),
    /// As at the begin, and what a filter says.
    Seccomp(u64, [u64; 6], u32),
}

/// PTRACE_TRACEME: the parent of the current task's process traces it. EPERM if it is traced already, or the parent may not.
pub fn attach_to_parent() -> Result<()> {
    let task = current_task();
    let mut tree = tree::lock();
    let parent = tree.node(task.process().parent_pid()).map(|node| Arc::clone(&node.process)).ok_or(Errno::EPERM)?;
    let creator = task.process().creator.load(Ordering::Relaxed);
    let tracer = {
        let signals = parent.signals.lock();
        let living = || signals.tasks.iter().filter(|task| !task.is_exiting());
        let own = living().find(|task| task.tid() == creator);
        own.or(living().next()).map(|task| task.tid()).ok_or(Errno::EPERM)?
    };
    bind(&mut tree, &task.arc(), Link { tracer: parent.pid(), tracer_tid: tracer, ..Link::default() })
}

/// Begins to trace the task `tid`.
///
/// # Errors
/// ESRCH if there is none, EPERM if the current task may not trace it, or somebody does.
pub fn attach(tid: u32, how: Attach) -> Result<()> {
    let tracer = current_task();
    let tracee = tree::find_task(tid)?;
    let is_forbidden =
        Arc::ptr_eq(tracee.process(), tracer.process()) || tracee.process().is_immortal || !tracer.may_access(&tracee);
    if is_forbidden {
        return Err(Errno::EPERM);
    }
    let (is_seized, options) = match how {
        Attach::Stop => (false, 0),
        Attach::Seize(options) => (true, options),
    };
    let link = Link { tracer: tracer.process().pid(), tracer_tid: tracer.tid(), is_seized, options, ..Link::default() };
    {
        let mut tree = tree::lock();
        if tracee.is_exiting() || tree.task(tid).is_none() {
            return Err(Errno::EPERM);
        }
        bind(&mut tree, &tracee, link)?;
    }
    if !is_seized {
        let _ = send::to_task(&tracee, Signal::SIGSTOP, SignalInfo::from_kernel(Signal::SIGSTOP));
    }
    // If its process is stopped it stops anew, for the tracer.
    tracee.process().resumed.wake_all();
    Ok(())
}

/// A tracee of the current task.
pub struct Found(Arc<Task>);

/// The tracee `tid` of the current task (ESRCH).
pub fn find(tid: u32) -> Result<Found> {
    let tracee = tree::find_task(tid)?;
    if tracee.tracer_tid() != current_task().tid() {
        return Err(Errno::ESRCH);
    }
    Ok(Found(tracee))
}

impl Found {
    /// The tracee.
    pub fn task(&self) -> &Task {
        &self.0
    }

    /// ESRCH unless it has stopped.
    pub fn check_stopped(&self) -> Result<()> {
        self.with_stop(|_, _| Ok(()))
    }

    fn with_stop<R>(&self, act: impl FnOnce(&mut Stop, &mut Link) -> Result<R>) -> Result<R> {
        let state = &mut *self.0.trace.state.lock();
        match (&mut state.stop, &mut state.link) {
            (Some(stop), Some(link)) if stop.is_open() => act(stop, link),
            _ => Err(Errno::ESRCH),
        }
    }

    /// Reads its registers. `act` may not sleep.
    pub fn read<R>(&self, act: impl FnOnce(&Registers) -> R) -> Result<R> {
        self.with_stop(|stop, _| Ok(act(&stop.registers)))
    }

    /// Changes its registers. `act` may not sleep.
    pub fn change<R>(&self, act: impl FnOnce(&mut Registers) -> Result<R>) -> Result<R> {
        self.with_stop(|stop, _| {
            stop.is_changed = true;
            act(&mut stop.registers)
        })
    }

    /// A copy of its extended state: an image of XSAVE. EIO if there is none.
    pub fn extended_state(&self) -> Result<Vec<u8>> {
        let len = self.read(|registers| registers.extended.len())?;
        let mut image = Vec::new();
        image.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        self.read(|registers| image.extend_from_slice(&registers.extended))?;
        if image.is_empty() { Err(Errno::EIO) } else { Ok(image) }
    }

    /// Sets its extended state, or the first 512 bytes of it, as far as [`fpu::check_image`] allows.
    pub fn set_extended_state(&self, new: &[u8]) -> Result<()> {
        fpu::check_image(new)?;
        self.change(|registers| {
            registers.extended.get_mut(..new.len()).ok_or(Errno::EIO)?.copy_from_slice(new);
            if new.len() < registers.extended.len() {
                fpu::use_legacy_area(&mut registers.extended);
            }
            Ok(())
        })
    }

    /// Its debug register `number`.
    pub fn debug_register(&self, number: usize) -> Result<u64> {
        self.with_stop(|_, link| Ok(link.watch.get(number)))
    }

    /// Sets its debug register `number`.
    pub fn set_debug_register(&self, number: usize, value: u64) -> Result<()> {
        self.with_stop(|_, link| link.watch.set(number, value))
    }

    /// Sets `PTRACE_O_*`. EINVAL for what is none.
    pub fn set_options(&self, options: u32) -> Result<()> {
        check_options(options)?;
        self.with_stop(|_, link| {
            link.options = options;
            Ok(())
        })
    }

    /// What an event said besides.
    pub fn event_message(&self) -> Result<u64> {
        self.with_stop(|_, link| Ok(link.message))
    }

    /// The signal that it has stopped for, or what stands for it. EINVAL in a group stop.
    pub fn signal_info(&self) -> Result<SignalInfo> {
        self.with_stop(|stop, _| stop.info.ok_or(Errno::EINVAL))
    }

    /// Sets what PTRACE_GETSIGINFO gives.
    pub fn set_signal_info(&self, info: SignalInfo) -> Result<()> {
        self.with_stop(|stop, _| stop.info.replace(info).map(|_| ()).ok_or(Errno::EINVAL))
    }

    /// The signals that it blocks, also while a call has replaced them.
    pub fn blocked(&self) -> SignalSet {
        let saved = *self.0.signals.saved_mask.lock();
        saved.unwrap_or(self.0.blocked())
    }

    /// Sets the signals that it blocks.
    pub fn set_blocked(&self, set: SignalSet) -> Result<()> {
        self.with_stop(|_, _| {
            self.0.set_blocked(set);
            *self.0.signals.saved_mask.lock() = None;
            Ok(())
        })?;
        send::interrupt(&self.0);
        Ok(())
    }

    /// The pending signals from `first` on, at most `count`: its own, or those of its process.
    pub fn pending(&self, is_shared: bool, first: usize, count: usize) -> Result<Vec<SignalInfo>> {
        let mut found = Vec::new();
        found.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
        let signals = self.0.process().signals.lock();
        if is_shared {
            found.extend(signals.pending.iter().skip(first).take(count));
        } else {
            found.extend(self.0.signals.pending.lock().iter().skip(first).take(count));
        }
        Ok(found)
    }

    /// What it does in a system call, with instruction and stack pointer.
    pub fn syscall_info(&self) -> Result<(SyscallInfo, u64, u64)> {
        self.with_stop(|stop, link| {
            let frame = &stop.registers.frame;
            let arguments = [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9];
            let is_good = stop.code & 0x80 != 0;
            let info = match stop.kind {
                Kind::Entry if is_good => SyscallInfo::Entry(frame.orig_rax, arguments),
                Kind::Exit if is_good => SyscallInfo::Exit(frame.rax as i64),
                Kind::Event(linux::PTRACE_EVENT_SECCOMP) => {
                    SyscallInfo::Seccomp(frame.orig_rax, arguments, link.message as u32)
                }
                _ => SyscallInfo::None,
            };
            Ok((info, frame.rip, frame.rsp))
        })
    }

    /// Lets it go on. EIO for a signal that is none.
    pub fn resume(&self, how: Resume) -> Result<()> {
        check_signal(how.signal)?;
        self.with_stop(|stop, link| {
            link.until = match how {
                Resume { emulates: true, .. } => Until::Emulation,
                Resume { to_call: true, .. } => Until::Syscall,
                _ => Until::Signal,
            };
            link.is_stepping = how.steps;
            stop.resume(how.signal);
            Ok(())
        })?;
        self.0.process().resumed.wake_all();
        Ok(())
    }
}

/// EINVAL for options that are none.
pub fn check_options(options: u32) -> Result<()> {
    const KNOWN: u32 = linux::PTRACE_O_MASK & !linux::PTRACE_O_SUSPEND_SECCOMP;
    if options & !KNOWN == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

fn check_signal(signal: u32) -> Result<()> {
    if signal == 0 || Signal::new(signal).is_some() { Ok(()) } else { Err(Errno::EIO) }
}

/// Ends tracing; the tracee, which has stopped, goes on with `signal`.
pub fn detach(tracee: &Found, signal: u32) -> Result<()> {
    check_signal(signal)?;
    tracee.check_stopped()?;
    let task = &tracee.0;
    let (remains, reaped) = {
        let mut tree = tree::lock();
        (unbind(&mut tree, task, Some(signal)), tell_parent_of_end(&mut tree, task))
    };
    drop((remains, reaped));
    Ok(())
}

/// PTRACE_INTERRUPT: it stops as soon as it can. EIO unless it was seized.
pub fn interrupt(tracee: &Found) -> Result<()> {
    {
        let mut state = tracee.0.trace.state.lock();
        let link = state.link.as_mut().ok_or(Errno::ESRCH)?;
        if !link.is_seized {
            return Err(Errno::EIO);
        }
        link.is_interrupted = true;
        if let Some(stop) = state.stop.as_mut().filter(|stop| stop.is_listening) {
            stop.resume(0);
        }
    }
    send::interrupt(&tracee.0);
    Ok(())
}

/// PTRACE_LISTEN: it stays in its group stop until something happens. EIO if it is in none, or was not seized.
pub fn listen(tracee: &Found) -> Result<()> {
    tracee.with_stop(|stop, link| {
        if !link.is_seized || stop.kind != Kind::Group {
            return Err(Errno::EIO);
        }
        stop.is_listening = true;
        if link.has_news {
            stop.resume(0);
        }
        Ok(())
    })?;
    tracee.0.process().resumed.wake_all();
    Ok(())
}

/// PTRACE_KILL: SIGKILL, for a tracee that has stopped.
pub fn kill(tracee: &Found) {
    if tracee.check_stopped().is_ok() {
        send::kill_process(tracee.0.process());
    }
}
