//! Compiles the guest programs with the system's gcc into the cache directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where downloads and built programs are kept: `osv-bench` below the user's cache directory.
pub fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    let cache = base.join("osv-bench");
    std::fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    Ok(cache)
}

/// The static glibc program with the measured loops.
pub fn micro() -> Result<PathBuf> {
    compile("micro.c", &["-O2", "-static", "-pthread"])
}

/// The static glibc program that prints a line.
pub fn hello() -> Result<PathBuf> {
    compile("hello.c", &["-O2", "-static"])
}

/// The PVH kernel that says when it was entered.
pub fn entry() -> Result<PathBuf> {
    let layout = "-Wl,--build-id=none,-z,max-page-size=4096,-Ttext=0x100000,--section-start=.note.Xen=0x101000";
    compile("entry.S", &["-m32", "-nostdlib", "-static", "-no-pie", layout])
}

/// The plugin of QEMU's that counts instructions.
pub fn profile_plugin() -> Result<PathBuf> {
    compile("profile.c", &["-O2", "-fPIC", "-shared", "-fvisibility=hidden"])
}

/// Compiles afresh each time (it takes half a second), so that a cached program is never an old one.
fn compile(source: &str, flags: &[&str]) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(source);
    let output = cache()?.join(source.file_stem().context("a source has a name")?);
    let status = Command::new("gcc").args(flags).arg("-o").args([&output, &source]).status();
    ensure!(status.context("running gcc (install it: apt-get install gcc)")?.success(), "gcc failed on {source:?}");
    Ok(output)
}
