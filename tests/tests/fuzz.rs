//! `programs/syscall_fuzzer.c` on 1, 2 and 4 CPUs: random system calls from several processes at once, which may break
//! nothing but themselves. It takes minutes and is run by `cargo test -p osv-tests --test fuzz -- --ignored`.
//!
//! `OSV_FUZZ_ROUNDS=n` makes it longer, `OSV_FUZZ_SEED=n` different. The output names the seed of the round that broke
//! something; `osv run -- target/osv-tests/syscall_fuzzer --trace SEED CALLS` says each call before it is made.

use std::process::Command;
use std::time::Duration;

use osv_tests::compile::gcc;
use osv_tests::{osv, run_with_timeout};

/// How long a round lasts, and how much longer its clean-up may take on a busy machine.
const ROUND_SECONDS: u64 = 5;
const CLEANUP_SECONDS: u64 = 15;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn fuzz(cpus: &str) {
    let program = gcc("syscall_fuzzer.c", "syscall_fuzzer", &["-static", "-Wno-unused-result"]);
    let program = program.unwrap_or_else(|error| panic!("{error:#}"));
    let (seed, rounds) = (number("OSV_FUZZ_SEED", 1), number("OSV_FUZZ_ROUNDS", 8));
    let mut command = Command::new(osv().expect("the command osv"));
    command.args(["run", "--cpus", cpus, "--memory", "512M", "--"]).arg(program);
    command.args([seed, rounds, ROUND_SECONDS, 6].map(|number| number.to_string()));
    let done = run_with_timeout(command, Duration::from_secs(60 + rounds * (ROUND_SECONDS + CLEANUP_SECONDS)));
    let done = done.expect("the command osv");
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.code, Some(0), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("survived\n"), "{stdout}\n{stderr}");
}

#[test]
#[ignore = "takes a minute"]
fn one_cpu() {
    fuzz("1");
}

#[test]
#[ignore = "takes a minute"]
fn two_cpus() {
    fuzz("2");
}

#[test]
#[ignore = "takes a minute"]
fn four_cpus() {
    fuzz("4");
}
