//! Programs written for the purpose: every kind of ELF, and what the system calls promise, in the words of
//! `programs/*.c`. Compiled here, run on Linux and on osv, and compared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use osv_tests::compile::{gcc, musl_gcc, output_dir};
use osv_tests::{Case, Suite};

#[test]
fn kinds_of_elf() {
    let mut suite = Suite::new("elf", &[]);
    let kinds: &[(&str, &[&str])] = &[
        ("pie", &["-pie", "-fPIE"]),
        ("non-pie", &["-no-pie"]),
        ("static", &["-static", "-no-pie"]),
        ("static-pie", &["-static-pie", "-fPIE"]),
        ("local-exec-tls", &["-no-pie", "-ftls-model=local-exec"]),
        ("bind-now", &["-Wl,-z,now"]),
    ];
    for (name, flags) in kinds {
        suite.add(kind(name, built(gcc("elf/kinds.c", &format!("elf/{name}"), &with(flags, "-pthread")))));
    }
    suite.add(kind("musl-static", built(musl_gcc("elf/kinds.c", "elf/musl-static", &["-static"]))));
    suite.add(kind("musl-dynamic", built(musl_gcc("elf/kinds.c", "elf/musl-dynamic", &[]))));
    add_library_cases(&mut suite);
    suite.check();
}

fn with<'a>(flags: &[&'a str], more: &'a str) -> Vec<&'a str> {
    flags.iter().copied().chain([more]).collect()
}

fn built(program: anyhow::Result<PathBuf>) -> PathBuf {
    program.unwrap_or_else(|error| panic!("{error:#}"))
}

fn kind(name: &str, program: PathBuf) -> Case {
    Case::program(name, &program, &["one", "two words", ""]).env("CHECK_ENV", "a value with = and spaces")
}

fn add_library_cases(suite: &mut Suite) {
    let library = built(gcc("elf/greet.c", "elf/lib/libgreet.so", &["-shared", "-fPIC"]));
    let library_path = library.display().to_string();
    for (name, tags) in [("runpath", "--enable-new-dtags"), ("rpath", "--disable-new-dtags")] {
        let flags = [library_path.as_str(), &format!("-Wl,-rpath,$ORIGIN/lib,{tags}")];
        let program = built(gcc("elf/runpath.c", &format!("elf/{name}"), &flags));
        suite.add(Case::program(name, &program, &[]));
    }
    let plugin = built(gcc("elf/plugin.c", "elf/plugin", &["-ldl"]));
    suite.add(Case::program("dlopen", &plugin, &[&library_path]));
    let shared = ["-shared", "-fPIC", "-DLIBRARY"];
    built(gcc("elf/lazy.c", "elf/without/liblazy.so", &shared));
    let complete = built(gcc("elf/lazy.c", "elf/with/liblazy.so", &with(&shared, "-DWITH_FUNCTION")));
    let flags = [&complete.display().to_string(), "-Wl,-z,lazy", "-Wl,-rpath,$ORIGIN/without"];
    let lazy = built(gcc("elf/lazy.c", "elf/lazy", &flags));
    suite.add(Case::program("lazy-never-called", &lazy, &[]));
    suite.add(Case::program("lazy-called", &lazy, &["call"]));
    suite.add(Case::program("lazy-bound-now", &lazy, &[]).env("LD_BIND_NOW", "1"));
}

#[test]
fn broken_elf_files() {
    let mut suite = Suite::new("broken", &[]);
    let program = built(gcc("elf/greeting.c", "elf/greeting", &["-static", "-no-pie"]));
    let dynamic = built(gcc("elf/greeting.c", "elf/greeting-dynamic", &[]));
    let exec_each = built(gcc("exec_each.c", "exec_each", &["-static"]));
    let directory = output_dir().join("broken");
    let files = broken_files(&directory, &read(&program), &read(&dynamic));
    for (index, group) in files.chunks(20).enumerate() {
        let names: Vec<&str> = group.iter().filter_map(|path| path.to_str()).collect();
        suite.add(Case::program(&format!("broken-{index}"), &exec_each, &names).seconds(120).normalise(refused));
    }
    suite.check();
}

/// Where Linux finds out too late that a file is broken, it kills the process; osv looks first and refuses. Both are
/// `refused`. Linux does not look at the file's class and byte order at all; osv does.
fn refused(text: &str) -> String {
    const REFUSALS: &[&str] = &["execve: ENOEXEC", "execve: EINVAL", "execve: EIO", "signal 11", "signal 7"];
    const UNREAD_BY_LINUX: &[&str] = &["32-bit-class", "no-class", "big-endian"];
    let outcome = |line: &str| {
        let (name, end) = line.split_once(": ").unwrap_or((line, ""));
        let is_unread = UNREAD_BY_LINUX.iter().any(|field| name.ends_with(field));
        let end = if is_unread || REFUSALS.contains(&end) { "refused" } else { end };
        format!("{name}: {end}\n")
    };
    text.lines().map(outcome).collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files that are nearly programs, written into `directory`.
fn broken_files(directory: &Path, good: &[u8], dynamic: &[u8]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut put = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        // Rewritten only if changed: the VM may have the file cached by its name and time.
        if fs::read(&path).ok().as_deref() != Some(content) {
            fs::create_dir_all(directory).and_then(|()| fs::write(&path, content)).expect("writing a broken file");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("making it executable");
        }
        files.push(path);
    };
    put("good", good);
    put("good-dynamic", dynamic);
    for length in [0, 1, 3, 4, 16, 63, 64, 65, 100, 120, 400] {
        put(&format!("cut-{length}"), &good[..length]);
        put(&format!("dynamic-cut-{length}"), &dynamic[..length]);
    }
    for (name, offset, bytes) in HEADER_CHANGES {
        put(&format!("header-{name}"), &changed(good, *offset, bytes));
        put(&format!("dynamic-header-{name}"), &changed(dynamic, *offset, bytes));
    }
    let first_load = program_header(good, PT_LOAD);
    for (name, offset, bytes) in SEGMENT_CHANGES {
        put(&format!("segment-{name}"), &changed(good, first_load + offset, bytes));
        put(&format!("dynamic-segment-{name}"), &changed(dynamic, program_header(dynamic, PT_LOAD) + offset, bytes));
    }
    let interp = program_header(dynamic, PT_INTERP);
    for (name, offset, bytes) in INTERP_CHANGES {
        put(&format!("interp-{name}"), &changed(dynamic, interp + offset, bytes));
    }
    let interp_at = word(dynamic, interp + 8);
    put("interp-missing", &changed(dynamic, interp_at, b"/no/"));
    put("interp-unterminated", &changed(dynamic, interp_at + word(dynamic, interp + 32) - 1, b"x"));
    put("interp-is-text", &changed(dynamic, interp_at, b"/etc/passwd\0"));
    put("interp-is-directory", &changed(dynamic, interp_at, b"/\0"));
    for (name, text) in SCRIPTS {
        put(&format!("script-{name}"), text.as_bytes());
    }
    put("script-long", format!("#!/bin/{}\n", "x".repeat(300)).as_bytes());
    put("script-itself", format!("#!{}\n", directory.join("script-itself").display()).as_bytes());
    put("script-not-executable", b"#!/etc/passwd\n");
    put("garbage", &(0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>());
    put("zeros", &[0; 4096]);
    files
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

type Change = (&'static str, usize, &'static [u8]);

/// Fields of the ELF header.
const HEADER_CHANGES: &[Change] = &[
    ("magic", 3, b"f"),
    ("32-bit-class", 4, &[1]),
    ("no-class", 4, &[0]),
    ("big-endian", 5, &[2]),
    ("version", 6, &[9]),
    ("relocatable", 16, &[1, 0]),
    ("core", 16, &[4, 0]),
    ("type-none", 16, &[0, 0]),
    ("aarch64", 18, &[183, 0]),
    ("riscv", 18, &[243, 0]),
    ("i386", 18, &[3, 0]),
    ("entry-zero", 24, &[0; 8]),
    ("entry-kernel", 24, &[0xff; 8]),
    ("phoff-zero", 32, &[0; 8]),
    ("phoff-far", 32, &[0, 0, 0, 0, 1, 0, 0, 0]),
    ("phoff-overflow", 32, &[0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ("phoff-negative", 32, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ("phentsize-small", 54, &[55, 0]),
    ("phentsize-large", 54, &[0xff, 0xff]),
    ("no-phdrs", 56, &[0, 0]),
    ("many-phdrs", 56, &[0xff, 0xff]),
    ("phdrs-too-many", 56, &[0x60, 0x04]),
];

/// Fields of the first PT_LOAD.
const SEGMENT_CHANGES: &[Change] = &[
    ("no-permission", 4, &[0; 4]),
    ("offset-far", 8, &[0, 0, 0, 0, 0, 1, 0, 0]),
    ("offset-negative", 8, &[0, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ("offset-unaligned", 8, &[1]),
    ("kernel-address", 16, &[0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff]),
    ("non-canonical", 16, &[0, 0, 0, 0, 0, 0, 0, 0x80]),
    ("end-of-space", 16, &[0, 0xf0, 0xff, 0xff, 0xff, 0x7f, 0, 0]),
    ("filesz-above-memsz", 40, &[1, 0, 0, 0, 0, 0, 0, 0]),
    ("memsz-huge", 40, &[0, 0, 0, 0, 0, 0, 0, 0x7f]),
    ("memsz-all", 40, &[0xff; 8]),
    ("filesz-huge", 32, &[0, 0, 0, 0, 0, 0, 0, 0x7f]),
];

/// Fields of PT_INTERP.
const INTERP_CHANGES: &[Change] = &[
    ("offset-far", 8, &[0, 0, 0, 0, 0, 1, 0, 0]),
    ("offset-negative", 8, &[0xff; 8]),
    ("size-zero", 32, &[0; 8]),
    ("size-one", 32, &[1, 0, 0, 0, 0, 0, 0, 0]),
    ("size-huge", 32, &[0, 0, 0, 0, 1, 0, 0, 0]),
];

const SCRIPTS: &[(&str, &str)] = &[
    ("blank", "#!   \n"),
    ("no-newline", "#!/bin/true"),
    ("spaces", "#! \t /bin/sh   \nexit 3\n"),
    ("argument", "#!/bin/sh -e\nfalse\nexit 3\n"),
    ("missing", "#!/no/such/interpreter\n"),
    ("directory", "#!/bin\n"),
    ("relative", "#!bin/sh\n"),
    ("none", "exit 3\n"),
    ("nul", "#!/bin/sh\0x\nexit 4\n"),
];

fn changed(file: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut copy = file.to_vec();
    copy[offset..offset + bytes.len()].copy_from_slice(bytes);
    copy
}

/// Where the first program header of this type stands in a file that this test compiled.
fn program_header(file: &[u8], kind: u32) -> usize {
    (0..usize::from(file[56]))
        .map(|index| word(file, 32) + index * 56)
        .find(|&at| file[at..at + 4] == kind.to_le_bytes())
        .expect("the segment")
}

fn word(file: &[u8], offset: usize) -> usize {
    let bytes: [u8; 8] = file[offset..offset + 8].try_into().expect("eight bytes");
    usize::try_from(u64::from_le_bytes(bytes)).expect("a 64-bit host")
}

#[test]
fn system_calls() {
    let mut suite = Suite::new("calls", &["--cpus", "2"]);
    let programs = [
        "signals",
        "gate",
        "fpstate",
        "processes",
        "mappings",
        "events",
        "files",
        "threads",
        "clocks",
        "hostile",
        "terminals",
        "sysvipc",
        "mqueue",
        "netlink",
        "memory",
        "remap",
        "readiness",
        "process_errors",
        "call_errors",
        "ptrace",
    ];
    for name in programs {
        let program = built(gcc(&format!("{name}.c"), name, &["-pthread"]));
        suite.add(Case::program(name, &program, &[]).seconds(120));
    }
    let static_program = built(gcc("signals.c", "signals-static", &["-static", "-pthread"]));
    suite.add(Case::program("signals-static", &static_program, &[]).seconds(120));
    suite.check();
}

/// The file domain, errno for errno: where files are concerned, in the working directory and on tmpfs.
#[test]
fn file_calls() {
    let mut suite = Suite::new("files", &["--cpus", "2"]);
    for name in [
        "paths",
        "permissions",
        "contents",
        "locks",
        "mounts",
        "namespaces",
        "unix_sockets",
        "watching",
        "file_errors",
        "protections",
    ] {
        let program = built(gcc(&format!("{name}.c"), name, &["-pthread"]));
        suite.add(Case::program(name, &program, &[]).seconds(120));
    }
    suite.check();
}
