//! The command `cargo osv`: a new crate that boots, and files into an existing one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use osv_runner::image::{Tree, erofs};

/// Crates that are their own operating system.
#[derive(Debug, Parser)]
#[command(name = "cargo osv", bin_name = "cargo osv", version)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a crate whose program boots by `cargo run`
    New(New),
    /// Packs files or directories into this crate's program: they are in the VM's root
    Bundle(Bundle),
}

#[derive(Debug, Args)]
struct New {
    /// The crate's directory, whose last part is its name
    path: PathBuf,
    /// A program without std: small, and quicker at `main`
    #[arg(long)]
    no_std: bool,
    /// The crate `osv` is in this directory [default: where this command was built]
    #[arg(long, value_name = "DIR", conflicts_with = "git")]
    path_of_osv: Option<PathBuf>,
    /// The crate `osv` is in this repository
    #[arg(long, value_name = "URL")]
    git: Option<String>,
}

#[derive(Debug, Args)]
struct Bundle {
    /// Paths in the package, and behind a colon in the VM
    #[arg(required = true, value_name = "HOST[:GUEST]")]
    files: Vec<String>,
}

fn main() {
    // Cargo calls `cargo-osv osv …`.
    let mut words: Vec<_> = env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "osv") {
        words.remove(1);
    }
    let result = match Cli::parse_from(words).command {
        Verb::New(new) => make(&new),
        Verb::Bundle(bundle) => pack(&bundle),
    };
    if let Err(error) = result {
        eprintln!("cargo osv: {error:#}");
        std::process::exit(101);
    }
}

const MAIN: &str = r#"#[osv::main]
fn main() {
    println!("hello from {} CPUs", osv::cpus());
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs_on_osv() {
        assert!(osv::is_osv());
    }
}
"#;

const MAIN_WITHOUT_STD: &str = r#"#![no_std]
#![no_main]

#[osv::main]
fn main() {
    osv::println!("hello from {} CPUs", osv::cpus());
}
"#;

const PROFILES_WITHOUT_STD: &str = r#"
# A program without std cannot unwind.
[profile.dev]
panic = "abort"

[profile.release]
panic = "abort"
strip = true
"#;

fn make(new: &New) -> Result<()> {
    let name =
        new.path.file_name().and_then(|name| name.to_str()).context("the path must end with the crate's name")?;
    let is_good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    ensure!(is_good, "`{name}` is no name for a crate: letters, digits, - and _, a letter first");
    ensure!(!new.path.exists(), "{} is there already", new.path.display());
    let mut manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    let features = if new.no_std { ", default-features = false" } else { "" };
    manifest += &format!("\n[dependencies]\nosv = {{ {}{features} }}\n", source(new)?);
    manifest += "\n[package.metadata.osv]\nmemory = \"128M\"\n";
    if new.no_std {
        manifest += PROFILES_WITHOUT_STD;
    }
    fs::create_dir_all(new.path.join("src"))?;
    fs::write(new.path.join("Cargo.toml"), manifest)?;
    fs::write(new.path.join("src/main.rs"), if new.no_std { MAIN_WITHOUT_STD } else { MAIN })?;
    fs::write(new.path.join(".gitignore"), "/target\n")?;
    println!("{} is made: `cargo run` in it boots it", new.path.display());
    Ok(())
}

/// Where the crate `osv` comes from, as the manifest says it.
fn source(new: &New) -> Result<String> {
    if let Some(url) = &new.git {
        return Ok(format!("git = {url:?}"));
    }
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("osv");
    let dir = new.path_of_osv.clone().unwrap_or_else(built);
    let found = dir.join("Cargo.toml").is_file();
    ensure!(found, "the crate osv is not in {}: say where it is by --path-of-osv or --git", dir.display());
    Ok(format!("path = {:?}", dir.canonicalize()?.to_string_lossy()))
}

fn pack(bundle: &Bundle) -> Result<()> {
    let manifest = manifest()?;
    let root = manifest.parent().unwrap_or(Path::new("."));
    let mut tree = Tree::default();
    for file in &bundle.files {
        ensure!(!file.contains(['"', '\\', '\n']), "`{file}` cannot be written in a manifest");
        let (host, guest) = match file.split_once(':') {
            Some((host, guest)) => (host, guest.to_owned()),
            None => (file.as_str(), format!("/{}", file.trim_start_matches("./"))),
        };
        ensure!(guest.starts_with('/'), "`{guest}` must be an absolute path");
        tree.add_host_at(&root.join(host), Path::new(&guest)).with_context(|| format!("cannot pack {host}"))?;
    }
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, with_files(&text, &bundle.files)?)?;
    println!("packed {} KiB; the next build has them", erofs::size(&tree)? >> 10);
    Ok(())
}

fn manifest() -> Result<PathBuf> {
    let here = env::current_dir()?;
    let found = here.ancestors().map(|dir| dir.join("Cargo.toml")).find(|file| file.is_file());
    found.context("there is no Cargo.toml here or above")
}

/// The manifest with `files` added to those of `[package.metadata.osv]`.
fn with_files(text: &str, files: &[String]) -> Result<String> {
    const TABLE: &str = "[package.metadata.osv]";
    let list = |files: &[&String]| files.iter().map(|file| format!("\"{file}\"")).collect::<Vec<_>>().join(", ");
    let Some(table) = text.lines().position(|line| line.trim() == TABLE) else {
        let all: Vec<_> = files.iter().collect();
        return Ok(format!("{}\n\n{TABLE}\nfiles = [{}]\n", text.trim_end(), list(&all)));
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let end = lines.iter().skip(table + 1).position(|line| line.trim_start().starts_with('[')).map(|at| table + 1 + at);
    let end = end.unwrap_or(lines.len());
    let is_files = |line: &String| line.split('=').next().is_some_and(|key| key.trim() == "files");
    let Some(at) = lines[table + 1..end].iter().position(is_files).map(|at| table + 1 + at) else {
        let all: Vec<_> = files.iter().collect();
        lines.insert(table + 1, format!("files = [{}]", list(&all)));
        return Ok(lines.join("\n") + "\n");
    };
    let Some(close) = (at..end).find(|&line| lines[line].contains(']')) else {
        bail!("`files` in {TABLE} has no end");
    };
    let old = lines[at..=close].join("\n");
    let new: Vec<_> = files.iter().filter(|file| !old.contains(&format!("\"{file}\""))).collect();
    if !new.is_empty() {
        let bracket = lines[close].rfind(']').unwrap_or_default();
        let before = lines[close][..bracket].trim_end().to_owned();
        let comma = if before.ends_with(['[', ',']) || before.is_empty() { "" } else { ", " };
        let rest = lines[close][bracket..].to_owned();
        lines[close] = format!("{before}{comma}{}{rest}", list(&new));
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str, files: &[&str]) -> String {
        with_files(text, &files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn files_are_added_where_they_belong() {
        let new = add("[package]\nname = \"x\"\n", &["data"]);
        assert_eq!(new, "[package]\nname = \"x\"\n\n[package.metadata.osv]\nfiles = [\"data\"]\n");
        let more = add(&new, &["b:/c", "data"]);
        assert!(more.ends_with("files = [\"data\", \"b:/c\"]\n"), "{more}");
        let other = add("[package.metadata.osv]\nmemory = \"1G\"\n[dependencies]\nfiles = \"1\"\n", &["a"]);
        assert_eq!(other, "[package.metadata.osv]\nfiles = [\"a\"]\nmemory = \"1G\"\n[dependencies]\nfiles = \"1\"\n");
        let long = add("[package.metadata.osv]\nfiles = [\n    \"a\",\n]\n", &["b"]);
        assert_eq!(long, "[package.metadata.osv]\nfiles = [\n    \"a\",\n\"b\"]\n");
    }
}
