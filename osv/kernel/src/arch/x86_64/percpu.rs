//! What each CPU has for itself, reached through GS.
//!
//! In the kernel GS leads to this CPU's [`PerCpu`], in a program to whatever the program likes; the entries swap
//! the two. A field is read by one instruction relative to GS, so that it is right even if the thread moves to
//! another CPU just after. The CPU's descriptor tables and the stacks on which interrupts arrive follow in the
//! same [`CpuArea`].

use alloc::alloc::{Layout, alloc_zeroed};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::{offset_of, size_of};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::context::Context;
use super::{cpu, descriptors::Descriptors, msr};
use crate::errno::{Errno, Result};

/// CPUs that the kernel can use.
pub const MAX_CPUS: usize = 64;

/// A CPU's own data. Assembly knows the first fields by their offsets.
#[repr(C)]
pub struct PerCpu {
    this: *const PerCpu,
    /// The context that runs.
    current: AtomicPtr<Context>,
    /// Where RSP points in a system call: below the frame at the top of the current thread's kernel stack.
    pub(super) entry_rsp: AtomicU64,
    /// The program's RSP for the first instructions of a system call.
    scratch: u64,
    cpu_id: usize,
    apic_id: u32,
    /// The context whose extended state is still in this CPU's registers.
    pub(super) fpu_owner: AtomicPtr<Context>,
    /// For the floors above: a pointer each, see [`slot`].
    slots: [AtomicPtr<()>; SLOT_COUNT],
}

/// Slots of [`slot`].
const SLOT_COUNT: usize = 8;

pub(super) const CURRENT: usize = offset_of!(PerCpu, current);
pub(super) const ENTRY_RSP: usize = offset_of!(PerCpu, entry_rsp);
pub(super) const SCRATCH: usize = offset_of!(PerCpu, scratch);
const CPU_ID: usize = offset_of!(PerCpu, cpu_id);
const SLOTS: usize = offset_of!(PerCpu, slots);

/// A CPU's own memory: [`PerCpu`], descriptor tables and interrupt stacks.
#[repr(C, align(64))]
pub(super) struct CpuArea {
    per_cpu: PerCpu,
    descriptors: Descriptors,
    stacks: InterruptStacks,
}

/// The stacks on which the CPU delivers interrupts and exceptions. All but the last are left at once.
#[repr(C, align(64))]
pub(super) struct InterruptStacks {
    /// What the entry code copies away before anything else can arrive, and last words of a kernel stack that
    /// overflowed.
    common: [u8; 8192],
    /// Debug exceptions, which can hit the entry code itself.
    debug: [u8; 1024],
    /// Double faults and machine checks, which are the end.
    fatal: [u8; 8192],
    /// Non-maskable interrupts, which can hit any of the above.
    nmi: [u8; 8192],
}

impl InterruptStacks {
    /// The tops, in the order of the interrupt stack table.
    pub(super) fn tops(&self) -> [u64; 4] {
        [&self.common[..], &self.debug[..], &self.fatal[..], &self.nmi[..]].map(|stack| stack.as_ptr_range().end as u64)
    }
}

impl CpuArea {
    pub(super) const fn new() -> Self {
        CpuArea {
            per_cpu: PerCpu {
                this: ptr::null(),
                current: AtomicPtr::new(ptr::null_mut()),
                entry_rsp: AtomicU64::new(0),
                scratch: 0,
                cpu_id: 0,
                apic_id: 0,
                fpu_owner: AtomicPtr::new(ptr::null_mut()),
                slots: [const { AtomicPtr::new(ptr::null_mut()) }; SLOT_COUNT],
            },
            descriptors: Descriptors::new(),
            stacks: InterruptStacks { common: [0; 8192], debug: [0; 1024], fatal: [0; 8192], nmi: [0; 8192] },
        }
    }

    /// The area of another CPU, ready to be loaded; it is never freed.
    ///
    /// # Errors
    /// ENOMEM.
    pub(super) fn allocate(cpu_id: usize, apic_id: u32, boot_context: *const Context) -> Result<*mut CpuArea> {
        // SAFETY:
        // - the type is not empty.
        let area = unsafe { alloc_zeroed(Layout::new::<CpuArea>()) }.cast::<CpuArea>();
        if area.is_null() {
            return Err(Errno::ENOMEM);
        }
        // SAFETY:
        // - an area of zeros is valid: it has integers and pointers only, and nobody else knows it yet.
        unsafe { (*area).prepare(cpu_id, apic_id, boot_context) };
        Ok(area)
    }

    /// Fills in what is known when the CPU's place in memory is.
    pub(super) fn prepare(&mut self, cpu_id: usize, apic_id: u32, boot_context: *const Context) {
        self.per_cpu.this = &raw const self.per_cpu;
        self.per_cpu.cpu_id = cpu_id;
        self.per_cpu.apic_id = apic_id;
        self.per_cpu.current = AtomicPtr::new(boot_context.cast_mut());
        self.descriptors.prepare(&self.stacks);
    }

    /// Makes this the area of the CPU that calls.
    ///
    /// # Safety
    /// - [`Self::prepare`] was called, the area never moves again, and no other CPU uses it.
    pub(super) unsafe fn load(&'static self) {
        // SAFETY:
        // - the tables are complete and stay where they are;
        // - all 64-bit CPUs have these MSRs; a zero for programs is what they start with.
        unsafe {
            self.descriptors.load();
            cpu::wrmsr(msr::GS_BASE, &raw const self.per_cpu as u64);
            cpu::wrmsr(msr::KERNEL_GS_BASE, 0);
        }
    }
}

/// The boot CPU's area: it is needed before there is a heap.
pub(super) struct BootArea(pub(super) UnsafeCell<CpuArea>);

// SAFETY:
// - only the boot CPU touches it, and mutates it once, in `start`.
unsafe impl Sync for BootArea {}

pub(super) static BOOT_AREA: BootArea = BootArea(UnsafeCell::new(CpuArea::new()));

const _: () = assert!(size_of::<CpuArea>() < 32 * 1024);

/// This CPU's own data. The reference is good for as long as the thread stays on the CPU.
#[inline(always)]
pub(super) fn this() -> &'static PerCpu {
    let this: *const PerCpu;
    // SAFETY:
    // - in the kernel GS leads to a `PerCpu`, whose first field is its own address and which lives for ever.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) this, options(nostack, preserves_flags, readonly));
        &*this
    }
}

impl PerCpu {
    /// Makes `context` the one that runs.
    #[inline(always)]
    pub(super) fn set_current(&self, context: &Context) {
        self.current.store(ptr::from_ref(context).cast_mut(), Ordering::Relaxed);
        self.entry_rsp.store(context.entry_rsp(), Ordering::Relaxed);
    }

    pub(super) fn cpu_id(&self) -> usize {
        self.cpu_id
    }
}

/// The number of this CPU, from 0; the boot CPU is 0.
#[inline(always)]
pub fn cpu_id() -> usize {
    if cfg!(test) {
        return 0;
    }
    let id;
    // SAFETY:
    // - in the kernel GS leads to a `PerCpu`.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) id, offset = const CPU_ID,
            options(nostack, preserves_flags, readonly));
    }
    id
}

/// The local APIC's number of this CPU, as the code that started the CPU knows it; 0 on the boot CPU until it is
/// told.
pub fn apic_id() -> u32 {
    this().apic_id
}

/// The context that runs on this CPU.
#[inline(always)]
pub fn current() -> *const Context {
    let context;
    // SAFETY:
    // - in the kernel GS leads to a `PerCpu`.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) context, offset = const CURRENT,
            options(nostack, preserves_flags, readonly));
    }
    context
}

/// This CPU's pointer number `SLOT`, for a floor above to keep its own data in; null at first.
#[inline(always)]
pub fn slot<const SLOT: usize>() -> *mut () {
    const { assert!(SLOT < SLOT_COUNT) };
    let value;
    // SAFETY:
    // - in the kernel GS leads to a `PerCpu`.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) value, offset = const SLOTS + 8 * SLOT,
            options(nostack, preserves_flags, readonly));
    }
    value
}

/// Sets this CPU's pointer number `SLOT`.
pub fn set_slot<const SLOT: usize>(value: *mut ()) {
    const { assert!(SLOT < SLOT_COUNT) };
    this().slots[SLOT].store(value, Ordering::Relaxed);
}
