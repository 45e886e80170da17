//! What processes have used: times, faults, context switches (getrusage(2), times(2)).
//!
//! How long a thread ran is known to the nanosecond; how much of that it spent in the kernel is sampled by the scheduler's
//! ticks, since counting at each entry would cost more than many a system call does. As on Linux the exact time is divided in
//! the proportion of the ticks, and what was told once never becomes less.

use core::sync::atomic::Ordering;

use super::structure::Process;
use super::task::Task;

/// What somebody has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Time in the program, in nanoseconds.
    pub user_ns: u64,
    /// Time in the kernel, in nanoseconds.
    pub system_ns: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Switches because it waited.
    pub voluntary_switches: u64,
    /// Switches because its time was over.
    pub involuntary_switches: u64,
    /// The largest resident size, in KiB.
    pub max_resident_kib: u64,
}

/// Time on CPUs, before it is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    ran_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// How the time was divided when somebody last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Division {
    user_ns: u64,
    system_ns: u64,
}

/// What a process has used besides its living tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Its tasks that have ended, but for their time.
    ended_tasks: Used,
    /// The time of its tasks that have ended.
    ended_time: CpuTime,
    division: Division,
    /// Its children that it has waited for, with theirs.
    pub children: Used,
}

impl Used {
    /// Adds what another has used.
    pub fn add(&mut self, other: &Used) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.max_resident_kib = self.max_resident_kib.max(other.max_resident_kib);
    }

    /// Time in program and kernel.
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }

    fn with_time(self, division: Division) -> Used {
        Used { user_ns: division.user_ns, system_ns: division.system_ns, ..self }
    }
}

impl CpuTime {
    fn add(&mut self, other: CpuTime) {
        self.ran_ns += other.ran_ns;
        self.user_ticks += other.user_ticks;
        self.system_ticks += other.system_ticks;
    }

    /// The share of the kernel, by the ticks. Without any, all time is the program's.
    fn system_ns(self) -> u64 {
        let ticks = u128::from(self.user_ticks) + u128::from(self.system_ticks);
        match ticks {
            0 => 0,
            _ => (u128::from(self.ran_ns) * u128::from(self.system_ticks) / ticks) as u64,
        }
    }
}

impl Division {
    /// Divides `time`, so that neither part is less than it was before.
    fn update(&mut self, time: CpuTime) -> Division {
        if time.ran_ns <= self.user_ns + self.system_ns {
            return *self;
        }
        let system_ns = time.system_ns().clamp(self.system_ns, time.ran_ns - self.user_ns);
        *self = Division { user_ns: time.ran_ns - system_ns, system_ns };
        *self
    }
}

impl Task {
    fn cpu_time(&self) -> CpuTime {
        let Some(thread) = self.thread() else { return CpuTime::default() };
        let (user_ticks, system_ticks) = thread.ticks();
        CpuTime { ran_ns: thread.cpu_time_ns(), user_ticks, system_ticks }
    }

    /// What the task has used, but for time.
    fn used_beside_time(&self) -> Used {
        let (voluntary_switches, involuntary_switches) =
            self.thread().map(|thread| thread.switches()).unwrap_or_default();
        let minor_faults = self.minor_faults.load(Ordering::Relaxed);
        Used { minor_faults, voluntary_switches, involuntary_switches, ..Used::default() }
    }

    /// What the task has used.
    pub fn used(&self) -> Used {
        let time = self.cpu_time();
        let mut used = self.used_beside_time().with_time(self.division.lock().update(time));
        if let Some(space) = self.process().try_space() {
            used.max_resident_kib = space.resident_usage().peak_resident / 1024;
        }
        used
    }

    /// A page fault of the task was resolved.
    #[inline]
    pub fn count_fault(&self) {
        // Only the task itself counts: no atomic addition is needed.
        self.minor_faults.store(self.minor_faults.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Usage {
    /// Keeps what a task has used that ends. The caller holds the lock of the tasks and takes it out of them.
    pub(super) fn add_ended(&mut self, task: &Task) {
        self.ended_tasks.add(&task.used_beside_time());
        self.ended_time.add(task.cpu_time());
    }
}

impl Process {
    fn cpu_time(&self) -> CpuTime {
        let signals = self.signals.lock();
        let mut time = self.usage.lock().ended_time;
        for task in &signals.tasks {
            time.add(task.cpu_time());
        }
        time
    }

    /// How long its tasks have run, also those that have ended.
    pub fn cpu_time_ns(&self) -> u64 {
        self.cpu_time().ran_ns
    }

    /// Time that its tasks have spent in the program and in the kernel. Callable from interrupts.
    pub fn divided_time_ns(&self) -> (u64, u64) {
        let time = self.cpu_time();
        let division = self.usage.lock().division.update(time);
        (division.user_ns, division.system_ns)
    }

    /// What the process has used, with its tasks that have ended.
    pub fn used(&self) -> Used {
        let time = self.cpu_time();
        let mut used = {
            let mut usage = self.usage.lock();
            let division = usage.division.update(time);
            usage.ended_tasks.with_time(division)
        };
        for task in self.tasks() {
            used.add(&task.used_beside_time());
        }
        if let Some(space) = self.try_space() {
            used.max_resident_kib = used.max_resident_kib.max(space.resident_usage().peak_resident / 1024);
        }
        used
    }

    /// Adds what the address space knows to what stays of the process, which is about to give it up.
    pub(super) fn account_space(&self) {
        let Some(space) = self.try_space() else { return };
        let max_resident_kib = space.resident_usage().peak_resident / 1024;
        self.usage.lock().ended_tasks.add(&Used { max_resident_kib, ..Used::default() });
    }

    /// What its children have used that it has waited for.
    pub fn children_used(&self) -> Used {
        self.usage.lock().children
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_divided_by_the_ticks() {
        let time = CpuTime { ran_ns: 1000, user_ticks: 3, system_ticks: 1 };
        assert_eq!(Division::default().update(time), Division { user_ns: 750, system_ns: 250 });
        let short = CpuTime { ran_ns: 1000, ..CpuTime::default() };
        assert_eq!(Division::default().update(short), Division { user_ns: 1000, system_ns: 0 });
    }

    #[test]
    fn what_was_told_never_becomes_less() {
        let mut division = Division::default();
        division.update(CpuTime { ran_ns: 1000, ..CpuTime::default() });
        let later = division.update(CpuTime { ran_ns: 1100, user_ticks: 0, system_ticks: 1 });
        assert_eq!(later, Division { user_ns: 1000, system_ns: 100 });
        let again = division.update(CpuTime { ran_ns: 1050, user_ticks: 5, system_ticks: 1 });
        assert_eq!(again, later);
    }
}
