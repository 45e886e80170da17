//! [`Context`]: what the CPU needs to run a thread, and the switch from one to another.
//!
//! A switch is a function call that returns on another stack. Kernel threads are just that. Programs have more:
//! FS and GS bases and the extended state (x87, vector registers), which the kernel itself never touches but for
//! the lower halves of the vector registers, and these are in frames on the kernel stack by then. So it is enough
//! to save extended state when a program's thread is switched away from, and to load it where another thread's is
//! in the registers.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::fpu::ExtendedState;
use super::frame::{ENTRY_SIZE, TrapFrame};
use super::upcalls::{SYSCALL_COUNT, SyscallTable, UPCALLS, Upcalls};
use super::{IrqGuard, percpu, segment};
use crate::errno::Result;

/// Bits of [`Context::work`]: what to do before the program goes on.
pub mod work {
    /// Another thread should run.
    pub const RESCHED: u32 = 1 << 0;
    /// A signal may have to be delivered.
    pub const SIGNAL: u32 = 1 << 1;
    /// The current frame was changed as a whole: all of its registers are loaded from it. Cleared by arch itself.
    pub const FRAME_REWRITTEN: u32 = 1 << 2;
    /// First bit that is free for the floors above.
    pub const FIRST_FREE: u32 = 1 << 8;
}

/// A thread, as the CPU sees it.
#[repr(C)]
pub struct Context {
    /// What is to be done before the program goes on: see [`work`].
    pub work: AtomicU32,
    /// The CPU whose registers hold this context's extended state if that CPU says so, too.
    fpu_cpu: AtomicU32,
    saved_rsp: AtomicU64,
    entry_rsp: u64,
    /// The handlers of its program's system calls.
    syscalls: AtomicPtr<SyscallTable>,
    /// Numbers below this may come through the [`gate`](super::gate), past `syscalls`.
    gate_limit: AtomicU64,
    fs_base: AtomicU64,
    gs_base: AtomicU64,
    /// Programs' extended state while they do not run; `None` for kernel threads.
    extended: Option<UnsafeCell<ExtendedState>>,
}

// SAFETY:
// - `extended` is touched by the CPU that runs or switches the context, with interrupts off, or by whoever has a
//   context that was never run.
unsafe impl Sync for Context {}
// SAFETY:
// - nothing in it belongs to a CPU.
unsafe impl Send for Context {}

/// Offset of `work`, for assembly.
pub(super) const WORK: usize = offset_of!(Context, work);

/// Offset of `syscalls`, for assembly.
pub(super) const SYSCALLS: usize = offset_of!(Context, syscalls);

/// Offset of `gate_limit`, for assembly.
pub(super) const GATE_LIMIT: usize = offset_of!(Context, gate_limit);

/// What the gate may let through past this table: all that has a handler, unless the table watches calls.
fn gate_limit(table: Option<&'static SyscallTable>) -> u64 {
    let upcalls = super::upcalls::get();
    match (table, upcalls.syscalls) {
        (Some(table), Some(first)) if upcalls.has_gate && ptr::eq(table, first) => SYSCALL_COUNT as u64 - 1,
        _ => 0,
    }
}

fn table_pointer(table: Option<&'static SyscallTable>) -> AtomicPtr<SyscallTable> {
    AtomicPtr::new(table.map_or(ptr::null_mut(), |table| ptr::from_ref(table).cast_mut()))
}

/// No CPU.
const NOWHERE: u32 = u32::MAX;

impl Context {
    /// A context that begins in `entry` at the top of a kernel stack, with interrupts off until `thread_start`
    /// (an upcall) turns them on. One that will run a program has room for the program's state.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(stack_top: u64, entry: extern "C" fn(usize) -> !, argument: usize, is_user: bool) -> Result<Context> {
        let extended = if is_user { Some(UnsafeCell::new(ExtendedState::new()?)) } else { None };
        let entry_rsp = stack_top - ENTRY_SIZE as u64;
        // What `switch_stacks` pops: r15, r14, r13, r12, rbx, rbp, return address.
        let initial = [0, 0, 0, argument as u64, entry as *const () as u64, 0, context_start as *const () as u64];
        let saved_rsp = entry_rsp - size_of_val(&initial) as u64;
        // SAFETY:
        // - the caller gives the top of a mapped stack that nobody uses.
        unsafe { (saved_rsp as *mut [u64; 7]).write(initial) };
        Ok(Context {
            work: AtomicU32::new(0),
            fpu_cpu: AtomicU32::new(NOWHERE),
            saved_rsp: AtomicU64::new(saved_rsp),
            entry_rsp,
            syscalls: table_pointer(super::upcalls::get().syscalls),
            gate_limit: AtomicU64::new(gate_limit(super::upcalls::get().syscalls)),
            fs_base: AtomicU64::new(0),
            gs_base: AtomicU64::new(0),
            extended,
        })
    }

    /// The context of the code that boots a CPU, until it has a thread.
    pub(super) const fn boot() -> Context {
        Context {
            work: AtomicU32::new(0),
            fpu_cpu: AtomicU32::new(NOWHERE),
            saved_rsp: AtomicU64::new(0),
            entry_rsp: 0,
            syscalls: AtomicPtr::new(ptr::null_mut()),
            gate_limit: AtomicU64::new(0),
            fs_base: AtomicU64::new(0),
            gs_base: AtomicU64::new(0),
            extended: None,
        }
    }

    /// Has its program's next system calls handled by `table`.
    pub fn set_syscalls(&self, table: &'static SyscallTable) {
        self.syscalls.store(ptr::from_ref(table).cast_mut(), Relaxed);
        self.gate_limit.store(gate_limit(Some(table)), Relaxed);
    }

    /// The current frame, somewhere in a system call: every register is loaded from it when the program goes on.
    ///
    /// What a system call leaves to the kernel gets the values that Linux shows.
    pub fn complete(&self, frame: &mut TrapFrame) {
        frame.rcx = frame.rip;
        frame.r11 = frame.rflags;
        self.work.fetch_or(work::FRAME_REWRITTEN, Relaxed);
    }

    /// Has its program's system calls handled as those of the current program.
    pub fn inherit_syscalls(&self) {
        // SAFETY:
        // - in the kernel on a CPU that is up there is a current context.
        let current = unsafe { &*percpu::current() };
        self.syscalls.store(current.syscalls.load(Relaxed), Relaxed);
        self.gate_limit.store(current.gate_limit.load(Relaxed), Relaxed);
    }

    /// Where RSP points in a system call.
    #[inline(always)]
    pub(super) fn entry_rsp(&self) -> u64 {
        self.entry_rsp
    }

    /// Whether it runs a program.
    pub fn is_user(&self) -> bool {
        self.extended.is_some()
    }

    /// The frame of the program's last entry into the kernel, at the top of the kernel stack.
    ///
    /// # Safety
    /// - The context is a program's that has been in its program;
    /// - the program does not run, and nobody else uses the frame.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn frame(&self) -> &mut TrapFrame {
        // SAFETY:
        // - the caller vouches for all of it.
        unsafe { &mut *((self.entry_rsp + super::frame::SHADOW as u64) as *mut TrapFrame) }
    }

    /// Whether the program, which does not run, is in a system call, not at a fault or interrupt.
    #[inline]
    pub fn is_in_call(&self) -> bool {
        let frame = (self.entry_rsp + super::frame::SHADOW as u64) as *const TrapFrame;
        // SAFETY:
        // - the top of a kernel stack is reserved for a frame, which the thread, since it does not run, leaves alone.
        self.is_user() && unsafe { (&raw const (*frame).orig_rax).read() } != u64::MAX
    }

    /// Gives a context that has not run yet the FS and GS bases and the extended state of the current program,
    /// whose frame (complete) is given.
    pub fn inherit(&self, frame: &TrapFrame) {
        self.fs_base.store(fs_base(), Relaxed);
        self.gs_base.store(gs_base(), Relaxed);
        if let Some(extended) = &self.extended {
            // SAFETY:
            // - nobody else knows a context that has not run.
            unsafe { &mut *extended.get() }.save(Some(frame));
        }
    }

    /// Sets the FS base that a context that has not run yet begins with, if it is an address.
    pub fn set_initial_fs_base(&self, base: u64) {
        if segment::is_canonical(base) {
            self.fs_base.store(base, Relaxed);
        }
    }

    /// Runs `act` on the current program's extended state, saved to memory; loads it again from there after that.
    /// The frame's xmm registers are part of it both ways.
    pub(super) fn with_extended<R>(
        &self,
        frame: &mut TrapFrame,
        act: impl FnOnce(&mut ExtendedState) -> R,
    ) -> Option<R> {
        let extended = self.extended.as_ref()?;
        let _irq = IrqGuard::new();
        // SAFETY:
        // - this is the current context, and interrupts are off.
        let extended = unsafe { &mut *extended.get() };
        extended.save(Some(frame));
        let result = act(extended);
        extended.load(Some(frame));
        Some(result)
    }

    /// Saves what a program has in registers that the kernel leaves alone.
    #[inline]
    fn leave(&self) {
        let Some(extended) = &self.extended else { return };
        self.fs_base.store(segment::read_fs_base(), Relaxed);
        self.gs_base.store(segment::read_program_gs_base(), Relaxed);
        // SAFETY:
        // - this is the current context, and interrupts are off.
        unsafe { &mut *extended.get() }.save(None);
        let this = percpu::this();
        this.fpu_owner.store(ptr::from_ref(self).cast_mut(), Relaxed);
        self.fpu_cpu.store(this.cpu_id() as u32, Relaxed);
    }

    /// Loads what a program has in registers that the kernel leaves alone.
    #[inline]
    fn enter(&self) {
        let Some(extended) = &self.extended else { return };
        // SAFETY:
        // - both came from the CPU's registers or were checked by `set_initial_fs_base`, so they are canonical.
        unsafe {
            segment::load_fs_base(self.fs_base.load(Relaxed));
            segment::load_program_gs_base(self.gs_base.load(Relaxed));
        }
        let this = percpu::this();
        let still_here =
            ptr::eq(this.fpu_owner.load(Relaxed), self) && self.fpu_cpu.load(Relaxed) == this.cpu_id() as u32;
        if !still_here {
            // SAFETY:
            // - the context has been left by every CPU, and interrupts are off.
            unsafe { &mut *extended.get() }.load(None);
            this.fpu_owner.store(ptr::null_mut(), Relaxed);
        }
    }
}

impl Context {
    /// Where it goes on when it runs again, and the frame pointer there. Only to show it: a context that was switched
    /// to in the meantime gives a place that it has left.
    pub fn where_it_waits(&self) -> Option<(u64, u64)> {
        let rsp = self.saved_rsp.load(Relaxed);
        if rsp < crate::mem::layout::DIRECT_MAP || !rsp.is_multiple_of(8) {
            return None;
        }
        // SAFETY:
        // - `switch_stacks` left six registers and its return address there, RBP being the first that it pushed;
        // - the stack stays mapped as long as the thread that owns this context.
        let [frame_pointer, rip] = unsafe { ((rsp + 40) as *const [u64; 2]).read_volatile() };
        Some((rip, frame_pointer))
    }
}

/// Makes `context` the current one without a switch: for code that has booted a CPU and becomes a thread.
pub fn set_current(context: &'static Context) {
    percpu::this().set_current(context);
}

/// Leaves the stack of `previous`, the current context, for that of `next`. Returns when `previous` runs again,
/// on whatever CPU.
///
/// # Safety
/// - Interrupts are off.
/// - `previous` is current; `next` runs nowhere, and lives as long as it is current or saved.
#[inline]
pub unsafe fn switch(previous: &Context, next: &Context) {
    previous.leave();
    next.enter();
    percpu::this().set_current(next);
    // SAFETY:
    // - `next`'s stack was left by this very function, or prepared by `Context::new`.
    unsafe { switch_stacks(previous.saved_rsp.as_ptr(), next.saved_rsp.load(Relaxed)) };
}

/// Saves what a function must preserve on this stack, and takes it from the other.
#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(save_rsp: *mut u64, rsp: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Where a new context begins: RBX = entry function, R12 = its argument.
#[unsafe(naked)]
unsafe extern "C" fn context_start() {
    naked_asm!(
        "call [rip + {upcalls} + {thread_start}]",
        "mov rdi, r12",
        "xor ebp, ebp",
        "call rbx",
        "ud2",
        upcalls = sym UPCALLS,
        thread_start = const offset_of!(Upcalls, thread_start),
    )
}

/// A copy of the registers with which the current program entered the kernel; of those that system calls leave alone, what
/// is known.
pub fn last_frame() -> TrapFrame {
    // SAFETY:
    // - in the kernel on a CPU that is up there is a current context, and the top of a program's kernel stack is a frame.
    unsafe { (*percpu::current()).frame().clone() }
}

/// The FS base of the current program.
pub fn fs_base() -> u64 {
    segment::read_fs_base()
}

/// Sets the FS base of the current program: an address of the lower half.
pub fn set_fs_base(base: u64) {
    segment::write_fs_base(base);
}

/// The GS base of the current program.
pub fn gs_base() -> u64 {
    let _irq = IrqGuard::new();
    segment::read_program_gs_base()
}

/// Sets the GS base of the current program: an address of the lower half.
pub fn set_gs_base(base: u64) {
    let _irq = IrqGuard::new();
    segment::write_program_gs_base(base);
}
