//! Signals.

pub mod action;
pub mod info;
pub mod queue;
pub mod set;
