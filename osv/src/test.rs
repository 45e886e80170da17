//! What `#[osv::test]` expands to: a test with a VM of its own.
//!
//! The test's program stays on Linux and lists, filters and reports. Each such test starts the same file again with
//! its own name as the filter and its wishes in the environment, which boots a VM; in there the test's body runs. So a
//! test that hangs, crashes the kernel or takes the VM along is one failed test, and the others go on.

use std::env;
use std::process::{Command, ExitCode, Output, Termination};

/// Set for the process that boots the VM of one test.
const APART: &str = "OSV_TEST_APART";

/// Seconds that a test may take where nobody says how many.
const DEFAULT_TIMEOUT: &str = "60";

const TIMED_OUT: i32 = 124;
const CRASHED: i32 = 125;

/// A test as its attribute describes it.
#[derive(Debug)]
pub struct Test {
    /// Its module, with the crate in front.
    pub module: &'static str,
    /// Its function's name.
    pub name: &'static str,
    /// Variables that say what its VM is.
    pub settings: &'static [(&'static str, &'static str)],
    /// The message of the panic that is expected; empty if any will do.
    pub panics: Option<&'static str>,
}

impl Test {
    /// Runs the test: here if this is its VM (or Linux shall do), else in a VM.
    ///
    /// # Panics
    /// If the test fails.
    pub fn run<T: Termination>(&self, body: impl FnOnce() -> T) {
        let is_native = env::var_os("OSV_NATIVE").is_some_and(|value| value != "0" && !value.is_empty());
        if crate::is_osv() || is_native {
            assert!(body().report() == ExitCode::SUCCESS, "the test returned an error");
            return;
        }
        let output = self.boot();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(0) => {}
            Some(TIMED_OUT) => panic!("the test took too long: its VM was ended"),
            Some(CRASHED) => panic!("the test's VM crashed"),
            _ => panic!("the test failed in its VM ({})", output.status),
        }
        if let Some(message) = self.panics {
            // It did in the VM, where the harness has looked at the message.
            panic!("{message}");
        }
    }

    fn boot(&self) -> Output {
        let exe = env::current_exe().expect("the test's own file");
        let mut command = Command::new(exe);
        command.args(["--exact", &self.path(), "--nocapture", "--include-ignored", "--test-threads=1"]);
        command.env(APART, "1");
        for (name, value) in self.settings.iter().chain([&("OSV_TIMEOUT", DEFAULT_TIMEOUT)]) {
            let is_said = env::var_os(name).is_some() || command.get_envs().any(|(other, _)| other == *name);
            if !is_said {
                command.env(name, value);
            }
        }
        command.output().expect("a process for the test's VM")
    }

    /// The test's name as the harness has it: without the crate.
    fn path(&self) -> String {
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{}", self.name),
            None => self.name.to_owned(),
        }
    }
}
