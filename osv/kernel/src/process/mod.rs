//! Processes.

pub mod credentials;
pub mod elf;
pub mod limits;
pub mod script;
pub mod signal;
pub mod stack;
pub mod status;
pub mod vdso;
