//! Memory.

pub mod object;
pub mod user;
