//! Bringing up the other CPUs: where the firmware's list of them, their stacks and the scheduler meet.

use core::mem::ManuallyDrop;

use crate::arch::MAX_CPUS;
use crate::arch::smp::{self, StartUp};
use crate::drivers::{self, apic};
use crate::errno::Result;
use crate::log::warn;
use crate::mem::KernelStack;
use crate::mem::layout::AP_TRAMPOLINE;
use crate::sched;

/// Reaches other CPUs through the local APIC.
struct LocalApic;

impl StartUp for LocalApic {
    fn send_init(&self, apic_id: u32) {
        apic::send_init(apic_id);
    }

    fn send_startup(&self, apic_id: u32, page: u8) {
        apic::send_startup(apic_id, page);
    }
}

/// Starts all CPUs that the firmware lists, but the one that boots. One that does not come up is left out, with a
/// word in the log.
pub fn start_others() {
    let boot_id = apic::id();
    let others = drivers::platform().cpus.iter().copied().filter(|apic_id| *apic_id != boot_id);
    let mut cpu_id = 1;
    for apic_id in others.take(MAX_CPUS - 1) {
        match start(cpu_id, apic_id) {
            Ok(()) => cpu_id += 1,
            Err(errno) => warn!("the CPU with APIC number {apic_id} does not start ({errno})"),
        }
    }
}

fn start(cpu_id: usize, apic_id: u32) -> Result<()> {
    let stack = ManuallyDrop::new(KernelStack::new()?);
    smp::start_cpu(cpu_id, apic_id, stack.top(), AP_TRAMPOLINE, &LocalApic)
}

/// Where another CPU begins: it joins the scheduler and waits for work.
pub fn ap_main(cpu_id: usize) -> ! {
    apic::init_this_cpu(cpu_id);
    sched::init_cpu().expect("memory for an idle thread");
    sched::run_idle_loop()
}
