//! Job control: whose terminal it is, and who may use it at the moment.
//!
//! A terminal controls at most one session, and one group of it is in the foreground: it may read, and gets the
//! signals that are typed. Whoever else reads, or changes the terminal, is stopped. Source: tty_ioctl(4),
//! credentials(7), Linux' `tty_jobctrl.c`.

use alloc::sync::Arc;
use core::any::Any;

use super::Tty;
use crate::errno::{Errno, Result};
use crate::process::session::{self, Terminal};
use crate::process::signal::Signal;
use crate::process::{current_process, current_task};

/// Whose terminal it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Job {
    /// The session that it controls; 0 for none.
    pub(super) session: u32,
    /// The group that may read, and gets its signals; 0 for none.
    pub(super) foreground: u32,
}

/// The terminal that controls the session of the process that runs (ENXIO): what `/dev/tty` is.
pub fn controlling() -> Result<Arc<Tty>> {
    let terminal: Arc<dyn Any + Send + Sync> = session::current_terminal().ok_or(Errno::ENXIO)?;
    terminal.downcast().map_err(|_| Errno::ENXIO)
}

impl Tty {
    /// A session leader without a terminal has opened it: it gets this one, if that is nobody's.
    pub(super) fn become_controlling(self: &Arc<Self>) {
        if self.job.lock().session == 0 {
            // EPERM only says that the process does not lead a session or has a terminal.
            let _ = session::set_terminal(self.clone());
        }
    }

    pub(super) fn signal_foreground(&self, signal: Signal) {
        let foreground = self.job.lock().foreground;
        if foreground != 0 {
            // ESRCH: the group has ended, and nobody is left to be told.
            let _ = session::signal_group(foreground, signal);
        }
    }

    /// Takes the terminal from its session; the leader is told.
    pub(super) fn release_session(&self) {
        let job = core::mem::take(&mut *self.job.lock());
        if job.session != 0 {
            session::hang_up(job.session, job.foreground);
        }
    }

    /// Whether the terminal controls the session of the process that runs.
    pub(super) fn is_mine(&self) -> bool {
        let session = self.job.lock().session;
        let process = current_process();
        session != 0 && session == process.session_id() && !process.has_left_terminal()
    }

    /// Stops a process that is not in the foreground by `signal`; EIO if nobody could let it go on.
    pub(super) fn check_foreground(&self, signal: Signal) -> Result<()> {
        let group = current_process().group_id();
        let foreground = self.job.lock().foreground;
        if !self.is_mine() || foreground == 0 || group == foreground {
            return Ok(());
        }
        if current_task().is_deaf_to(signal) {
            return if signal == Signal::SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
        }
        if session::is_orphaned(group) {
            return Err(Errno::EIO);
        }
        session::signal_group(group, signal)?;
        Err(Errno::ERESTARTSYS)
    }

    /// Whose terminal it is, if it is the caller's, or the caller is its master (ENOTTY).
    pub(super) fn own_job(&self, is_master: bool) -> Result<Job> {
        if is_master || self.is_mine() { Ok(*self.job.lock()) } else { Err(Errno::ENOTTY) }
    }

    /// TIOCSPGRP
    pub(super) fn set_foreground(&self, group: i32) -> Result<()> {
        let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        let session = self.job.lock().session;
        if !self.is_mine() {
            return Err(Errno::ENOTTY);
        }
        if session::session_of_group(group)? != session {
            return Err(Errno::EPERM);
        }
        self.job.lock().foreground = group;
        Ok(())
    }

    /// TIOCSCTTY; with `steals`, from another session.
    pub(super) fn take(self: &Arc<Self>, steals: bool) -> Result<()> {
        let owner = self.job.lock().session;
        let process = current_process();
        if owner != 0 && owner == process.session_id() && owner == process.pid() {
            return Ok(());
        }
        if process.session_id() != process.pid() || session::current_terminal().is_some() {
            return Err(Errno::EPERM);
        }
        if owner != 0 {
            if !steals || !current_task().credentials().is_capable(linux_raw_sys::general::CAP_SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            session::forget_terminal(owner);
        }
        session::set_terminal(self.clone())
    }
}

impl Terminal for Tty {
    fn foreground_group(&self) -> u32 {
        self.job.lock().foreground
    }

    fn on_session_begin(&self, session: u32, group: u32) {
        *self.job.lock() = Job { session, foreground: group };
    }

    fn on_session_end(&self) {
        *self.job.lock() = Job::default();
    }

    fn on_leader_end(&self) {
        if !self.far.is_program() {
            self.hang_up();
        }
    }

    fn hang_up(&self) {
        Tty::hang_up(self);
    }

    fn device_number(&self) -> u64 {
        self.device
    }
}
