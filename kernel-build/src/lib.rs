//! Builds the kernel, and the stub that unpacks it, for whoever puts it into an image: `osv/build.rs` and
//! `runner/build.rs`.
//!
//! The kernel is an ELF of its own, with its own profile and code model, so it is built by a nested
//! cargo whose environment is scrubbed of everything that the user's build has set: no flag, wrapper or
//! profile of the user's may leak into the kernel. The two build scripts share one target directory
//! (cargo's own file lock serialises them), so a workspace that needs both builds the kernel once.
//!
//! `OSV_KERNEL_ELF=PATH` takes a finished kernel instead. `OSV_KERNEL_PROFILE=kernel-dev` builds one for
//! those who work on it: a change takes seconds instead of a minute, at half the speed (`profiles.toml`).

#![forbid(unsafe_code)]

mod elf;

pub use elf::{Flat, flatten};

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The page in front of the kernel that tells it what lies behind it (see `osv/linker-scripts/app.ld`).
pub const HANDOFF_START: u64 = 0x10_0000;

/// Where the kernel proper begins in physical memory: one page behind the hand-off page.
pub const IMAGE_START: u64 = HANDOFF_START + 0x1000;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The thresholds of inlining suit a kernel compiled for size: left alone, LLVM inlines what libraries mark with `#[inline]`
/// as greedily as for speed, and the kernel has a sixth more code. Where that cost speed, the kernel's own functions are
/// `#[inline(always)]`. And nothing stands behind calls that do not return.
const RUSTFLAGS: [&str; 7] = [
    "-Crelocation-model=static",
    "-Ccode-model=kernel",
    "-Cno-redzone=yes",
    "-Cforce-frame-pointers=yes",
    "-Cllvm-args=-inline-threshold=35",
    "-Cllvm-args=-inlinehint-threshold=50",
    "-Cllvm-args=-no-trap-after-noreturn",
];

/// The stub runs wherever it is loaded.
const STUB_RUSTFLAGS: [&str; 4] = ["-Crelocation-model=pie", "-Cno-redzone=yes", "-Copt-level=s", "-Cpanic=abort"];

/// What the nested cargo may still see of the environment's `CARGO_*`.
const KEPT: [&str; 4] = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO"];

/// A kernel that is ready to be put into an image.
#[derive(Debug)]
pub struct Kernel {
    /// The ELF file, which boots by itself and has the symbols.
    pub elf: PathBuf,
    /// The bytes from [`IMAGE_START`] on, without the zeros at the end.
    pub image: Vec<u8>,
    /// The first physical address behind the kernel, its zeroed memory included.
    pub memory_end: u64,
    /// The physical address at which PVH enters.
    pub pvh_entry: u64,
}

/// Builds the kernel (or takes `OSV_KERNEL_ELF`) and tells cargo when that has to be done again.
///
/// # Errors
/// One sentence for the user, when the nested build fails or its result cannot be used.
pub fn build() -> Result<Kernel, String> {
    println!("cargo:rerun-if-env-changed=OSV_KERNEL_ELF");
    println!("cargo:rerun-if-env-changed=OSV_KERNEL_PROFILE");
    let elf = match env::var_os("OSV_KERNEL_ELF") {
        Some(path) => PathBuf::from(path),
        None => build_nested()?,
    };
    println!("cargo:rerun-if-changed={}", elf.display());
    let file = fs::read(&elf).map_err(|e| format!("cannot read the kernel {}: {e}", elf.display()))?;
    let flat = flatten(&file, IMAGE_START).map_err(|e| format!("{} is not a kernel of osv: {e}", elf.display()))?;
    if flat.pvh_entry == 0 {
        return Err(format!("{} is not a kernel of osv: it has no PVH note", elf.display()));
    }
    Ok(Kernel { elf, image: flat.image, memory_end: flat.memory_end, pvh_entry: flat.pvh_entry })
}

/// Builds the start of a bzImage and returns its ELF file.
///
/// # Errors
/// One sentence for the user, when the nested build fails.
pub fn build_stub() -> Result<PathBuf, String> {
    nested("osv-stub", osv_stub::DIRECTORY, "kernel", &STUB_RUSTFLAGS)
}

fn build_nested() -> Result<PathBuf, String> {
    let profile = env::var("OSV_KERNEL_PROFILE").unwrap_or_else(|_| "kernel".to_owned());
    nested("osv-kernel", osv_kernel::DIRECTORY, &profile, &RUSTFLAGS)
}

/// Builds the bin `name` of the package in `directory`, in a cargo of its own.
fn nested(name: &str, directory: &str, profile: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let profiles = own.join("profiles.toml");
    // The lock file is the workspace's, where there is one.
    let lock = own.with_file_name("Cargo.lock");
    println!("cargo:rerun-if-changed={directory}");
    for file in [&profiles, &lock].into_iter().filter(|file| file.is_file()) {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let target_dir = target_dir()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--bin", name, "--features", "image", "--profile", profile])
        .args(["--target", TARGET, "--manifest-path"])
        .arg(Path::new(directory).join("Cargo.toml"))
        .arg("--config")
        .arg(&profiles)
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(directory);
    scrub(&mut cargo);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let status = cargo.status().map_err(|e| format!("cannot start cargo to build the kernel: {e}"))?;
    if !status.success() {
        return Err(format!("the kernel in {directory} did not build: see cargo's messages above"));
    }
    Ok(target_dir.join(TARGET).join(profile).join(name))
}

/// Removes from `command`'s environment whatever the outer cargo or its user has set for the outer build.
fn scrub(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_foreign(&name) {
            command.env_remove(name);
        }
    }
}

fn is_foreign(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    if KEPT.contains(&name) {
        return false;
    }
    name.starts_with("CARGO_")
        || name.starts_with("DEP_")
        || matches!(
            name,
            "RUSTFLAGS"
                | "RUSTDOCFLAGS"
                | "RUSTC_WRAPPER"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "RUSTC_LINKER"
                | "TARGET"
                | "HOST"
                | "OUT_DIR"
                | "PROFILE"
                | "OPT_LEVEL"
                | "DEBUG"
        )
}

/// `osv-kernel` in the outer build's target directory, so that all build scripts share it; under
/// `OUT_DIR` if that directory cannot be told.
fn target_dir() -> Result<PathBuf, String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("osv-kernel-build runs in build scripts only")?);
    let shared = out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    Ok(shared.unwrap_or(&out).join("osv-kernel"))
}
