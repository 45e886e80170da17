//! The index of a page cache: a radix tree of 64-way nodes, with the pages' tags beside them.

use alloc::boxed::Box;

use crate::mem::frame::Frame;

const BITS: u32 = 6;
const FAN: usize = 1 << BITS;

/// 64 pages: their frames, and for each a bit whether it is changed and whether it was used lately.
struct Leaf {
    frames: [Option<Frame>; FAN],
    present: u64,
    dirty: u64,
    used: u64,
}

enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

struct Inner {
    children: [Option<Node>; FAN],
    count: usize,
}

/// Frames by page number.
pub struct Tree {
    root: Option<Node>,
    /// Levels of inner nodes above the leaves.
    height: u32,
    len: usize,
    /// Where eviction goes on.
    hand: u64,
}

impl Leaf {
    fn new() -> Box<Leaf> {
        Box::new(Leaf { frames: [const { None }; FAN], present: 0, dirty: 0, used: 0 })
    }
}

impl Node {
    fn inner() -> Node {
        Node::Inner(Box::new(Inner { children: [const { None }; FAN], count: 0 }))
    }
}

const fn bit(index: u64) -> u64 {
    1 << (index % FAN as u64)
}

impl Tree {
    pub const fn new() -> Tree {
        Tree { root: None, height: 0, len: 0, hand: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether a tree of this height has a place for `index`.
    fn reaches(&self, index: u64) -> bool {
        let bits = BITS * (self.height + 1);
        bits >= u64::BITS || index >> bits == 0
    }

    fn leaf(&self, index: u64) -> Option<&Leaf> {
        if !self.reaches(index) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.height;
        loop {
            match node {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Inner(inner) => {
                    node = inner.children[(index >> (BITS * level)) as usize % FAN].as_ref()?;
                    level = level.wrapping_sub(1);
                }
            }
        }
    }

    fn leaf_mut(&mut self, index: u64) -> Option<&mut Leaf> {
        if !self.reaches(index) {
            return None;
        }
        let mut level = self.height;
        let mut node = self.root.as_mut()?;
        loop {
            match node {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Inner(inner) => {
                    node = inner.children[(index >> (BITS * level)) as usize % FAN].as_mut()?;
                    level = level.wrapping_sub(1);
                }
            }
        }
    }

    fn leaf_or_new(&mut self, index: u64) -> &mut Leaf {
        while !self.reaches(index) {
            if let Some(old) = self.root.take() {
                let mut inner = Inner { children: [const { None }; FAN], count: 1 };
                inner.children[0] = Some(old);
                self.root = Some(Node::Inner(Box::new(inner)));
            }
            self.height += 1;
        }
        let mut level = self.height;
        let fresh = |level| if level == 0 { Node::Leaf(Leaf::new()) } else { Node::inner() };
        let mut node = self.root.get_or_insert_with(|| fresh(level));
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) => {
                    let child = &mut inner.children[(index >> (BITS * level)) as usize % FAN];
                    level = level.wrapping_sub(1);
                    if child.is_none() {
                        inner.count += 1;
                    }
                    node = child.get_or_insert_with(|| fresh(level));
                }
            }
        }
    }

    /// The frame of page `index`, which counts as used.
    #[inline]
    pub fn get(&mut self, index: u64) -> Option<Frame> {
        let leaf = self.leaf_mut(index)?;
        let frame = leaf.frames[index as usize % FAN].clone()?;
        leaf.used |= bit(index);
        Some(frame)
    }

    /// Calls `found` for the pages from `first` up to `end` that are there, which count as used.
    #[inline]
    pub fn for_run(&mut self, first: u64, end: u64, found: &mut dyn FnMut(u64, Frame)) {
        let mut at = first;
        while at < end {
            let base = at & !(FAN as u64 - 1);
            let stop = end.min(base.saturating_add(FAN as u64));
            if let Some(leaf) = self.leaf_mut(at) {
                let below = if stop - base == FAN as u64 { u64::MAX } else { bit(stop) - 1 };
                let mut wanted = leaf.present & below & (u64::MAX << (at - base));
                leaf.used |= wanted;
                while wanted != 0 {
                    let number = wanted.trailing_zeros();
                    wanted &= wanted - 1;
                    if let Some(frame) = leaf.frames.get(number as usize).and_then(Option::as_ref) {
                        found(base + u64::from(number), frame.clone());
                    }
                }
            }
            at = stop;
        }
    }

    pub fn contains(&self, index: u64) -> bool {
        self.leaf(index).is_some_and(|leaf| leaf.present & bit(index) != 0)
    }

    /// Makes `frame` page `index`, where none is.
    pub fn insert(&mut self, index: u64, frame: Frame) {
        let leaf = self.leaf_or_new(index);
        leaf.present |= bit(index);
        leaf.used |= bit(index);
        if leaf.frames[index as usize % FAN].replace(frame).is_none() {
            self.len += 1;
        }
    }

    pub fn set_dirty(&mut self, index: u64) {
        if let Some(leaf) = self.leaf_mut(index) {
            leaf.dirty |= bit(index) & leaf.present;
        }
    }

    pub fn clear_dirty(&mut self, index: u64) {
        if let Some(leaf) = self.leaf_mut(index) {
            leaf.dirty &= !bit(index);
        }
    }

    pub fn is_sole_owner(&self, index: u64) -> bool {
        let frame = self.leaf(index).and_then(|leaf| leaf.frames[index as usize % FAN].as_ref());
        frame.is_some_and(Frame::is_sole_owner)
    }

    /// The first changed page from `first` up to `end`.
    pub fn next_dirty(&self, first: u64, end: u64) -> Option<u64> {
        self.next_tagged(first, |leaf| leaf.dirty).filter(|&index| index < end)
    }

    /// The first page from `first` on.
    pub fn next_present(&self, first: u64) -> Option<u64> {
        self.next_tagged(first, |leaf| leaf.present)
    }

    fn next_tagged(&self, first: u64, tags: impl Fn(&Leaf) -> u64 + Copy) -> Option<u64> {
        if !self.reaches(first) {
            return None;
        }
        next_in(self.root.as_ref()?, self.height, 0, first, tags)
    }

    /// Drops pages from `first` up to `end`, `most` of them or a few more: how many.
    pub fn remove(&mut self, first: u64, end: u64, most: usize) -> usize {
        if !self.reaches(first) || first >= end {
            return 0;
        }
        let Some(root) = self.root.as_mut() else { return 0 };
        let mut removed = 0;
        let is_empty = remove_in(root, self.height, 0, (first, end), most, &mut removed);
        if is_empty {
            self.root = None;
            self.height = 0;
        }
        self.len -= removed;
        removed
    }

    /// Drops up to `most` clean pages that only the cache has; with `spare_used` those that were used since the last
    /// time get a second chance. Goes round the file from where it stopped.
    pub fn evict(&mut self, most: usize, spare_used: bool) -> usize {
        let mut evicted = 0;
        let mut at = self.hand;
        let mut has_wrapped = false;
        while evicted < most {
            let Some(index) = self.next_present(at) else {
                if has_wrapped || self.hand == 0 {
                    at = 0;
                    break;
                }
                has_wrapped = true;
                at = 0;
                continue;
            };
            if has_wrapped && index >= self.hand {
                break;
            }
            at = (index | (FAN as u64 - 1)).wrapping_add(1);
            evicted += self.evict_leaf(index, most - evicted, spare_used);
            if at == 0 {
                break;
            }
        }
        self.hand = at;
        self.len -= evicted;
        evicted
    }

    fn evict_leaf(&mut self, index: u64, most: usize, spare_used: bool) -> usize {
        let Some(leaf) = self.leaf_mut(index) else { return 0 };
        let mut evicted = 0;
        for (number, slot) in leaf.frames.iter_mut().enumerate() {
            if evicted == most {
                break;
            }
            let mask = 1 << number;
            let is_spared = (leaf.dirty | if spare_used { leaf.used } else { 0 }) & mask != 0;
            leaf.used &= !mask;
            if !is_spared && slot.as_ref().is_some_and(Frame::is_sole_owner) {
                *slot = None;
                leaf.present &= !mask;
                evicted += 1;
            }
        }
        evicted
    }
}

fn next_in(node: &Node, level: u32, base: u64, first: u64, tags: impl Fn(&Leaf) -> u64 + Copy) -> Option<u64> {
    match node {
        Node::Leaf(leaf) => {
            let skip = first.saturating_sub(base);
            let tagged = if skip < FAN as u64 { tags(leaf) & (u64::MAX << skip) } else { 0 };
            (tagged != 0).then(|| base + u64::from(tagged.trailing_zeros()))
        }
        Node::Inner(inner) => {
            let shift = BITS * level;
            let start = (first.saturating_sub(base) >> shift).min(FAN as u64) as usize;
            inner.children.iter().enumerate().skip(start).find_map(|(number, child)| {
                next_in(child.as_ref()?, level - 1, base + ((number as u64) << shift), first, tags)
            })
        }
    }
}

/// Removes pages of `node`, which starts at `base`; whether it is empty then.
fn remove_in(node: &mut Node, level: u32, base: u64, range: (u64, u64), most: usize, removed: &mut usize) -> bool {
    match node {
        Node::Leaf(leaf) => {
            let from = range.0.saturating_sub(base).min(FAN as u64) as usize;
            let to = range.1.saturating_sub(base).min(FAN as u64) as usize;
            for number in from..to {
                if leaf.frames[number].take().is_some() {
                    *removed += 1;
                }
                let keep = !(1u64 << number);
                leaf.present &= keep;
                leaf.dirty &= keep;
                leaf.used &= keep;
            }
            leaf.present == 0
        }
        Node::Inner(inner) => {
            let shift = BITS * level;
            let start = (range.0.saturating_sub(base) >> shift).min(FAN as u64) as usize;
            for number in start..FAN {
                let from = base + ((number as u64) << shift);
                if from >= range.1 || *removed >= most {
                    break;
                }
                let Some(child) = inner.children[number].as_mut() else { continue };
                if remove_in(child, level - 1, from, range, most, removed) {
                    inner.children[number] = None;
                    inner.count -= 1;
                }
            }
            inner.count == 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_pages_are_found() {
        let mut tree = Tree::new();
        let indices = [0, 1, 63, 64, 4096, 1 << 20, 1 << 40, u64::MAX - 1];
        for index in indices {
            tree.insert(index, Frame::alloc_uninit().unwrap());
        }
        assert_eq!(tree.len(), indices.len());
        assert!(indices.iter().all(|&index| tree.contains(index)));
        assert!(!tree.contains(2) && tree.get(1 << 41).is_none());
        let mut at = 0;
        let mut seen = Vec::new();
        while let Some(index) = tree.next_present(at) {
            seen.push(index);
            at = index + 1;
        }
        assert_eq!(seen, indices);
        assert_eq!(tree.remove(2, u64::MAX, usize::MAX), 6);
        assert_eq!(tree.len(), 2);
        assert_eq!(tree.remove(0, u64::MAX, usize::MAX), 2);
        assert!(tree.root.is_none());
    }

    #[test]
    fn used_pages_get_a_second_chance() {
        let mut tree = Tree::new();
        for index in 0..200 {
            tree.insert(index, Frame::alloc_uninit().unwrap());
        }
        assert_eq!(tree.evict(1000, true), 0);
        tree.get(7);
        tree.set_dirty(9);
        assert_eq!(tree.evict(1000, true), 198);
        assert!(tree.contains(7) && tree.contains(9));
        assert_eq!(tree.evict(1000, true), 1);
        assert!(tree.contains(9));
    }
}
