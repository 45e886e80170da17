//! Who maps an object, so that pages can be taken away from it.

/// The address spaces that map an object.
#[derive(Default)]
pub struct Mappers;
