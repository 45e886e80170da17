//! What a process does when a signal arrives: `struct kernel_sigaction` per signal.
//!
//! [`Actions`] is the table of a process (or of several that share it by CLONE_SIGHAND). Two sets are kept
//! beside it, of signals with a handler and of signals that are ignored, so that the sender of a signal and
//! `fork` need not look at 64 entries. Source: sigaction(2).

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::set::{DefaultAction, Signal, SignalSet};

/// The default action.
pub const SIG_DFL: u64 = 0;
/// The signal is dropped.
pub const SIG_IGN: u64 = 1;

/// `struct kernel_sigaction`, as programs pass it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Action {
    /// [`SIG_DFL`], [`SIG_IGN`] or the handler's address.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to (SA_RESTORER).
    pub restorer: u64,
    /// What is blocked while the handler runs.
    pub mask: u64,
}

impl Action {
    /// Whether the flag `SA_*` is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag as u64 != 0
    }

    /// Whether a handler is called.
    pub const fn is_handler(&self) -> bool {
        self.handler > SIG_IGN
    }
}

/// Flags that Linux knows; a program finds out by reading back what it set (SA_UNSUPPORTED).
const KNOWN_FLAGS: u64 = (linux::SA_NOCLDSTOP
    | linux::SA_NOCLDWAIT
    | linux::SA_SIGINFO
    | linux::SA_ONSTACK
    | linux::SA_RESTART
    | linux::SA_NODEFER
    | linux::SA_RESETHAND
    | linux::SA_EXPOSE_TAGBITS
    | linux::SA_RESTORER) as u64;

/// The table of a process.
#[derive(Clone, Debug)]
pub struct Actions {
    table: [Action; Signal::COUNT],
    ignored: SignalSet,
}

impl Default for Actions {
    fn default() -> Actions {
        Actions { table: [Action::default(); Signal::COUNT], ignored: SignalSet::EMPTY }
    }
}

#[allow(clippy::indexing_slicing, reason = "there is a place for every signal")]
impl Actions {
    /// The action for `signal`.
    pub fn get(&self, signal: Signal) -> &Action {
        &self.table[signal.index()]
    }

    /// Sets the action for `signal`, and returns the old one.
    pub fn set(&mut self, signal: Signal, mut action: Action) -> Action {
        action.flags &= KNOWN_FLAGS;
        action.mask = SignalSet(action.mask).blockable().0;
        if action.handler == SIG_IGN {
            self.ignored |= signal.bit();
        } else {
            self.ignored = self.ignored.without(signal.bit());
        }
        core::mem::replace(&mut self.table[signal.index()], action)
    }

    /// Signals that the process ignores explicitly.
    pub fn ignored(&self) -> SignalSet {
        self.ignored
    }

    /// Signals that the process has handlers for.
    pub fn caught(&self) -> SignalSet {
        let has_handler = |action: &Action| !matches!(action.handler, SIG_DFL | SIG_IGN);
        let bits = self.table.iter().enumerate().filter(|(_, action)| has_handler(action));
        SignalSet(bits.fold(0, |set, (index, _)| set | 1 << index))
    }

    /// Whether `signal` would be dropped if it were delivered now.
    pub fn drops(&self, signal: Signal) -> bool {
        match self.get(signal).handler {
            SIG_IGN => true,
            SIG_DFL => matches!(signal.default_action(), DefaultAction::Ignore | DefaultAction::Continue),
            _ => false,
        }
    }

    /// Resets `signal` to its default (SA_RESETHAND; a fault that cannot be delivered).
    pub fn reset(&mut self, signal: Signal) {
        self.table[signal.index()].handler = SIG_DFL;
        self.ignored = self.ignored.without(signal.bit());
    }

    /// What `execve` leaves: handlers become the default, ignored signals stay ignored.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.table {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = Action { handler, ..Action::default() };
        }
    }

    /// What CLONE_CLEAR_SIGHAND leaves: as `execve` does, which is what clone3(2) says.
    pub fn cleared(&self) -> Actions {
        let mut actions = self.clone();
        actions.reset_handlers();
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_keeps_what_is_ignored() {
        let mut actions = Actions::default();
        actions.set(Signal::SIGINT, Action { handler: SIG_IGN, ..Action::default() });
        actions.set(Signal::SIGTERM, Action { handler: 0x1000, flags: 4, restorer: 1, mask: 2 });
        assert_eq!(actions.ignored(), Signal::SIGINT.bit());
        actions.reset_handlers();
        assert_eq!(actions.get(Signal::SIGTERM), &Action::default());
        assert!(actions.drops(Signal::SIGINT) && !actions.drops(Signal::SIGTERM));
    }

    #[test]
    fn masks_and_flags_are_cleaned() {
        let mut actions = Actions::default();
        let wanted = Action { handler: 0x1000, flags: u64::MAX, restorer: 0, mask: u64::MAX };
        assert_eq!(actions.set(Signal::SIGHUP, wanted), Action::default());
        let kept = actions.get(Signal::SIGHUP);
        assert!(!SignalSet(kept.mask).contains(Signal::SIGKILL));
        assert!(!kept.has(linux::SA_UNSUPPORTED));
        assert!(kept.has(linux::SA_RESTART));
    }

    #[test]
    fn child_signals_are_dropped_by_default() {
        let mut actions = Actions::default();
        assert!(actions.drops(Signal::SIGCHLD) && actions.drops(Signal::SIGCONT));
        actions.set(Signal::SIGCHLD, Action { handler: 0x1000, ..Action::default() });
        assert!(!actions.drops(Signal::SIGCHLD));
    }
}
