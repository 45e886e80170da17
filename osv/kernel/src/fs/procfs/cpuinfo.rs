//! `/proc/cpuinfo`: what CPUID says, in Linux' words.
//!
//! All CPUs of a VM are alike, so what the CPU that reads the file says is told of each. The names of features stand
//! in the order of Linux' capability words; a gap in a table is a bit that Linux does not show.

use core::arch::x86_64::{__cpuid_count, CpuidResult};

use crate::drivers::clock;
use crate::errno::Result;
use crate::fs::generated::Text;
use crate::sched;

/// Names of the bits of one register, from bit 0 on.
type Names = [&'static str; 32];

/// Leaf 1, EDX.
const BASIC: Names = [
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca", "cmov",
    "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe",
];
/// Leaf 0x80000001, EDX, without what it repeats of leaf 1.
const EXTENDED: Names = [
    "", "", "", "", "", "", "", "", "", "", "", "syscall", "", "", "", "", "", "", "", "mp", "nx", "", "mmxext", "",
    "", "fxsr_opt", "pdpe1gb", "rdtscp", "", "lm", "3dnowext", "3dnow",
];
/// Leaf 1, ECX.
const BASIC_2: Names = [
    "pni",
    "pclmulqdq",
    "dtes64",
    "monitor",
    "ds_cpl",
    "vmx",
    "smx",
    "est",
    "tm2",
    "ssse3",
    "cid",
    "sdbg",
    "fma",
    "cx16",
    "xtpr",
    "pdcm",
    "",
    "pcid",
    "dca",
    "sse4_1",
    "sse4_2",
    "x2apic",
    "movbe",
    "popcnt",
    "tsc_deadline_timer",
    "aes",
    "xsave",
    "",
    "avx",
    "f16c",
    "rdrand",
    "hypervisor",
];
/// Leaf 0x80000001, ECX.
const EXTENDED_2: Names = [
    "lahf_lm",
    "cmp_legacy",
    "svm",
    "extapic",
    "cr8_legacy",
    "abm",
    "sse4a",
    "misalignsse",
    "3dnowprefetch",
    "osvw",
    "ibs",
    "xop",
    "skinit",
    "wdt",
    "",
    "lwp",
    "fma4",
    "tce",
    "",
    "nodeid_msr",
    "",
    "tbm",
    "topoext",
    "perfctr_core",
    "perfctr_nb",
    "",
    "bpext",
    "ptsc",
    "perfctr_llc",
    "mwaitx",
    "",
    "",
];
/// Leaf 7, EBX.
const STRUCTURED: Names = [
    "fsgsbase",
    "tsc_adjust",
    "sgx",
    "bmi1",
    "hle",
    "avx2",
    "",
    "smep",
    "bmi2",
    "erms",
    "invpcid",
    "rtm",
    "cqm",
    "",
    "mpx",
    "rdt_a",
    "avx512f",
    "avx512dq",
    "rdseed",
    "adx",
    "smap",
    "avx512ifma",
    "",
    "clflushopt",
    "clwb",
    "intel_pt",
    "avx512pf",
    "avx512er",
    "avx512cd",
    "sha_ni",
    "avx512bw",
    "avx512vl",
];
/// Leaf 0xd, subleaf 1, EAX.
const XSAVE: Names = [
    "xsaveopt", "xsavec", "xgetbv1", "xsaves", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
    "", "", "", "", "", "", "", "", "", "",
];
/// Leaf 7, subleaf 1, EAX.
const STRUCTURED_1: Names = [
    "",
    "",
    "",
    "",
    "avx_vnni",
    "avx512_bf16",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
];
/// Leaf 0x80000008, EBX.
const EXTENDED_8: Names = [
    "clzero",
    "irperf",
    "xsaveerptr",
    "",
    "rdpru",
    "",
    "",
    "",
    "",
    "wbnoinvd",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "amd_ppin",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
];
/// Leaf 6, EAX.
const POWER: Names = [
    "dtherm",
    "ida",
    "arat",
    "",
    "pln",
    "",
    "pts",
    "hwp",
    "hwp_notify",
    "hwp_act_window",
    "hwp_epp",
    "hwp_pkg_req",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "hfi",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
];
/// Leaf 7, ECX.
const STRUCTURED_2: Names = [
    "",
    "avx512vbmi",
    "umip",
    "pku",
    "ospke",
    "waitpkg",
    "avx512_vbmi2",
    "",
    "gfni",
    "vaes",
    "vpclmulqdq",
    "avx512_vnni",
    "avx512_bitalg",
    "tme",
    "avx512_vpopcntdq",
    "",
    "la57",
    "",
    "",
    "",
    "",
    "",
    "rdpid",
    "",
    "bus_lock_detect",
    "cldemote",
    "",
    "movdiri",
    "movdir64b",
    "enqcmd",
    "",
    "",
];
/// Leaf 7, EDX.
const STRUCTURED_3: Names = [
    "",
    "",
    "avx512_4vnniw",
    "avx512_4fmaps",
    "fsrm",
    "",
    "",
    "",
    "avx512_vp2intersect",
    "",
    "md_clear",
    "",
    "",
    "",
    "serialize",
    "",
    "tsxldtrk",
    "",
    "pconfig",
    "arch_lbr",
    "",
    "",
    "amx_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "",
    "",
    "flush_l1d",
    "arch_capabilities",
    "",
    "",
];

fn leaf(number: u32, subleaf: u32) -> CpuidResult {
    let highest = __cpuid_count(number & 0xffff_0000, 0).eax;
    if number <= highest { __cpuid_count(number, subleaf) } else { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } }
}

/// `/proc/cpuinfo`.
pub(super) fn cpuinfo(_: &(), out: &mut Text) -> Result<()> {
    let cpus = sched::online_cpus();
    let count = cpus.iter().count();
    for cpu in cpus.iter() {
        one_cpu(out, cpu, count);
    }
    Ok(())
}

fn one_cpu(out: &mut Text, cpu: usize, count: usize) {
    let signature = Signature::of(leaf(1, 0).eax);
    let features = leaf(1, 0);
    let khz = clock::tsc_khz();
    write!(out, "processor\t: {cpu}\nvendor_id\t: ");
    out.push(&vendor());
    write!(out, "\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: ", signature.family, signature.model);
    out.push(model_name(&brand()));
    write!(out, "\nstepping\t: {}\nmicrocode\t: 0x1\n", signature.stepping);
    write!(out, "cpu MHz\t\t: {}.{:03}\ncache size\t: {} KB\n", khz / 1000, khz % 1000, cache_kib());
    write!(out, "physical id\t: 0\nsiblings\t: {count}\ncore id\t\t: {cpu}\ncpu cores\t: {count}\n");
    write!(out, "apicid\t\t: {cpu}\ninitial apicid\t: {cpu}\nfpu\t\t: yes\nfpu_exception\t: yes\n");
    write!(out, "cpuid level\t: {}\nwp\t\t: yes\nflags\t\t:", leaf(0, 0).eax);
    flags(out);
    out.push(b"\nbugs\t\t:\n");
    let bogomips = khz / 5;
    writeln!(out, "bogomips\t: {}.{:02}", bogomips / 100, bogomips % 100);
    write!(out, "clflush size\t: {0}\ncache_alignment\t: {0}\n", (features.ebx >> 8 & 0xff) * 8);
    let sizes = leaf(0x8000_0008, 0).eax;
    writeln!(out, "address sizes\t: {} bits physical, {} bits virtual", sizes & 0xff, sizes >> 8 & 0xff);
    out.push(b"power management:\n\n");
}

fn flags(out: &mut Text) {
    let (basic, extended) = (leaf(1, 0), leaf(0x8000_0001, 0));
    let (structured, structured_1) = (leaf(7, 0), leaf(7, 1));
    show_bits(out, basic.edx, &BASIC);
    show_bits(out, extended.edx, &EXTENDED);
    let is_invariant = leaf(0x8000_0007, 0).edx >> 8 & 1 != 0;
    out.push(if is_invariant { b" constant_tsc rep_good nopl nonstop_tsc cpuid" } else { b" rep_good nopl cpuid" });
    show_bits(out, basic.ecx, &BASIC_2);
    show_bits(out, extended.ecx, &EXTENDED_2);
    show_bits(out, structured.ebx, &STRUCTURED);
    show_bits(out, leaf(0xd, 1).eax, &XSAVE);
    show_bits(out, structured_1.eax, &STRUCTURED_1);
    show_bits(out, leaf(0x8000_0008, 0).ebx, &EXTENDED_8);
    show_bits(out, leaf(6, 0).eax, &POWER);
    show_bits(out, structured.ecx, &STRUCTURED_2);
    show_bits(out, structured.edx, &STRUCTURED_3);
}

fn show_bits(out: &mut Text, register: u32, names: &Names) {
    for (bit, name) in names.iter().enumerate() {
        if register >> bit & 1 != 0 && !name.is_empty() {
            write!(out, " {name}");
        }
    }
}

fn vendor() -> [u8; 12] {
    let CpuidResult { ebx, ecx, edx, .. } = leaf(0, 0);
    let mut text = [0; 12];
    for (place, word) in text.chunks_exact_mut(4).zip([ebx, edx, ecx]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    text
}

fn brand() -> [u8; 48] {
    let mut text = [0; 48];
    for (place, number) in text.chunks_exact_mut(16).zip(0x8000_0002u32..) {
        let CpuidResult { eax, ebx, ecx, edx } = leaf(number, 0);
        for (place, word) in place.chunks_exact_mut(4).zip([eax, ebx, ecx, edx]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
    text
}

/// The brand without padding.
fn model_name(brand: &[u8; 48]) -> &[u8] {
    let end = brand.iter().position(|&byte| byte == 0).unwrap_or(brand.len());
    brand[..end].trim_ascii()
}

/// The size of the largest private cache that AMD's leaf tells, in KiB.
fn cache_kib() -> u32 {
    leaf(0x8000_0006, 0).ecx >> 16
}

/// Family, model and stepping.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    family: u32,
    model: u32,
    stepping: u32,
}

impl Signature {
    fn of(eax: u32) -> Signature {
        let base_family = eax >> 8 & 0xf;
        let family = if base_family == 0xf { base_family + (eax >> 20 & 0xff) } else { base_family };
        let low_model = eax >> 4 & 0xf;
        let model = if base_family >= 6 { (eax >> 16 & 0xf) << 4 | low_model } else { low_model };
        Signature { family, model, stepping: eax & 0xf }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_decoded() {
        assert_eq!(Signature::of(0x00a1_0f11), Signature { family: 25, model: 17, stepping: 1 });
        assert_eq!(Signature::of(0x0005_06e3), Signature { family: 6, model: 94, stepping: 3 });
    }

    #[test]
    fn this_machine_has_what_the_host_says() {
        let Ok(host) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let line = host.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let mut out = Text::default();
        flags(&mut out);
        let ours = String::from_utf8(out.into_bytes().unwrap()).unwrap();
        for name in ["fpu", "sse2", "lm", "syscall", "nx", "pni", "fxsr"] {
            assert_eq!(ours.split(' ').any(|flag| flag == name), line.split(' ').any(|flag| flag == name), "{name}");
        }
    }
}
