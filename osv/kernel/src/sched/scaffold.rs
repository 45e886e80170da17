//! Stand-ins for what the floors below are about to land; goes away with them.
#![allow(missing_docs, clippy::all)]
pub mod arch {
    use crate::errno::Result;
    use core::sync::atomic::AtomicU32;
    #[repr(C)]
    pub struct Context {
        pub work: AtomicU32,
    }
    impl Context {
        pub fn new(_top: u64, _entry: extern "C" fn(usize) -> !, _arg: usize, _is_user: bool) -> Result<Context> {
            Ok(Context { work: AtomicU32::new(0) })
        }
    }
    pub mod work {
        pub const RESCHED: u32 = 1;
        pub const SIGNAL: u32 = 2;
    }
    pub fn cpu_id() -> usize {
        0
    }
    pub fn current() -> *const Context {
        unimplemented!()
    }
    pub fn set_current(_: &Context) {}
    pub unsafe fn switch(_: &Context, _: &Context) {}
    pub fn enable_interrupts() {}
    pub fn disable_interrupts() {}
    pub fn enable_interrupts_and_halt() {}
    pub use crate::arch::IrqGuard;
}
pub struct KernelStack;
impl KernelStack {
    pub fn new() -> crate::errno::Result<Self> {
        Ok(KernelStack)
    }
    pub fn top(&self) -> u64 {
        0
    }
}
#[derive(Default)]
pub struct TrapFrame {
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub r10: u64,
    pub r8: u64,
    pub r9: u64,
    pub rax: u64,
    pub orig_rax: u64,
}
