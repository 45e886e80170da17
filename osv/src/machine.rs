//! What the program can ask about the machine that it is the operating system of, and how it ends it.
//!
//! All of it can be called on Linux, too (`OSV_NATIVE=1`); what has no meaning there is `None`.

use alloc::vec::Vec;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::call::{call, number};
use crate::io;

const CLOCK_MONOTONIC: usize = 1;

/// Who runs the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hypervisor {
    /// Linux' KVM, under QEMU, Firecracker, Cloud Hypervisor and others.
    Kvm,
    /// QEMU without hardware's help.
    QemuTcg,
    /// Xen.
    Xen,
    /// VMware.
    VMware,
    /// Microsoft's Hyper-V.
    HyperV,
    /// FreeBSD's bhyve.
    Bhyve,
    /// One that names itself like this.
    Other([u8; 12]),
    /// None that says so: real hardware, or a hypervisor that hides.
    None,
}

/// The hypervisor under this VM; `None` on Linux.
///
/// ```
/// use osv::Hypervisor;
///
/// match osv::hypervisor() {
///     Some(Hypervisor::Kvm) => println!("fast"),
///     Some(other) => println!("{other:?}"),
///     None => println!("this is Linux"),
/// }
/// # assert!(osv::hypervisor().is_some());
/// ```
pub fn hypervisor() -> Option<Hypervisor> {
    const HYPERVISOR_PRESENT: u32 = 1 << 31;
    if !is_osv() {
        return None;
    }
    if __cpuid(1).ecx & HYPERVISOR_PRESENT == 0 {
        return Some(Hypervisor::None);
    }
    let leaf = __cpuid(0x4000_0000);
    let mut name = [0; 12];
    for (place, word) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    Some(match &name {
        b"KVMKVMKVM\0\0\0" => Hypervisor::Kvm,
        b"TCGTCGTCGTCG" => Hypervisor::QemuTcg,
        b"XenVMMXenVMM" => Hypervisor::Xen,
        b"VMwareVMware" => Hypervisor::VMware,
        b"Microsoft Hv" => Hypervisor::HyperV,
        b"bhyve bhyve " => Hypervisor::Bhyve,
        _ => Hypervisor::Other(name),
    })
}

/// Whether the kernel under this process is osv, and not Linux.
///
/// ```
/// assert!(osv::is_osv());
/// ```
pub fn is_osv() -> bool {
    const FIELD: usize = 65;
    let mut names = [0_u8; 6 * FIELD];
    // SAFETY: `names` is as large as a `struct utsname`.
    let result = unsafe { call(number::UNAME, [names.as_mut_ptr().addr(), 0, 0, 0, 0, 0]) };
    let release = names.get(2 * FIELD..3 * FIELD).unwrap_or_default();
    let release = release.split(|&byte| byte == 0).next().unwrap_or_default();
    result.is_ok() && release.ends_with(b"-osv")
}

/// When the program started, on the clock that started with the kernel.
static STARTED_NS: AtomicU64 = AtomicU64::new(0);

/// Takes the time of the program's start.
pub(crate) fn note_start() {
    STARTED_NS.store(monotonic_ns(), Ordering::Relaxed);
}

pub(crate) fn monotonic_ns() -> u64 {
    let mut time = [0_u64; 2];
    // SAFETY: `time` is laid out as a `struct timespec`.
    let _ = unsafe { call(number::CLOCK_GETTIME, [CLOCK_MONOTONIC, time.as_mut_ptr().addr(), 0, 0, 0, 0]) };
    let [seconds, nanoseconds] = time;
    seconds * 1_000_000_000 + nanoseconds
}

/// How long the machine took from the kernel's clock to this program's first code; `None` on Linux. A program that
/// another one started counts the time before that, too.
///
/// ```
/// let took = osv::boot_time().expect("this is osv");
/// assert!(took.as_secs() < 60);
/// ```
pub fn boot_time() -> Option<Duration> {
    is_osv().then(|| Duration::from_nanos(STARTED_NS.load(Ordering::Relaxed)))
}

/// The machine's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that the kernel manages.
    pub total: u64,
    /// What nobody uses.
    pub free: u64,
}

/// The machine's memory; on Linux that of Linux.
///
/// ```
/// let memory = osv::memory();
/// assert!(memory.free < memory.total);
/// ```
pub fn memory() -> Memory {
    let mut info = [0_u64; 14];
    // SAFETY: `info` is as large as a `struct sysinfo`, 112 bytes.
    if unsafe { call(number::SYSINFO, [info.as_mut_ptr().addr(), 0, 0, 0, 0, 0]) }.is_err() {
        return Memory::default();
    }
    let unit = (info[13] & 0xffff_ffff).max(1);
    Memory { total: info[4] * unit, free: info[5] * unit }
}

/// How many CPUs the program may use; on Linux, too.
///
/// ```
/// assert!(osv::cpus() >= 1);
/// ```
pub fn cpus() -> usize {
    let mut mask = [0_u64; 16];
    let size = core::mem::size_of_val(&mask);
    // SAFETY: the kernel writes at most `size` bytes.
    let written = unsafe { call(number::SCHED_GETAFFINITY, [0, size, mask.as_mut_ptr().addr(), 0, 0, 0]) };
    match written {
        Ok(_) => mask.iter().map(|word| word.count_ones() as usize).sum::<usize>().max(1),
        Err(_) => 1,
    }
}

/// The command line that the kernel was booted with; `None` on Linux.
///
/// ```
/// let line = osv::cmdline().expect("this is osv");
/// println!("{}", String::from_utf8_lossy(&line));
/// ```
pub fn cmdline() -> Option<Vec<u8>> {
    let mut line = if is_osv() { io::read("/proc/cmdline").ok()? } else { return None };
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Some(line)
}

/// Ends the VM at once, from any process, with an exit status. Nothing more of the program runs, and nobody else is
/// asked; what was written has reached the console. On Linux only this process ends.
///
/// ```no_run
/// osv::power_off(3);
/// ```
pub fn power_off(code: u8) -> ! {
    const MAGIC: usize = 0xfee1_dead;
    /// The kernel's own second magic number: the fourth argument is an exit status.
    const WITH_STATUS: usize = 0x006f_7376;
    const POWER_OFF: usize = 0x4321_fedc;
    if is_osv() {
        // SAFETY: the call takes numbers only.
        let _ = unsafe { call(number::REBOOT, [MAGIC, WITH_STATUS, POWER_OFF, usize::from(code), 0, 0]) };
    }
    exit(code)
}

/// Ends this process, and with the first one the VM.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: the call takes a number only.
        let _ = unsafe { call(number::EXIT_GROUP, [usize::from(code), 0, 0, 0, 0, 0]) };
    }
}

/// This process' number: 1 if its end is the end of the VM.
pub fn process_id() -> u32 {
    // SAFETY: the call takes nothing.
    unsafe { call(number::GETPID, [0; 6]) }.unwrap_or_default() as u32
}
