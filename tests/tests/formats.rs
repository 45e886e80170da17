//! Boots every format that `osv build` makes, by every boot loader and firmware that QEMU and GRUB have to offer, and runs
//! the same programs on each: Python with its files in the root image, two CPUs, virtio-rng, an exit code. Ignored by
//! default, since it needs GRUB and OVMF: `cargo test -p osv-tests --test formats -- --ignored --test-threads=1`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use osv_tests::{compile, osv, run_with_timeout};

const SCRIPT: &str =
    "import os,sys; print('python', 6*7, len(os.sched_getaffinity(0)), len(os.getrandom(9))); sys.exit(7)";
const SAYS: &str = "python 42 2 9";
/// What QEMU ends with when a program has ended with 7.
const CODE: i32 = 7 << 1 | 1;

const OVMF: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];

fn directory() -> PathBuf {
    let directory = compile::output_dir().join("formats");
    fs::create_dir_all(&directory).expect("a directory for images");
    directory
}

/// Runs `osv` with `arguments` and returns what it prints.
fn run_osv(arguments: &[&str]) -> String {
    let done = Command::new(osv().expect("the command osv")).args(arguments).output().expect("osv");
    assert!(done.status.success(), "osv {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Python with as much of its library as it needs to start, as arguments of `osv build`.
fn python_files() -> Vec<String> {
    const MODULES: [&str; 9] = [
        "abc.py",
        "codecs.py",
        "io.py",
        "os.py",
        "stat.py",
        "posixpath.py",
        "genericpath.py",
        "_collections_abc.py",
        "encodings",
    ];
    let query = "import os; print(os.path.dirname(os.__file__))";
    let library = Command::new("/usr/bin/python3").args(["-c", query]).output().expect("Python").stdout;
    let library = String::from_utf8(library).expect("a path").trim().to_owned();
    MODULES.iter().map(|module| format!("--file={library}/{module}")).collect()
}

/// Builds `name` as `format` with Python and the script in it.
fn python(format: &str, name: &str) -> PathBuf {
    let output = directory().join(name);
    let files = python_files();
    let mut arguments = vec!["build", "--format", format, "-o", output.to_str().expect("a path")];
    arguments.extend(files.iter().map(String::as_str));
    if format != "erofs" {
        arguments.push("--kernel-arg=--verbose");
    }
    arguments.extend(["/usr/bin/python3", "-I", "-S", "-c", SCRIPT]);
    run_osv(&arguments);
    output
}

/// The kernel alone as `format`.
fn kernel(format: &str) -> PathBuf {
    let output = directory().join(format!("kernel.{format}"));
    run_osv(&["build", "--format", format, "-o", output.to_str().expect("a path")]);
    output
}

/// Boots a machine and returns its serial output and QEMU's exit code.
fn boot(machine: &str, more: &[&str]) -> (String, Option<i32>) {
    let is_without_pci = machine.starts_with("microvm") && !machine.contains("pcie");
    let rng = if is_without_pci { "virtio-rng-device" } else { "virtio-rng-pci" };
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-M",
        machine,
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        "256",
        "-smp",
        "2",
        "-display",
        "none",
        "-nodefaults",
    ])
    .args(["-no-user-config", "-no-reboot", "-serial", "stdio", "-device", rng])
    .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
    .args(more);
    let done = run_with_timeout(qemu, Duration::from_secs(120)).expect("QEMU");
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    // The console is a terminal, which ends lines with two bytes.
    (String::from_utf8_lossy(&done.stdout).replace('\r', "") + &errors, done.code)
}

/// The suite: the script has run, with all that it needs.
fn passes(what: &str, machine: &str, more: &[&str]) {
    println!("{what} on {machine}");
    let (log, code) = boot(machine, more);
    assert!(log.contains(SAYS), "{what} on {machine}: QEMU's exit code is {code:?}\n{log}");
    assert!(log.contains("virtio-rng gave 64 bytes"), "{what} on {machine}\n{log}");
    assert_eq!(code, Some(CODE), "{what} on {machine}\n{log}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// The command line for kernels whose root comes beside them.
fn command_line() -> String {
    format!("--verbose /usr/bin/python3 -I -S -c \"{SCRIPT}\"")
}

#[test]
#[ignore = "10 boots"]
fn kernels_with_an_initrd() {
    let root = python("erofs", "root.erofs");
    let line = command_line();
    for format in ["elf", "bzimage", "multiboot"] {
        let kernel = kernel(format);
        let arguments = ["-kernel", text(&kernel), "-initrd", text(&root), "-append", &line];
        for machine in ["q35", "pc"] {
            passes(format, machine, &arguments);
        }
    }
    let kernel = kernel("elf");
    let arguments = ["-kernel", text(&kernel), "-initrd", text(&root), "-append", &line];
    // With ACPI and PCI by memory alone; with ACPI's byte code; with nothing but the command line and MP tables.
    passes("elf", "microvm,pcie=on", &arguments);
    passes("elf", "microvm,acpi=on", &arguments);
    passes("elf", "microvm,acpi=off", &arguments);
}

#[test]
#[ignore = "6 boots"]
fn images_that_boot_by_themselves() {
    let iso = python("iso", "python.iso");
    let raw = python("raw", "python.img");
    let qcow2 = python("qcow2", "python.qcow2");
    let drive =
        |image: &Path, format: &str| format!("if=none,id=disk,format={format},readonly=on,file={}", text(image));
    let (raw, qcow2) = (drive(&raw, "raw"), drive(&qcow2, "qcow2"));
    let disk = |drive| ["-drive", drive, "-device", "virtio-blk-pci,drive=disk"];
    passes("ISO, BIOS, IDE", "pc", &["-cdrom", text(&iso)]);
    passes("ISO, BIOS, AHCI", "q35", &["-cdrom", text(&iso)]);
    passes("disk, BIOS", "q35", &disk(&raw));
    passes("qcow2, BIOS", "pc", &disk(&qcow2));
    for (what, arguments) in [("ISO, UEFI", &["-cdrom", text(&iso)][..]), ("disk, UEFI", &disk(&raw))] {
        let variables = directory().join("variables.fd");
        fs::copy(OVMF[1], &variables).expect("OVMF's variables");
        let code = format!("if=pflash,format=raw,readonly=on,file={}", OVMF[0]);
        let variables = format!("if=pflash,format=raw,file={}", text(&variables));
        passes(what, "q35", &[&["-drive", &code, "-drive", &variables], arguments].concat());
    }
}

#[test]
#[ignore = "6 boots"]
fn grub_by_multiboot() {
    let root = python("erofs", "root.erofs");
    let line = command_line();
    for (loader, format) in [("multiboot2", "elf"), ("multiboot2", "multiboot"), ("multiboot", "multiboot")] {
        let kernel = kernel(format);
        let module = loader.replace("multiboot", "module");
        let menu = format!("set timeout=0\n{loader} /kernel {line}\n{module} /root\nboot\n");
        let iso = grub_image(&menu, &[("kernel", &kernel), ("root", &root)]);
        passes(&format!("{loader} of {format}"), "q35", &["-cdrom", text(&iso)]);
    }
}

/// A CD with GRUB, its menu, and files.
fn grub_image(menu: &str, files: &[(&str, &Path)]) -> PathBuf {
    let tree = directory().join("tree");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(tree.join("boot/grub")).expect("a tree");
    fs::write(tree.join("boot/grub/grub.cfg"), menu).expect("a menu");
    for (name, file) in files {
        fs::copy(file, tree.join(name)).expect("a file");
    }
    let iso = directory().join("grub.iso");
    let done = Command::new("grub-mkrescue").arg("-o").arg(&iso).arg(&tree).output().expect("grub-mkrescue");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    iso
}

/// A static program inside of the kernel's file; its command line can be read and changed.
#[test]
#[ignore = "7 boots"]
fn programs_inside_of_the_kernel() {
    let hello = compile::gcc("formats.c", "formats/hello", &["-static"]).expect("gcc");
    for format in ["elf", "bzimage", "multiboot"] {
        let image = directory().join(format!("hello.{format}"));
        run_osv(&["build", "--format", format, "-o", text(&image), text(&hello), "a  b", "\"$c\\"]);
        let (log, code) = boot("q35", &["-kernel", text(&image)]);
        assert!(log.contains("[a  b]\n[\"$c\\]\n"), "{format}: {log}");
        assert_eq!(code, Some(CODE), "{format}: {log}");
        let shown = run_osv(&["image", "show", text(&image)]);
        assert!(shown.contains(&format!("{} \"a  b\"", text(&hello))), "{shown}");
        run_osv(&["image", "set-cmdline", text(&image), &format!("--quiet {} changed", text(&hello))]);
        let (log, code) = boot("q35", &["-kernel", text(&image)]);
        assert!(log.contains("[changed]") && !log.contains("booted in"), "{format}: {log}");
        assert_eq!(code, Some(CODE), "{format}: {log}");
    }
}

/// A program of the crate `osv` boots as its own file, and from each format that it is put into.
#[test]
#[ignore = "4 boots"]
fn programs_that_carry_the_kernel() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(cargo)
        .args(["build", "-q", "-p", "osv-examples", "--example", "hello"])
        .current_dir(workspace)
        .status();
    assert!(build.expect("cargo").success());
    let app = compile::output_dir().parent().expect("the target directory").join("debug/examples/hello");
    let mut files = vec![app.clone()];
    for format in ["elf", "bzimage", "multiboot"] {
        let image = directory().join(format!("app.{format}"));
        run_osv(&["build", "--format", format, "-o", text(&image), text(&app)]);
        files.push(image);
    }
    for file in files {
        let (log, code) = boot("q35", &["-kernel", text(&file)]);
        assert!(log.contains("hello from Linux version"), "{}: {log}", file.display());
        assert_eq!(code, Some(1), "{}: {log}", file.display());
    }
}
