//! The examples, as `cargo run` starts them, and what they print. They are built in one target directory with one kernel.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use osv_tests::run_with_timeout;

const LIMIT: Duration = Duration::from_secs(600);

/// Examples of the package `examples`, which need nothing but std.
const PLAIN: [&str; 4] = ["hello", "threads", "bundled", "command"];
/// Those with dependencies, or none: packages of their own.
const APART: [&str; 3] = ["no-std", "tokio", "sqlite"];

#[test]
fn examples_print_what_they_promise() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples");
    let target = examples.with_file_name("target").join("examples");
    cargo(&["build", "-q", "--examples"], &examples, &target, None);
    let profile = std::env::var("OSV_KERNEL_PROFILE").unwrap_or_else(|_| "kernel".to_owned());
    let kernel = target.join("osv-kernel/x86_64-unknown-linux-gnu").join(profile).join("osv-kernel");
    for name in APART {
        cargo(&["build", "-q"], &examples.join(name), &target, Some(&kernel));
    }
    let plain = PLAIN.map(|name| target.join("debug/examples").join(name));
    let apart = APART.map(|name| target.join("debug").join(format!("osv-example-{name}")));
    let told: Vec<String> = plain.iter().chain(&apart).map(|program| run(program, &examples)).collect();
    let [hello, threads, bundled, command, no_std, tokio, sqlite] = told.try_into().expect("one text for each");
    assert!(hello.starts_with("hello from Linux version "), "{hello}");
    assert_eq!(threads, format!("2 threads: {}\n", (0..1_000_000_u64).map(|number| number * number).sum::<u64>()));
    let greeting = std::fs::read_to_string(examples.join("data/greeting.txt")).expect("the greeting");
    assert_eq!(bundled, greeting + "changed\n");
    assert_eq!(command, "apple\nfig\npear\n");
    assert!(no_std.starts_with("written and read in Memory {"), "{no_std}");
    assert!(tokio.starts_with("15 after "), "{tokio}");
    assert_eq!(sqlite, " 12 fig\n  5 apple\n  3 pear\n");
}

fn cargo(arguments: &[&str], directory: &Path, target: &Path, kernel: Option<&Path>) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).arg("--target-dir").arg(target).current_dir(directory);
    if let Some(kernel) = kernel {
        cargo.env("OSV_KERNEL_ELF", kernel);
    }
    let done = run_with_timeout(cargo, LIMIT).expect("cargo");
    assert_eq!(done.code, Some(0), "{}: {}", directory.display(), String::from_utf8_lossy(&done.stderr));
}

fn run(program: &PathBuf, directory: &Path) -> String {
    let mut command = Command::new(program);
    command.current_dir(directory).env("OSV_TIMEOUT", "60");
    let done = run_with_timeout(command, LIMIT).expect("the program");
    assert_eq!(done.code, Some(0), "{}: {}", program.display(), String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
