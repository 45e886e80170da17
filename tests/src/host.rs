//! Runs the driver on the host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::transcript::Transcript;
use crate::vm::run_with_timeout;

/// What the commands do on Linux.
pub fn run(driver: &[String], seconds: u64) -> Result<Transcript> {
    let (program, args) = driver.split_first().context("no driver")?;
    let mut command = Command::new(program);
    command.args(args);
    let done = run_with_timeout(command, Duration::from_secs(seconds))?;
    ensure!(done.code == Some(0), "the driver failed on the host: {}", String::from_utf8_lossy(&done.stdout));
    Ok(Transcript::parse(&done.stdout))
}
