//! Memory.

pub mod user;
