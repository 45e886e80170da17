//! Shows the kernel's log, which comes over the serial line, and names the addresses in its backtraces.
//!
//! A backtrace line is `  #3 0xffffffff80123456`; the runner has the kernel's ELF and adds the function, and
//! with the feature `cli` the source line. The log goes to standard error, apart from the program's output.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Longest piece that is held back in wait for a line's end.
const LINE_MAX: u64 = 64 << 10;

/// The beginning of the kernel's last words.
const CRASH_MARK: &str = "osv: kernel crash: ";

/// The reader of the log.
#[derive(Debug)]
pub struct KernelLog {
    thread: JoinHandle<()>,
    crash: Arc<Mutex<Option<String>>>,
}

impl KernelLog {
    /// Reads `from_guest` to its end. `newline` is what the terminal needs in its present mode.
    pub fn start(from_guest: UnixStream, symbols: Option<PathBuf>, newline: &'static str) -> Self {
        let crash = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&crash);
        let lines = read_lines(from_guest);
        let thread = thread::spawn(move || {
            let mut names = Names { path: symbols, table: None };
            for text in lines {
                if let Some((_, reason)) = text.split_once(CRASH_MARK) {
                    seen.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert_with(|| reason.to_owned());
                }
                let named = names.name(&text);
                let _ = write!(std::io::stderr(), "{text}{named}{newline}");
            }
        });
        Self { thread, crash }
    }

    /// Waits for the end of the log. What the kernel said when it crashed, if it did.
    pub fn finish(self) -> Option<String> {
        let _ = self.thread.join();
        self.crash.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

/// Takes the lines out of the socket as they come: naming addresses takes its time, and the guest does not wait for long
/// for room on its serial line.
fn read_lines(from_guest: UnixStream) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(from_guest);
        let mut line = Vec::new();
        while matches!(std::io::Read::take(&mut reader, LINE_MAX).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// Names addresses, and reads the symbols when the first is asked for.
struct Names {
    path: Option<PathBuf>,
    table: Option<Symbols>,
}

impl Names {
    /// What is to be added to a line of the log: nothing, or the name behind its address.
    fn name(&mut self, line: &str) -> String {
        let Some(address) = backtrace_address(line) else { return String::new() };
        if self.table.is_none() {
            let Some(file) = self.path.take().and_then(|path| fs::read(path).ok()) else { return String::new() };
            self.table = Some(Symbols::new(&file));
        }
        self.table.as_ref().map(|table| table.describe(address)).unwrap_or_default()
    }
}

/// The address in a line like `  #3 0xffffffff80123456`.
fn backtrace_address(line: &str) -> Option<u64> {
    let (number, address) = line.trim().strip_prefix('#')?.split_once(' ')?;
    number.parse::<u32>().ok()?;
    u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()
}

/// The functions of an ELF file, and with the feature `cli` its lines.
struct Symbols {
    functions: Vec<(u64, u64, String)>,
    #[cfg(feature = "cli")]
    lines: Option<lines::Lines>,
}

impl Symbols {
    fn new(file: &[u8]) -> Self {
        let mut functions = read_functions(file).unwrap_or_default();
        functions.sort();
        Self {
            functions,
            #[cfg(feature = "cli")]
            lines: lines::Lines::new(file),
        }
    }

    /// ` name` or ` name at file:line`. The address is one of return, so the call is what lies before it.
    fn describe(&self, address: u64) -> String {
        let call = address.saturating_sub(1);
        let mut text = String::new();
        let index = self.functions.partition_point(|&(start, ..)| start <= call);
        if let Some((start, size, name)) = index.checked_sub(1).and_then(|index| self.functions.get(index))
            && call - start < *size
        {
            let _ = write!(text, " {:#}", rustc_demangle::demangle(name));
        }
        #[cfg(feature = "cli")]
        if let Some(place) = self.lines.as_ref().and_then(|lines| lines.find(call)) {
            let _ = write!(text, " at {place}");
        }
        text
    }
}

/// Start, size and name of each function in the symbol table of an ELF file.
fn read_functions(file: &[u8]) -> Option<Vec<(u64, u64, String)>> {
    const SHT_SYMTAB: u32 = 2;
    const STT_FUNC: u8 = 2;
    let sections = u64_at(file, 0x28)?;
    let header_size = u16_at(file, 0x3a)?;
    let section = |index: u64| piece(file, sections.checked_add(index.checked_mul(header_size)?)?, header_size);
    let contents = |header: &[u8]| piece(file, u64_at(header, 24)?, u64_at(header, 32)?);
    let table = (0..u16_at(file, 0x3c)?).filter_map(section).find(|header| u32_at(header, 4) == Some(SHT_SYMTAB))?;
    let names = contents(section(u64::from(u32_at(table, 40)?))?)?;
    let function = |symbol: &[u8]| {
        if symbol.get(4)? & 0xf != STT_FUNC {
            return None;
        }
        let name = names.get(usize::try_from(u32_at(symbol, 0)?).ok()?..)?;
        let name = name.split(|&byte| byte == 0).next()?;
        Some((u64_at(symbol, 8)?, u64_at(symbol, 16)?, String::from_utf8_lossy(name).into_owned()))
    };
    Some(contents(table)?.chunks_exact(24).filter_map(function).collect())
}

fn piece(file: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    file.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset + 2)?;
    Some(u64::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(feature = "cli")]
mod lines {
    use addr2line::Context;
    use addr2line::gimli::{self, EndianSlice, LittleEndian};

    use super::{piece, read_sections};

    /// Finds source lines in the debug information.
    pub struct Lines(Context<EndianSlice<'static, LittleEndian>>);

    impl Lines {
        /// Reads a kernel's file. Kept to the end of the process: a kernel crashes once.
        pub fn new(file: &[u8]) -> Option<Self> {
            let file: &'static [u8] = file.to_vec().leak();
            let sections = read_sections(file)?;
            let load = |id: gimli::SectionId| {
                let found = sections.iter().find(|(name, ..)| name == id.name());
                let bytes = found.and_then(|&(_, offset, size)| piece(file, offset, size)).unwrap_or_default();
                Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
            };
            let dwarf = gimli::Dwarf::load(load).ok()?;
            Context::from_dwarf(dwarf).ok().map(Self)
        }

        pub fn find(&self, address: u64) -> Option<String> {
            let place = self.0.find_location(address).ok()??;
            Some(format!("{}:{}", place.file?, place.line?))
        }
    }
}

/// Name, offset and size of each section of an ELF file.
#[cfg(feature = "cli")]
fn read_sections(file: &[u8]) -> Option<Vec<(String, u64, u64)>> {
    let table = u64_at(file, 0x28)?;
    let size = u16_at(file, 0x3a)?;
    let section = |index: u64| piece(file, table.checked_add(index.checked_mul(size)?)?, size);
    let names = section(u16_at(file, 0x3e)?)?;
    let names = piece(file, u64_at(names, 24)?, u64_at(names, 32)?)?;
    let describe = |header: &[u8]| {
        let name = names.get(usize::try_from(u32_at(header, 0)?).ok()?..)?.split(|&byte| byte == 0).next()?;
        Some((String::from_utf8_lossy(name).into_owned(), u64_at(header, 24)?, u64_at(header, 32)?))
    };
    Some((0..u16_at(file, 0x3c)?).filter_map(section).filter_map(describe).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_backtrace_lines_have_addresses() {
        assert_eq!(backtrace_address("  #3 0xffffffff80123456"), Some(0xffff_ffff_8012_3456));
        for other in ["#", "#x 0x1", "# 0x1", "  #1 1234", "plain #3 0x1"] {
            assert_eq!(backtrace_address(other), None, "{other}");
        }
    }

    #[test]
    fn functions_of_this_test_are_found() {
        let file = fs::read("/proc/self/exe").unwrap();
        let functions = read_functions(&file).unwrap();
        assert!(functions.iter().any(|(.., name)| name.contains("functions_of_this_test_are_found")));
    }

    #[test]
    fn a_broken_file_has_no_functions() {
        let file = fs::read("/proc/self/exe").unwrap();
        for size in [0, 1, 63, 64, 4096] {
            assert!(read_functions(&file[..size]).unwrap_or_default().is_empty());
        }
    }
}
