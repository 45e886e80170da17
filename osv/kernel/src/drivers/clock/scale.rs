//! Ticks to nanoseconds and back by one multiplication: the arithmetic of clocks, without a division on the way.
//!
//! A [`Scale`] is a fixed-point factor with 32 binary places. Products are 128 bits wide, so no count of ticks overflows
//! on the way and none needs to be re-based; on x86-64 that is a `mul` and a `shrd`.

/// Binary places of a factor.
pub const SHIFT: u32 = 32;
/// Nanoseconds in a second.
pub const NS_PER_SEC: u64 = 1_000_000_000;

/// Turns one unit into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// The scale whose factor is `to / from`, saturated where it does not fit.
    pub const fn ratio(to: u64, from: u64) -> Self {
        if from == 0 {
            return Self(0);
        }
        let factor = ((to as u128) << SHIFT) / from as u128;
        Self(if factor > u64::MAX as u128 { u64::MAX } else { factor as u64 })
    }

    /// Ticks of a counter that runs at `hz` to nanoseconds.
    pub const fn ticks_to_ns(hz: u64) -> Self {
        Self::ratio(NS_PER_SEC, hz)
    }

    /// Nanoseconds to ticks of a counter that runs at `hz`.
    pub const fn ns_to_ticks(hz: u64) -> Self {
        Self::ratio(hz, NS_PER_SEC)
    }

    /// The raw factor: what is multiplied with before the shift by [`SHIFT`].
    pub const fn factor(self) -> u64 {
        self.0
    }

    /// The scale with this raw factor.
    pub const fn from_factor(factor: u64) -> Self {
        Self(factor)
    }

    /// The scale in the other direction.
    pub const fn inverse(self) -> Self {
        // (1 << 64) / factor, by a ratio of two numbers that fit.
        Self::ratio(1 << SHIFT, self.0)
    }

    /// `value` in the other unit, modulo 2^64.
    #[inline]
    pub const fn apply(self, value: u64) -> u64 {
        ((value as u128 * self.0 as u128) >> SHIFT) as u64
    }

    /// `value` in the other unit, saturated where it does not fit.
    #[inline]
    pub const fn apply_saturating(self, value: u64) -> u64 {
        let product = (value as u128 * self.0 as u128) >> SHIFT;
        if product > u64::MAX as u128 { u64::MAX } else { product as u64 }
    }
}

/// The rate of a counter that made `ticks` while another made `reference` ticks at `reference_hz`; 0 if it cannot be said.
pub const fn rate(ticks: u64, reference: u64, reference_hz: u64) -> u64 {
    if reference == 0 {
        return 0;
    }
    let hz = ticks as u128 * reference_hz as u128 / reference as u128;
    if hz > u64::MAX as u128 { 0 } else { hz as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_exact_to_milliseconds() {
        let year_s = 365 * 24 * 3600;
        for hz in [1_000_000_000u64, 2_100_000_000, 2_999_999_998, 5_000_000_001, 24_000_000] {
            let ns = Scale::ticks_to_ns(hz).apply(hz * year_s);
            let error = ns.abs_diff(year_s * NS_PER_SEC);
            assert!(error < 40_000_000, "{hz}: {error}");
        }
    }

    #[test]
    fn there_and_back() {
        let hz = 2_400_000_000;
        let ticks = Scale::ns_to_ticks(hz).apply(1_000_000);
        assert!(ticks.abs_diff(2_400_000) <= 1);
        assert!(Scale::ticks_to_ns(hz).apply(ticks).abs_diff(1_000_000) <= 1);
    }

    #[test]
    fn an_inverse_undoes() {
        let scale = Scale::ticks_to_ns(2_400_000_000);
        assert!(scale.inverse().apply(scale.apply(24_000_000)).abs_diff(24_000_000) <= 3);
        assert_eq!(Scale::from_factor(0).inverse().factor(), 0);
    }

    #[test]
    fn nonsense_saturates() {
        assert_eq!(Scale::ratio(5, 0).apply(9), 0);
        assert_eq!(Scale::ratio(u64::MAX, 1).apply_saturating(u64::MAX), u64::MAX);
        assert_eq!(rate(5, 0, 7), 0);
        assert_eq!(rate(u64::MAX, 1, u64::MAX), 0);
        assert_eq!(rate(3_000, 100, 1_000_000), 30_000_000);
    }
}
