//! A doubly linked list through nodes that live elsewhere: in the stack frames of threads that wait.
//!
//! The list owns nothing and allocates nothing; leaving from the middle is O(1). Its owner puts it under a lock and
//! sees to it that a node stays where it is, alive, while it is linked, and is touched only under the lock.

use core::ptr::{self, NonNull};

/// What a node has to contain.
pub struct Link<T> {
    previous: *mut T,
    next: *mut T,
    is_linked: bool,
}

impl<T> Link<T> {
    pub const fn new() -> Self {
        Link { previous: ptr::null_mut(), next: ptr::null_mut(), is_linked: false }
    }

    /// Whether the node is in a list.
    #[inline(always)]
    pub fn is_linked(&self) -> bool {
        self.is_linked
    }
}

/// A node: it says where its link is.
pub trait Linked: Sized {
    /// The link. Always the same one.
    fn link(&mut self) -> &mut Link<Self>;
}

/// Nodes of type `T`, oldest first.
pub struct List<T> {
    first: *mut T,
    last: *mut T,
}

// SAFETY:
// - the list is nothing but pointers; who dereferences them vouches for the nodes.
unsafe impl<T> Send for List<T> {}

impl<T: Linked> List<T> {
    pub const fn new() -> Self {
        List { first: ptr::null_mut(), last: ptr::null_mut() }
    }

    /// The oldest node.
    #[inline(always)]
    pub fn first(&self) -> Option<NonNull<T>> {
        NonNull::new(self.first)
    }

    /// The node after `node`.
    ///
    /// # Safety
    /// - `node` is linked in this list, and the caller has the list to itself.
    #[inline(always)]
    pub unsafe fn after(&self, mut node: NonNull<T>) -> Option<NonNull<T>> {
        // SAFETY:
        // - the caller vouches for the node.
        NonNull::new(unsafe { node.as_mut() }.link().next)
    }

    /// Adds `node` as the newest.
    ///
    /// # Safety
    /// - `node` is in no list, and stays alive in its place until it is removed;
    /// - the caller has the list and all its nodes to itself.
    #[inline]
    pub unsafe fn push(&mut self, mut node: NonNull<T>) {
        // SAFETY:
        // - the caller vouches for the new node, and did so for the last one.
        unsafe {
            *node.as_mut().link() = Link { previous: self.last, next: ptr::null_mut(), is_linked: true };
            match self.last.as_mut() {
                Some(last) => last.link().next = node.as_ptr(),
                None => self.first = node.as_ptr(),
            }
        }
        self.last = node.as_ptr();
    }

    /// Takes `node` out.
    ///
    /// # Safety
    /// - `node` is linked in this list;
    /// - the caller has the list and all its nodes to itself.
    #[inline]
    pub unsafe fn remove(&mut self, mut node: NonNull<T>) {
        // SAFETY:
        // - the caller vouches for the node, and for its neighbours, which are in the list too.
        unsafe {
            let Link { previous, next, .. } = core::mem::replace(node.as_mut().link(), Link::new());
            match previous.as_mut() {
                Some(previous) => previous.link().next = next,
                None => self.first = next,
            }
            match next.as_mut() {
                Some(next) => next.link().previous = previous,
                None => self.last = previous,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node {
        value: u32,
        link: Link<Node>,
    }

    impl Linked for Node {
        fn link(&mut self) -> &mut Link<Node> {
            &mut self.link
        }
    }

    fn values(list: &List<Node>) -> Vec<u32> {
        // SAFETY: the nodes live in the test's frame, and nobody else has the list.
        let nodes = core::iter::successors(list.first(), |&node| unsafe { list.after(node) });
        // SAFETY: as above.
        nodes.map(|node| unsafe { node.as_ref() }.value).collect()
    }

    #[test]
    fn nodes_come_last_and_leave_from_anywhere() {
        let mut nodes = [1, 2, 3].map(|value| Node { value, link: Link::new() });
        let [a, b, c] = nodes.each_mut().map(NonNull::from);
        let mut list = List::new();
        // SAFETY: the nodes outlive the list, and are in it exactly when removed.
        unsafe {
            for node in [a, b, c] {
                list.push(node);
            }
            assert_eq!(values(&list), [1, 2, 3]);
            list.remove(b);
            assert_eq!(values(&list), [1, 3]);
            list.remove(a);
            list.push(b);
            assert_eq!(values(&list), [3, 2]);
            list.remove(b);
            list.remove(c);
        }
        assert!(list.first().is_none());
    }
}
