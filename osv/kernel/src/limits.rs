//! The settings in `/proc/sys` that are numbers and have an effect, Linux' defaults to begin with.

use core::sync::atomic::{AtomicU64, Ordering};

/// A limit that root can change.
pub struct Limit {
    value: AtomicU64,
    largest: u64,
}

impl Limit {
    const fn new(value: u64, largest: u64) -> Limit {
        Limit { value: AtomicU64::new(value), largest }
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Changes it; false, and nothing happens, for what is more than it can be.
    pub fn set(&self, value: u64) -> bool {
        let is_possible = value <= self.largest;
        if is_possible {
            self.value.store(value, Ordering::Relaxed);
        }
        is_possible
    }
}

/// The most objects of a family that a table has room for.
pub const MAX_IDS: u64 = 32768;

const ALL_MEMORY: u64 = u64::MAX - (1 << 24);
const INT_MAX: u64 = i32::MAX as u64;

/// `shmmax`: bytes of a segment.
pub static SHM_MAX: Limit = Limit::new(ALL_MEMORY, u64::MAX);
/// `shmall`: pages of all segments.
pub static SHM_ALL: Limit = Limit::new(ALL_MEMORY, u64::MAX);
/// `shmmni`: segments.
pub static SHM_IDS: Limit = Limit::new(4096, MAX_IDS);
/// The first of `sem`: semaphores of a set.
pub static SEM_PER_SET: Limit = Limit::new(32000, 1 << 16);
/// The second of `sem`: semaphores of all sets.
pub static SEM_ALL: Limit = Limit::new(1_024_000_000, INT_MAX);
/// The third of `sem`: operations of a call.
pub static SEM_OPERATIONS: Limit = Limit::new(500, 1 << 12);
/// The fourth of `sem`: sets.
pub static SEM_IDS: Limit = Limit::new(32000, MAX_IDS);
/// `msgmax`: bytes of a message.
pub static MSG_MAX: Limit = Limit::new(8192, 1 << 20);
/// `msgmni`: queues.
pub static MSG_IDS: Limit = Limit::new(32000, MAX_IDS);
/// `msgmnb`: bytes of a queue.
pub static MSG_BYTES: Limit = Limit::new(16384, INT_MAX);

/// `msg_max`: messages of a POSIX queue, for who has no privilege.
pub static MQ_MESSAGES: Limit = Limit::new(10, 65536);
/// `msg_default`: messages of a queue for which nothing was asked.
pub static MQ_MESSAGES_DEFAULT: Limit = Limit::new(10, 65536);
/// `msgsize_max`: bytes of its messages.
pub static MQ_SIZE: Limit = Limit::new(8192, 16 << 20);
/// `msgsize_default`: bytes of the messages of a queue for which nothing was asked.
pub static MQ_SIZE_DEFAULT: Limit = Limit::new(8192, 16 << 20);
/// `queues_max`: queues.
pub static MQ_QUEUES: Limit = Limit::new(256, INT_MAX);

/// `max_queued_events`: events that an inotify instance keeps.
pub static INOTIFY_EVENTS: Limit = Limit::new(16384, INT_MAX);
/// `max_user_instances`: inotify instances of a user.
pub static INOTIFY_INSTANCES: Limit = Limit::new(128, INT_MAX);
/// `max_user_watches`: watches of all instances of a user.
pub static INOTIFY_WATCHES: Limit = Limit::new(65536, INT_MAX);

/// `pipe-max-size`: bytes that a pipe without privilege can hold.
pub static PIPE_MAX_SIZE: Limit = Limit::new(1 << 20, 1 << 31);

/// `protected_hardlinks`: nobody links to files of others that they could not write.
pub static PROTECTED_HARDLINKS: Limit = Limit::new(1, 1);
/// `protected_symlinks`: nobody follows symlinks of others in sticky directories that all can write.
pub static PROTECTED_SYMLINKS: Limit = Limit::new(1, 1);
/// `protected_fifos`: O_CREAT does not open FIFOs of others in sticky directories that all (1) or the group (2) can write.
pub static PROTECTED_FIFOS: Limit = Limit::new(0, 2);
/// `protected_regular`: as `protected_fifos`, of regular files.
pub static PROTECTED_REGULAR: Limit = Limit::new(0, 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_limits() {
        let limit = Limit::new(10, 20);
        assert!(limit.set(20) && !limit.set(21));
        assert_eq!(limit.get(), 20);
    }
}
