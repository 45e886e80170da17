//! Places in the tree.

use alloc::sync::Arc;

use super::Inode;

/// A place in the tree: what working directories, roots and open files hold.
#[derive(Clone)]
pub struct PathRef {
    inode: Arc<dyn Inode>,
}

impl PathRef {
    /// The inode at this place.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }
}
