//! The time of each step of the boot, for `--bootchart`.
//!
//! The boot calls [`done`] behind each of its steps, the first time when there is a heap. Until the clock is known a
//! step's end is a value of the time stamp counter, which [`print`] turns into time since the kernel's entry.

use alloc::vec::Vec;

use crate::drivers::clock;
use crate::kprintln;
use crate::sync::SpinLock;

struct Chart {
    /// Steps that are to be printed, and the time stamp at the end of each.
    steps: Vec<(&'static str, u64)>,
    /// When the last step that was printed ended.
    printed_ns: u64,
}

static CHART: SpinLock<Chart> = SpinLock::new(Chart { steps: Vec::new(), printed_ns: 0 });

/// The boot is done with `step`.
pub fn done(step: &'static str) {
    CHART.lock().steps.push((step, clock::tsc()));
}

/// Prints the steps since the last time, each with the microseconds that it took and those from the kernel's entry to
/// its end.
pub fn print() {
    let mut chart = CHART.lock();
    for (step, tsc) in core::mem::take(&mut chart.steps) {
        let end_ns = clock::monotonic_ns_at(tsc);
        let took_us = end_ns.saturating_sub(chart.printed_ns) / 1000;
        kprintln!("bootchart: {took_us:8} us {:8} us  {step}", end_ns / 1000);
        chart.printed_ns = end_ns;
    }
}
