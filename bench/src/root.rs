//! What lies in both guests' root beside the measured program: a shell and a compiler, for the rows that run real ones.
//!
//! Taken from the host, at the same paths: busybox-static, and gcc with what `ldd` says that it needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build;

/// A file of the host's and its path in the guest, without the leading slash.
pub struct Shared {
    pub host: PathBuf,
    pub guest: String,
}

/// The programs of the rows that run some, and what they need.
pub fn programs() -> Result<Vec<Shared>> {
    let gcc = PathBuf::from("/usr/bin/gcc");
    let compiler = PathBuf::from(text_of(Command::new(&gcc).arg("-print-prog-name=cc1"))?.trim());
    let assembler = PathBuf::from("/usr/bin/as");
    let mut files = Vec::from([PathBuf::from("/bin/busybox")]);
    for program in [gcc, compiler, assembler] {
        files.extend(libraries(&program)?);
        files.push(program);
    }
    files.sort();
    files.dedup();
    let mut shared: Vec<_> = files.into_iter().map(at_its_own_path).collect::<Result<_>>()?;
    shared.push(Shared { host: preprocessed()?, guest: "src/micro.i".into() });
    Ok(shared)
}

fn at_its_own_path(host: PathBuf) -> Result<Shared> {
    ensure!(host.exists(), "{} is missing: apt-get install busybox-static gcc", host.display());
    let guest = host.strip_prefix("/")?.to_str().context("a path in UTF-8")?.to_owned();
    Ok(Shared { host, guest })
}

/// The shared libraries of `program`, its interpreter included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = text_of(Command::new("ldd").arg(program))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// The file that is compiled: a C program with all that it includes.
fn preprocessed() -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/micro.c");
    let output = build::cache()?.join("micro.i");
    text_of(Command::new("gcc").arg("-E").arg(source).arg("-o").arg(&output))?;
    Ok(output)
}

fn text_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
