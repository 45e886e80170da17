//! The crate as a user meets it: a new, empty crate outside the workspace, `cargo add osv --path`, and what cargo then
//! can do with it. Where the program behaves as it does on Linux, Linux is asked (`OSV_NATIVE=1`).

use osv_tests::run_with_timeout;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Builds are long, VMs are slow when they compete.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const LIMIT: Duration = Duration::from_secs(600);

/// A user's crate. Its target directory stays, so that the next run is quick.
struct Crate {
    dir: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Crate {
    fn new(name: &str, sources: &str, files: &[(&str, &str)]) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let home = std::env::temp_dir().join(format!("osv-crates{}", root.display().to_string().replace('/', "-")));
        let dir = home.join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&home).unwrap();
        let this = Self { dir, _alone: alone };
        let mut new = cargo();
        assert!(new.args(["new", "-q", "--lib", "--vcs", "none"]).arg(&this.dir).status().unwrap().success());
        let osv = root.parent().unwrap().join("osv");
        this.succeed(&["add", "-q", "osv", "--path", osv.to_str().unwrap()]);
        for (from, to) in files {
            let to = this.dir.join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(root.join("crates").join(sources).join(from), to).unwrap();
        }
        fs::write(this.dir.join("fixture.txt"), "a fixture\n").unwrap();
        this
    }

    fn without_std() -> Self {
        let this = Self::new("no_std", "no_std", &[("main.rs", "src/main.rs")]);
        fs::remove_file(this.dir.join("src/lib.rs")).unwrap();
        this.succeed(&["add", "-q", "osv", "--no-default-features"]);
        this.append(
            "Cargo.toml",
            "\n[profile.dev]\npanic = \"abort\"\n[profile.release]\npanic = \"abort\"\nstrip = true\n",
        );
        this
    }

    fn stranger() -> Self {
        let this = Self::new("stranger", "stranger", &[("main.rs", "src/main.rs")]);
        this.succeed(&["remove", "-q", "osv"]);
        let osv = osv_tests::osv().unwrap();
        let runner = format!("[target.x86_64-unknown-linux-gnu]\nrunner = \"{} run\"\n", osv.display());
        fs::create_dir_all(this.dir.join(".cargo")).unwrap();
        this.append(".cargo/config.toml", &runner);
        this
    }

    fn basic() -> Self {
        let files = [
            ("main.rs", "src/main.rs"),
            ("lib.rs", "src/lib.rs"),
            ("example.rs", "examples/example.rs"),
            ("calls.rs", "examples/calls.rs"),
            ("cancel.rs", "examples/cancel.rs"),
            ("plain.rs", "tests/plain.rs"),
            ("std.rs", "tests/std.rs"),
        ];
        let this = Self::new("basic", "basic", &files);
        this.append("Cargo.toml", "\n[profile.small]\ninherits = \"release\"\npanic = \"abort\"\nlto = \"fat\"\nopt-level = \"z\"\nstrip = true\n");
        this
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.dir.join(file);
        fs::write(&path, fs::read_to_string(&path).unwrap_or_default() + text).unwrap();
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        command.args(arguments).current_dir(&self.dir).env("CARGO_TARGET_DIR", self.dir.with_extension("target"));
        command
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let done = run_with_timeout(self.cargo(arguments), LIMIT).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(done.code, Some(0), "{arguments:?}: {}\n{}", text(&done.stdout), text(&done.stderr));
        text(&done.stdout)
    }

    fn fail(&self, arguments: &[&str], flags: &str) -> String {
        let mut command = self.cargo(arguments);
        command.env("RUSTFLAGS", flags);
        let done = run_with_timeout(command, LIMIT).unwrap();
        assert_ne!(done.code, Some(0), "{arguments:?} with {flags}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    /// Runs the built program in the VM or on Linux.
    fn run(&self, arguments: &[&OsStr], is_native: bool) -> Output {
        let mut command =
            Command::new(self.dir.with_extension("target").join("debug").join(self.dir.file_name().unwrap()));
        command.args(arguments).current_dir(&self.dir).env("ODD", "x=y  \"z\"").env("OSV_TIMEOUT", "120");
        command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        if is_native {
            command.env("OSV_NATIVE", "1");
        }
        command.output().unwrap()
    }

    fn assert_same_as_on_linux(&self, arguments: &[&OsStr]) {
        let here = self.run(arguments, false);
        let linux = self.run(arguments, true);
        assert_eq!(String::from_utf8_lossy(&here.stdout), String::from_utf8_lossy(&linux.stdout), "{arguments:?}");
        assert_eq!(without_ids(&here.stderr), without_ids(&linux.stderr), "{arguments:?}");
        assert_eq!(here.status, linux.status, "{arguments:?}");
    }
}

/// Cargo as a user has it: nothing of the cargo that runs this test leaks into it.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = text.starts_with("OSV_") && !text.starts_with("OSV_KERNEL_");
        if (text.starts_with("CARGO") && text != "CARGO_HOME") || is_ours || text == "RUSTFLAGS" {
            command.env_remove(&name);
        }
    }
    command.env("OSV_TIMEOUT", "300").env("FROM_OUTSIDE", "a b=c");
    command
}

/// A message of std names the thread by a number, which differs.
fn without_ids(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut words = text.split(' ').map(|word| match word.strip_prefix('(').and_then(|word| word.strip_suffix(')')) {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => "(thread)",
        _ => word,
    });
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| text + " " + word)
}

#[test]
fn a_new_crate_boots() {
    let user = Crate::basic();
    let told = user.succeed(&["run", "-q"]);
    assert_eq!(told, "hello\n");
    let code = user.cargo(&["run", "-q", "--", "exit", "42"]).status().unwrap().code();
    assert_eq!(code, Some(42));
    let odd = OsStr::from_bytes(b"a b\"c\\ \xff\n");
    user.assert_same_as_on_linux(&["arguments".as_ref(), odd, "".as_ref(), "--strace".as_ref()]);
    for word in ["error", "panic", "abort", "overflow", "fault", "fixture"] {
        user.assert_same_as_on_linux(&[word.as_ref()]);
    }
    assert_eq!(user.run(&["bundled".as_ref()], false).stdout, b"[package]");
}

#[test]
fn streams_pass_whole() {
    let user = Crate::basic();
    user.succeed(&["build", "-q"]);
    let input: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = user.dir.join("input");
    fs::write(&path, &input).unwrap();
    let mut command = Command::new(user.dir.with_extension("target").join("debug/basic"));
    command.arg("streams").stdin(fs::File::open(&path).unwrap()).current_dir(&user.dir).env("OSV_TIMEOUT", "120");
    let output = command.output().unwrap();
    assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
    assert_eq!(output.stderr, b"4000000 bytes\n");
}

#[test]
fn every_way_to_build_boots() {
    let user = Crate::basic();
    assert_eq!(user.succeed(&["run", "-q", "--release"]), "hello\n");
    assert_eq!(user.succeed(&["run", "-q", "--profile", "small"]), "hello\n");
    assert_eq!(user.succeed(&["run", "-q", "--example", "example"]), "example 8\n");
    let size = fs::metadata(user.dir.with_extension("target").join("small/basic")).unwrap().len();
    // What SPECIFICATION.md promises.
    assert!(size <= 5 << 19, "{size} bytes");
}

#[test]
fn calls_of_the_kernel_are_those_of_libc() {
    let user = Crate::basic();
    for profile in ["--profile=dev", "--profile=release"] {
        for example in ["calls", "cancel"] {
            let here = user.succeed(&["run", "-q", profile, "--example", example]);
            let mut native = user.cargo(&["run", "-q", profile, "--example", example]);
            let native = native.env("OSV_NATIVE", "1").output().unwrap();
            assert_eq!(here, String::from_utf8_lossy(&native.stdout), "{example}");
        }
    }
}

#[test]
fn tests_run_in_the_vm() {
    let user = Crate::basic();
    let told = user.succeed(&["test", "--lib"]);
    assert!(told.contains("4 passed"), "{told}");
    let told = user.succeed(&["test", "--doc"]);
    assert!(told.contains("1 passed"), "{told}");
    let told = user.succeed(&["test", "--test", "plain"]);
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
fn std_works() {
    let user = Crate::basic();
    // Tests bundle no files; the host's busybox comes with the workspace's directory.
    fs::copy("/bin/busybox", user.dir.join("busybox")).unwrap();
    let source = fs::read_to_string(user.dir.join("tests/std.rs")).unwrap();
    let path = format!("{}/busybox", user.dir.display());
    fs::write(user.dir.join("tests/std.rs"), source.replace("/bin/busybox", &path)).unwrap();
    let told = user.succeed(&["test", "--test", "std"]);
    assert!(told.contains("12 passed"), "{told}");
}

#[test]
fn programs_without_std_boot() {
    let user = Crate::without_std();
    assert_eq!(user.succeed(&["run", "-q"]), "hello without std\n");
    for words in [&["arguments", "a b", ""][..], &["heap"], &["files"], &["exit", "42"], &["off", "7"], &["error"]] {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        user.assert_same_as_on_linux(&words);
    }
    let told = user.run(&["machine".as_ref()], false);
    assert_eq!(told.stdout, b"1 true 1\n");
    assert!(String::from_utf8_lossy(&told.stderr).contains("a line for the log\na piece of work: "));
    assert_eq!(user.run(&["machine".as_ref()], true).stdout, b"Linux\n");
    let panic = user.run(&["panic".as_ref()], false);
    assert_eq!(panic.status.signal(), Some(6));
    let source = fs::read_to_string(user.dir.join("src/main.rs")).unwrap();
    let line = 1 + source.lines().position(|line| line.contains("panic!(")).unwrap();
    let told = String::from_utf8_lossy(&panic.stderr);
    assert_eq!(told, format!("panicked at src/main.rs:{line}:22:\non purpose\n"));
}

#[test]
fn programs_without_std_are_small_and_quick() {
    let build = |user: Crate| {
        user.succeed(&["build", "-q", "--release"]);
        user.dir.with_extension("target").join("release").join(user.dir.file_name().unwrap())
    };
    let file = build(Crate::without_std());
    let size = fs::metadata(&file).unwrap().len() - kernel_size(&file);
    assert!(size <= 400 << 10, "{size} bytes beside the kernel");
    let with_std = build(Crate::basic());
    let (without, with) = (instructions_to_main(&file), instructions_to_main(&with_std));
    println!("{without} instructions to main without std, {with} with std");
    assert!(2 * without < with, "{without} instructions to main without std, {with} with std");
}

/// From the kernel's entry: counted as time, since an instruction takes a nanosecond.
fn instructions_to_main(file: &Path) -> u64 {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "128", "-display", "none", "-nodefaults"])
        .args([
            "-no-user-config",
            "-no-reboot",
            "-serial",
            "stdio",
            "-icount",
            "shift=0",
            "-append",
            "--quiet /app since",
        ])
        .arg("-kernel")
        .arg(file);
    let done = run_with_timeout(qemu, LIMIT).unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut numbers = told.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok());
    numbers.next_back().unwrap_or_else(|| panic!("{told}"))
}

/// The size of the segment that holds the kernel: the one at physical 1 MiB.
fn kernel_size(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let table = word(0x20) as usize;
    let headers = (0..usize::from(bytes[0x38])).map(|index| table + index * 56);
    headers.clone().find(|&at| bytes[at] == 1 && word(at + 24) == 1 << 20).map(|at| word(at + 32)).unwrap()
}

/// Each test is told apart, whatever it does to its VM; `cargo nextest` is asked where it is installed.
#[test]
fn tests_have_a_vm_each() {
    let user = Crate::new("apart", "apart", &[("lib.rs", "src/lib.rs")]);
    let mut tools = vec![vec!["test", "--lib"]];
    if Command::new("cargo-nextest").arg("--version").output().is_ok() {
        tools.push(vec!["nextest", "run", "--no-fail-fast"]);
    }
    for tool in tools {
        let mut command = user.cargo(&tool);
        command.env_remove("OSV_TIMEOUT");
        let done = run_with_timeout(command, LIMIT).unwrap();
        let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert_ne!(done.code, Some(0), "{told}");
        assert!(told.contains("4 passed") && told.contains("3 failed"), "{told}");
        for word in ["a word before the end", "took too long", "exit status: 9"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
}

#[test]
fn a_crate_is_made_and_packs_files() {
    let user = Crate::new("made", "basic", &[]);
    let osv = osv_tests::osv().unwrap().with_file_name("cargo-osv");
    let command = |words: &[&str], dir: &Path| {
        let output = Command::new(&osv).arg("osv").args(words).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for (name, option, says) in [("with", "", "hello from "), ("without", "--no-std", "hello from ")] {
        let words = [&["new", name][..], &[option][usize::from(option.is_empty())..]].concat();
        command(&words, &user.dir);
        let dir = user.dir.join(name);
        fs::write(dir.join("packed"), "a packed file").unwrap();
        command(&["bundle", "packed:/etc/packed"], &dir);
        let mut run = user.cargo(&["run", "-q"]);
        let done = run_with_timeout(
            {
                run.current_dir(&dir);
                run
            },
            LIMIT,
        )
        .unwrap();
        assert!(String::from_utf8_lossy(&done.stdout).starts_with(says), "{}", String::from_utf8_lossy(&done.stderr));
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("files = [\"packed:/etc/packed\"]"), "{manifest}");
    }
}

/// The command as cargo's runner, for a crate that has never heard of osv and links dynamically.
#[test]
fn strangers_run_by_the_command() {
    let user = Crate::stranger();
    let told = user.succeed(&["run", "-q", "--", "a b", "--strace", ""]);
    assert_eq!(told, "[\"a b\", \"--strace\", \"\"] true\n");
    assert_eq!(user.cargo(&["run", "-q", "--", "42"]).status().unwrap().code(), Some(42));
    let told = user.succeed(&["test", "-q", "passes"]);
    assert!(told.contains("1 passed"), "{told}");
    assert_eq!(user.cargo(&["test", "-q", "fails"]).status().unwrap().code(), Some(101));
}

#[test]
fn known_crates_work_unchanged() {
    let user = Crate::new("ecosystem", "ecosystem", &[("lib.rs", "src/lib.rs")]);
    user.succeed(&["add", "-q", "tokio", "--features", "rt-multi-thread,time,fs,process,sync,macros"]);
    user.succeed(&["add", "-q", "rusqlite", "--features", "bundled"]);
    user.succeed(&["add", "-q", "serde", "--features", "derive"]);
    user.succeed(&["add", "-q", "serde_json", "regex", "rayon", "crossbeam", "tempfile"]);
    fs::copy("/bin/busybox", user.dir.join("busybox")).unwrap();
    let source = fs::read_to_string(user.dir.join("src/lib.rs")).unwrap();
    let path = format!("{}/busybox", user.dir.display());
    fs::write(user.dir.join("src/lib.rs"), source.replace("/bin/busybox", &path)).unwrap();
    let told = user.succeed(&["test", "--lib"]);
    assert!(told.contains("7 passed"), "{told}");
}

#[test]
fn mistakes_end_in_a_sentence() {
    let user = Crate::new("mistakes", "basic", &[("main.rs", "src/main.rs")]);
    let source = user.dir.join("shared.c");
    fs::write(&source, "int twice(int number) { return 2 * number; }\n").unwrap();
    let library = user.dir.join("libshared.so");
    let gcc = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(gcc.success());
    fs::create_dir_all(user.dir.join("src/bin")).unwrap();
    let uses = "use osv as _;\n#[link(name = \"shared\")]\nunsafe extern \"C\" { safe fn twice(number: i32) -> i32; }\nfn main() { println!(\"{}\", twice(2)); }\n";
    fs::write(user.dir.join("src/bin/shared.rs"), uses).unwrap();
    let search = format!("-L{}", user.dir.display());
    assert!(user.fail(&["build", "--bin", "shared"], &search).contains("osv: a shared library is in this link"));
    let target = "--target=x86_64-unknown-linux-gnu";
    let fixed = user.fail(&["build", "--bin", "mistakes", target], "-Crelocation-model=static");
    assert!(fixed.contains("osv: this link makes a program for one fixed address"), "{fixed}");
    let other = user.fail(&["build", "--bin", "mistakes"], "-Clink-arg=-fuse-ld=bfd");
    assert!(other.contains("osv: this build does not link with rust-lld"), "{other}");
    let wrong =
        fs::read_to_string(user.dir.join("src/main.rs")).unwrap().replace("memory = \"256M\"", "memory = \"much\"");
    fs::write(user.dir.join("src/main.rs"), wrong).unwrap();
    assert!(user.fail(&["build", "--bin", "mistakes"], "").contains("osv: `much` is no size of memory"));
}
