//! Who maps an object, so that pages can be taken away from it.

/// The address spaces that map an object.
#[derive(Default)]
pub struct Mappers;

impl Mappers {
    /// Nobody.
    pub const fn new() -> Mappers {
        Mappers
    }

    /// Takes the pages from `first` up to `end` out of every mapping of the object, so that the next access faults.
    pub fn unmap(&self, _first: u64, _end: u64) {}
}
