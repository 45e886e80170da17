//! x86-64.

pub mod irq;

pub use irq::IrqGuard;
