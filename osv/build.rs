//! Prepares the link of every program that uses `osv`: builds the kernel, and fills a directory that the
//! linker searches first with the script that lays out the file and with static shadows of std's shared
//! libraries. So the user needs no flags, no `.cargo/config.toml` and no other target.
//!
//! Whatever of that cannot work on this machine ends here, in one sentence that says what to do.
//!
//! A program without std cannot carry the runner. It starts a copy of this script in its place: under the name
//! `osv-launch` this is the launcher.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use osv_kernel_build::{HANDOFF_START, Kernel};

/// The kernel's ELF with its symbols, in this script's directory.
const SYMBOLS: &str = "kernel.elf";

/// The shared libraries that std names, and what stands in for each.
const SHADOWS: [(&str, &str); 8] = [
    ("gcc_s", "-l:libc.a -l:libgcc_eh.a -l:libgcc.a"),
    ("c", "-l:libc.a -l:libgcc_eh.a -l:libgcc.a"),
    ("m", "-l:libm.a -l:libc.a"),
    ("util", "-l:libc.a"),
    ("rt", "-l:libc.a"),
    ("pthread", "-l:libc.a"),
    ("dl", "-l:libc.a"),
    ("stdc++", "-l:libstdc++.a -l:libm.a -l:libc.a -l:libgcc_eh.a -l:libgcc.a"),
];

/// The name under which this script launches a program.
const LAUNCHER: &str = "osv-launch";

/// A program that gets the shadows without naming `osv` (another bin or test of the same package) becomes a
/// static program for Linux: no shared library is left that would need the interpreter.
const NO_INTERPRETER: &str = "SECTIONS { /DISCARD/ : { *(.interp) } } INSERT AFTER .text;\n";

fn main() {
    let own_name = env::args_os().next().unwrap_or_default();
    if Path::new(&own_name).file_name().is_some_and(|name| name == LAUNCHER) {
        launch(Path::new(&own_name));
    }
    if let Err(sentence) = prepare() {
        eprintln!("osv: {sentence}");
        exit(1);
    }
}

/// Boots the program that the first argument names, with the arguments behind it.
fn launch(own_file: &Path) -> ! {
    let mut arguments = env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().unwrap_or_default());
    osv_runner::app::launch_file(file, arguments.collect(), own_file.with_file_name(SYMBOLS))
}

fn prepare() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    let has_std = env::var_os("CARGO_FEATURE_STD").is_some();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("linker-scripts");
    let scripts = [if has_std { "app-std.ld" } else { "app-no-std.ld" }, "app.ld"].map(|name| scripts.join(name));
    for script in &scripts {
        println!("cargo:rerun-if-changed={}", script.display());
    }
    let target = env::var("TARGET").unwrap_or_default();
    if target != "x86_64-unknown-linux-gnu" {
        return Err(format!("programs for {target} cannot boot: build for x86_64-unknown-linux-gnu on x86-64 Linux"));
    }
    if has_std {
        check_libc()?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    check_linker(&out)?;
    let kernel = osv_kernel_build::build()?;
    let image = write_image(&out, &kernel.image)?;
    // A copy of our own: the next kernel that is built beside it has other addresses.
    let symbols = out.join(SYMBOLS);
    fs::copy(&kernel.elf, &symbols).map_err(|e| format!("cannot copy {}: {e}", kernel.elf.display()))?;
    let link = out.join("link");
    fs::create_dir_all(&link).map_err(|e| format!("cannot create {}: {e}", link.display()))?;
    write_scripts(&link, &scripts, &kernel)?;
    if !has_std {
        let launcher = out.join(LAUNCHER);
        env::current_exe()
            .and_then(|script| replace(&script, &launcher))
            .map_err(|e| format!("cannot make the launcher: {e}"))?;
        println!("cargo:rustc-env=OSV_LAUNCHER={}", launcher.display());
    }
    println!("cargo:rustc-link-search=native={}", link.display());
    println!("cargo:rustc-env=OSV_KERNEL_IMAGE={}", image.display());
    println!("cargo:rustc-env=OSV_KERNEL_SYMBOLS={}", symbols.display());
    Ok(())
}

/// Writes the kernel's image under a name that says what is in it: `.incbin` is no dependency that rustc knows, so an
/// incremental build would keep the old kernel if the name stayed.
fn write_image(out: &Path, image: &[u8]) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    let path = out.join(format!("kernel-{:016x}.img", hasher.finish()));
    for entry in fs::read_dir(out).into_iter().flatten().flatten() {
        let other = entry.path();
        if other.extension().is_some_and(|extension| extension == "img") && other != path {
            let _ = fs::remove_file(other);
        }
    }
    write(&path, image)?;
    Ok(path)
}

/// Copies a program that may be running at its destination.
fn replace(from: &Path, to: &Path) -> std::io::Result<()> {
    let draft = to.with_extension("new");
    fs::copy(from, &draft)?;
    fs::rename(draft, to)
}

fn write_scripts(link: &Path, scripts: &[PathBuf], kernel: &Kernel) -> Result<(), String> {
    let mut text = String::new();
    let numbers = [
        ("OSV_HANDOFF_START", HANDOFF_START),
        ("OSV_KERNEL_MEMORY_END", kernel.memory_end),
        ("OSV_PVH_ENTRY", kernel.pvh_entry),
    ];
    for (name, value) in numbers {
        let _ = writeln!(text, "{name} = {value:#x};");
    }
    for script in scripts {
        text += &fs::read_to_string(script).map_err(|e| format!("cannot read {}: {e}", script.display()))?;
    }
    for extension in ["so", "a"] {
        write(&link.join(format!("libosv_link.{extension}")), text.as_bytes())?;
    }
    for (library, members) in SHADOWS {
        let head = if library == "gcc_s" { NO_INTERPRETER } else { "" };
        write(&link.join(format!("lib{library}.so")), format!("{head}GROUP({members})\n").as_bytes())?;
    }
    Ok(())
}

/// Writes only what is new, so that nothing is linked again for a file that has not changed.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The C library's static half must be there: some distributions package it apart.
fn check_libc() -> Result<(), String> {
    let cc = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".into());
    let found = Command::new(&cc).arg("-print-file-name=libc.a").output();
    let found = found.map_err(|e| {
        format!("cannot run the C compiler `{cc}` that links Rust programs ({e}): install gcc (Debian, Ubuntu: `apt-get install gcc`)")
    })?;
    let path = String::from_utf8_lossy(&found.stdout);
    if Path::new(path.trim()).is_absolute() {
        return Ok(());
    }
    Err("the static C library libc.a is not on this machine: install it (Debian, Ubuntu: `apt-get install libc6-dev`; Fedora: `dnf install glibc-static`; openSUSE: `zypper install glibc-devel-static`)".into())
}

/// The script is written for lld, which signs its work: links a trifle with the user's flags and looks.
fn check_linker(out: &Path) -> Result<(), String> {
    for name in ["RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS", "RUSTC"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let source = out.join("linker-probe.rs");
    let probe = out.join("linker-probe");
    write(&source, b"#![no_std]\n#![no_main]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n#[unsafe(no_mangle)]\npub extern \"C\" fn main() -> i32 { 0 }\n")?;
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-name=probe", "--crate-type=bin", "-Cpanic=abort", "-Cdebuginfo=0"]);
    rustc.arg("-Clink-arg=-lc").arg("-o").arg(&probe).arg(&source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut flag = std::ffi::OsString::from("-Clinker=");
        flag.push(linker);
        rustc.arg(flag);
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    let result = rustc.output().map_err(|e| format!("cannot run rustc: {e}"))?;
    if !result.status.success() {
        // The user's flags do not suit this trifle; the real link will say what is wrong.
        return Ok(());
    }
    let linked = fs::read(&probe).map_err(|e| format!("cannot read {}: {e}", probe.display()))?;
    if linked.windows(11).any(|bytes| bytes == b"Linker: LLD") {
        return Ok(());
    }
    Err("this build does not link with rust-lld, the default linker of stable Rust since 1.90: remove `-fuse-ld=…`, `linker = …` or `-Clinker-features=-lld` from RUSTFLAGS and .cargo/config.toml (or choose `-fuse-ld=lld`)".into())
}
