//! `ioctl` of terminals: settings, window, job control, queues. Source: tty_ioctl(4).
//!
//! A master has most of them, too, and then they act on its slave; it is never stopped for not being in the foreground.

use linux_raw_sys::general;
use linux_raw_sys::ioctl;

use super::termios::{Termio, Termios, Termios2, WindowSize};
use super::{State, Tty};
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::signal::Signal;
use crate::process::{current_task, session};

/// `^Q` and `^S`, which make a pty's master do the flow control in packet mode.
const USUAL_START: u8 = 0x11;
const USUAL_STOP: u8 = 0x13;

/// When new settings come into force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    AfterOutput,
    AfterOutputWithoutInput,
}

impl Tty {
    /// Carries out `command`, for its master or a program that has it open. ENOTTY for what terminals do not know.
    pub(super) fn control(&self, is_master: bool, command: u32, arg: u64) -> Result<u64> {
        let this = self.this.upgrade().ok_or(Errno::EIO)?;
        match command {
            ioctl::TIOCGWINSZ => {
                let size = self.state.lock().window;
                UserPtr::<WindowSize>::new(arg).write(&size)?;
            }
            ioctl::TIOCSWINSZ => self.set_window_size(UserPtr::<WindowSize>::new(arg).read()?),
            ioctl::TIOCGPGRP => {
                let foreground = self.own_job(is_master)?.foreground;
                UserPtr::<u32>::new(arg).write(&foreground)?;
            }
            ioctl::TIOCSPGRP => {
                self.check_foreground(Signal::SIGTTOU)
                    .map_err(|errno| if errno == Errno::EIO { Errno::ENOTTY } else { errno })?;
                self.set_foreground(UserPtr::<i32>::new(arg).read()?)?;
            }
            ioctl::TIOCGSID => {
                let session = self.own_job(is_master)?.session;
                if session == 0 {
                    return Err(Errno::ENOTTY);
                }
                UserPtr::<u32>::new(arg).write(&session)?;
            }
            ioctl::TIOCSCTTY => this.take(arg == 1)?,
            ioctl::TIOCNOTTY if !is_master && self.is_mine() => session::give_up_terminal(),
            ioctl::TIOCSTI => self.pretend_typing(is_master, UserPtr::<u8>::new(arg))?,
            ioctl::TIOCEXCL | ioctl::TIOCNXCL => self.state.lock().is_exclusive = command == ioctl::TIOCEXCL,
            ioctl::TIOCGEXCL => {
                let is_exclusive = self.state.lock().is_exclusive;
                UserPtr::<i32>::new(arg).write(&i32::from(is_exclusive))?;
            }
            ioctl::TIOCGDEV => UserPtr::<u32>::new(arg).write(&(self.device as u32))?,
            ioctl::TIOCGPTPEER => return Err(Errno::EIO),
            ioctl::TIOCVHANGUP => {
                if !current_task().credentials().is_capable(general::CAP_SYS_ADMIN) {
                    return Err(Errno::EPERM);
                }
                self.hang_up();
            }
            _ => return self.control_line(is_master, command, arg),
        }
        Ok(0)
    }

    /// What concerns the line discipline and the queues.
    fn control_line(&self, is_master: bool, command: u32, arg: u64) -> Result<u64> {
        match command {
            ioctl::FIONREAD => {
                let state = self.state.lock();
                let readable = if is_master { state.output.len().min(super::DELIVERED) } else { state.line.readable() };
                drop(state);
                UserPtr::<i32>::new(arg).write(&(readable as i32))?;
            }
            ioctl::TIOCOUTQ => {
                let waiting = if self.far.is_program() { 0 } else { self.state.lock().output.len() };
                UserPtr::<i32>::new(arg).write(&(waiting as i32))?;
            }
            ioctl::TIOCGETD => UserPtr::<i32>::new(arg).write(&0)?,
            ioctl::TIOCSETD | ioctl::TIOCSBRK | ioctl::TIOCCBRK | ioctl::TCSBRK | ioctl::TCSBRKP => {
                self.check_change(is_master)?;
                if command != ioctl::TIOCCBRK {
                    self.drain(is_master)?;
                }
                if command == ioctl::TIOCSETD && UserPtr::<i32>::new(arg).read()? != 0 {
                    return Err(Errno::EINVAL);
                }
            }
            ioctl::TCFLSH => self.flush(is_master, arg)?,
            ioctl::TCXONC => self.set_flow(is_master, arg)?,
            _ => return self.control_settings(is_master, command, arg),
        }
        Ok(0)
    }

    /// Settings in their several layouts.
    fn control_settings(&self, is_master: bool, command: u32, arg: u64) -> Result<u64> {
        use When::{AfterOutput, AfterOutputWithoutInput, Now};
        let settings = self.state.lock().settings;
        match command {
            ioctl::TCGETS => UserPtr::<Termios>::new(arg).write(&settings.settings)?,
            ioctl::TCGETS2 => UserPtr::<Termios2>::new(arg).write(&settings)?,
            ioctl::TCGETA => UserPtr::<Termio>::new(arg).write(&settings.settings.into())?,
            ioctl::TCSETS => self.set_plain(is_master, arg, Now)?,
            ioctl::TCSETSW => self.set_plain(is_master, arg, AfterOutput)?,
            ioctl::TCSETSF => self.set_plain(is_master, arg, AfterOutputWithoutInput)?,
            ioctl::TCSETS2 => self.set_with_speeds(is_master, arg, Now)?,
            ioctl::TCSETSW2 => self.set_with_speeds(is_master, arg, AfterOutput)?,
            ioctl::TCSETSF2 => self.set_with_speeds(is_master, arg, AfterOutputWithoutInput)?,
            ioctl::TCSETA => self.set_short(is_master, arg, Now)?,
            ioctl::TCSETAW => self.set_short(is_master, arg, AfterOutput)?,
            ioctl::TCSETAF => self.set_short(is_master, arg, AfterOutputWithoutInput)?,
            ioctl::TIOCGSOFTCAR => {
                UserPtr::<i32>::new(arg).write(&i32::from(settings.settings.control & general::CLOCAL != 0))?;
            }
            ioctl::TIOCSSOFTCAR => {
                let mut settings = settings;
                settings.settings.control &= !general::CLOCAL;
                if UserPtr::<i32>::new(arg).read()? != 0 {
                    settings.settings.control |= general::CLOCAL;
                }
                self.install(settings);
            }
            ioctl::TIOCGLCKTRMIOS => {
                let locked = self.state.lock().locked;
                UserPtr::<Termios>::new(arg).write(&locked)?;
            }
            ioctl::TIOCSLCKTRMIOS => {
                if !current_task().credentials().is_capable(general::CAP_SYS_ADMIN) {
                    return Err(Errno::EPERM);
                }
                let locked = UserPtr::<Termios>::new(arg).read()?;
                self.state.lock().locked = locked;
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn check_change(&self, is_master: bool) -> Result<()> {
        if is_master { Ok(()) } else { self.check_foreground(Signal::SIGTTOU) }
    }

    fn drain(&self, is_master: bool) -> Result<()> {
        if is_master { Ok(()) } else { self.far.drain(self) }
    }

    fn set_plain(&self, is_master: bool, arg: u64, when: When) -> Result<()> {
        self.check_change(is_master)?;
        let settings = UserPtr::<Termios>::new(arg).read()?;
        let old = self.state.lock().settings;
        self.set(is_master, Termios2::with_named_speeds(settings, &old), when)
    }

    fn set_with_speeds(&self, is_master: bool, arg: u64, when: When) -> Result<()> {
        self.check_change(is_master)?;
        let settings = UserPtr::<Termios2>::new(arg).read()?;
        self.set(is_master, settings.normalised(), when)
    }

    fn set_short(&self, is_master: bool, arg: u64, when: When) -> Result<()> {
        self.check_change(is_master)?;
        let settings = UserPtr::<Termio>::new(arg).read()?;
        let old = self.state.lock().settings;
        self.set(is_master, Termios2::with_named_speeds(settings.applied_to(old.settings), &old), when)
    }

    fn set(&self, is_master: bool, settings: Termios2, when: When) -> Result<()> {
        if when == When::AfterOutputWithoutInput {
            self.state.lock().flush_input();
        }
        if when != When::Now {
            self.drain(is_master)?;
        }
        self.install(settings);
        Ok(())
    }

    fn install(&self, new: Termios2) {
        let mut state = self.state.lock();
        let old = state.settings.settings;
        let mut settings = new.settings.with_locked(&state.locked, &old);
        if self.far.is_program() {
            settings.control = settings.control & !(general::CSIZE | general::PARENB) | general::CS8 | general::CREAD;
        }
        let was_stopped = state.line.is_stopped();
        state.settings = Termios2 { settings, ..new };
        state.line.set_termios(settings);
        state.note_flow(was_stopped);
        tell_master_of_settings(&mut state, &old, &settings);
        drop(state);
        self.process_pending();
    }

    /// TIOCSTI: a byte as if typed.
    fn pretend_typing(&self, is_master: bool, byte: UserPtr<u8>) -> Result<()> {
        let is_privileged = current_task().credentials().is_capable(general::CAP_SYS_ADMIN);
        if (is_master || !self.is_mine()) && !is_privileged {
            return Err(Errno::EPERM);
        }
        let byte = byte.read()?;
        if is_master {
            self.untake_output(&[byte]);
            self.far.on_output(self);
        } else {
            self.accept(&[byte]);
        }
        Ok(())
    }

    fn flush(&self, is_master: bool, queue: u64) -> Result<()> {
        self.check_change(is_master)?;
        let (input, output) = match u32::try_from(queue) {
            Ok(general::TCIFLUSH) => (true, false),
            Ok(general::TCOFLUSH) => (false, true),
            Ok(general::TCIOFLUSH) => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        {
            let mut state = self.state.lock();
            match is_master {
                true if input => state.output.clear(),
                true => {}
                false if input => state.flush_input(),
                false => {}
            }
            match is_master {
                true if output => state.pending.clear(),
                false if output => state.flush_output(),
                _ => {}
            }
        }
        self.tell_all();
        self.far.on_room();
        Ok(())
    }

    fn set_flow(&self, is_master: bool, action: u64) -> Result<()> {
        self.check_change(is_master)?;
        match u32::try_from(action) {
            Ok(action @ (general::TCOOFF | general::TCOON)) => self.hold(is_master, action == general::TCOOFF),
            Ok(general::TCIOFF) => self.send_flow_character(is_master, general::VSTOP),
            Ok(general::TCION) => self.send_flow_character(is_master, general::VSTART),
            _ => return Err(Errno::EINVAL),
        }
        self.tell_all();
        self.far.on_room();
        Ok(())
    }

    fn hold(&self, is_master: bool, is_held: bool) {
        let mut state = self.state.lock();
        if is_master {
            state.is_far_held = is_held;
        } else {
            let was_stopped = state.line.is_stopped();
            state.line.hold(is_held);
            state.note_flow(was_stopped);
        }
    }

    /// Asks the other side to stop or to go on, past whatever waits.
    fn send_flow_character(&self, is_master: bool, which: u32) {
        let byte = self.state.lock().line.termios().character(which);
        match (byte, is_master) {
            (0, _) => {}
            (_, true) => drop(self.accept(&[byte])),
            (_, false) => self.state.lock().output.push_back(byte),
        }
    }
}

/// Packet mode: the master wants to know who does the flow control, and of any change with EXTPROC.
fn tell_master_of_settings(state: &mut State, old: &Termios, new: &Termios) {
    let flows = |termios: &Termios| {
        termios.is_input(general::IXON)
            && termios.character(general::VSTOP) == USUAL_STOP
            && termios.character(general::VSTART) == USUAL_START
    };
    match (flows(old), flows(new)) {
        (false, true) => state.tell_master(general::TIOCPKT_NOSTOP, general::TIOCPKT_DOSTOP),
        (true, false) => state.tell_master(general::TIOCPKT_DOSTOP, general::TIOCPKT_NOSTOP),
        _ => {}
    }
    if (old.local | new.local) & general::EXTPROC != 0 {
        state.tell_master(0, general::TIOCPKT_IOCTL);
    }
}
