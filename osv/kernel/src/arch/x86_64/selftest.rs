//! Tests of the entries, on the machine itself: the feature `selftest` builds a kernel that runs these in place
//! of booting.
//!
//! The "programs" are small pieces of this kernel's text, run through the identity mapping of the boot page
//! tables, so that their RIP is in the lower half. The local APIC's timer and NMIs to itself interrupt them as
//! often as it goes. Everything is done in loops: an emulator takes interrupts only between blocks of code.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::frame::TrapFrame;
use super::syscall::call_handler;
use super::upcalls::{self, HandlerTable, SYSCALL_COUNT, SyscallEntry, SyscallHandler, SyscallTable, Upcalls};
use super::{Context, context, cpu, fpu, layout, percpu, usercopy, vector, work};
use crate::{kprintln, panic};

const STACK_SIZE: usize = 32 * 1024;

#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY:
// - each is used as one context's stack only.
unsafe impl Sync for Stack {}

impl Stack {
    const fn new() -> Self {
        Stack(UnsafeCell::new([0; STACK_SIZE]))
    }

    fn top(&self) -> u64 {
        self.0.get() as u64 + STACK_SIZE as u64
    }
}

static KERNEL_STACKS: [Stack; 2] = [const { Stack::new() }; 2];
static PROGRAM_STACKS: [Stack; 2] = [const { Stack::new() }; 2];

static MAIN: Context = Context::boot();
static PROGRAMS: [AtomicPtr<Context>; 2] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 2];
static ENTRIES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static EXIT_CODE: AtomicU64 = AtomicU64::new(0);

static TICKS_IN_PROGRAM: AtomicU32 = AtomicU32::new(0);
static TICKS_IN_KERNEL: AtomicU32 = AtomicU32::new(0);
static NMIS: AtomicU32 = AtomicU32::new(0);
static FAULTS: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);
static STEPS: AtomicU32 = AtomicU32::new(0);
static WORKED: AtomicU32 = AtomicU32::new(0);
/// What exception the program is expected to raise, and where it goes on.
static EXPECTED: AtomicU32 = AtomicU32::new(u32::MAX);

static SYSCALLS: SyscallTable = {
    let mut table = [call_handler as SyscallEntry; SYSCALL_COUNT];
    table[0] = null;
    table[1] = exit;
    table[2] = yield_to_other;
    table[5] = set_work;
    table[6] = clobber;
    table[SYSCALL_COUNT - 1] = out_of_range;
    table
};

static HANDLERS: HandlerTable = {
    let mut table = [unknown as SyscallHandler; SYSCALL_COUNT];
    table[3] = check_kept;
    table[4] = rewrite;
    table[7] = check_signal_state;
    table[8] = clobber_all;
    table
};

extern "win64" fn out_of_range(frame: &mut TrapFrame) -> u64 {
    unknown(frame)
}

extern "C" fn unknown(_: &mut TrapFrame) -> u64 {
    -38_i64 as u64
}

extern "win64" fn null(frame: &mut TrapFrame) -> u64 {
    frame.rdi + 1
}

extern "win64" fn exit(frame: &mut TrapFrame) -> u64 {
    cpu::disable_interrupts();
    EXIT_CODE.store(frame.rdi, Relaxed);
    // SAFETY:
    // - `MAIN` was left by `run`.
    unsafe { context::switch(&*percpu::current(), &MAIN) };
    unreachable!()
}

extern "win64" fn yield_to_other(frame: &mut TrapFrame) -> u64 {
    cpu::disable_interrupts();
    let other = PROGRAMS[1 - frame.rdi as usize].load(Relaxed);
    // SAFETY:
    // - the other program has been set up and does not run.
    unsafe { context::switch(&*percpu::current(), &*other) };
    cpu::enable_interrupts();
    0
}

extern "C" fn check_kept(frame: &mut TrapFrame) -> u64 {
    u64::from((0..16).all(|i| frame.xmm[i] == u128::from(PATTERN + i as u64)))
}

extern "C" fn rewrite(frame: &mut TrapFrame) -> u64 {
    frame.rbx = 0x1111;
    frame.rdi = 0x2222;
    frame.xmm[15] = 0x3333;
    set_own_work(work::FRAME_REWRITTEN);
    0x4444
}

extern "win64" fn set_work(_: &mut TrapFrame) -> u64 {
    set_own_work(work::SIGNAL);
    7
}

/// A leaf that uses every register it can.
extern "win64" fn clobber(frame: &mut TrapFrame) -> u64 {
    clobber_all(frame)
}

/// A handler that uses every register it can.
extern "C" fn clobber_all(frame: &mut TrapFrame) -> u64 {
    // SAFETY:
    // - as a call, this may change all that the C convention lets it.
    unsafe {
        core::arch::asm!(
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "pcmpeqd xmm\\i, xmm\\i",
            ".endr",
            "mov rsi, -1", "mov rdi, -1", "mov r12, -1", "mov r15, -1",
            out("rsi") _, out("rdi") _, out("r12") _, out("r15") _,
            clobber_abi("C"),
        );
    }
    frame.rdi
}

/// A signal frame's extended state: what goes in comes out, and what cannot be loaded is refused. 0 if all is well.
extern "C" fn check_signal_state(frame: &mut TrapFrame) -> u64 {
    let before = frame.xmm;
    let mut state = alloc::vec![0; fpu::signal_size()];
    fpu::save_for_signal(frame, &mut state);
    let is_reset = frame.xmm == [0; 16];
    let good = state.clone();
    let mut refused = 0;
    if super::features().xsave {
        for byte in 520..576 {
            state[byte] = 1;
            refused += u32::from(fpu::load_from_signal(frame, Some(&state)).is_err());
            state[byte] = 0;
        }
        state[512..520].fill(0xff);
    } else {
        refused = 56;
    }
    state[24..28].fill(0xff);
    let is_tamed = fpu::load_from_signal(frame, Some(&state)).is_ok();
    let is_short_refused = fpu::load_from_signal(frame, Some(&good[..100])).is_err();
    let is_loaded = fpu::load_from_signal(frame, Some(&good)).is_ok() && frame.xmm == before;
    set_own_work(work::FRAME_REWRITTEN);
    u64::from(!(is_reset && refused == 56 && is_tamed && is_short_refused && is_loaded))
}

fn set_own_work(bits: u32) {
    // SAFETY:
    // - the current context lives.
    unsafe { (*percpu::current()).work.fetch_or(bits, Relaxed) };
}

extern "C" fn return_to_program(frame: &mut TrapFrame) {
    WORKED.fetch_add(1, Relaxed);
    assert!(frame.from_user() && frame.rax == 7);
    // SAFETY:
    // - the current context lives.
    unsafe { (*percpu::current()).work.fetch_and(!work::SIGNAL, Relaxed) };
}

fn page_fault(frame: &mut TrapFrame, address: u64, error: u64) {
    FAULTS.fetch_add(1, Relaxed);
    if frame.rflags & cpu::RFLAGS_IF != 0 {
        cpu::enable_interrupts();
    }
    if DEPTH.fetch_add(1, Relaxed) < 4 {
        let mut byte = [0_u8; 40];
        // SAFETY:
        // - the target is valid, the source is nowhere.
        assert_eq!(unsafe { usercopy::copy_user(byte.as_mut_ptr(), 0x7000_0000_0000 as *const u8, 40) }, 40);
    }
    DEPTH.fetch_sub(1, Relaxed);
    if frame.from_user() {
        return expected(frame, vector::PAGE_FAULT);
    }
    match usercopy::fixup(frame.rip) {
        Some(landing) => frame.rip = landing,
        None => panic::crash(frame, format_args!("page fault at {address:#x} (error {error:#x})")),
    }
}

/// The program goes on at the address in its RBP.
fn expected(frame: &mut TrapFrame, vector: u8) {
    if EXPECTED.load(Relaxed) != u32::from(vector) {
        panic::crash(frame, format_args!("unexpected {}", vector::name(vector)));
    }
    frame.rip = frame.rbp;
}

fn exception(frame: &mut TrapFrame, vector: u8, error: u64) {
    if vector == vector::DEBUG {
        STEPS.fetch_add(1, Relaxed);
        return;
    }
    if !frame.from_user() {
        panic::crash(frame, format_args!("{} (error {error:#x})", vector::name(vector)));
    }
    expected(frame, vector);
}

fn interrupt(frame: &mut TrapFrame, vector: u8) {
    assert_eq!(vector, 0x40);
    let counter = if frame.from_user() { &TICKS_IN_PROGRAM } else { &TICKS_IN_KERNEL };
    counter.fetch_add(1, Relaxed);
    apic(0xb0, 0);
    if TICKS_IN_PROGRAM.load(Relaxed) % 16 == 3 {
        apic(0x300, 0x4_4400);
    }
}

fn nmi(_: &mut TrapFrame) {
    NMIS.fetch_add(1, Relaxed);
}

fn apic(register: u64, value: u32) {
    // SAFETY:
    // - the boot page tables map the local APIC, and nobody else uses it yet.
    unsafe { ((0xfee0_0000 + register) as *mut u32).write_volatile(value) };
}

extern "C" fn start_program(index: usize) -> ! {
    let stack = PROGRAM_STACKS[index].top() - layout::KERNEL_BASE - 256;
    let mut frame = TrapFrame::new(ENTRIES[index].load(Relaxed) - layout::KERNEL_BASE, stack);
    frame.rdi = index as u64;
    super::enter_program(&frame)
}

/// Runs programs until one exits; its code.
fn run(entries: &[unsafe extern "C" fn()]) -> u64 {
    for (index, entry) in entries.iter().enumerate() {
        ENTRIES[index].store(*entry as *const () as u64, Relaxed);
        let context = Context::new(KERNEL_STACKS[index].top(), start_program, index, true).expect("memory");
        PROGRAMS[index].store(alloc::boxed::Box::leak(alloc::boxed::Box::new(context)), Relaxed);
    }
    context::set_current(&MAIN);
    // SAFETY:
    // - interrupts are off, `MAIN` is current, the program is new.
    unsafe { context::switch(&MAIN, &*PROGRAMS[0].load(Relaxed)) };
    EXIT_CODE.load(Relaxed)
}

const PATTERN: u64 = 0x0123_4567_89ab_cd00;

/// Assembly: loads the pattern into xmm0 to xmm15.
macro_rules! load_pattern {
    () => {
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\nmov rax, {pattern} + \\i\nmovq xmm\\i, rax\n.endr"
    };
}

/// Assembly: adds to R15 what differs from the pattern.
macro_rules! check_pattern {
    () => {
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\nmov rax, {pattern} + \\i\nmovq rdx, xmm\\i\nsub rdx, rax\nor r15, rdx\n.endr"
    };
}

/// Checks red zone, flags and vector registers round after round; R15 is the result. Ends with `ret` in the
/// kernel, `exit` in a program.
macro_rules! interrupted_loop {
    ($name:ident, $($end:literal),*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "push r15", "push r14", "push rbx", "push rbp",
                "xor r15d, r15d",
                "mov r14d, 60000",
                load_pattern!(),
                "2:",
                ".set off, 8",
                ".rept 16",
                "lea rax, [r14 + off]",
                "mov [rsp - off], rax",
                ".set off, off + 8",
                ".endr",
                "std",
                "mov ecx, 20",
                "3:", "dec ecx", "jnz 3b",
                "pushfq", "add rsp, 8", // rewrites [rsp - 8] only
                "pop rax", "push rax",
                "mov rax, [rsp - 8]", "not eax", "and eax, 0x400", "or r15, rax",
                "cld",
                ".set off, 16",
                ".rept 15",
                "lea rax, [r14 + off]",
                "sub rax, [rsp - off]",
                "or r15, rax",
                ".set off, off + 8",
                ".endr",
                check_pattern!(),
                "dec r14",
                "jnz 2b",
                $($end,)*
                pattern = const PATTERN,
            )
        }
    };
}

interrupted_loop!(loop_in_program, "mov rdi, r15", "mov eax, 1", "syscall", "ud2");
interrupted_loop!(loop_in_kernel, "mov rax, r15", "pop rbp", "pop rbx", "pop r14", "pop r15", "ret");

/// System calls in a loop: all that must be kept is kept.
#[unsafe(naked)]
unsafe extern "C" fn syscalls() {
    naked_asm!(
        "xor r15d, r15d",
        "mov r14d, 20000",
        "mov rbx, 0x77", "mov rbp, 0x78", "mov r12, 0x79", "mov r13, 0x7a",
        "mov r8, 0x7b", "mov r9, 0x7c", "mov r10, 0x7d", "mov rsi, 0x7e",
        load_pattern!(),
        "2:",
        ".irp call, 0, 6, 8, 3, 5, 0x1234, 511",
        "mov edi, r14d",
        "mov edx, 0x7f",
        "mov eax, \\call",
        "stc",
        "syscall",
        "sbb ecx, ecx", "inc ecx", "or r15, rcx",
        "mov [rsp - 8], rax",
        "mov rax, r14", "sub rax, rdi", "or r15, rax",
        "sub rdx, 0x7f", "or r15, rdx",
        check_pattern!(),
        "mov rax, [rsp - 8]",
        ".if \\call == 0", "dec rax", "sub rax, r14", "or r15, rax", ".endif",
        ".if \\call == 6 || \\call == 8", "sub rax, r14", "or r15, rax", ".endif",
        ".if \\call == 3", "dec rax", "or r15, rax", ".endif",
        ".if \\call == 5", "sub rax, 7", "or r15, rax", ".endif",
        ".if \\call > 8", "add rax, 38", "or r15, rax", ".endif",
        ".endr",
        ".irp reg, rbx, rbp, r12, r13, r8, r9, r10, rsi",
        "lea rax, [\\reg - 0x77]", "cmp rax, 7", "seta al", "movzx eax, al", "or r15, rax",
        ".endr",
        "dec r14",
        "jnz 2b",
        "mov eax, 7", "syscall", "or r15, rax",
        check_pattern!(),
        // A frame that the kernel rewrites.
        "mov eax, 4",
        "syscall",
        "sub rax, 0x4444", "or r15, rax",
        "sub rbx, 0x1111", "or r15, rbx",
        "sub rdi, 0x2222", "or r15, rdi",
        "movq rax, xmm15", "sub rax, 0x3333", "or r15, rax",
        "mov rdi, r15", "mov eax, 1", "syscall", "ud2",
        pattern = const PATTERN,
    )
}

/// 1000 null calls the way libc makes them.
#[unsafe(naked)]
unsafe extern "C" fn null_calls() {
    naked_asm!(
        "lfence",
        "rdtsc",
        "shl rdx, 32",
        "lea r12, [rax + rdx]",
        "mov ebx, 1000",
        "2:",
        "mov edi, 0",
        "xor eax, eax",
        "call 3f",
        "dec ebx",
        "jnz 2b",
        "lfence",
        "rdtsc",
        "shl rdx, 32",
        "lea rdi, [rax + rdx]",
        "sub rdi, r12",
        "mov eax, 1",
        "syscall",
        "ud2",
        "3:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 4f",
        "ret",
        "4:",
        "ud2",
    )
}

/// Exceptions: each goes on at RBP.
macro_rules! faulting {
    ($name:ident, $($instruction:literal),*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!("lea rbp, [rip + 2f]", $($instruction,)* "ud2", "2:", "mov rdi, rsp", "mov eax, 1", "syscall", "ud2")
        }
    };
}

faulting!(breaks, "int3");
faulting!(divides, "xor ecx, ecx", "div ecx");
faulting!(undefined, "ud2");
faulting!(reads_nothing, "mov rax, 0x700000000000", "mov rax, [rax]");
faulting!(jumps_high, "mov rax, -16", "jmp rax");
faulting!(jumps_to_data, "mov rax, 0xffff9000deadbee0", "call rax");
faulting!(jumps_nowhere, "mov rax, 0x8000000000000000", "jmp rax");

/// Single-steps itself, over a system call, too.
#[unsafe(naked)]
unsafe extern "C" fn steps() {
    naked_asm!(
        "pushfq",
        "or qword ptr [rsp], 0x100",
        "popfq",
        "nop",
        "nop",
        "mov eax, 0",
        "syscall",
        "nop",
        "nop",
        "pushfq",
        "and qword ptr [rsp], -0x101",
        "popfq",
        "xor edi, edi",
        "mov eax, 1",
        "syscall",
        "ud2",
    )
}

/// Two of these take turns: FS, GS, vector and x87 state stay each one's own. RDI = which.
#[unsafe(naked)]
unsafe extern "C" fn takes_turns() {
    naked_asm!(
        "mov rbx, rdi",
        "xor r15d, r15d",
        "mov r14d, 3000",
        "lea rax, [rbx + 0x1000]",
        "wrfsbase rax",
        "lea rax, [rbx + 0x2000]",
        "wrgsbase rax",
        "lea rax, [rbx + 0x3000]",
        "movq xmm9, rax",
        "vinsertf128 ymm9, ymm9, xmm9, 1",
        "mov [rsp - 8], rbx",
        "fild qword ptr [rsp - 8]",
        "lea eax, [rbx * 8 + 0x1f80]",
        "mov [rsp - 4], eax",
        "and dword ptr [rsp - 4], 0x1f80",
        "ldmxcsr [rsp - 4]",
        "2:",
        "mov rdi, rbx",
        "mov eax, 2",
        "syscall",
        "rdfsbase rax",
        "sub rax, 0x1000",
        "sub rax, rbx",
        "or r15, rax",
        "rdgsbase rax",
        "sub rax, 0x2000",
        "sub rax, rbx",
        "or r15, rax",
        "vextractf128 xmm1, ymm9, 1",
        "movq rax, xmm1",
        "sub rax, 0x3000",
        "sub rax, rbx",
        "or r15, rax",
        "fist dword ptr [rsp - 8]",
        "mov eax, [rsp - 8]",
        "sub eax, ebx",
        "or r15, rax",
        "dec r14d",
        "jnz 2b",
        "mov rdi, r15",
        "mov eax, 1",
        "syscall",
        "ud2",
    )
}

/// Maps the first 4 GiB at 0 again, where the boot page tables had it.
fn map_identity() {
    unsafe extern "C" {
        static boot_pml4: u64;
    }
    // SAFETY:
    // - page tables are in the direct map, and the lower half has no other use yet;
    // - the tables that the boot page table's first entry leads to are never changed.
    unsafe {
        ((layout::DIRECT_MAP + cpu::page_table()) as *mut u64).write_volatile((&raw const boot_pml4).read_volatile())
    };
}

fn check(what: &str, is_good: bool) {
    kprintln!("selftest: {what}: {}", if is_good { "ok" } else { "FAILED" });
    if !is_good {
        panic!("selftest: {what}");
    }
}

fn check_exception(what: &str, vector: u8, program: unsafe extern "C" fn()) {
    EXPECTED.store(vector.into(), Relaxed);
    let rsp = run(&[program]);
    let low = PROGRAM_STACKS[0].0.get() as u64 - layout::KERNEL_BASE;
    check(what, rsp > low && rsp < low + STACK_SIZE as u64);
}

/// Runs all tests; panics if one fails. To be called with a heap, on the boot stack, before there are threads.
pub fn run_all(cmdline: &[u8]) {
    map_identity();
    // SAFETY:
    // - masks all lines of both legacy interrupt controllers.
    unsafe {
        cpu::outb(0x21, 0xff);
        cpu::outb(0xa1, 0xff);
    }
    let table = Upcalls {
        syscalls: Some(&SYSCALLS),
        handlers: Some(&HANDLERS),
        return_to_program,
        page_fault,
        exception,
        interrupt,
        nmi,
        ..Upcalls::NONE
    };
    // SAFETY:
    // - one CPU runs, with interrupts off.
    unsafe { upcalls::install(table) };

    if cmdline.windows(8).any(|word| word == b"overflow") {
        let stack = core::mem::ManuallyDrop::new(crate::mem::KernelStack::new().expect("memory"));
        let context = Context::new(stack.top(), overflow_stack, 0, false).expect("memory");
        // SAFETY:
        // - interrupts are off; the context is new, and this one never goes on.
        unsafe { context::switch(&MAIN, &context) };
    }

    kprintln!("selftest: a null call takes {} ps", run(&[null_calls]));
    check("system calls", run(&[syscalls]) == 0);
    check("work on the way back", WORKED.load(Relaxed) == 20000);

    check_exception("int3", vector::BREAKPOINT, breaks);
    check_exception("division by zero", vector::DIVIDE, divides);
    check_exception("undefined instruction", vector::INVALID_OPCODE, undefined);
    check_exception("read of nothing", vector::PAGE_FAULT, reads_nothing);
    check_exception("jump to the end of the address space", vector::PAGE_FAULT, jumps_high);
    check_exception("jump into the kernel's half", vector::PAGE_FAULT, jumps_to_data);
    check_exception("jump to an impossible address", vector::PROTECTION, jumps_nowhere);
    run(&[steps]);
    check("single steps", STEPS.load(Relaxed) >= 3);
    if super::features().fsgsbase && super::features().xcr0 & 4 != 0 {
        check("two programs in turns", run(&[takes_turns, takes_turns]) == 0);
    }

    // Local APIC: on, timer periodic on vector 0x40, divided by one.
    apic(0xf0, 0x1ff);
    apic(0x3e0, 0xb);
    apic(0x320, 0x2_0040);
    apic(0x380, 30_000);
    check("interrupted program", run(&[loop_in_program]) == 0);
    cpu::enable_interrupts();
    let result: u64;
    // SAFETY:
    // - the function keeps what C's convention wants kept.
    unsafe { core::arch::asm!("call {}", sym loop_in_kernel, out("rax") result, clobber_abi("C")) };
    check("interrupted kernel", result == 0);
    check("interrupted system calls", run(&[syscalls]) == 0);
    cpu::enable_interrupts();
    check_copies();
    cpu::disable_interrupts();
    apic(0x320, 0x1_0000);
    let (program, kernel, nmis) = (TICKS_IN_PROGRAM.load(Relaxed), TICKS_IN_KERNEL.load(Relaxed), NMIS.load(Relaxed));
    kprintln!("selftest: {program} ticks in programs, {kernel} in the kernel, {nmis} NMIs");
    check("interrupts came", program > 20 && kernel > 20 && nmis > 1);
    kprintln!("selftest: all good");
    super::power::debug_exit(0);
}

/// Copies that end at the end of what is mapped, in the midst of interrupts and nested faults.
fn check_copies() {
    let end = layout::BOOT_MAPPED;
    let mut buffer = [0_u8; 300];
    for readable in 0..200 {
        let from = (end - readable) as *const u8;
        // SAFETY:
        // - the target has room; the source may be unmapped.
        let left = unsafe { usercopy::copy_user(buffer.as_mut_ptr(), from, 300) };
        assert_eq!(left as u64, 300 - readable);
        // SAFETY:
        // - as above.
        let left = unsafe { usercopy::zero_user((0x7000_0000_0000_u64 + readable) as *mut u8, 300) };
        assert_eq!(left, 300);
    }
    // SAFETY:
    // - faults are what is tested.
    unsafe {
        assert_eq!(usercopy::copy_string(buffer.as_mut_ptr(), end as *const u8, 10), None);
        assert_eq!(<u64 as usercopy::UserInt>::read_user((end - 4) as *const u64), None);
        assert_eq!(usercopy::compare_exchange_user(end as *mut u32, 0, 1), None);
        assert_eq!(usercopy::add_user(end as *mut u32, 1), None);
    }
    check("copies from nowhere", FAULTS.load(Relaxed) > 400);
}

extern "C" fn overflow_stack(_: usize) -> ! {
    panic!("{}", overflow(1))
}

/// Uses up the stack, to see the last words.
#[allow(unconditional_recursion)]
fn overflow(depth: u64) -> u64 {
    let page = core::hint::black_box([depth; 64]);
    overflow(depth + 1) + page[3]
}
