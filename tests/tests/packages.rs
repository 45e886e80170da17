//! The crates as a registry hands them out: packed, unpacked outside of the workspace, and used by an empty crate, which
//! boots. Without a network, since nothing but what the workspace itself needs may be needed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use osv_tests::run_with_timeout;

/// What is published, in the order in which that has to happen.
const PACKAGES: [&str; 6] = ["osv-kernel", "osv-stub", "osv-kernel-build", "osv-runner", "osv-macros", "osv"];

#[test]
fn packed_crates_boot_outside_of_the_workspace() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let home = std::env::temp_dir().join(format!("osv-packages{}", workspace.display().to_string().replace('/', "-")));
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(home.join("user/src")).unwrap();

    let mut pack = cargo(&["package", "-q", "--no-verify", "--allow-dirty", "--target-dir"]);
    pack.arg(home.join("packed")).args(PACKAGES.iter().flat_map(|name| ["-p", name])).current_dir(workspace);
    succeed(pack);
    let mut manifest = "[package]\nname = \"user\"\nedition = \"2024\"\n\n".to_owned();
    manifest += "[dependencies]\nosv = \"0.1.0\"\n\n[patch.crates-io]\n";
    for name in PACKAGES {
        let packed = home.join(format!("packed/package/{name}-0.1.0.crate"));
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(packed).arg("-C").arg(&home);
        succeed(unpack);
        manifest += &format!("{name} = {{ path = \"../{name}-0.1.0\" }}\n");
    }
    fs::write(home.join("user/Cargo.toml"), manifest).unwrap();
    fs::write(home.join("user/src/main.rs"), "#[osv::main]\nfn main() {\n    println!(\"packed\");\n}\n").unwrap();

    let mut run = cargo(&["run", "-q"]);
    run.current_dir(home.join("user")).env("OSV_KERNEL_PROFILE", "kernel-dev").env("OSV_TIMEOUT", "60");
    assert_eq!(succeed(run), "packed\n");
    let _ = fs::remove_dir_all(&home);
}

/// Cargo without a network, and without what the cargo that runs this test has set.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
        if name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command.args(arguments).env("CARGO_NET_OFFLINE", "true");
    command
}

fn succeed(command: Command) -> String {
    let what = format!("{command:?}");
    let done = run_with_timeout(command, Duration::from_secs(600)).unwrap();
    assert_eq!(done.code, Some(0), "{what}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
