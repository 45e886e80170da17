//! Images, hypervisors and programs of the host: the library behind the command `osv`.
//!
//! Two users share it. The command (feature `cli`) runs unmodified Linux programs in a VM. A program that
//! depends on the crate `osv` carries the library without that feature, and launches a VM of its own file
//! before its `main` ([`app`]). Both describe a machine as a [`vm::Vm`] and hand it to [`session::run`].

pub mod app;
#[cfg(feature = "cli")]
pub mod bootable;
pub mod config;
pub mod console;
#[cfg(feature = "cli")]
pub mod firecracker;
pub mod image;
pub mod install;
pub mod kernel_log;
pub mod outcome;
pub mod qemu;
pub mod session;
mod sys;
pub mod vm;

pub use outcome::Outcome;
pub use vm::Vm;
