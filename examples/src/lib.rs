//! Programs that are their own operating system, one idea each. `cargo run -p osv-examples --example hello` boots one:
//!
//! - `hello`: the least that there is;
//! - `threads`: threads on all CPUs, a channel between them;
//! - `bundled`: files of the package in the VM's root;
//! - `command`: an unmodified Linux program, run by `std::process::Command`.
//!
//! Crates of their own, for their dependencies or the lack of them, are started by
//! `cargo run --manifest-path examples/NAME/Cargo.toml`:
//!
//! - `no-std`: a program without std;
//! - `tokio`: timers of tokio;
//! - `sqlite`: SQLite on the file system in memory.
