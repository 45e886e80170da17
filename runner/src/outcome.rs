//! How a VM ended, and how the process that ran it then ends itself.

use crate::sys;

/// What `timeout(1)` returns, too.
const TIMED_OUT: i32 = 124;

/// A crash of the kernel, or a VM that could not be had.
const CRASHED: i32 = 125;

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program exited with this status.
    Exited(u8),
    /// A signal killed the program.
    Signaled(i32),
    /// The kernel crashed, or the VM went away without a word.
    Crashed(String),
    /// The time was up.
    TimedOut,
}

impl Outcome {
    /// The exit status, as a shell would report it.
    pub fn status(&self) -> i32 {
        match self {
            Self::Exited(status) => i32::from(*status),
            Self::Signaled(signal) => 128 + signal,
            Self::Crashed(_) => CRASHED,
            Self::TimedOut => TIMED_OUT,
        }
    }

    /// Ends this process the way the program in the VM has ended: with its status, or by its signal.
    pub fn exit(self) -> ! {
        match &self {
            Self::Exited(_) => {}
            Self::Signaled(signal) => sys::die_by(*signal),
            Self::Crashed(reason) => eprintln!("osv: the VM ended by a kernel crash: {reason}"),
            Self::TimedOut => eprintln!("osv: the time is up, the VM was ended"),
        }
        std::process::exit(self.status())
    }
}
