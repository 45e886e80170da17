//! GDT, task state and interrupt table.
//!
//! Kernel and programs share one code and one data segment of ring 0, the same as at boot. The task state only
//! names the interrupt stacks: every vector has one, because the kernel is compiled with a red zone below its
//! stack pointer. The interrupt table is the same for all CPUs.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::size_of;

use super::percpu::InterruptStacks;
use super::{trap, vector};

/// Where the task state stands in the GDT.
const TSS_SELECTOR: u16 = 0x18;

/// A CPU's GDT and task state.
#[repr(C, align(16))]
pub(super) struct Descriptors {
    gdt: [u64; 5],
    tss: TaskState,
}

/// The 64-bit task state segment.
#[repr(C, packed(4))]
struct TaskState {
    reserved_0: u32,
    ring_stacks: [u64; 3],
    reserved_1: u64,
    interrupt_stacks: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    io_bitmap: u16,
}

/// What `lgdt` and `lidt` read.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

impl Descriptors {
    pub(super) const fn new() -> Self {
        Descriptors {
            gdt: [0; 5],
            tss: TaskState {
                reserved_0: 0,
                ring_stacks: [0; 3],
                reserved_1: 0,
                interrupt_stacks: [0; 7],
                reserved_2: 0,
                reserved_3: 0,
                io_bitmap: 0,
            },
        }
    }

    /// Fills in segments and task state.
    pub(super) fn prepare(&mut self, stacks: &InterruptStacks) {
        self.gdt[1] = 0x00af_9b00_0000_ffff;
        self.gdt[2] = 0x00cf_9300_0000_ffff;
        self.tss.io_bitmap = size_of::<TaskState>() as u16;
        let mut tops = [0; 7];
        tops[..4].copy_from_slice(&stacks.tops());
        self.tss.interrupt_stacks = tops;
        let base = &raw const self.tss as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        let available_tss = 0x89 << 40;
        self.gdt[3] = limit | (base & 0xff_ffff) << 16 | available_tss | (base >> 24 & 0xff) << 56;
        self.gdt[4] = base >> 32;
    }

    /// Makes the tables those of this CPU.
    ///
    /// # Safety
    /// - [`Self::prepare`] was called, on this place in memory.
    pub(super) unsafe fn load(&'static self) {
        let gdt = TablePointer { limit: size_of::<[u64; 5]>() as u16 - 1, base: self.gdt.as_ptr() as u64 };
        let idt = TablePointer { limit: size_of::<[Gate; 256]>() as u16 - 1, base: IDT.0.get() as u64 };
        // SAFETY:
        // - both tables live for ever, and segments 1 and 2 are those in use;
        // - the CPU marks the task state busy in a GDT that is this CPU's alone.
        unsafe {
            asm!("lgdt [{gdt}]", "lidt [{idt}]", "ltr {tss:x}",
                gdt = in(reg) &raw const gdt, idt = in(reg) &raw const idt, tss = in(reg) TSS_SELECTOR,
                options(nostack, preserves_flags));
        }
    }
}

/// An interrupt gate.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u64,
    high: u64,
}

/// The interrupt table of all CPUs.
#[repr(C, align(16))]
struct InterruptTable(UnsafeCell<[Gate; 256]>);

// SAFETY:
// - written by the boot CPU in `fill`, before it loads it; later only CPUs read it.
unsafe impl Sync for InterruptTable {}

static IDT: InterruptTable = InterruptTable(UnsafeCell::new([Gate { low: 0, high: 0 }; 256]));

/// The interrupt stack that vectors arrive on, numbered from 1, in a gate.
const USUAL_STACK: u64 = 1 << 32;

/// Vectors that arrive on another one.
const OTHER_STACKS: [(u8, u64); 4] =
    [(vector::DEBUG, 2), (vector::DOUBLE_FAULT, 3), (vector::MACHINE_CHECK, 3), (vector::NMI, 4)];

/// Fills the interrupt table: every vector leads to its stub, with interrupts off.
///
/// # Safety
/// - To be called once, by the boot CPU, before it loads the table.
pub(super) unsafe fn fill_interrupt_table() {
    const INTERRUPT_GATE: u64 = 0x8e << 40;
    const CODE: u64 = 0x08 << 16;
    // SAFETY:
    // - nobody reads the table yet.
    let table = unsafe { &mut *IDT.0.get() };
    let mut address = trap::stub(0);
    for gate in table.iter_mut() {
        let low = address & 0xffff | CODE | USUAL_STACK | INTERRUPT_GATE | (address & 0xffff_0000) << 32;
        *gate = Gate { low, high: address >> 32 };
        address += trap::STUB_SIZE;
    }
    for (vector, stack) in OTHER_STACKS {
        let gate = &mut table[usize::from(vector)];
        gate.low = gate.low & !(7 << 32) | stack << 32;
    }
}
