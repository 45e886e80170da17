//! The kernel that the command carries, as a file that QEMU can open.

use anyhow::{Context as _, Result};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

const KERNEL: &[u8] = include_bytes!(env!("OSV_KERNEL_ELF"));

/// How long the cache keeps what it could make again.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where the command keeps what it can make again: `OSV_CACHE`, or `osv` in the user's cache directory.
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("OSV_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("osv")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/osv")))
        .unwrap_or_else(|| std::env::temp_dir().join("osv-cache"))
}

/// The bytes of the kernel's ELF file: the built-in one's, or those of `other`.
pub fn bytes(other: Option<&Path>) -> Result<Vec<u8>> {
    match other {
        Some(path) => fs::read(path).with_context(|| format!("cannot read {}", path.display())),
        None => Ok(KERNEL.to_vec()),
    }
}

/// The kernel's file in the cache.
pub fn file() -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    KERNEL.hash(&mut hasher);
    let path = cache_dir().join(format!("kernel-{:016x}.elf", hasher.finish()));
    if fs::metadata(&path).is_ok_and(|file| usize::try_from(file.len()) == Ok(KERNEL.len())) {
        return Ok(path);
    }
    forget_old();
    publish(&path, KERNEL).with_context(|| format!("cannot keep the kernel in {}", path.display()))?;
    Ok(path)
}

/// Removes what nobody has made anew for a month. What cannot be removed stays.
pub fn forget_old() {
    let is_old = |path: &Path| {
        let age = fs::metadata(path).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age > KEPT_FOR)
    };
    for entry in fs::read_dir(cache_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name.starts_with("kernel-") || name.starts_with("image-")) && is_old(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a file that appears whole or not at all.
fn publish(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&draft, contents)?;
    fs::rename(&draft, path)
}
