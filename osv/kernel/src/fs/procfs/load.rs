//! Files of `/proc` about how busy the machine is: `stat`, `uptime`, `loadavg`.
//!
//! There is no tick that could sample anything. Idle time is what the scheduler has accounted to idle threads, and
//! all other time counts as user time. The load averages are brought up to date when somebody looks: between two
//! looks the load is taken to be what it is at the second one, where Linux samples it every five seconds.

use crate::drivers::clock;
use crate::errno::Result;
use crate::fs::generated::Text;
use crate::sync::SpinLock;
use crate::{process, sched};

/// Nanoseconds in a tick of USER_HZ (100 per second).
pub(super) const TICK_NS: u64 = 10_000_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// `/proc/uptime`: seconds since boot, and idle seconds of all CPUs.
pub(super) fn uptime(_: &(), out: &mut Text) -> Result<()> {
    let idle_ns: u64 = sched::online_cpus().iter().map(sched::idle_time_ns).sum();
    seconds(out, clock::monotonic_ns());
    out.push(b" ");
    seconds(out, idle_ns);
    out.push(b"\n");
    Ok(())
}

fn seconds(out: &mut Text, ns: u64) {
    write!(out, "{}.{:02}", ns / NANOS_PER_SEC, ns % NANOS_PER_SEC / TICK_NS);
}

/// `/proc/stat`.
pub(super) fn stat(_: &(), out: &mut Text) -> Result<()> {
    let now_ns = clock::monotonic_ns();
    let cpus = sched::online_cpus();
    let total_idle_ns: u64 = cpus.iter().map(sched::idle_time_ns).sum();
    let total_ns = now_ns * cpus.iter().count() as u64;
    out.push(b"cpu  ");
    cpu_times(out, total_ns, total_idle_ns);
    for cpu in cpus.iter() {
        write!(out, "cpu{cpu} ");
        cpu_times(out, now_ns, sched::idle_time_ns(cpu));
    }
    let boot_ns = clock::wall_offset_ns();
    write!(out, "intr 0\nctxt {}\n", sched::switch_count());
    write!(out, "btime {}\nprocesses {}\n", boot_ns / NANOS_PER_SEC, process::forks());
    write!(out, "procs_running {}\nprocs_blocked 0\n", sched::runnable_threads());
    out.push(b"softirq 0 0 0 0 0 0 0 0 0 0 0\n");
    Ok(())
}

/// user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
fn cpu_times(out: &mut Text, total_ns: u64, idle_ns: u64) {
    let busy_ns = total_ns.saturating_sub(idle_ns);
    writeln!(out, "{} 0 0 {} 0 0 0 0 0 0", busy_ns / TICK_NS, idle_ns / TICK_NS);
}

/// `/proc/loadavg`.
pub(super) fn loadavg(_: &(), out: &mut Text) -> Result<()> {
    let running = sched::runnable_threads();
    for load in averages() {
        let hundredths = (load * 100 + Load::ONE / 2) / Load::ONE;
        write!(out, "{}.{:02} ", hundredths / 100, hundredths % 100);
    }
    writeln!(out, "{running}/{} {}", process::tree::task_count(), process::tree::last_id());
    Ok(())
}

/// The load of the last 1, 5 and 15 minutes, as fixed-point numbers with 16 bits after the point, as sysinfo(2) has it.
pub fn load_averages() -> [u64; 3] {
    averages().map(|load| load << (16 - Load::BITS))
}

fn averages() -> [u64; 3] {
    static LOAD: SpinLock<Load> = SpinLock::new(Load { averages: [0; 3], updated: 0 });
    let running = sched::runnable_threads() as u64;
    let mut load = LOAD.lock();
    load.update(clock::monotonic_ns() / Load::PERIOD_NS, running);
    load.averages
}

/// Exponentially damped averages in fixed point.
struct Load {
    averages: [u64; 3],
    /// Number of the period of the last update.
    updated: u64,
}

impl Load {
    const BITS: u32 = 11;
    const ONE: u64 = 1 << Self::BITS;
    const PERIOD_NS: u64 = 5 * NANOS_PER_SEC;
    /// What remains of an average after one period: e^(-5/60), e^(-5/300), e^(-5/900), times ONE.
    const DECAY: [u64; 3] = [1884, 2014, 2037];

    fn update(&mut self, period: u64, running: u64) {
        let periods = period.saturating_sub(self.updated);
        self.updated = self.updated.max(period);
        for (average, decay) in self.averages.iter_mut().zip(Self::DECAY) {
            let remains = power(decay, periods);
            *average = (*average * remains + running * Self::ONE * (Self::ONE - remains)) >> Self::BITS;
        }
    }
}

/// `base` to the power `exponent`, both in the fixed point of [`Load`].
fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = Load::ONE;
    while exponent > 0 {
        if exponent & 1 != 0 {
            result = (result * base) >> Load::BITS;
        }
        base = (base * base) >> Load::BITS;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_approaches_what_runs() {
        let mut load = Load { averages: [0; 3], updated: 0 };
        load.update(12, 2);
        let minute = load.averages[0] as f64 / Load::ONE as f64;
        assert!((1.2..1.3).contains(&minute), "{minute}");
        load.update(100_000, 2);
        assert!(load.averages.iter().all(|&average| average == 2 * Load::ONE));
        load.update(100_000, 9);
        assert_eq!(load.averages[0], 2 * Load::ONE);
    }
}
