//! What processes have used: times, faults, context switches (getrusage(2), times(2)).

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

/// What a process has used besides its living tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Its tasks that have ended.
    pub ended_tasks: Used,
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
}

impl Task {
    /// What the task has used. Time in the kernel is not told from time in the program.
    pub fn used(&self) -> Used {
        let Some(thread) = self.thread() else { return Used::default() };
        let (voluntary_switches, involuntary_switches) = thread.switches();
        Used { user_ns: thread.cpu_time_ns(), voluntary_switches, involuntary_switches, ..Used::default() }
    }
}

impl Process {
    /// What the process has used, with its tasks that have ended.
    pub fn used(&self) -> Used {
        let mut used = self.usage.lock().ended_tasks;
        for task in self.tasks() {
            used.add(&task.used());
        }
        if let Some(space) = self.try_space() {
            used.minor_faults += space.faults();
            used.max_resident_kib = used.max_resident_kib.max(space.resident_usage().peak_resident / 1024);
        }
        used
    }

    /// Adds what the address space knows to what stays of the process, which is about to give it up.
    pub(super) fn account_space(&self) {
        let Some(space) = self.try_space() else { return };
        let max_resident_kib = space.resident_usage().peak_resident / 1024;
        let used = Used { minor_faults: space.faults(), max_resident_kib, ..Used::default() };
        self.usage.lock().ended_tasks.add(&used);
    }

    /// What its children have used that it has waited for.
    pub fn children_used(&self) -> Used {
        self.usage.lock().children
    }
}
