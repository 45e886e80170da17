//! RLIMIT_MSGQUEUE: how much of the kernel's memory the queues of each user may take.

use crate::errno::{Errno, Result};
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

static BYTES: SpinLock<SortedMap<u32, u64>> = SpinLock::new(SortedMap::new());

/// What one queue counts for, given back when it goes.
pub struct Charge {
    uid: u32,
    bytes: u64,
}

impl Charge {
    /// Counts `bytes` for the user `uid`; EMFILE if that were more than `limit` with what is counted already.
    pub fn take(uid: u32, bytes: u64, limit: u64) -> Result<Charge> {
        let mut users = BYTES.lock();
        let used = users.get_or_insert_with(uid, || 0);
        let sum = used.checked_add(bytes).filter(|&sum| sum <= limit).ok_or(Errno::EMFILE)?;
        *used = sum;
        Ok(Charge { uid, bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut users = BYTES.lock();
        if let Some(used) = users.get_mut(&self.uid) {
            *used -= self.bytes;
            if *used == 0 {
                users.remove(&self.uid);
            }
        }
    }
}
