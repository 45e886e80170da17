//! What a program learns about a signal: `siginfo_t`.
//!
//! [`SignalInfo`] is the first 48 bytes of Linux' 128, in its layout, made once where the signal is sent: all
//! that any kind of signal uses lies in them, and a handler's frame or `signalfd` copies them as they are.
//! Source: sigaction(2), Linux' `asm-generic/siginfo.h`.

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::set::Signal;

/// Bytes of `siginfo_t` as programs see it.
pub const USER_SIZE: usize = linux::SI_MAX_SIZE as usize;

/// The used part of a `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SignalInfo {
    /// The signal's number.
    pub number: i32,
    /// An error number, nearly always 0.
    pub errno: i32,
    /// Why it was sent: `SI_*`, `SEGV_*`, `CLD_*` …
    pub code: i32,
    padding: i32,
    payload: [u64; 4],
}

/// Two 32-bit fields that lie in one word.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl SignalInfo {
    const fn new(signal: Signal, code: i32, payload: [u64; 4]) -> SignalInfo {
        SignalInfo { number: signal.number() as i32, errno: 0, code, padding: 0, payload }
    }

    /// Sent by `kill` or the like with `code` (`SI_USER`, `SI_TKILL`) from a process.
    pub const fn from_process(signal: Signal, code: i32, pid: u32, uid: u32) -> SignalInfo {
        SignalInfo::new(signal, code, [pair(pid, uid), 0, 0, 0])
    }

    /// Sent by the kernel for a reason that has no code of its own.
    pub const fn from_kernel(signal: Signal) -> SignalInfo {
        SignalInfo::new(signal, linux::SI_KERNEL as i32, [0; 4])
    }

    /// Sent with a value (`SI_QUEUE`, `SI_MESGQ`, `SI_ASYNCIO`).
    pub const fn with_value(signal: Signal, code: i32, pid: u32, uid: u32, value: u64) -> SignalInfo {
        SignalInfo::new(signal, code, [pair(pid, uid), value, 0, 0])
    }

    /// Sent by a timer of `timer_create`.
    pub const fn from_timer(signal: Signal, timer: u32, overrun: u32, value: u64) -> SignalInfo {
        SignalInfo::new(signal, linux::SI_TIMER, [pair(timer, overrun), value, 0, 0])
    }

    /// A fault at `address` with code `SEGV_*`, `BUS_*`, `FPE_*`, `ILL_*` or `TRAP_*`.
    pub const fn from_fault(signal: Signal, code: i32, address: u64) -> SignalInfo {
        SignalInfo::new(signal, code, [address, 0, 0, 0])
    }

    /// A child that changed its state; times in clock ticks.
    pub const fn from_child(code: i32, pid: u32, uid: u32, status: i32, user: u64, system: u64) -> SignalInfo {
        SignalInfo::new(Signal::SIGCHLD, code, [pair(pid, uid), status as u32 as u64, user, system])
    }

    /// A file that became ready (`SIGIO`).
    pub const fn from_file(signal: Signal, code: i32, band: u64, fd: i32) -> SignalInfo {
        SignalInfo::new(signal, code, [band, fd as u32 as u64, 0, 0])
    }

    /// A system call that a filter refused (`SIGSYS`).
    pub const fn from_syscall(code: i32, errno: i32, address: u64, number: u32, architecture: u32) -> SignalInfo {
        let mut info = SignalInfo::new(Signal::SIGSYS, code, [address, pair(number, architecture), 0, 0]);
        info.errno = errno;
        info
    }

    /// The same for another signal (a child's that asked for another exit signal).
    pub const fn renumbered(mut self, signal: Signal) -> SignalInfo {
        self.number = signal.number() as i32;
        self
    }

    /// The same, with the number of intervals that a timer has missed.
    pub const fn with_overrun(mut self, overrun: u32) -> SignalInfo {
        self.payload[0] = pair(self.timer(), overrun);
        self
    }

    /// The signal, if the number is one: programs can write what they like.
    pub const fn signal(&self) -> Option<Signal> {
        Signal::new(self.number as u32)
    }

    /// The 128 bytes that a program sees.
    pub fn to_user(&self) -> [u8; USER_SIZE] {
        let mut bytes = [0; USER_SIZE];
        let (head, _) = bytes.split_at_mut(size_of::<SignalInfo>());
        head.copy_from_slice(self.as_bytes());
        bytes
    }

    /// What a program wrote; what lies behind the used part is dropped.
    pub fn from_user(bytes: &[u8; USER_SIZE]) -> SignalInfo {
        // A prefix of 128 bytes always holds 48.
        match SignalInfo::read_from_prefix(bytes) {
            Ok((info, _)) => info,
            Err(_) => SignalInfo::new(Signal::SIGKILL, 0, [0; 4]),
        }
    }

    /// The sender's process.
    pub const fn pid(&self) -> u32 {
        self.payload[0] as u32
    }

    /// The sender's user.
    pub const fn uid(&self) -> u32 {
        (self.payload[0] >> 32) as u32
    }

    /// The timer's number (the same place as the pid).
    pub const fn timer(&self) -> u32 {
        self.pid()
    }

    /// How often the timer has run out since (the same place as the uid).
    pub const fn overrun(&self) -> u32 {
        self.uid()
    }

    /// The value sent along.
    pub const fn value(&self) -> u64 {
        self.payload[1]
    }

    /// The fault's address; the band of a file.
    pub const fn address(&self) -> u64 {
        self.payload[0]
    }

    /// The child's status; a file's number.
    pub const fn status(&self) -> i32 {
        self.payload[1] as i32
    }

    /// The child's user and system time.
    pub const fn times(&self) -> (u64, u64) {
        (self.payload[2], self.payload[3])
    }

    /// Whether the CPU or the kernel made it because of what the program did.
    pub const fn is_fault(&self) -> bool {
        self.code > 0 && self.code != linux::SI_KERNEL as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_linux_has_them() {
        let bytes = SignalInfo::from_process(Signal::SIGUSR1, linux::SI_USER as i32, 7, 1000).to_user();
        assert_eq!(bytes[0..4], 10i32.to_le_bytes());
        assert_eq!(bytes[16..20], 7u32.to_le_bytes());
        assert_eq!(bytes[20..24], 1000u32.to_le_bytes());
        let bytes = SignalInfo::from_child(1, 42, 0, 3, 5, 6).to_user();
        assert_eq!(bytes[24..28], 3i32.to_le_bytes());
        assert_eq!(bytes[32..40], 5u64.to_le_bytes());
        assert_eq!(bytes[40..48], 6u64.to_le_bytes());
        let bytes = SignalInfo::from_fault(Signal::SIGSEGV, 1, 0xdead_beef).to_user();
        assert_eq!(bytes[16..24], 0xdead_beefu64.to_le_bytes());
    }

    #[test]
    fn what_a_program_writes_comes_back() {
        let info = SignalInfo::with_value(Signal::SIGUSR2, linux::SI_QUEUE, 1, 2, 0x1234_5678_9abc);
        assert_eq!(SignalInfo::from_user(&info.to_user()), info);
        assert_eq!(SignalInfo::from_user(&[0xff; USER_SIZE]).signal(), None);
    }
}
