//! What CPUID says that drivers need: local APIC modes, rates of clocks, the hypervisor's features.
//!
//! All leaves are asked for only within the largest one that the CPU names.

use core::arch::x86_64::{__cpuid_count, CpuidResult};

const HYPERVISOR: u32 = 0x4000_0000;

fn leaf(number: u32) -> CpuidResult {
    __cpuid_count(number, 0)
}

/// A leaf of the ranges that start at 0 or at [`HYPERVISOR`], if there is one of that number.
fn checked(number: u32) -> Option<CpuidResult> {
    let base = number & 0xff00_0000;
    if base == HYPERVISOR && leaf(1).ecx & 1 << 31 == 0 {
        return None;
    }
    (leaf(base).eax >= number).then(|| leaf(number))
}

/// The local APIC can be spoken to by MSRs.
pub fn has_x2apic() -> bool {
    leaf(1).ecx & 1 << 21 != 0
}

/// The local APIC's timer can wait for a value of the TSC.
pub fn has_tsc_deadline() -> bool {
    leaf(1).ecx & 1 << 24 != 0
}

/// The rate of the TSC in Hz, where CPU or hypervisor tell it exactly.
pub fn tsc_hz() -> Option<u64> {
    let by_crystal = checked(0x15).and_then(|r| {
        let numerator = u64::from(r.ecx) * u64::from(r.ebx);
        numerator.checked_div(u64::from(r.eax)).filter(|hz| *hz != 0)
    });
    let by_hypervisor = || checked(HYPERVISOR + 0x10).map(|r| u64::from(r.eax) * 1000).filter(|hz| *hz != 0);
    by_crystal.or_else(by_hypervisor)
}

/// The rate at which the local APIC's timer counts before its divider, in Hz, where it is told.
pub fn apic_timer_hz() -> Option<u64> {
    let by_hypervisor = checked(HYPERVISOR + 0x10).map(|r| u64::from(r.ebx) * 1000).filter(|hz| *hz != 0);
    by_hypervisor.or_else(|| checked(0x15).map(|r| u64::from(r.ecx)).filter(|hz| *hz != 0))
}

/// KVM's feature bits; 0 under another hypervisor.
pub fn kvm_features() -> u32 {
    let signature = |r: CpuidResult| [r.ebx, r.ecx, r.edx];
    let kvm = [*b"KVMK", *b"VMKV", *b"M\0\0\0"].map(u32::from_le_bytes);
    match checked(HYPERVISOR + 1) {
        Some(features) if signature(leaf(HYPERVISOR)) == kvm => features.eax,
        _ => 0,
    }
}
