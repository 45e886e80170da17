//! A set of CPUs.

use core::sync::atomic::{AtomicU64, Ordering};

/// The most CPUs that the kernel drives.
pub const MAX_CPUS: usize = 64;

/// A set of CPUs, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuMask(pub u64);

impl CpuMask {
    /// Every CPU.
    pub const ALL: CpuMask = CpuMask(u64::MAX);

    /// The one CPU `cpu`.
    pub const fn only(cpu: usize) -> CpuMask {
        CpuMask(1 << (cpu % MAX_CPUS))
    }

    /// Whether `cpu` is in the set.
    pub const fn contains(self, cpu: usize) -> bool {
        cpu < MAX_CPUS && self.0 >> cpu & 1 != 0
    }

    /// The lowest CPU in the set.
    pub const fn first(self) -> Option<usize> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() as usize) }
    }

    /// The CPUs in both sets.
    pub const fn and(self, other: CpuMask) -> CpuMask {
        CpuMask(self.0 & other.0)
    }

    /// The CPUs of the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let first = CpuMask(rest).first()?;
            rest &= rest - 1;
            Some(first)
        })
    }
}

/// A set of CPUs that CPUs change at the same time.
pub struct AtomicCpuMask(AtomicU64);

impl AtomicCpuMask {
    /// A set of the CPUs in `mask`.
    pub const fn new(mask: CpuMask) -> Self {
        AtomicCpuMask(AtomicU64::new(mask.0))
    }

    /// The set at this moment.
    #[inline]
    pub fn load(&self) -> CpuMask {
        CpuMask(self.0.load(Ordering::SeqCst))
    }

    /// Replaces the set.
    pub fn store(&self, mask: CpuMask) {
        self.0.store(mask.0, Ordering::SeqCst);
    }

    /// Adds `cpu`.
    #[inline]
    pub fn insert(&self, cpu: usize) {
        self.0.fetch_or(CpuMask::only(cpu).0, Ordering::SeqCst);
    }

    /// Takes `cpu` out and tells whether it was there.
    #[inline]
    pub fn remove(&self, cpu: usize) -> bool {
        let bit = CpuMask::only(cpu).0;
        self.0.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let mask = CpuMask(0b1010);
        assert!(mask.contains(3) && !mask.contains(0) && !mask.contains(200));
        assert_eq!(mask.first(), Some(1));
        assert_eq!(mask.iter().collect::<Vec<_>>(), [1, 3]);
        let atomic = AtomicCpuMask::new(mask);
        assert!(atomic.remove(1) && !atomic.remove(1));
        atomic.insert(0);
        assert_eq!(atomic.load(), CpuMask(0b1001));
    }
}
