//! When there is no memory left: somebody has to go, so that the others can live.
//!
//! As on Linux it is the process that would free most, moved up or down by what `/proc/PID/oom_score_adj` says in
//! thousandths of all memory; -1000 spares it. Whoever found no memory waits a moment for the victim to be gone, and
//! tries again. Only if nobody can be chosen does the finder itself end.

use alloc::sync::Arc;

use super::signal::{Signal, SignalInfo, send};
use super::structure::Process;
use super::{current_process, tree};
use crate::log;
use crate::mem;
use crate::sched::{Deadline, WaitQueue};

/// The adjustment that spares a process.
const SPARED: i32 = -1000;
/// How long the finder waits before it tries again.
const PAUSE_NS: u64 = 2_000_000;

/// How much a process would free, in bytes, moved by its adjustment. Nothing for one that has ended or is spared.
pub fn score(process: &Process, total: u64) -> Option<u64> {
    let adjustment = process.oom_score_adjust();
    if process.has_ended() || adjustment == SPARED {
        return None;
    }
    let usage = process.with_space(|space| space.resident_usage()).ok()?;
    Some(adjusted(usage.anonymous + usage.file, adjustment, total))
}

/// At least 1: even the smallest can be chosen.
fn adjusted(bytes: u64, adjustment: i32, total: u64) -> u64 {
    let shift = total / 1000 * u64::from(adjustment.unsigned_abs());
    let sum = if adjustment < 0 { bytes.saturating_sub(shift) } else { bytes.saturating_add(shift) };
    sum.max(1)
}

/// The current process found no memory: ends the largest, and waits for what that frees. To be called without locks, on the way
/// to the program, which then tries again.
pub fn relieve() {
    let total = mem::stats().total;
    let victim = tree::highest(|process| score(process, total));
    let victim = victim.unwrap_or_else(|| Arc::clone(current_process()));
    if !victim.is_ending() {
        let name = victim.first_task().map(|task| task.name_text()).unwrap_or_default();
        log::error!("out of memory: killed process {} ({name})", victim.pid());
        let _ = send::to_process(&victim, Signal::SIGKILL, SignalInfo::from_kernel(Signal::SIGKILL));
    }
    if !Arc::ptr_eq(&victim, current_process()) {
        let _ = WaitQueue::new().wait_interruptible(Some(Deadline::after(PAUSE_NS)), || None::<()>);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjustments_are_thousandths_of_all_memory() {
        assert_eq!(adjusted(50, 0, 1_000_000), 50);
        assert_eq!(adjusted(50, 500, 1_000_000), 500_050);
        assert_eq!(adjusted(500_050, -500, 1_000_000), 50);
        assert_eq!(adjusted(50, -999, 1_000_000), 1);
    }
}
