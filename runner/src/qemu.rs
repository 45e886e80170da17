//! Turns a [`Vm`] into QEMU's command line, and finds the QEMU that understands it.
//!
//! Nothing but what the guest needs is on the machine (`-nodefaults`), so that it boots fast and looks the
//! same everywhere. KVM is used only where it works for us: a `/dev/kvm` that opens is no proof, the
//! processor must have the extensions too.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::vm::{Machine, Vm};

/// The program's name; `OSV_QEMU` names another one.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// How the guest's consoles reach the world.
#[derive(Debug)]
pub enum Wiring<'a> {
    /// Named ports and the serial line are on sockets with these descriptors; arguments and environment
    /// are in the files.
    Session {
        /// Descriptor of the kernel's log.
        log: i32,
        /// Name and descriptor of each port.
        ports: &'a [(&'static str, i32)],
        /// Files with the strings, each ended by a NUL.
        argv: &'a str,
        /// The same for the environment.
        envp: &'a str,
        /// Descriptor of QEMU's monitor, if somebody wants to speak with it.
        monitor: Option<i32>,
    },
    /// For the user to paste: all is on the serial line, which is the terminal; the program stands on the
    /// kernel's command line.
    Terminal,
}

/// Where QEMU is, if it is.
pub fn find() -> Option<PathBuf> {
    let name = std::env::var_os("OSV_QEMU").unwrap_or_else(|| PROGRAM.into());
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|file| file.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(&name)).find(|file| file.is_file())
}

/// Would KVM run our VM?
pub fn has_kvm() -> bool {
    let has_extension = || {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        flags.split_ascii_whitespace().any(|flag| flag == "vmx" || flag == "svm")
    };
    has_extension() && OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// The arguments for QEMU.
pub fn arguments(vm: &Vm, wiring: &Wiring<'_>) -> Vec<OsString> {
    let mut args = Arguments::default();
    args.machine(vm);
    args.boot(vm, wiring);
    args.devices(vm);
    args.consoles(vm, wiring);
    if let Some(port) = vm.gdb_port {
        args.pair("-gdb", format!("tcp::{port}"));
        args.flag("-S");
    }
    args.list.extend(vm.qemu_args.iter().cloned());
    args.list
}

/// A command line as a shell takes it.
pub fn quoted(program: &Path, arguments: &[OsString]) -> String {
    let mut line = quote(program.as_os_str());
    for argument in arguments {
        line += if argument.as_bytes().starts_with(b"-") { " \\\n  " } else { " " };
        line += &quote(argument);
    }
    line
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// In QEMU's options a comma ends a value, unless it is doubled.
fn escaped(value: &OsStr) -> OsString {
    let mut bytes = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

fn joined(prefix: &str, value: &OsStr, suffix: &str) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(escaped(value));
    text.push(suffix);
    text
}

#[derive(Default)]
struct Arguments {
    list: Vec<OsString>,
}

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.list.push(name.into());
    }

    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.list.push(name.into());
        self.list.push(value.into());
    }

    fn machine(&mut self, vm: &Vm) {
        let kvm = has_kvm();
        let accel = if kvm { "kvm" } else { "tcg" };
        self.pair(
            "-machine",
            match vm.machine {
                Machine::Q35 => format!("q35,accel={accel}"),
                Machine::Pc => format!("pc,accel={accel}"),
                Machine::Microvm => format!("microvm,accel={accel},acpi=off,rtc=on,auto-kernel-cmdline=on"),
            },
        );
        self.pair("-cpu", if kvm { "host" } else { "max" });
        self.pair("-m", format!("size={}", vm.memory));
        self.pair("-smp", vm.cpus.to_string());
        for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            self.flag(flag);
        }
        self.pair("-display", "none");
    }

    fn boot(&mut self, vm: &Vm, wiring: &Wiring<'_>) {
        self.pair("-kernel", &vm.kernel);
        if let Some(initrd) = &vm.initrd {
            self.pair("-initrd", initrd);
        }
        let line = match wiring {
            Wiring::Session { argv, envp, .. } => {
                self.pair("-fw_cfg", joined("name=opt/org.osv/argv,file=", OsStr::new(argv), ""));
                self.pair("-fw_cfg", joined("name=opt/org.osv/envp,file=", OsStr::new(envp), ""));
                vm.command_line()
            }
            Wiring::Terminal => vm.command_line_with_program(),
        };
        if !line.is_empty() {
            self.pair("-append", line);
        }
    }

    fn devices(&mut self, vm: &Vm) {
        self.pair("-device", device("virtio-rng", vm.machine));
        self.pair("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04");
        for share in &vm.shares {
            let access = if share.is_writable { "off" } else { "on" };
            let suffix = format!(",security_model=none,multidevs=remap,readonly={access}");
            let prefix = format!("local,id={},path=", share.tag);
            self.pair("-fsdev", joined(&prefix, share.path.as_os_str(), &suffix));
            let model = device("virtio-9p", vm.machine);
            self.pair("-device", format!("{model},fsdev={0},mount_tag={0}", share.tag));
        }
        for (index, disk) in vm.disks.iter().enumerate() {
            let prefix = format!("if=none,id=disk{index},format=raw,readonly=on,file=");
            self.pair("-drive", joined(&prefix, disk.as_os_str(), ""));
            self.pair("-device", format!("{},drive=disk{index}", device("virtio-blk", vm.machine)));
        }
    }

    fn consoles(&mut self, vm: &Vm, wiring: &Wiring<'_>) {
        let Wiring::Session { log, ports, monitor, .. } = wiring else {
            self.pair("-serial", "stdio");
            return;
        };
        if let Some(fd) = monitor {
            self.pair("-chardev", format!("socket,id=monitor,fd={fd}"));
            self.pair("-mon", "chardev=monitor,mode=control");
        }
        self.pair("-chardev", format!("socket,id=log,fd={log}"));
        self.pair("-serial", "chardev:log");
        self.pair("-device", format!("{},id=osv,max_ports=8", device("virtio-serial", vm.machine)));
        for (name, fd) in *ports {
            let id = name.rsplit('.').next().unwrap_or(name);
            self.pair("-chardev", format!("socket,id={id},fd={fd}"));
            self.pair("-device", format!("virtserialport,bus=osv.0,chardev={id},name={name}"));
        }
    }
}

/// The model of a virtio device on this machine's bus.
fn device(kind: &str, machine: Machine) -> String {
    match machine {
        Machine::Q35 | Machine::Pc => format!("{kind}-pci,disable-legacy=on"),
        Machine::Microvm => format!("{kind}-device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_doubled() {
        let mut vm = Vm::new(PathBuf::from("k"));
        vm.mount("work", PathBuf::from("/a,b"), OsStr::new("/a,b"), false);
        let args = arguments(&vm, &Wiring::Terminal);
        assert!(args.iter().any(|arg| arg.to_string_lossy().contains("path=/a,,b,security_model=none")));
    }

    #[test]
    fn a_command_line_survives_the_shell() {
        let line = quoted(Path::new("/bin/a b"), &["it's".into(), "-x".into()]);
        assert_eq!(line, "'/bin/a b' 'it'\\''s' \\\n  -x");
    }
}
