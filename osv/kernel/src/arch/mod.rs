//! The CPU: the only place with assembly. One architecture so far, re-exported flat.

pub mod x86_64;

pub use x86_64::*;
