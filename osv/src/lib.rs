//! The crate that makes a Rust program its own operating system.
