//! What a mapping can show: the pages of a file.

/// Where the pages of a mapped object come from.
pub trait PageSource: Send + Sync {
    /// Size of the object in bytes.
    fn size(&self) -> u64;
}
