//! Resource limits: getrlimit(2).
//!
//! One table per process, copied by `fork`. The defaults are those that Linux gives its first process, but for the
//! number of processes and pending signals, which Linux computes from the memory: here they are fixed.

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{Errno, Result};

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// The largest number of open files that a limit may allow (`fs.nr_open`).
pub const MAX_OPEN_FILES: u64 = 1 << 20;

/// How many resources there are.
const COUNT: usize = linux::RLIM_NLIMITS as usize;

/// A limit as programs pass it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limit {
    /// What counts.
    pub soft: u64,
    /// How far a program may raise it.
    pub hard: u64,
}

impl Limit {
    const NONE: Limit = Limit { soft: INFINITY, hard: INFINITY };

    const fn new(soft: u64, hard: u64) -> Limit {
        Limit { soft, hard }
    }
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Resource {
    Cpu = linux::RLIMIT_CPU,
    FileSize = linux::RLIMIT_FSIZE,
    Data = linux::RLIMIT_DATA,
    Stack = linux::RLIMIT_STACK,
    Core = linux::RLIMIT_CORE,
    Rss = linux::RLIMIT_RSS,
    Processes = linux::RLIMIT_NPROC,
    OpenFiles = linux::RLIMIT_NOFILE,
    LockedMemory = linux::RLIMIT_MEMLOCK,
    AddressSpace = linux::RLIMIT_AS,
    Locks = linux::RLIMIT_LOCKS,
    PendingSignals = linux::RLIMIT_SIGPENDING,
    MessageQueues = linux::RLIMIT_MSGQUEUE,
    Nice = linux::RLIMIT_NICE,
    RealTimePriority = linux::RLIMIT_RTPRIO,
    RealTime = linux::RLIMIT_RTTIME,
}

impl Resource {
    /// The resource with Linux' number.
    pub fn from_number(number: u32) -> Result<Resource> {
        use Resource::*;
        const ALL: [Resource; COUNT] = [
            Cpu,
            FileSize,
            Data,
            Stack,
            Core,
            Rss,
            Processes,
            OpenFiles,
            LockedMemory,
            AddressSpace,
            Locks,
            PendingSignals,
            MessageQueues,
            Nice,
            RealTimePriority,
            RealTime,
        ];
        ALL.into_iter().find(|&resource| resource as u32 == number).ok_or(Errno::EINVAL)
    }
}

/// The limits of a process.
#[derive(Clone, Debug)]
pub struct Limits([Limit; COUNT]);

impl Default for Limits {
    fn default() -> Limits {
        let mut limits = Limits([Limit::NONE; COUNT]);
        let defaults = [
            (Resource::Stack, Limit::new(8 << 20, INFINITY)),
            (Resource::Core, Limit::new(0, INFINITY)),
            (Resource::Processes, Limit::new(30_000, 30_000)),
            (Resource::OpenFiles, Limit::new(1024, MAX_OPEN_FILES)),
            (Resource::LockedMemory, Limit::new(8 << 20, 8 << 20)),
            (Resource::PendingSignals, Limit::new(30_000, 30_000)),
            (Resource::MessageQueues, Limit::new(819_200, 819_200)),
            (Resource::Nice, Limit::new(0, 0)),
            (Resource::RealTimePriority, Limit::new(0, 0)),
        ];
        for (resource, limit) in defaults {
            #[allow(clippy::indexing_slicing, reason = "there is a place for every resource")]
            {
                limits.0[resource as usize] = limit;
            }
        }
        limits
    }
}

#[allow(clippy::indexing_slicing, reason = "there is a place for every resource")]
impl Limits {
    /// The limit of `resource`.
    pub fn get(&self, resource: Resource) -> Limit {
        self.0[resource as usize]
    }

    /// What counts for `resource`.
    pub fn soft(&self, resource: Resource) -> u64 {
        self.get(resource).soft
    }

    /// Sets a limit by the rules of setrlimit(2), and returns the old one.
    pub fn set(&mut self, resource: Resource, new: Limit, is_privileged: bool) -> Result<Limit> {
        let old = self.get(resource);
        if new.soft > new.hard {
            return Err(Errno::EINVAL);
        }
        if resource == Resource::OpenFiles && new.hard > MAX_OPEN_FILES {
            return Err(Errno::EPERM);
        }
        if new.hard > old.hard && !is_privileged {
            return Err(Errno::EPERM);
        }
        self.0[resource as usize] = new;
        Ok(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_limits_only_go_down() {
        let mut limits = Limits::default();
        let resource = Resource::OpenFiles;
        assert_eq!(limits.set(resource, Limit::new(10, 20), false), Ok(Limit::new(1024, MAX_OPEN_FILES)));
        assert_eq!(limits.set(resource, Limit::new(10, 21), false), Err(Errno::EPERM));
        assert_eq!(limits.set(resource, Limit::new(21, 20), true), Err(Errno::EINVAL));
        assert_eq!(limits.set(resource, Limit::new(21, 21), true), Ok(Limit::new(10, 20)));
        assert_eq!(limits.set(resource, Limit::new(1, MAX_OPEN_FILES + 1), true), Err(Errno::EPERM));
        assert_eq!(limits.soft(resource), 21);
    }

    #[test]
    fn numbers_are_those_of_linux() {
        assert_eq!(Resource::from_number(3), Ok(Resource::Stack));
        assert_eq!(Resource::from_number(15), Ok(Resource::RealTime));
        assert_eq!(Resource::from_number(16), Err(Errno::EINVAL));
    }
}
