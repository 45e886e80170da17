//! signalfd: pending signals as something to read. Source: signalfd(2).
//!
//! The file has a set of signals and nothing else: reading takes them from the queues of whoever reads, where they
//! wait as long as the program blocks them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general;
use zerocopy::{Immutable, IntoBytes};

use super::{PollEvents, Pollee};
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::fs::{File, IoFlags, SeekFrom};
use crate::mem::user::Dest;
use crate::process::signal::{Signal, SignalInfo, SignalSet, mask};
use crate::process::{Process, current_process};

/// `struct signalfd_siginfo`.
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct Record {
    number: u32,
    errno: i32,
    code: i32,
    pid: u32,
    uid: u32,
    fd: i32,
    timer: u32,
    band: u32,
    overrun: u32,
    trap: u32,
    status: i32,
    int: i32,
    pointer: u64,
    user_time: u64,
    system_time: u64,
    address: u64,
    address_lsb: u16,
    padding: u16,
    syscall: i32,
    call_address: u64,
    architecture: u32,
    rest: [u32; 7],
}

const _: () = assert!(size_of::<Record>() == 128);

impl Record {
    /// Translates what came with a signal; which fields mean something depends on signal and code.
    fn new(signal: Signal, info: &SignalInfo) -> Record {
        let record = Record { number: signal.number(), errno: info.errno, code: info.code, ..Record::default() };
        if info.code == general::SI_TIMER {
            return Record { timer: info.timer(), overrun: info.overrun(), ..record.with_value(info.value()) };
        }
        if info.code <= 0 {
            return Record { pid: info.pid(), uid: info.uid(), ..record.with_value(info.value()) };
        }
        match signal {
            Signal::SIGCHLD => {
                let (user_time, system_time) = info.times();
                let (pid, uid, status) = (info.pid(), info.uid(), info.status());
                Record { pid, uid, status, user_time, system_time, ..record }
            }
            _ if info.is_fault() => Record { address: info.address(), ..record },
            _ => Record { pid: info.pid(), uid: info.uid(), ..record },
        }
    }

    fn with_value(self, value: u64) -> Record {
        Record { pointer: value, int: value as i32, ..self }
    }
}

/// The file of a signalfd.
pub struct SignalFd {
    set: AtomicU64,
    /// The process that made it: its signals are what watchers are told of.
    process: Arc<Process>,
}

impl SignalFd {
    /// A file for the signals of `set`; SIGKILL and SIGSTOP are left out.
    pub fn new(set: SignalSet) -> Arc<SignalFd> {
        Arc::new(SignalFd { set: AtomicU64::new(set.blockable().0), process: current_process().clone() })
    }

    /// Changes the set.
    pub fn set_signals(&self, set: SignalSet) {
        self.set.store(set.blockable().0, Ordering::SeqCst);
        self.process.signal_events().notify(PollEvents::POLLIN);
    }

    fn signals(&self) -> SignalSet {
        SignalSet(self.set.load(Ordering::SeqCst))
    }

    /// Takes one signal, waiting for it unless `flags` forbid.
    fn take(&self, flags: IoFlags) -> Result<(Signal, SignalInfo)> {
        loop {
            if let Some(taken) = mask::take(self.signals()) {
                return Ok(taken);
            }
            if flags.contains(IoFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            let is_pending = || mask::is_pending(self.signals()).then_some(());
            current_process().signal_events().wait_interruptible(None, is_pending)?;
        }
    }
}

impl File for SignalFd {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        if dst.remaining() < size_of::<Record>() {
            return Err(Errno::EINVAL);
        }
        let (signal, info) = self.take(flags)?;
        let mut count = dst.push(Record::new(signal, &info).as_bytes())?;
        while dst.remaining() >= size_of::<Record>() {
            let Ok((signal, info)) = self.take(IoFlags::NONBLOCK) else { break };
            count += dst.push(Record::new(signal, &info).as_bytes())?;
        }
        Ok(count)
    }

    fn readiness(&self) -> PollEvents {
        if mask::is_pending(self.signals()) { PollEvents::POLLIN } else { PollEvents::empty() }
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(self.process.signal_events())
    }

    fn seek(&self, _from: SeekFrom, current: u64) -> Result<u64> {
        Ok(current)
    }

    fn describe(&self, out: &mut Text) {
        writeln!(out, "sigmask:\t{:016x}", self.signals().0);
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[signalfd]");
    }
}
