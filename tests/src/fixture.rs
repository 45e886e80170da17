//! A directory tree for the programs to look at: the same bytes, names, modes and times at every run.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::compile;

/// Where the tree is; made at the first call.
///
/// # Panics
///
/// If it cannot be made: no test can run then.
pub fn tree() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| make().unwrap_or_else(|error| panic!("making the fixtures: {error:#}"))).clone()
}

fn make() -> Result<PathBuf> {
    let root = compile::output_dir().join("fixture");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(root.join("sub/deep/deeper"))?;
    fs::create_dir_all(root.join("empty"))?;
    let mut files: Vec<(&str, Vec<u8>, u32)> = vec![
        ("words.txt", b"pear\napple\nfig\nbanana\ncherry\napple\ndate\n".to_vec(), 0o644),
        ("numbers.txt", (1..=200u32).rev().map(|n| format!("{}\n", n * 7919 % 1000)).collect::<String>().into(), 0o644),
        ("table.csv", b"name,count,price\nnut,3,1.25\nbolt,10,0.5\nscrew,7,0.75\n".to_vec(), 0o600),
        ("script.sh", b"#!/bin/sh\necho \"script: $0 $1\"\n".to_vec(), 0o755),
        ("sub/large.bin", noise(300_000), 0o644),
        ("sub/text with spaces", b"content\n".to_vec(), 0o640),
        ("sub/deep/one", b"1".to_vec(), 0o444),
        ("sub/deep/deeper/two", b"22".to_vec(), 0o644),
        ("sub/.hidden", b"hidden\n".to_vec(), 0o600),
    ];
    files.push(("zero", Vec::new(), 0o644));
    for (name, content, mode) in &files {
        let path = root.join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, PermissionsExt::from_mode(*mode))?;
        set_time(&path)?;
    }
    symlink("words.txt", root.join("link"))?;
    symlink("/no/where", root.join("dangling"))?;
    fs::hard_link(root.join("words.txt"), root.join("sub/hard"))?;
    for directory in ["sub/deep/deeper", "sub/deep", "sub", "empty", ""] {
        fs::set_permissions(root.join(directory), PermissionsExt::from_mode(0o755))?;
        set_time(&root.join(directory))?;
    }
    Ok(root)
}

/// 2001-09-09, so that `ls` prints a year.
fn set_time(path: &Path) -> Result<()> {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(path)?.set_times(FileTimes::new().set_modified(then).set_accessed(then))?;
    Ok(())
}

/// Bytes that do not compress, the same at every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| step()).collect()
}
