//! Keys and ids: how a family's objects are found.
//!
//! An id is a place in the table and above it a sequence number, which grows whenever the search for a free place
//! begins anew: so an id that was given up is not another object's soon. Places are handed out in turn, as on Linux,
//! whose numbers these are.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::permissions::Header;
use super::{PRIVATE, flags};
use crate::errno::{Errno, Result};
use crate::process::Credentials;
use crate::sorted_map::SortedMap;
use crate::sync::SpinLock;

/// Bits of an id that are the place.
pub const SEQUENCE_SHIFT: u32 = 15;
/// Sequence numbers start anew after this one.
const MAX_SEQUENCE: u32 = i32::MAX as u32 >> SEQUENCE_SHIFT;
/// So many places are gone through before the first is used again.
const MIN_CYCLE: usize = 64;

/// What a table holds.
pub trait Object: Send + Sync {
    /// Its id and owners.
    fn header(&self) -> &Header;
}

/// The objects of one family.
pub struct Table<T> {
    places: SpinLock<Places<T>>,
}

struct Places<T> {
    objects: Vec<Option<Arc<T>>>,
    keys: SortedMap<i32, usize>,
    count: usize,
    next: usize,
    last: Option<usize>,
    sequence: u32,
    /// The id that the next object is to have.
    wanted: Option<i32>,
}

impl<T: Object> Table<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Table {
            places: SpinLock::new(Places {
                objects: Vec::new(),
                keys: SortedMap::new(),
                count: 0,
                next: 0,
                last: None,
                sequence: 0,
                wanted: None,
            }),
        }
    }

    /// What `shmget` and its like do: the id of the object with `key`, made if there is none and the flags say so. `check` looks
    /// at one that was found; `make` makes one. ENOSPC if there are `limit` objects already.
    pub fn get(
        &self,
        key: i32,
        wanted: u32,
        limit: u64,
        credentials: &Credentials,
        make: impl FnOnce() -> Result<Arc<T>>,
        check: impl FnOnce(&T) -> Result<()>,
    ) -> Result<i32> {
        if key == PRIVATE {
            let object = make()?;
            return self.places.lock().insert(None, &object, limit);
        }
        let found = self.places.lock().find_key(key);
        let Some(found) = found else {
            if wanted & flags::CREATE == 0 {
                return Err(Errno::ENOENT);
            }
            let object = make()?;
            let mut places = self.places.lock();
            // Somebody may have been faster.
            return match places.find_key(key) {
                None => places.insert(Some(key), &object, limit),
                Some(found) => {
                    drop(places);
                    accept(&found, wanted, credentials, check)
                }
            };
        };
        accept(&found, wanted, credentials, check)
    }

    /// The id that the next object is to have, if somebody has asked for one: what checkpoints are restored by.
    pub fn wanted_id(&self) -> Option<i32> {
        self.places.lock().wanted
    }

    /// Asks for the id of the next object. If its place is taken, the next free one serves.
    pub fn want_id(&self, id: i32) -> Result<()> {
        place_of(id)?;
        self.places.lock().wanted = Some(id);
        Ok(())
    }

    /// The object with this id (EINVAL).
    pub fn find(&self, id: i32) -> Result<Arc<T>> {
        let place = place_of(id)?;
        let found = self.places.lock().objects.get(place).cloned().flatten();
        found.filter(|object| object.header().id() == id).ok_or(Errno::EINVAL)
    }

    /// The object in this place (EINVAL): what `SHM_STAT` and its like ask by.
    pub fn at(&self, place: i32) -> Result<Arc<T>> {
        let place = usize::try_from(place).map_err(|_| Errno::EINVAL)?;
        self.places.lock().objects.get(place).cloned().flatten().ok_or(Errno::EINVAL)
    }

    /// Takes the object out; nobody finds it any more, and who waits for it is to be told. False if somebody was faster.
    pub fn remove(&self, object: &T) -> bool {
        let removed = self.places.lock().remove(object);
        if removed.is_some() {
            object.header().mark_removed();
        }
        removed.is_some()
    }

    /// Only its id leads to the object from now on.
    pub fn forget_key(&self, object: &T) {
        let mut places = self.places.lock();
        places.forget_key(object);
        object.header().change(|permissions| permissions.key = PRIVATE);
    }

    /// All objects, in the order of their places.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.places.lock().objects.iter().flatten().cloned().collect()
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.places.lock().count
    }

    /// The highest place in use; 0 if there is none.
    pub fn highest_place(&self) -> usize {
        self.places.lock().objects.iter().rposition(Option::is_some).unwrap_or(0)
    }
}

impl<T: Object> Default for Table<T> {
    fn default() -> Self {
        Table::new()
    }
}

fn accept<T: Object>(
    found: &Arc<T>,
    wanted: u32,
    credentials: &Credentials,
    check: impl FnOnce(&T) -> Result<()>,
) -> Result<i32> {
    let both = flags::CREATE | flags::EXCLUSIVE;
    if wanted & both == both {
        return Err(Errno::EEXIST);
    }
    check(found)?;
    found.header().check(credentials, wanted)?;
    Ok(found.header().id())
}

fn place_of(id: i32) -> Result<usize> {
    let id = u32::try_from(id).map_err(|_| Errno::EINVAL)?;
    Ok((id & ((1 << SEQUENCE_SHIFT) - 1)) as usize)
}

impl<T: Object> Places<T> {
    fn find_key(&self, key: i32) -> Option<Arc<T>> {
        self.objects.get(*self.keys.get(&key)?)?.clone()
    }

    fn insert(&mut self, key: Option<i32>, object: &Arc<T>, limit: u64) -> Result<i32> {
        if self.count as u64 >= limit {
            return Err(Errno::ENOSPC);
        }
        let wanted = self.wanted.take();
        let place = match wanted {
            Some(id) => self.free_place_from(place_of(id)?),
            None => self.free_place(),
        };
        let place = place.ok_or(Errno::ENOSPC)?;
        if place >= self.objects.len() {
            self.objects.try_reserve(place + 1 - self.objects.len()).map_err(|_| Errno::ENOMEM)?;
            self.objects.resize_with(place + 1, || None);
        }
        let sequence = match wanted {
            Some(id) => id as u32 >> SEQUENCE_SHIFT,
            None => self.next_sequence(place),
        };
        let id = (sequence << SEQUENCE_SHIFT | place as u32) as i32;
        object.header().set_id(id);
        self.objects[place] = Some(Arc::clone(object));
        if let Some(key) = key {
            self.keys.insert(key, place);
        }
        self.count += 1;
        if wanted.is_none() {
            (self.next, self.last) = (place + 1, Some(place));
        }
        Ok(id)
    }

    /// The sequence number of what comes to `place` in turn.
    fn next_sequence(&mut self, place: usize) -> u32 {
        if self.last.is_some_and(|last| place <= last) {
            self.sequence = if self.sequence < MAX_SEQUENCE { self.sequence + 1 } else { 0 };
        }
        self.sequence
    }

    /// The next free place, in turn.
    fn free_place(&self) -> Option<usize> {
        let cycle = (self.count + self.count / 2).clamp(MIN_CYCLE, 1 << SEQUENCE_SHIFT);
        let next = self.next.min(cycle);
        (next..cycle).chain(0..next).find(|&place| self.is_free(place))
    }

    /// The first free place from `first` on.
    fn free_place_from(&self, first: usize) -> Option<usize> {
        (first..1 << SEQUENCE_SHIFT).find(|&place| self.is_free(place))
    }

    fn is_free(&self, place: usize) -> bool {
        self.objects.get(place).is_none_or(Option::is_none)
    }

    fn remove(&mut self, object: &T) -> Option<Arc<T>> {
        let place = place_of(object.header().id()).ok()?;
        let slot = self.objects.get_mut(place)?;
        let removed = slot.take_if(|found| core::ptr::eq(Arc::as_ptr(found), object))?;
        self.count -= 1;
        self.forget_key(object);
        Some(removed)
    }

    fn forget_key(&mut self, object: &T) {
        let key = object.header().permissions().key;
        if key != PRIVATE && self.keys.get(&key).copied() == place_of(object.header().id()).ok() {
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::Permissions;

    struct Thing(Header);

    impl Object for Thing {
        fn header(&self) -> &Header {
            &self.0
        }
    }

    fn get(table: &Table<Thing>, key: i32, wanted: u32) -> Result<i32> {
        let root = Credentials::root();
        let make = || Ok(Arc::new(Thing(Header::new(Permissions::new(key, wanted, &root)))));
        table.get(key, wanted, 1000, &root, make, |_| Ok(()))
    }

    #[test]
    fn keys_lead_to_ids() {
        let table = Table::new();
        assert_eq!(get(&table, 5, 0), Err(Errno::ENOENT));
        assert_eq!(get(&table, 5, flags::CREATE), Ok(0));
        assert_eq!(get(&table, 5, 0), Ok(0));
        assert_eq!(get(&table, 5, flags::CREATE | flags::EXCLUSIVE), Err(Errno::EEXIST));
        assert_eq!(get(&table, PRIVATE, 0), Ok(1));
        assert_eq!(get(&table, PRIVATE, 0), Ok(2));
        table.forget_key(&table.find(0).unwrap());
        assert_eq!(get(&table, 5, 0), Err(Errno::ENOENT));
        assert!(table.find(0).is_ok());
    }

    #[test]
    fn ids_are_not_used_again_soon() {
        let table = Table::new();
        let first = get(&table, PRIVATE, 0).unwrap();
        let object = table.find(first).unwrap();
        assert!(table.remove(&object) && !table.remove(&object) && object.header().is_removed());
        assert_eq!(table.find(first).err(), Some(Errno::EINVAL));
        for place in 1..64 {
            let id = get(&table, PRIVATE, 0).unwrap();
            assert_eq!(id, place);
            table.remove(&table.find(id).unwrap());
        }
        // The second round has another sequence number.
        assert_eq!(get(&table, PRIVATE, 0), Ok(1 << SEQUENCE_SHIFT));
        assert_eq!(table.at(0).unwrap().header().sequence(), 1);
        assert_eq!((table.count(), table.highest_place()), (1, 0));
    }

    #[test]
    fn ids_can_be_asked_for() {
        let table = Table::new();
        let wanted = 7 << SEQUENCE_SHIFT | 3;
        table.want_id(wanted).unwrap();
        assert_eq!(get(&table, PRIVATE, 0), Ok(wanted));
        assert_eq!((table.wanted_id(), get(&table, PRIVATE, 0)), (None, Ok(0)));
        table.want_id(wanted).unwrap();
        assert_eq!(get(&table, PRIVATE, 0), Ok(wanted + 1));
        assert_eq!(table.want_id(-1), Err(Errno::EINVAL));
    }

    #[test]
    fn numbers_that_are_no_ids_are_refused() {
        let table = Table::<Thing>::new();
        for id in [-1, 0, 77, i32::MAX, i32::MIN] {
            assert_eq!(table.find(id).err(), Some(Errno::EINVAL));
            assert_eq!(table.at(id).err(), Some(Errno::EINVAL));
        }
    }
}
