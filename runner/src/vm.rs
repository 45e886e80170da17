//! What a virtual machine shall be: the description that [`crate::qemu`] turns into a command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Memory where nobody says how much: enough for Python or a test suite, and only what is touched costs.
pub const DEFAULT_MEMORY: Memory = Memory { bytes: 512 << 20 };

/// As many CPUs as the host has, but not more than this where nobody says how many.
pub const DEFAULT_CPUS_MAX: usize = 4;

/// A size of memory, written as `256M`, `2G` or in MiB without a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    bytes: u64,
}

impl Memory {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// This and so many bytes more, in whole pages.
    #[must_use]
    pub fn with_room_for(self, bytes: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes).next_multiple_of(4096) }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "k" | "kb" | "kib" => 1 << 10,
            "" | "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return Err(format!("`{text}` is no size of memory: write it like 256M or 2G")),
        };
        let number: u64 =
            digits.parse().map_err(|_| format!("`{text}` is no size of memory: write it like 256M or 2G"))?;
        match number.checked_mul(unit) {
            Some(bytes) if (1 << 20..=1 << 40).contains(&bytes) => Ok(Self { bytes }),
            _ => Err(format!("a VM of {text} cannot be had: from 1M to 1024G will do")),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}K", self.bytes >> 10)
    }
}

/// The machine that QEMU imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// PCI Express and ACPI, as clouds have it.
    #[default]
    Q35,
    /// The older PC with PCI only.
    Pc,
    /// No PCI, no firmware: virtio over MMIO, as Firecracker has it.
    Microvm,
}

impl FromStr for Machine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "q35" => Ok(Self::Q35),
            "pc" => Ok(Self::Pc),
            "microvm" => Ok(Self::Microvm),
            _ => Err(format!("`{text}` is no machine: choose q35, pc or microvm")),
        }
    }
}

/// A directory of the host that the guest can mount by its tag (virtio-9p).
#[derive(Clone, Debug)]
pub struct Share {
    /// The mount tag.
    pub tag: String,
    /// The directory on the host.
    pub path: PathBuf,
    /// May the guest change it?
    pub is_writable: bool,
}

/// A virtual machine and what it runs.
#[derive(Clone, Debug)]
pub struct Vm {
    /// The file with the PVH note: the kernel, or a program that carries it.
    pub kernel: PathBuf,
    /// The kernel's ELF with symbols, for backtraces.
    pub symbols: Option<PathBuf>,
    /// The kind of machine.
    pub machine: Machine,
    /// Size of the memory.
    pub memory: Memory,
    /// Number of CPUs.
    pub cpus: usize,
    /// Options on the kernel's command line, each still unescaped.
    pub options: Vec<OsString>,
    /// The program's arguments, its name first.
    pub argv: Vec<OsString>,
    /// The program's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Directories of the host.
    pub shares: Vec<Share>,
    /// An image in memory (the root, or the bundled files).
    pub initrd: Option<PathBuf>,
    /// Disk images (raw), read-only.
    pub disks: Vec<PathBuf>,
    /// Wait for a debugger on this TCP port.
    pub gdb_port: Option<u16>,
    /// End the VM after this time.
    pub timeout: Option<Duration>,
    /// Let the hypervisor and the kernel talk.
    pub is_verbose: bool,
    /// Options that go to QEMU as they are.
    pub qemu_args: Vec<OsString>,
}

impl Vm {
    /// A machine of default size that boots `kernel`.
    pub fn new(kernel: PathBuf) -> Self {
        Self {
            kernel,
            symbols: None,
            machine: Machine::default(),
            memory: DEFAULT_MEMORY,
            cpus: default_cpus(),
            options: Vec::new(),
            argv: Vec::new(),
            env: Vec::new(),
            shares: Vec::new(),
            initrd: None,
            disks: Vec::new(),
            gdb_port: None,
            timeout: None,
            is_verbose: false,
            qemu_args: Vec::new(),
        }
    }

    /// Adds the option `name`, or `name=value` if the value is not empty.
    pub fn option(&mut self, name: &str, value: impl AsRef<OsStr>) {
        let mut option = OsString::from(name);
        if !value.as_ref().is_empty() {
            option.push("=");
            option.push(value);
        }
        self.options.push(option);
    }

    /// Lets the VM wait for a debugger on this TCP port, with programs where it expects them.
    pub fn wait_for_debugger(&mut self, port: u16) {
        self.gdb_port = Some(port);
        self.option("--no-aslr", "");
    }

    /// Shares `path` under `tag` and has the kernel mount it at `at`.
    pub fn mount(&mut self, tag: &str, path: PathBuf, at: &OsStr, is_writable: bool) {
        let mut value = OsString::from(format!("9p,{tag},"));
        value.push(at);
        value.push(if is_writable { ",rw" } else { ",ro" });
        self.option("--mount-fs", value);
        self.shares.push(Share { tag: tag.to_owned(), path, is_writable });
    }

    /// The kernel's command line: the options, with blanks and backslashes escaped by a backslash.
    pub fn command_line(&self) -> OsString {
        let mut line = Vec::new();
        for option in &self.options {
            if !line.is_empty() {
                line.push(b' ');
            }
            for &byte in option.as_bytes() {
                if byte == b'\\' || byte.is_ascii_whitespace() {
                    line.push(b'\\');
                }
                line.push(byte);
            }
        }
        OsString::from_vec(line)
    }

    /// The command line with the program behind the options, each word in double quotes if it has to be.
    pub fn command_line_with_program(&self) -> OsString {
        let mut line = self.command_line().into_vec();
        if self.argv.first().is_some_and(|name| name.as_bytes().starts_with(b"--")) {
            line.extend(b" --");
        }
        for word in &self.argv {
            line.push(b' ');
            line.extend(quoted(word).bytes());
        }
        OsString::from_vec(line)
    }
}

/// A program's argument as the kernel reads it: in double quotes, with C's escapes.
pub fn quoted(word: &OsStr) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./,:=+@%^~".contains(byte);
    if !word.is_empty() && word.as_bytes().iter().all(is_plain) {
        return word.to_string_lossy().into_owned();
    }
    let escaped = word.as_bytes().iter().map(|&byte| match byte {
        b'"' | b'\\' | b'$' => format!("\\{}", char::from(byte)),
        b'\n' => "\\n".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn default_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(DEFAULT_CPUS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_units() {
        assert_eq!("256M".parse::<Memory>().unwrap().bytes(), 256 << 20);
        assert_eq!("64".parse::<Memory>().unwrap().bytes(), 64 << 20);
        assert_eq!("1g".parse::<Memory>().unwrap().bytes(), 1 << 30);
        assert_eq!("1034K".parse::<Memory>().unwrap().to_string(), "1034K");
        for wrong in ["", "M", "12Q", "-1M", "99999999999G", "1K", "1.5G"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn blanks_in_options_are_escaped() {
        let mut vm = Vm::new(PathBuf::from("k"));
        vm.option("--quiet", "");
        vm.option("--cwd", "/a b\\c");
        assert_eq!(vm.command_line(), "--quiet --cwd=/a\\ b\\\\c");
        vm.argv = ["/bin/sh", "-c", "echo $A; \"b\"\n", ""].map(OsString::from).to_vec();
        let line = vm.command_line_with_program();
        assert_eq!(line, "--quiet --cwd=/a\\ b\\\\c /bin/sh -c \"echo \\$A; \\\"b\\\"\\n\" \"\"");
    }
}
