//! The kernel's command line: options of the kernel, then the program and its arguments.
//!
//! Options come first and start with `--`; a blank inside one is escaped by a backslash. The first word that is no
//! option is the program. From there on double quotes hold blanks together, and backslashes escape as in C. The
//! runner passes programs by fw_cfg instead, where any bytes may stand; what is here is for boot loaders and hands.
//! Bytes are bytes: nothing has to be UTF-8, and no input makes the parser panic.

mod loader;

use crate::sync::Once;
use alloc::vec::Vec;

/// What the command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Print no boot line.
    pub is_quiet: bool,
    /// Print what the kernel does.
    pub is_verbose: bool,
    /// Print the time of each step of the boot.
    pub has_bootchart: bool,
    /// Print every system call.
    pub has_strace: bool,
    /// Print the list of options and power off.
    pub wants_help: bool,
    /// The first program's working directory.
    pub cwd: Option<Vec<u8>>,
    /// Its environment: `NAME=VALUE` each.
    pub environment: Vec<Vec<u8>>,
    /// What the root file system is: `ram`, `9p:TAG`, `erofs:ram`, `erofs:DISK` or `embedded`.
    pub rootfs: Option<Vec<u8>>,
    /// Further file systems, in order.
    pub mounts: Vec<MountOption>,
    /// Where the embedded app lies on a shared directory, if it is there.
    pub exe: Option<Vec<u8>>,
    /// The program and its arguments; empty if the command line names none.
    pub program: Vec<Vec<u8>>,
}

/// Whether a command line says nothing but what boot loaders put there by themselves.
pub fn is_silent(line: &[u8]) -> bool {
    loader::without_devices(loader::skip_words(line)).is_empty()
}

/// The kernel's options in a program's configuration, which is lines of `key=value`.
pub fn from_configuration(text: &[u8]) -> &[u8] {
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"kernel-args=")).unwrap_or_default()
}

/// `--mount-fs=TYPE,DEVICE,PATH[,ro|rw]`.
#[derive(Debug, PartialEq, Eq)]
pub struct MountOption {
    /// The file system's name, such as `9p`.
    pub kind: Vec<u8>,
    /// What it is on, such as a 9p tag.
    pub device: Vec<u8>,
    /// Where it goes.
    pub path: Vec<u8>,
    /// Whether programs may change what is on the device; otherwise their writes stay in memory.
    pub is_writable: bool,
}

/// Why a command line is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct BadOption(pub Vec<u8>);

static TEXT: Once<&'static [u8]> = Once::new();

/// Remembers the whole command line for [`text`].
pub fn remember(line: &'static [u8]) {
    TEXT.call_once(|| line);
}

/// The command line that the kernel was booted with.
pub fn text() -> &'static [u8] {
    TEXT.get().copied().unwrap_or_default()
}

/// The text that `--help` and unknown options print.
pub const HELP: &str = "\
options of the kernel, before the program and its arguments:
  --help                          print this list and power off
  --quiet                         print no boot line
  --verbose                       print what the kernel does
  --bootchart                     print the time of each step of the boot
  --strace                        print every system call
  --cwd=DIR                       start the program in DIR
  --env=NAME=VALUE                set a variable of its environment
  --rootfs=KIND                   ram, 9p:TAG, erofs:ram, erofs:DISK or embedded
  --mount-fs=TYPE,DEV,PATH[,rw]   mount a file system
  --exe=PATH                      where the embedded program lies on a shared directory
";

impl Options {
    /// Reads a command line.
    ///
    /// # Errors
    /// The first option that is unknown or lacks its value.
    pub fn parse(line: &[u8]) -> Result<Options, BadOption> {
        let mut options = Options::default();
        let mut rest = line;
        loop {
            rest = loader::skip_words(rest);
            if !rest.starts_with(b"--") {
                break;
            }
            let (word, after) = option_word(rest);
            rest = after;
            if word == b"--" {
                break;
            }
            if options.apply(&word).is_none() {
                return Err(BadOption(word));
            }
        }
        options.program = program_words(loader::without_devices(rest));
        Ok(options)
    }

    /// Applies one option; `None` if there is no such option.
    fn apply(&mut self, word: &[u8]) -> Option<()> {
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) => (&word[..at], Some(word[at + 1..].to_vec())),
            None => (word, None),
        };
        match (name, value) {
            (b"--quiet", None) => self.is_quiet = true,
            (b"--verbose", None) => self.is_verbose = true,
            (b"--bootchart", None) => self.has_bootchart = true,
            (b"--strace", None) => self.has_strace = true,
            (b"--help", None) => self.wants_help = true,
            (b"--cwd", Some(path)) => self.cwd = Some(path),
            (b"--env", Some(variable)) => self.environment.push(variable),
            (b"--rootfs", Some(kind)) => self.rootfs = Some(kind),
            (b"--exe", Some(path)) => self.exe = Some(path),
            (b"--mount-fs", Some(value)) => self.mounts.push(MountOption::parse(&value)?),
            _ => return None,
        }
        Some(())
    }
}

impl MountOption {
    fn parse(value: &[u8]) -> Option<MountOption> {
        let mut fields = value.splitn(4, |&byte| byte == b',');
        let (kind, device, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_writable = match fields.next() {
            None | Some(b"ro") => false,
            Some(b"rw") => true,
            Some(_) => return None,
        };
        path.starts_with(b"/").then(|| MountOption {
            kind: kind.to_vec(),
            device: device.to_vec(),
            path: path.to_vec(),
            is_writable,
        })
    }
}

/// One option and what follows it: up to a blank that no backslash escapes.
fn option_word(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    let mut bytes = line.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'\\' => word.extend(bytes.next().map(|(_, &escaped)| escaped)),
            _ if byte.is_ascii_whitespace() => return (word, &line[at..]),
            _ => word.push(byte),
        }
    }
    (word, &[])
}

/// The program's words: separated by blanks, which double quotes hold together.
fn program_words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut is_quoted = false;
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            b'\\' => word.get_or_insert_default().extend(escape(&mut bytes)),
            _ if byte.is_ascii_whitespace() && !is_quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

/// The byte that an escape sequence stands for, as in C; the backslash has been read.
fn escape(bytes: &mut core::iter::Peekable<impl Iterator<Item = u8>>) -> Option<u8> {
    let byte = bytes.next()?;
    Some(match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'x' => number(bytes, 16, 2, 0),
        b'0'..=b'7' => number(bytes, 8, 2, byte - b'0'),
        other => other,
    })
}

/// Up to `most` more digits of base `radix` behind `value`.
fn number(bytes: &mut core::iter::Peekable<impl Iterator<Item = u8>>, radix: u32, most: usize, mut value: u8) -> u8 {
    for _ in 0..most {
        let Some(digit) = bytes.peek().and_then(|&byte| char::from(byte).to_digit(radix)) else { break };
        value = value.wrapping_mul(radix as u8).wrapping_add(digit as u8);
        bytes.next();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        program_words(line.as_bytes()).into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn options_come_before_the_program() {
        let options = Options::parse(b" --verbose --env=A=b\\ c --cwd=/tmp --rootfs=9p:root /bin/ls --quiet").unwrap();
        assert!(options.is_verbose && !options.is_quiet);
        assert_eq!(options.environment, [b"A=b c"]);
        assert_eq!(options.cwd.as_deref(), Some(&b"/tmp"[..]));
        assert_eq!(options.rootfs.as_deref(), Some(&b"9p:root"[..]));
        assert_eq!(options.program, [&b"/bin/ls"[..], b"--quiet"]);
    }

    #[test]
    fn mounts() {
        let options = Options::parse(b"--mount-fs=9p,work,/home/u,rw --mount-fs=tmpfs,none,/t").unwrap();
        assert_eq!(options.mounts.len(), 2);
        assert!(options.mounts[0].is_writable && !options.mounts[1].is_writable);
        assert_eq!(options.mounts[0].path, b"/home/u");
        assert!(Options::parse(b"--mount-fs=9p,work").is_err());
        assert!(Options::parse(b"--mount-fs=9p,work,relative").is_err());
    }

    #[test]
    fn unknown_options_are_named() {
        assert_eq!(Options::parse(b"--verbos x"), Err(BadOption(b"--verbos".to_vec())));
        assert_eq!(Options::parse(b"--cwd x"), Err(BadOption(b"--cwd".to_vec())));
    }

    #[test]
    fn configurations_have_kernel_options() {
        assert_eq!(from_configuration(b"memory=64M\nkernel-args=--quiet --strace\ncpus=2\n"), b"--quiet --strace");
        assert_eq!(from_configuration(b""), b"");
    }

    #[test]
    fn two_dashes_end_the_options() {
        assert_eq!(Options::parse(b"--quiet -- --odd").unwrap().program, [b"--odd"]);
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words(r#"a "b c"d "" \x41\102\n\"e"#), ["a", "b cd", "", "AB\n\"e"]);
        assert_eq!(words(r#""never closed  "#), ["never closed  "]);
        assert_eq!(words("\\"), [""]);
    }
}
