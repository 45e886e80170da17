//! Processes.

pub mod elf;
pub mod script;
pub mod signal;
pub mod stack;
pub mod vdso;
