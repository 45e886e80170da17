//! Sorting, for lists that are made for somebody to read: few, short, and never on a hot path.
//!
//! A heap sort, in place and never worse than n log n, whatever a program has made the list of. The sorts of `core` are
//! faster, but each instance of them takes twenty times the code.

/// Sorts `items` so that none `is_before` an earlier one. Of two that are equal either comes first.
pub fn sort_by<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root, &is_before);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift_down(&mut items[..end], 0, &is_before);
    }
}

/// Lets the item at `root` sink in a heap with its last item on top, if all below `root` is in order.
fn sift_down<T>(items: &mut [T], mut root: usize, is_before: &impl Fn(&T, &T) -> bool) {
    loop {
        let mut child = 2 * root + 1;
        if child + 1 < items.len() && is_before(&items[child], &items[child + 1]) {
            child += 1;
        }
        if child >= items.len() || !is_before(&items[root], &items[child]) {
            return;
        }
        items.swap(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_core_does(mut items in prop::collection::vec(0u16..300, 0..200)) {
            let mut model = items.clone();
            model.sort_unstable();
            sort_by(&mut items, |a, b| a < b);
            prop_assert_eq!(items, model);
        }
    }
}
