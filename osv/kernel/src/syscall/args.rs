//! Typed arguments: how a register becomes a value, and how a trace shows it.
//!
//! A handler is an ordinary function of up to six [`Argument`]s. [`Handler`] is implemented for all of them, so
//! that a line of the table needs no more than the function's name. The compiler inlines the decoding: a call
//! costs one indirect jump.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use super::{Call, Show, SysResult};
use crate::arch::{TrapFrame, work};
use crate::errno::{Errno, Result};
use crate::mem::user::{UserAddr, UserPtr};
use crate::sched;

/// A value that travels in one register.
pub trait Argument: Sized {
    /// The value, or the error of the whole call.
    fn from_register(register: u64) -> Result<Self>;

    /// Prints the register as `strace` would.
    fn show(register: u64, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{register:#x}")
    }
}

/// The number of an open file in its process' table. Not checked in any way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fd(pub i32);

impl Argument for Fd {
    #[inline(always)]
    fn from_register(register: u64) -> Result<Self> {
        Ok(Fd(register as i32))
    }

    fn show(register: u64, out: &mut dyn Write) -> fmt::Result {
        match register as i32 {
            linux_raw_sys::general::AT_FDCWD => out.write_str("AT_FDCWD"),
            fd => write!(out, "{fd}"),
        }
    }
}

macro_rules! integer_arguments {
    ($($type:ty, $format:literal;)*) => {$(
        impl Argument for $type {
            #[inline(always)]
            fn from_register(register: u64) -> Result<Self> {
                Ok(register as $type)
            }

            fn show(register: u64, out: &mut dyn Write) -> fmt::Result {
                write!(out, $format, register as $type)
            }
        }
    )*};
}

integer_arguments! {
    i32, "{}"; i64, "{}"; u16, "{:#o}"; u32, "{:#x}"; u64, "{:#x}"; usize, "{}";
}

impl Argument for UserAddr {
    #[inline(always)]
    fn from_register(register: u64) -> Result<Self> {
        Ok(UserAddr(register))
    }
}

impl<T> Argument for UserPtr<T> {
    #[inline(always)]
    fn from_register(register: u64) -> Result<Self> {
        Ok(UserPtr::new(register))
    }

    fn show(register: u64, out: &mut dyn Write) -> fmt::Result {
        if register == 0 { out.write_str("NULL") } else { write!(out, "{register:#x}") }
    }
}

/// A function that can stand in the table: any of up to six arguments.
pub trait Handler<Arguments> {
    /// Decodes the registers of `frame` and calls the function.
    fn call(self, frame: &mut TrapFrame) -> SysResult;
    /// How each of its arguments is shown.
    const SHOWS: &'static [Show];
}

/// Marks the arguments of a handler that takes the whole frame before them: a call that copies or replaces registers.
pub struct Framed<Arguments>(core::marker::PhantomData<Arguments>);

macro_rules! handlers {
    ($(($($argument:ident $register:ident),*))*) => {$(
        impl<Function, $($argument: Argument),*> Handler<($($argument,)*)> for Function
        where
            Function: FnOnce($($argument),*) -> SysResult,
        {
            #[inline(always)]
            fn call(self, _frame: &mut TrapFrame) -> SysResult {
                self($($argument::from_register(_frame.$register)?),*)
            }

            const SHOWS: &'static [Show] = &[$($argument::show),*];
        }

        impl<Function, $($argument: Argument),*> Handler<Framed<($($argument,)*)>> for Function
        where
            Function: FnOnce(&mut TrapFrame $(, $argument)*) -> SysResult,
        {
            #[inline(always)]
            #[allow(non_snake_case)]
            fn call(self, frame: &mut TrapFrame) -> SysResult {
                if frame.is_by_gate() {
                    return by_instruction();
                }
                $(let $argument = $argument::from_register(frame.$register)?;)*
                self(frame $(, $argument)*)
            }

            const SHOWS: &'static [Show] = &[$($argument::show),*];
        }
    )*};
}

handlers! {
    ()
    (A rdi)
    (A rdi, B rsi)
    (A rdi, B rsi, C rdx)
    (A rdi, B rsi, C rdx, D r10)
    (A rdi, B rsi, C rdx, D r10, E r8)
    (A rdi, B rsi, C rdx, D r10, E r8, F r9)
}

/// Has the program make its call again by the `syscall` instruction, whose frame is complete: as if a signal without a
/// handler had interrupted it.
#[cold]
fn by_instruction() -> SysResult {
    sched::current().context.work.fetch_or(work::SIGNAL, Ordering::SeqCst);
    Err(Errno::ERESTARTNOINTR)
}

/// Calls `handler` with the registers of `frame`; the value is what goes into `rax`.
#[inline(always)]
pub(super) fn invoke<Arguments, H: Handler<Arguments>>(handler: H, frame: &mut TrapFrame) -> u64 {
    match handler.call(frame) {
        Ok(value) => value,
        Err(errno) => errno.to_rax(),
    }
}

/// How the arguments of `handler` are shown.
pub(super) const fn shows<Arguments, H: Handler<Arguments>>(_handler: &H) -> &'static [Show] {
    H::SHOWS
}

impl Call {
    /// Prints the arguments that `frame` has for it, with commas between.
    pub(super) fn show(&self, frame: &TrapFrame, out: &mut dyn Write) -> fmt::Result {
        let registers = [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9];
        for (index, ((show, name), register)) in self.shows.iter().zip(self.arguments()).zip(registers).enumerate() {
            write!(out, "{}{name}=", if index == 0 { "" } else { ", " })?;
            show(register, out)?;
        }
        Ok(())
    }
}
