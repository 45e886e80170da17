//! How much of what is limited per user each user has: bytes of message queues (RLIMIT_MSGQUEUE), inotify instances and
//! watches.

use crate::errno::{Errno, Result};
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// One kind of thing that is counted.
pub struct Account(SpinLock<SortedMap<u32, u64>>);

impl Account {
    /// An account with nothing on it.
    #[allow(clippy::new_without_default, reason = "accounts are statics")]
    pub const fn new() -> Account {
        Account(SpinLock::new(SortedMap::new()))
    }

    /// Counts `amount` for the user `uid`; `refusal` if that were more than `limit` with what is counted already.
    pub fn charge(&'static self, uid: u32, amount: u64, limit: u64, refusal: Errno) -> Result<Charge> {
        let mut users = self.0.lock();
        let used = users.get_or_insert_with(uid, || 0);
        *used = used.checked_add(amount).filter(|&sum| sum <= limit).ok_or(refusal)?;
        Ok(Charge { account: self, uid, amount })
    }
}

/// What one object counts for, given back when it goes.
pub struct Charge {
    account: &'static Account,
    uid: u32,
    amount: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(used) = self.account.0.lock().get_mut(&self.uid) {
            *used -= self.amount;
        }
    }
}
