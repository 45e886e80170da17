//! `programs/stress.c` on 1, 2 and 4 CPUs: many threads, processes, signals and mappings at once, each mode repeated.
//! The program checks itself; Linux is asked first, so that a failure is osv's.
//!
//! `OSV_STRESS_ROUNDS=n` repeats each mode n times as often.

use osv_tests::compile::gcc;
use osv_tests::{Case, Suite};

fn stress(cpus: &str) {
    let program = gcc("stress.c", "stress", &["-static", "-pthread"]).unwrap_or_else(|error| panic!("{error:#}"));
    let factor: u32 = std::env::var("OSV_STRESS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut suite = Suite::new(&format!("stress-{cpus}"), &["--cpus", cpus, "--memory", "512M"]);
    let modes = ["threads", "churn", "processes", "exec", "signals", "mappings", "rings", "files", "kills"];
    for mode in modes {
        let rounds = (2 * factor).to_string();
        suite.add(Case::program(mode, &program, &[mode, &rounds]).seconds(120 * factor));
    }
    suite.check();
}

#[test]
fn one_cpu() {
    stress("1");
}

#[test]
fn two_cpus() {
    stress("2");
}

#[test]
fn four_cpus() {
    stress("4");
}
