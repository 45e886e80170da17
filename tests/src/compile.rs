//! Compiles the C programs of `programs/` with the system's compilers, once for each change of a source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

/// A directory for everything that the suites build: `osv-tests` in the target directory.
pub fn output_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join("osv-tests")
}

/// The source of a program.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// Compiles `source` into `output` (a path below [`output_dir`]) with gcc and the usual warnings.
pub fn gcc(source_name: &str, output: &str, flags: &[&str]) -> Result<PathBuf> {
    compile("gcc", source_name, output, flags)
}

/// Like [`gcc`], against musl.
pub fn musl_gcc(source_name: &str, output: &str, flags: &[&str]) -> Result<PathBuf> {
    compile("musl-gcc", source_name, output, flags)
}

fn compile(compiler: &str, source_name: &str, output: &str, flags: &[&str]) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let source = source(source_name);
    let output = output_dir().join(output);
    if is_fresh(&output, &source) {
        return Ok(output);
    }
    if let Some(directory) = output.parent() {
        fs::create_dir_all(directory)?;
    }
    // The source comes first, so that libraries in the flags resolve its symbols.
    let mut command = Command::new(compiler);
    command.args(["-O1", "-g", "-Wall", "-Wextra", "-o"]).args([&output, &source]).args(flags);
    let status = command.status().with_context(|| format!("running {compiler} (is it installed?)"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(output)
}

/// Newer than its source and than the headers beside it.
fn is_fresh(output: &Path, source: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let beside = source.parent().and_then(|directory| fs::read_dir(directory).ok());
    let headers = beside.into_iter().flatten().flatten().map(|entry| entry.path());
    let headers = headers.filter(|path| path.extension().is_some_and(|extension| extension == "h"));
    let newest: Option<SystemTime> = headers.chain([source.to_owned()]).filter_map(|path| changed(&path)).max();
    changed(output).is_some_and(|built| newest.is_some_and(|newest| built > newest))
}
