//! What the CPU can do, asked once on the boot CPU and turned on on every CPU.

use core::arch::asm;
use core::cell::UnsafeCell;

use super::cpu::{cpuid, wrmsr};
use super::msr;

/// What the floors above and this one ask for.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are called what the manuals call them")]
pub struct Features {
    pub fsgsbase: bool,
    pub xsave: bool,
    pub xsaveopt: bool,
    pub rdrand: bool,
    pub rdseed: bool,
    pub x2apic: bool,
    pub tsc_deadline: bool,
    pub invariant_tsc: bool,
    pub pages_1g: bool,
    pub rdtscp: bool,
    pub hypervisor: bool,
    /// Components of extended state that programs may use: bits of XCR0.
    pub xcr0: u64,
    /// Bytes of an XSAVE area in standard format for these.
    pub xsave_size: usize,
    /// Bits of MXCSR that may be set.
    pub mxcsr_mask: u32,
    /// CPUID leaf 1, EDX: AT_HWCAP.
    pub hwcap: u32,
}

/// x87, SSE, AVX, and AVX-512's three.
const WANTED_XCR0: u64 = 0b1110_0111;
const AVX512: u64 = 0b1110_0000;
/// Size of the legacy area and the header of XSAVE.
const MIN_XSAVE_SIZE: usize = 576;

struct Cell(UnsafeCell<Features>);

// SAFETY:
// - written once by the boot CPU in `detect`, before other code reads.
unsafe impl Sync for Cell {}

static FEATURES: Cell = Cell(UnsafeCell::new(Features {
    fsgsbase: false,
    xsave: false,
    xsaveopt: false,
    rdrand: false,
    rdseed: false,
    x2apic: false,
    tsc_deadline: false,
    invariant_tsc: false,
    pages_1g: false,
    rdtscp: false,
    hypervisor: false,
    xcr0: 0b11,
    xsave_size: 512,
    mxcsr_mask: 0xffbf,
    hwcap: 0,
}));

/// What the CPU can do.
#[inline(always)]
pub fn features() -> &'static Features {
    // SAFETY:
    // - written before anybody else reads.
    unsafe { &*FEATURES.0.get() }
}

#[inline(always)]
pub(super) fn has_fsgsbase() -> bool {
    features().fsgsbase
}

const fn bit(word: u32, bit: u32) -> bool {
    word >> bit & 1 != 0
}

/// Asks the CPU, and turns on what there is.
///
/// # Safety
/// - To be called once, by the boot CPU, before anybody asks.
pub(super) unsafe fn detect() {
    let basic = cpuid(1, 0);
    let structured = if cpuid(0, 0).eax >= 7 { cpuid(7, 0).ebx } else { 0 };
    let extended_max = cpuid(0x8000_0000, 0).eax;
    let extended = if extended_max >= 0x8000_0001 { cpuid(0x8000_0001, 0).edx } else { 0 };
    let power = if extended_max >= 0x8000_0007 { cpuid(0x8000_0007, 0).edx } else { 0 };
    let xsave = bit(basic.ecx, 26);
    let mut features = Features {
        fsgsbase: bit(structured, 0),
        xsave,
        xsaveopt: xsave && bit(cpuid(0xd, 1).eax, 0),
        rdrand: bit(basic.ecx, 30),
        rdseed: bit(structured, 18),
        x2apic: bit(basic.ecx, 21),
        tsc_deadline: bit(basic.ecx, 24),
        invariant_tsc: bit(power, 8),
        pages_1g: bit(extended, 26),
        rdtscp: bit(extended, 27),
        hypervisor: bit(basic.ecx, 31),
        xcr0: if xsave { usable_xcr0() } else { 0b11 },
        xsave_size: 512,
        mxcsr_mask: mxcsr_mask(),
        hwcap: basic.edx,
    };
    enable(&features, 0);
    if xsave {
        features.xsave_size = (cpuid(0xd, 0).ebx as usize).max(MIN_XSAVE_SIZE);
    }
    // SAFETY:
    // - the caller vouches for there being no reader.
    unsafe { *FEATURES.0.get() = features };
}

/// The components that the CPU has and the kernel knows. The three of AVX-512 only go together, and with AVX.
fn usable_xcr0() -> u64 {
    let supported = u64::from(cpuid(0xd, 0).eax) | 0b11;
    let usable = supported & WANTED_XCR0;
    if usable & AVX512 == AVX512 && usable & 0b100 != 0 { usable } else { usable & !AVX512 }
}

/// The bits of MXCSR that the CPU has: a set bit outside of them would fault.
fn mxcsr_mask() -> u32 {
    #[repr(C, align(16))]
    struct Legacy([u32; 128]);
    let mut area = Legacy([0; 128]);
    // SAFETY:
    // - the area has the size and alignment that the instruction wants.
    unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut area, options(nostack, preserves_flags)) };
    match area.0[7] {
        0 => 0xffbf,
        mask => mask,
    }
}

/// Turns features on, on this CPU, whose number programs get from `rdtscp` and `rdpid` as on Linux.
pub(super) fn enable(features: &Features, cpu_id: usize) {
    const FSGSBASE: u64 = 1 << 16;
    const OSXSAVE: u64 = 1 << 18;
    let wanted = if features.fsgsbase { FSGSBASE } else { 0 } | if features.xsave { OSXSAVE } else { 0 };
    // SAFETY:
    // - the CPU has what is turned on; XCR0 gets only components that it lists, in combinations that it takes.
    unsafe {
        asm!("mov {cr4}, cr4", "or {cr4}, {wanted}", "mov cr4, {cr4}",
            cr4 = out(reg) _, wanted = in(reg) wanted, options(nostack));
        if features.xsave {
            asm!("xsetbv", in("ecx") 0, in("eax") features.xcr0 as u32, in("edx") (features.xcr0 >> 32) as u32,
                options(nostack, preserves_flags));
        }
        if features.rdtscp {
            wrmsr(msr::TSC_AUX, cpu_id as u64);
        }
    }
}
