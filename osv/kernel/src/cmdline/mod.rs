//! The kernel's command line: options of the kernel, then what to run.
//!
//! Options come first and start with `--`; a blank inside one is escaped by a backslash. From the first word that is no
//! option on it is commands: see [`command`]. The runner passes a program by fw_cfg instead, where any bytes may stand;
//! what is here is for boot loaders and hands. Bytes are bytes: nothing has to be UTF-8, and no input makes the
//! parser panic.

mod command;
mod environment;
mod loader;
mod mount;
pub mod script;

use alloc::vec::Vec;

pub use command::{Command, End};
pub use environment::Environment;
pub use mount::MountOption;

use crate::sync::Once;

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
    /// Its environment.
    pub environment: Environment,
    /// What the root file system is: `ram`, `9p:TAG`, `erofs:ram`, `erofs:DISK`, `erofs:disk` or `embedded`.
    pub rootfs: Option<Vec<u8>>,
    /// Further file systems, in order.
    pub mounts: Vec<MountOption>,
    /// Where the embedded app lies on a shared directory, if it is there.
    pub exe: Option<Vec<u8>>,
    /// Where the programs' output goes, instead of the console.
    pub redirect: Option<Redirect>,
    /// Which device the console is.
    pub console: Console,
    /// How long to wait before anything is run, in nanoseconds.
    pub delay_ns: u64,
    /// Do not run what lies in `/init`.
    pub skips_init: bool,
    /// Let the VM go on when all programs have ended.
    pub has_no_shutdown: bool,
    /// Switch the machine off when the kernel crashes, instead of resetting it.
    pub powers_off_on_abort: bool,
    /// Put programs where debuggers expect them.
    pub has_no_aslr: bool,
    /// What to run, still unparsed: variables may come from elsewhere.
    pub line: Vec<u8>,
}

/// `--redirect=FILE` or `--redirect=>>FILE`.
#[derive(Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The file, which is made if it does not exist.
    pub path: Vec<u8>,
    /// Whether to keep what it holds.
    pub appends: bool,
}

/// `--console=KIND`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// The virtio console where there is one, or else the serial port.
    #[default]
    Any,
    /// The serial port.
    Serial,
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

/// Why a command line is refused: the first option that is unknown or makes no sense.
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
options of the kernel, before what is to be run:
  --help                          print this list and power off
  --quiet                         print no boot line
  --verbose                       print what the kernel does
  --bootchart                     print the time of each step of the boot
  --strace                        print every system call
  --cwd=DIR                       start programs in DIR
  --env=NAME=VALUE                set a variable of their environment
  --redirect=FILE, =>>FILE        write their output to FILE, or append it
  --console=all, virtio, serial   what they read from and write to
  --rootfs=KIND                   ram, 9p:TAG, erofs:ram, erofs:DISK, erofs:disk (any) or embedded
  --mount-fs=TYPE,DEV,PATH[,rw]   mount a file system
  --exe=PATH                      where the embedded program lies on a shared directory
  --delay=SECONDS                 wait before anything is run
  --noinit                        do not run what lies in /init
  --noshutdown                    let the VM go on when all programs have ended
  --power-off-on-abort            power off when the kernel crashes, instead of a reset
  --no-aslr                       put programs where debuggers expect them
a blank inside an option is escaped by a backslash. What follows are commands:
  PROGRAM ARGUMENT... ;           one after the other
  PROGRAM ARGUMENT... &           in the background, waited for at the end
  PROGRAM ARGUMENT... &!          in the background, asked to end at the end
  PROGRAM ARGUMENT... !           what it leaves running is ended with it
  runscript FILE                  the lines of a file, each with its own --env=K=V and --env=K?=V
double quotes hold words together, backslashes escape as in C, $VAR is a variable's value
";

impl Options {
    /// Reads a command line.
    ///
    /// # Errors
    /// The first option that is unknown or lacks its value.
    pub fn parse(line: &[u8]) -> Result<Options, BadOption> {
        let mut options = Options::default();
        let mut rest = loader::skip_words(line);
        while let Some((word, after)) = next_option(rest) {
            rest = after;
            if word == b"--" {
                break;
            }
            rest = loader::skip_words(after);
            if options.apply(&word).is_none() {
                return Err(BadOption(word));
            }
        }
        options.line = loader::without_devices(rest).trim_ascii().to_vec();
        Ok(options)
    }

    /// Applies one option; `None` if there is no such option.
    fn apply(&mut self, word: &[u8]) -> Option<()> {
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) => (word.get(..at)?, word.get(at + 1..)),
            None => (word, None),
        };
        match value {
            None => *self.switch(name)? = true,
            Some(value) => self.set(name, value)?,
        }
        Some(())
    }

    /// What an option without a value switches on.
    fn switch(&mut self, name: &[u8]) -> Option<&mut bool> {
        Some(match name {
            b"--quiet" => &mut self.is_quiet,
            b"--verbose" => &mut self.is_verbose,
            b"--bootchart" => &mut self.has_bootchart,
            b"--strace" => &mut self.has_strace,
            b"--help" => &mut self.wants_help,
            b"--noinit" => &mut self.skips_init,
            b"--noshutdown" => &mut self.has_no_shutdown,
            b"--power-off-on-abort" => &mut self.powers_off_on_abort,
            b"--no-aslr" => &mut self.has_no_aslr,
            _ => return None,
        })
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"--cwd" => self.cwd = Some(value.to_vec()),
            b"--env" => self.environment.assign(value),
            b"--rootfs" => self.rootfs = Some(value.to_vec()),
            b"--exe" => self.exe = Some(value.to_vec()),
            b"--mount-fs" => self.mounts.push(MountOption::parse(value)?),
            b"--redirect" => self.redirect = Some(Redirect::parse(value)?),
            b"--delay" => self.delay_ns = nanoseconds(value)?,
            b"--console" => {
                self.console = match value {
                    b"all" | b"virtio" => Console::Any,
                    b"serial" => Console::Serial,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }
}

impl Redirect {
    fn parse(value: &[u8]) -> Option<Redirect> {
        let (path, appends) = match value {
            [b'>', b'>', path @ ..] => (path, true),
            [b'>', path @ ..] | path => (path, false),
        };
        let path = path.trim_ascii_start();
        (!path.is_empty()).then(|| Redirect { path: path.to_vec(), appends })
    }
}

/// Seconds with or without a fraction.
fn nanoseconds(text: &[u8]) -> Option<u64> {
    let (whole, fraction) =
        core::str::from_utf8(text).ok()?.split_once('.').unwrap_or((core::str::from_utf8(text).ok()?, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let tail: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let tail = tail * 10u64.pow(9 - fraction.len() as u32);
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(tail)
}

/// The option that `line` begins with, up to a blank that no backslash escapes, and what follows it.
fn next_option(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let line = line.trim_ascii_start();
    if !line.starts_with(b"--") {
        return None;
    }
    let mut word = Vec::new();
    let mut bytes = line.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'\\' => word.extend(bytes.next().map(|(_, &escaped)| escaped)),
            _ if byte.is_ascii_whitespace() => return Some((word, line.get(at..).unwrap_or_default())),
            _ => word.push(byte),
        }
    }
    Some((word, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_program() {
        let options = Options::parse(b" --verbose --env=A=b\\ c --cwd=/tmp --rootfs=9p:root /bin/ls --quiet ").unwrap();
        assert!(options.is_verbose && !options.is_quiet);
        assert_eq!(options.environment.get(b"A"), Some(&b"b c"[..]));
        assert_eq!(options.cwd.as_deref(), Some(&b"/tmp"[..]));
        assert_eq!(options.rootfs.as_deref(), Some(&b"9p:root"[..]));
        assert_eq!(options.line, b"/bin/ls --quiet");
    }

    #[test]
    fn what_osv_has_always_had() {
        let options = Options::parse(
            b"--redirect=>>/log --console=serial --delay=1.5 --noinit --noshutdown --power-off-on-abort x",
        )
        .unwrap();
        assert_eq!(options.redirect, Some(Redirect { path: b"/log".to_vec(), appends: true }));
        assert_eq!(options.console, Console::Serial);
        assert_eq!(options.delay_ns, 1_500_000_000);
        assert!(options.skips_init && options.has_no_shutdown && options.powers_off_on_abort);
        let options = Options::parse(b"--redirect=/a\\ b --console=all --delay=2").unwrap();
        assert_eq!(options.redirect, Some(Redirect { path: b"/a b".to_vec(), appends: false }));
        assert_eq!((options.console, options.delay_ns), (Console::Any, 2_000_000_000));
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for wrong in [
            "--delay=x",
            "--delay=1.1111111111",
            "--delay=99999999999999999999",
            "--console=vga",
            "--redirect=",
            "--redirect=>>",
        ] {
            assert_eq!(Options::parse(wrong.as_bytes()), Err(BadOption(wrong.as_bytes().to_vec())));
        }
    }

    #[test]
    fn unknown_options_are_named() {
        for wrong in ["--verbos", "--cwd", "--quiet=1", "--"] {
            let line = [wrong, " x"].concat();
            let parsed = Options::parse(line.as_bytes());
            assert_eq!(parsed.is_err(), wrong != "--", "{wrong}");
        }
        assert_eq!(Options::parse(b"--verbos x"), Err(BadOption(b"--verbos".to_vec())));
    }

    #[test]
    fn configurations_have_kernel_options() {
        assert_eq!(from_configuration(b"memory=64M\nkernel-args=--quiet --strace\ncpus=2\n"), b"--quiet --strace");
        assert_eq!(from_configuration(b""), b"");
    }

    #[test]
    fn two_dashes_end_the_options() {
        assert_eq!(Options::parse(b"--quiet -- --odd").unwrap().line, b"--odd");
    }
}
