//! Signals and sets of signals.
//!
//! A [`Signal`] is a number from 1 to 64, checked once where it comes in; a [`SignalSet`] is the 64-bit mask that
//! programs pass, bit `n - 1` for signal `n`. Source: signal(7).

use core::ops::{BitAnd, BitOr, BitOrAssign, Not};

use linux_raw_sys::general as linux;

/// A signal: 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Signal {
            $(pub const $name: Signal = Signal(linux::$name as u8);)*

            /// The symbolic name, as strace prints it; `"SIGRT"` for real-time signals.
            pub fn name(self) -> &'static str {
                match self {
                    $(Signal::$name => stringify!($name),)*
                    _ => "SIGRT",
                }
            }
        }
    };
}

signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM
    SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF
    SIGWINCH SIGIO SIGPWR SIGSYS
}

/// What a signal does to a process that has not said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// It ends.
    Terminate,
    /// It ends, with the bit for a core dump in its status.
    Core,
    /// Nothing.
    Ignore,
    /// It stops until SIGCONT.
    Stop,
    /// It goes on if it was stopped.
    Continue,
}

impl Signal {
    /// The first real-time signal, of which more than one can be pending.
    pub const FIRST_REAL_TIME: Signal = Signal(32);
    /// How many signals there are.
    pub const COUNT: usize = 64;

    /// The signal with this number.
    pub const fn new(number: u32) -> Option<Signal> {
        if number >= 1 && number <= 64 { Some(Signal(number as u8)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Its place in an array of [`Signal::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Its bit.
    pub const fn bit(self) -> SignalSet {
        SignalSet(1 << (self.0 - 1))
    }

    /// Whether it queues.
    pub const fn is_real_time(self) -> bool {
        self.0 >= Signal::FIRST_REAL_TIME.0
    }

    /// What it does by default.
    pub fn default_action(self) -> DefaultAction {
        let bit = self.bit();
        if bit.intersects(SignalSet::IGNORED_BY_DEFAULT) {
            DefaultAction::Ignore
        } else if bit.intersects(SignalSet::STOP) {
            DefaultAction::Stop
        } else if self == Signal::SIGCONT {
            DefaultAction::Continue
        } else if bit.intersects(SignalSet::CORE) {
            DefaultAction::Core
        } else {
            DefaultAction::Terminate
        }
    }
}

/// A set of signals.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(transparent)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);
    /// All 64.
    pub const ALL: SignalSet = SignalSet(!0);
    /// What can be neither blocked nor caught.
    pub const UNBLOCKABLE: SignalSet = SignalSet(Signal::SIGKILL.bit().0 | Signal::SIGSTOP.bit().0);
    /// Job control: what stops.
    pub const STOP: SignalSet = SignalSet(
        Signal::SIGSTOP.bit().0 | Signal::SIGTSTP.bit().0 | Signal::SIGTTIN.bit().0 | Signal::SIGTTOU.bit().0,
    );
    /// What the CPU causes; delivered before all others.
    pub const SYNCHRONOUS: SignalSet = SignalSet(
        Signal::SIGSEGV.bit().0
            | Signal::SIGBUS.bit().0
            | Signal::SIGILL.bit().0
            | Signal::SIGTRAP.bit().0
            | Signal::SIGFPE.bit().0
            | Signal::SIGSYS.bit().0,
    );
    /// What does nothing unless it is caught (SIGCONT apart).
    const IGNORED_BY_DEFAULT: SignalSet =
        SignalSet(Signal::SIGCHLD.bit().0 | Signal::SIGURG.bit().0 | Signal::SIGWINCH.bit().0);
    /// What sets the core bit of the wait status.
    const CORE: SignalSet = SignalSet(
        SignalSet::SYNCHRONOUS.0
            | Signal::SIGQUIT.bit().0
            | Signal::SIGABRT.bit().0
            | Signal::SIGXCPU.bit().0
            | Signal::SIGXFSZ.bit().0,
    );

    /// Whether `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & signal.bit().0 != 0
    }

    /// Whether both have a signal in common.
    pub const fn intersects(self, other: SignalSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Without the signals of `other`.
    pub const fn without(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }

    /// What a program may block: all but SIGKILL and SIGSTOP.
    pub const fn blockable(self) -> SignalSet {
        self.without(SignalSet::UNBLOCKABLE)
    }

    /// The signal to deliver first: one that the CPU caused, else the lowest.
    pub fn first(self) -> Option<Signal> {
        let synchronous = self & SignalSet::SYNCHRONOUS;
        let candidates = if synchronous.is_empty() { self } else { synchronous };
        Signal::new(candidates.0.trailing_zeros() + 1)
    }
}

impl BitOr for SignalSet {
    type Output = SignalSet;
    fn bitor(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 | other.0)
    }
}

impl BitOrAssign for SignalSet {
    fn bitor_assign(&mut self, other: SignalSet) {
        self.0 |= other.0;
    }
}

impl BitAnd for SignalSet {
    type Output = SignalSet;
    fn bitand(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & other.0)
    }
}

impl Not for SignalSet {
    type Output = SignalSet;
    fn not(self) -> SignalSet {
        SignalSet(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked() {
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(9), Some(Signal::SIGKILL));
        assert_eq!(Signal::new(64).unwrap().bit(), SignalSet(1 << 63));
    }

    #[test]
    fn faults_come_first_then_the_lowest() {
        assert_eq!(SignalSet::EMPTY.first(), None);
        let set = Signal::SIGHUP.bit() | Signal::SIGSEGV.bit();
        assert_eq!(set.first(), Some(Signal::SIGSEGV));
        let set = Signal::SIGTERM.bit() | Signal::SIGUSR1.bit();
        assert_eq!(set.first(), Some(Signal::SIGUSR1));
        assert_eq!(SignalSet(1 << 63).first(), Signal::new(64));
    }

    #[test]
    fn default_actions_are_those_of_signal_7() {
        assert_eq!(Signal::SIGCHLD.default_action(), DefaultAction::Ignore);
        assert_eq!(Signal::SIGTSTP.default_action(), DefaultAction::Stop);
        assert_eq!(Signal::SIGCONT.default_action(), DefaultAction::Continue);
        assert_eq!(Signal::SIGQUIT.default_action(), DefaultAction::Core);
        assert_eq!(Signal::SIGTERM.default_action(), DefaultAction::Terminate);
        assert_eq!(Signal::new(40).unwrap().default_action(), DefaultAction::Terminate);
    }

    #[test]
    fn kill_and_stop_cannot_be_blocked() {
        assert!(!SignalSet::ALL.blockable().contains(Signal::SIGKILL));
        assert!(!SignalSet::ALL.blockable().contains(Signal::SIGSTOP));
        assert!(SignalSet::ALL.blockable().contains(Signal::SIGSEGV));
    }
}
