//! What the suites in `tests/` share: they run a list of commands in a VM and on the host, by the same driver
//! (`programs/driver.c`), and compare what each printed and how it ended. The host is the oracle.
//!
//! Environment variables for the one who hunts a failure:
//! - `OSV_TESTS_ONLY=text`: only cases whose name contains the text;
//! - `OSV_TESTS_EACH=1`: boot a VM for each case;
//! - `OSV_TESTS_AGAINST=host`: run the host a second time in place of the VM, which shows what is not deterministic;
//! - `OSV_TESTS_ARGS="--cpus 4"`: more options for `osv run`.

pub mod battery;
pub mod compile;
mod deviations;
pub mod fixture;
mod host;
mod suite;
mod terminal;
mod transcript;
mod vm;

pub use suite::{Case, Suite};
pub use terminal::Terminal;
pub use vm::{osv, run_with_timeout};
