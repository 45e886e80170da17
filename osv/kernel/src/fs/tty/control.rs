//! `ioctl` of terminals: settings, window, job control, queues. Source: tty_ioctl(4).

use linux_raw_sys::general;
use linux_raw_sys::ioctl;

use super::termios::{Termios, Termios2, WindowSize};
use super::{Job, Tty};
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::current_process;
use crate::process::session;
use crate::process::signal::Signal;

/// Speeds by the number in `c_cflag`, B0 to B38400; those beyond are in [`FAST_SPEEDS`].
const SPEEDS: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
/// Speeds from B57600 on.
const FAST_SPEEDS: [u32; 5] = [57600, 115_200, 230_400, 460_800, 500_000];
/// `CBAUDEX`
const EXTENDED_SPEED: u32 = 0o010000;

/// When new settings come into force.
enum When {
    Now,
    AfterOutput,
    AfterOutputWithoutInput,
}

impl Tty {
    /// Carries out `command`. ENOTTY for what terminals do not know.
    pub(super) fn control(&self, command: u32, arg: u64) -> Result<u64> {
        match command {
            ioctl::TCGETS => UserPtr::<Termios>::new(arg).write(&self.settings())?,
            ioctl::TCGETS2 => UserPtr::<Termios2>::new(arg).write(&with_speeds(self.settings()))?,
            ioctl::TCSETS => self.set(UserPtr::<Termios>::new(arg).read()?, &When::Now)?,
            ioctl::TCSETSW => self.set(UserPtr::<Termios>::new(arg).read()?, &When::AfterOutput)?,
            ioctl::TCSETSF => self.set(UserPtr::<Termios>::new(arg).read()?, &When::AfterOutputWithoutInput)?,
            ioctl::TCSETS2 => self.set(UserPtr::<Termios2>::new(arg).read()?.settings, &When::Now)?,
            ioctl::TCSETSW2 => self.set(UserPtr::<Termios2>::new(arg).read()?.settings, &When::AfterOutput)?,
            ioctl::TCSETSF2 => {
                self.set(UserPtr::<Termios2>::new(arg).read()?.settings, &When::AfterOutputWithoutInput)?;
            }
            ioctl::TIOCGWINSZ => {
                let size = *self.window.lock();
                UserPtr::<WindowSize>::new(arg).write(&size)?;
            }
            ioctl::TIOCSWINSZ => self.set_window_size(UserPtr::<WindowSize>::new(arg).read()?),
            ioctl::TIOCGPGRP => {
                let foreground = self.own_job()?.foreground;
                UserPtr::<u32>::new(arg).write(&foreground)?;
            }
            ioctl::TIOCSPGRP => self.set_foreground(UserPtr::<i32>::new(arg).read()?)?,
            ioctl::TIOCGSID => {
                let session = self.own_job()?.session;
                UserPtr::<u32>::new(arg).write(&session)?;
            }
            ioctl::TIOCSCTTY => self.take(arg)?,
            ioctl::TIOCNOTTY => self.give_up()?,
            ioctl::FIONREAD => {
                let readable = self.line.lock().readable();
                UserPtr::<i32>::new(arg).write(&(readable as i32))?;
            }
            ioctl::TIOCOUTQ => UserPtr::<i32>::new(arg).write(&0)?,
            ioctl::TIOCGETD => UserPtr::<i32>::new(arg).write(&0)?,
            ioctl::TIOCSETD if UserPtr::<i32>::new(arg).read()? != 0 => return Err(Errno::EINVAL),
            ioctl::TIOCSETD => {}
            ioctl::TCSBRK | ioctl::TCSBRKP => {
                self.check_foreground(Signal::SIGTTOU)?;
                self.transport.drain();
            }
            ioctl::TCFLSH => self.flush(arg)?,
            ioctl::TCXONC => self.set_flow(arg)?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn settings(&self) -> Termios {
        *self.line.lock().termios()
    }

    fn set(&self, termios: Termios, when: &When) -> Result<()> {
        self.check_foreground(Signal::SIGTTOU)?;
        if !matches!(when, When::Now) {
            self.transport.drain();
        }
        {
            let mut line = self.line.lock();
            if matches!(when, When::AfterOutputWithoutInput) {
                line.flush_input();
            }
            line.set_termios(termios);
        }
        self.resumed.wake_all();
        self.input.wake_all();
        Ok(())
    }

    /// Whose terminal it is, if it is the caller's (ENOTTY).
    fn own_job(&self) -> Result<Job> {
        if self.is_mine() { Ok(*self.job.lock()) } else { Err(Errno::ENOTTY) }
    }

    fn set_foreground(&self, group: i32) -> Result<()> {
        let job = self.own_job()?;
        self.check_foreground(Signal::SIGTTOU)?;
        let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        if session::session_of_group(group)? != job.session {
            return Err(Errno::EPERM);
        }
        self.job.lock().foreground = group;
        Ok(())
    }

    /// TIOCSCTTY
    fn take(&self, _steals: u64) -> Result<()> {
        let owner = self.job.lock().session;
        if owner == current_process().session_id() && owner == current_process().pid() {
            return Ok(());
        }
        if owner != 0 {
            return Err(Errno::EPERM);
        }
        self.this.upgrade().ok_or(Errno::EIO)?.control_current_session()
    }

    /// TIOCNOTTY
    fn give_up(&self) -> Result<()> {
        let job = self.own_job()?;
        if job.session == current_process().pid()
            && let Some(session) = session::current_session()
        {
            session::release_terminal(&session);
        }
        Ok(())
    }

    fn flush(&self, queue: u64) -> Result<()> {
        self.check_foreground(Signal::SIGTTOU)?;
        match u32::try_from(queue) {
            Ok(general::TCIFLUSH | general::TCIOFLUSH) => self.line.lock().flush_input(),
            Ok(general::TCOFLUSH) => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn set_flow(&self, action: u64) -> Result<()> {
        match u32::try_from(action) {
            Ok(general::TCOOFF) => self.line.lock().set_stopped(true),
            Ok(general::TCOON) => {
                self.line.lock().set_stopped(false);
                self.resumed.wake_all();
            }
            Ok(general::TCIOFF | general::TCION) => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

fn with_speeds(settings: Termios) -> Termios2 {
    let number = settings.control & general::CBAUD;
    let speed = match number & EXTENDED_SPEED {
        0 => SPEEDS.get(number as usize),
        _ => FAST_SPEEDS.get(((number & !EXTENDED_SPEED) as usize).wrapping_sub(1)),
    };
    let speed = speed.copied().unwrap_or(38400);
    Termios2 { settings, input_speed: speed, output_speed: speed }
}
