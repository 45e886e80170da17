//! How a process ended or changed its state, and how `wait` tells of it.

use linux_raw_sys::general as linux;

use super::signal::set::Signal;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By `exit`, with this code.
    Exited(u8),
    /// By a signal; with the bit for a core dump or without.
    Killed {
        /// The signal.
        signal: Signal,
        /// Whether it is one that dumps core.
        has_core: bool,
    },
}

/// What `wait` reports of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    /// It ended.
    Ended(ExitStatus),
    /// It was stopped.
    Stopped(Signal),
    /// It goes on.
    Continued,
    /// It has stopped for its tracer: a signal's number, and an event above it.
    Trapped(u32),
}

impl ExitStatus {
    /// The end by a signal with this number and whether it dumps core.
    pub const fn killed(signal: Signal, has_core: bool) -> ExitStatus {
        ExitStatus::Killed { signal, has_core }
    }

    /// What a shell shows as `$?`.
    pub const fn shell_code(self) -> u8 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Killed { signal, .. } => 128 + signal.number() as u8,
        }
    }
}

impl ChildEvent {
    /// The status word of `wait4`.
    pub const fn status_word(self) -> u32 {
        match self {
            ChildEvent::Ended(ExitStatus::Exited(code)) => (code as u32) << 8,
            ChildEvent::Ended(ExitStatus::Killed { signal, has_core }) => signal.number() | (has_core as u32) << 7,
            ChildEvent::Stopped(signal) => 0x7f | signal.number() << 8,
            ChildEvent::Continued => 0xffff,
            ChildEvent::Trapped(code) => 0x7f | code << 8,
        }
    }

    /// `si_code` and `si_status` of `waitid` and SIGCHLD.
    pub const fn code_and_status(self) -> (i32, i32) {
        let (code, status) = match self {
            ChildEvent::Ended(ExitStatus::Exited(code)) => (linux::CLD_EXITED, code as u32),
            ChildEvent::Ended(ExitStatus::Killed { signal, has_core: false }) => (linux::CLD_KILLED, signal.number()),
            ChildEvent::Ended(ExitStatus::Killed { signal, has_core: true }) => (linux::CLD_DUMPED, signal.number()),
            ChildEvent::Stopped(signal) => (linux::CLD_STOPPED, signal.number()),
            ChildEvent::Continued => (linux::CLD_CONTINUED, Signal::SIGCONT.number()),
            ChildEvent::Trapped(code) => (linux::CLD_TRAPPED, code),
        };
        (code as i32, status as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_those_of_wait() {
        assert_eq!(ChildEvent::Ended(ExitStatus::Exited(3)).status_word(), 0x300);
        assert_eq!(ChildEvent::Ended(ExitStatus::killed(Signal::SIGSEGV, true)).status_word(), 0x8b);
        assert_eq!(ChildEvent::Ended(ExitStatus::killed(Signal::SIGKILL, false)).status_word(), 9);
        assert_eq!(ChildEvent::Stopped(Signal::SIGTSTP).status_word(), 0x147f);
        assert_eq!(ChildEvent::Continued.status_word(), 0xffff);
        assert_eq!(ChildEvent::Stopped(Signal::SIGTSTP).code_and_status(), (5, 20));
    }
}
