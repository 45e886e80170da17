//! What a program says about the VM that it wants: lines of `key=value` in its file.
//!
//! `#[osv::main(...)]` writes them into the section `.osv.config` (and `[package.metadata.osv]` before them, so
//! that the attribute has the last word). The environment overrides both, and the command line overrides all.

use std::time::Duration;

use crate::sys;
use crate::vm::{Machine, Memory, Vm};

/// Wishes for a VM; what is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Size of the memory.
    pub memory: Option<Memory>,
    /// Number of CPUs.
    pub cpus: Option<usize>,
    /// The kind of machine.
    pub machine: Option<Machine>,
    /// Further options for the kernel.
    pub kernel_args: Vec<String>,
    /// End the VM after this time.
    pub timeout: Option<Duration>,
    /// The program is a test program whose tests have a VM each: its harness runs on Linux.
    pub has_tests_apart: bool,
}

impl Config {
    /// Reads lines of `key=value`.
    ///
    /// # Errors
    /// A sentence about the first line that cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').ok_or_else(|| format!("`{line}` is no key=value"))?;
            config.set(key, value)?;
        }
        Ok(config)
    }

    /// What the environment asks for.
    ///
    /// # Errors
    /// A sentence about the variable that cannot be used.
    pub fn from_env() -> Result<Self, String> {
        let mut config = Self::default();
        for (name, key) in [
            ("OSV_MEMORY", "memory"),
            ("OSV_CPUS", "cpus"),
            ("OSV_MACHINE", "machine"),
            ("OSV_KERNEL_ARGS", "kernel-args"),
            ("OSV_TIMEOUT", "timeout"),
        ] {
            if let Some(value) = sys::var(name) {
                config.set(key, &value).map_err(|e| format!("{name}: {e}"))?;
            }
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "memory" => self.memory = Some(value.parse()?),
            "cpus" => self.cpus = Some(parse_cpus(value)?),
            "machine" => self.machine = Some(value.parse()?),
            "kernel-args" => self.kernel_args.extend(value.split_ascii_whitespace().map(str::to_owned)),
            "timeout" => self.timeout = Some(parse_seconds(value)?),
            "tests" if value == "apart" => self.has_tests_apart = true,
            _ => return Err(format!("a VM has no `{key}`: there are memory, cpus, machine, kernel-args and timeout")),
        }
        Ok(())
    }

    /// This, where `other` says nothing.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        self.memory = other.memory.or(self.memory);
        self.cpus = other.cpus.or(self.cpus);
        self.machine = other.machine.or(self.machine);
        self.timeout = other.timeout.or(self.timeout);
        self.kernel_args.extend(other.kernel_args);
        self
    }

    /// Gives `vm` what this asks for.
    pub fn apply(&self, vm: &mut Vm) {
        vm.memory = self.memory.unwrap_or(vm.memory);
        vm.cpus = self.cpus.unwrap_or(vm.cpus);
        vm.machine = self.machine.unwrap_or(vm.machine);
        vm.timeout = self.timeout.or(vm.timeout);
        for argument in &self.kernel_args {
            vm.option(argument, "");
        }
    }
}

/// A number of CPUs that a VM can have.
///
/// # Errors
/// A sentence, if there can be no such VM.
pub fn parse_cpus(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(cpus @ 1..=16) => Ok(cpus),
        _ => Err(format!("`{text}` CPUs cannot be had: from 1 to 16 will do")),
    }
}

/// A time in seconds, as `2` or `0.5`.
///
/// # Errors
/// A sentence, if it is none.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanoseconds = format!("{fraction:0<9}");
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match (whole.parse(), nanoseconds.get(..9).and_then(|digits| digits.parse().ok())) {
        (Ok(seconds), Some(nanoseconds)) if is_number(whole) && is_number(fraction) => {
            Ok(Duration::new(seconds, nanoseconds))
        }
        _ => Err(format!("`{text}` is no time in seconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lines_and_others_override() {
        let config = Config::parse("memory=64M\ncpus=3\n\nmemory=128M\nkernel-args=--quiet\n").unwrap();
        let other = Config::parse("cpus=1\nkernel-args=--strace\n").unwrap();
        let both = config.overridden_by(other);
        assert_eq!(both.memory.unwrap().bytes(), 128 << 20);
        assert_eq!(both.cpus, Some(1));
        assert_eq!(both.kernel_args, ["--quiet", "--strace"]);
    }

    #[test]
    fn seconds_have_fractions() {
        assert_eq!(parse_seconds("2").unwrap(), Duration::from_secs(2));
        assert_eq!(parse_seconds("0.25").unwrap(), Duration::from_millis(250));
        for wrong in ["", ".", "1.", "-1", "+1", "1.x", "1e3", "99999999999999999999"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for wrong in ["memory", "cpus=0", "cpus=17", "machine=pdp11", "colour=red", "memory=none"] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
