//! [`InodeTable`]: the inodes of a file system that are in use, so that there are never two of the same file.
//!
//! The table keeps no inode alive, and never drops one while it is locked, since an inode that goes takes its entry out.

use alloc::sync::{Arc, Weak};

use hashbrown::HashTable;

use crate::sync::SpinLock;

/// What a file system finds its inodes by.
pub trait Key: Copy + Eq {
    /// A number that few others have. All its bits count.
    fn hash(&self) -> u64;
}

impl Key for u64 {
    fn hash(&self) -> u64 {
        spread(*self)
    }
}

/// Makes neighbours differ in their lowest and in their highest bits.
pub fn spread(number: u64) -> u64 {
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// Inodes by their keys.
pub struct InodeTable<K, T>(SpinLock<HashTable<(K, Weak<T>)>>);

impl<K: Key, T> InodeTable<K, T> {
    /// An empty table.
    pub const fn new() -> Self {
        InodeTable(SpinLock::new(HashTable::new()))
    }

    /// The inode of `key`, if it is in use.
    pub fn get(&self, key: K) -> Option<Arc<T>> {
        self.0.lock().find(key.hash(), |(other, _)| *other == key)?.1.upgrade()
    }

    /// Enters `inode`, in the place of the one that `key` had.
    pub fn insert(&self, key: K, inode: &Arc<T>) {
        set(&mut self.0.lock(), key, Arc::downgrade(inode));
    }

    /// Enters `inode`, unless there is one of `key` by now. The one that is to be used.
    pub fn insert_or_get(&self, key: K, inode: Arc<T>) -> Arc<T> {
        let mut table = self.0.lock();
        let present = table.find(key.hash(), |(other, _)| *other == key).and_then(|(_, inode)| inode.upgrade());
        if present.is_none() {
            set(&mut table, key, Arc::downgrade(&inode));
        }
        drop(table);
        present.unwrap_or(inode)
    }

    /// The inode of `key` is gone; a new one of the same file may have its place already.
    pub fn forget(&self, key: K) {
        let mut table = self.0.lock();
        let is_dead = |(other, inode): &(K, Weak<T>)| *other == key && inode.strong_count() == 0;
        if let Ok(entry) = table.find_entry(key.hash(), is_dead) {
            entry.remove();
        }
    }
}

fn set<K: Key, T>(table: &mut HashTable<(K, Weak<T>)>, key: K, inode: Weak<T>) {
    match table.find_mut(key.hash(), |(other, _)| *other == key) {
        Some((_, place)) => *place = inode,
        None => {
            table.insert_unique(key.hash(), (key, inode), |(key, _)| key.hash());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_inode_for_each_key() {
        let table = InodeTable::<u64, u32>::new();
        let (first, second) = (Arc::new(1), Arc::new(2));
        assert!(Arc::ptr_eq(&table.insert_or_get(7, first.clone()), &first));
        assert!(Arc::ptr_eq(&table.insert_or_get(7, second.clone()), &first));
        table.forget(7);
        assert!(table.get(7).is_some_and(|inode| Arc::ptr_eq(&inode, &first)), "it is in use");
        drop(first);
        assert!(table.get(7).is_none());
        table.insert(7, &second);
        assert!(table.get(7).is_some_and(|inode| Arc::ptr_eq(&inode, &second)));
        drop(second);
        table.forget(7);
        assert_eq!(table.0.lock().len(), 0);
    }
}
