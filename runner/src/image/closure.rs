//! What a program needs beside itself: its interpreter and shared libraries, found as the dynamic linker
//! finds them (`ld.so(8)`): RPATH, RUNPATH with `$ORIGIN`, `ld.so.cache`, the standard directories; and for a
//! script the program that its first line names, also by way of `env`.
//!
//! What a program opens by itself (modules, data, libraries by `dlopen`) nobody can know: `--file` adds it.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Scripts that name scripts that name scripts: more is a loop.
const SCRIPTS_MAX: usize = 5;

const STANDARD_DIRS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The files that `program` needs, itself first: interpreters and libraries, each once.
///
/// # Errors
/// When a file cannot be read or a library cannot be found.
pub fn of(program: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![program.to_owned()];
    let mut binary = program.to_owned();
    for _ in 0..SCRIPTS_MAX {
        let words = script_words(&binary)?;
        let Some(interpreter) = words.first().map(PathBuf::from) else { break };
        let is_env = interpreter.file_name() == Some(OsStr::new("env"));
        binary = match words.iter().skip(1).find(|word| is_env && !word.as_bytes().starts_with(b"-")) {
            Some(name) => {
                found.extend(of(&interpreter)?);
                in_path(name).ok_or_else(|| missing(program, name))?
            }
            None => interpreter,
        };
        found.push(binary.clone());
    }
    let bytes = read(&binary)?;
    let Some(elf) = Elf::parse(&bytes) else { return Ok(found) };
    if let Some(interpreter) = &elf.interpreter {
        found.push(interpreter.clone());
    }
    let cache = Cache::load();
    let is_musl = elf.interpreter.as_ref().is_some_and(|path| path.to_string_lossy().contains("ld-musl"));
    let mut known = BTreeSet::new();
    let mut queue = VecDeque::from([(binary, elf, Vec::new())]);
    while let Some((path, elf, inherited)) = queue.pop_front() {
        let search = Search::new(&path, &elf, inherited, is_musl);
        for name in &elf.needed {
            let library = search.find(name, &cache).ok_or_else(|| missing(&path, name))?;
            if known.insert(name.clone()) {
                let bytes = read(&library)?;
                let elf = Elf::parse(&bytes).unwrap_or_default();
                found.push(library.clone());
                queue.push_back((library, elf, search.rpath.clone()));
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display())))
}

fn missing(who: &Path, what: &OsStr) -> io::Error {
    let message = format!("{} needs {}, which is not on this machine", who.display(), what.display());
    io::Error::new(io::ErrorKind::NotFound, message)
}

/// The words of a script's first line; none if the file is no script.
fn script_words(path: &Path) -> io::Result<Vec<OsString>> {
    let mut start = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, 256), &mut start)?;
    let Some(line) = start.strip_prefix(b"#!") else { return Ok(Vec::new()) };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Ok(words.map(|word| OsStr::from_bytes(word).to_owned()).collect())
}

fn in_path(name: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// What an ELF file says about what it needs.
#[derive(Clone, Debug, Default)]
struct Elf {
    interpreter: Option<PathBuf>,
    needed: Vec<OsString>,
    rpath: Option<OsString>,
    runpath: Option<OsString>,
}

impl Elf {
    fn parse(file: &[u8]) -> Option<Self> {
        file.starts_with(b"\x7fELF\x02\x01").then_some(())?;
        let table = u64_at(file, 0x20)?;
        let size = u64::from(u16_at(file, 0x36)?);
        let headers: Vec<&[u8]> = (0..u64::from(u16_at(file, 0x38)?))
            .map(|index| piece(file, table.checked_add(index * size)?, 56))
            .collect::<Option<_>>()?;
        let of_kind = |kind: u32| headers.iter().copied().filter(move |header| u32_at(header, 0) == Some(kind));
        let contents = |header: &[u8]| piece(file, u64_at(header, 8)?, u64_at(header, 32)?);
        let interpreter = of_kind(PT_INTERP).next().and_then(contents).map(|bytes| PathBuf::from(string(bytes)));
        let mut elf = Self { interpreter, ..Self::default() };
        let Some(dynamic) = of_kind(PT_DYNAMIC).next().and_then(contents) else { return Some(elf) };
        let entries: Vec<(u64, u64)> =
            dynamic.chunks_exact(16).filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?))).collect();
        let address = entries.iter().find(|(tag, _)| *tag == DT_STRTAB)?.1;
        let strings = of_kind(PT_LOAD).find_map(|header| {
            let skipped = address.checked_sub(u64_at(header, 16)?)?;
            let rest = u64_at(header, 32)?.checked_sub(skipped)?;
            piece(file, u64_at(header, 8)?.checked_add(skipped)?, rest)
        })?;
        for (tag, value) in entries {
            let text = || Some(string(strings.get(usize::try_from(value).ok()?..)?));
            match tag {
                DT_NEEDED => elf.needed.push(text()?),
                DT_RPATH => elf.rpath = text(),
                DT_RUNPATH => elf.runpath = text(),
                _ => {}
            }
        }
        Some(elf)
    }
}

/// Where the libraries of one object are looked for.
struct Search {
    /// RPATH of the object and of those that have brought it in, which RUNPATH disables.
    rpath: Vec<PathBuf>,
    runpath: Vec<PathBuf>,
    /// musl has one list of directories and no cache.
    is_musl: bool,
}

impl Search {
    fn new(object: &Path, elf: &Elf, inherited: Vec<PathBuf>, is_musl: bool) -> Self {
        let origin = object.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
        let dirs = |list: &Option<OsString>| match list {
            Some(list) => list
                .as_bytes()
                .split(|&byte| byte == b':')
                .filter(|dir| !dir.is_empty())
                .map(|dir| expand(dir, &origin))
                .collect(),
            None => Vec::new(),
        };
        let mut rpath: Vec<PathBuf> = if elf.runpath.is_some() { Vec::new() } else { dirs(&elf.rpath) };
        rpath.extend(inherited);
        Self { rpath, runpath: dirs(&elf.runpath), is_musl }
    }

    fn find(&self, name: &OsStr, cache: &Cache) -> Option<PathBuf> {
        if name.as_bytes().contains(&b'/') {
            return Some(PathBuf::from(name));
        }
        let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let variable: Vec<PathBuf> =
            std::env::split_paths(&variable).filter(|dir| !dir.as_os_str().is_empty()).collect();
        let first = self.rpath.iter().chain(&variable).chain(&self.runpath);
        let in_dirs = first.map(|dir| dir.join(name)).find(|path| path.is_file());
        in_dirs.or_else(|| {
            let musl_dirs =
                ["/lib/x86_64-linux-musl", "/usr/lib/x86_64-linux-musl", "/lib", "/usr/local/lib", "/usr/lib"];
            let dirs: &[&str] = if self.is_musl { &musl_dirs } else { &STANDARD_DIRS };
            let cached = if self.is_musl { None } else { cache.find(name) };
            cached.or_else(|| dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file()))
        })
    }
}

/// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM`, with braces or without.
fn expand(dir: &[u8], origin: &Path) -> PathBuf {
    let tokens: [(&[u8], &[u8]); 6] = [
        (b"${ORIGIN}", origin.as_os_str().as_bytes()),
        (b"$ORIGIN", origin.as_os_str().as_bytes()),
        (b"${LIB}", b"lib/x86_64-linux-gnu"),
        (b"$LIB", b"lib/x86_64-linux-gnu"),
        (b"${PLATFORM}", b"x86_64"),
        (b"$PLATFORM", b"x86_64"),
    ];
    let mut expanded = Vec::new();
    let mut rest = dir;
    while let Some((&byte, others)) = rest.split_first() {
        if let Some((token, value)) = tokens.iter().find(|(token, _)| rest.starts_with(token)) {
            expanded.extend_from_slice(value);
            rest = &rest[token.len()..];
        } else {
            expanded.push(byte);
            rest = others;
        }
    }
    PathBuf::from(OsString::from_vec(expanded))
}

/// `/etc/ld.so.cache` in glibc's newer format.
struct Cache {
    file: Vec<u8>,
}

impl Cache {
    const MAGIC: &'static [u8] = b"glibc-ld.so.cache1.1";
    const HEADER_SIZE: usize = 48;
    const ENTRY_SIZE: usize = 24;
    /// An ELF library for x86-64 with glibc.
    const FLAGS: u32 = 0x0303;

    fn load() -> Self {
        Self { file: fs::read("/etc/ld.so.cache").unwrap_or_default() }
    }

    fn find(&self, name: &OsStr) -> Option<PathBuf> {
        let start = self.file.windows(Self::MAGIC.len()).position(|bytes| bytes == Self::MAGIC)?;
        let file = self.file.get(start..)?;
        let count = usize::try_from(u32_at(file, 20)?).ok()?;
        let entries = file.get(Self::HEADER_SIZE..)?.chunks_exact(Self::ENTRY_SIZE).take(count);
        let text = |offset: u32| Some(string(file.get(usize::try_from(offset).ok()?..)?));
        let fits = |entry: &&[u8]| {
            let is_plain = u64_at(entry, 16) == Some(0);
            is_plain
                && u32_at(entry, 0) == Some(Self::FLAGS)
                && u32_at(entry, 4).and_then(text).as_deref() == Some(name)
        };
        let path = entries.filter(fits).find_map(|entry| text(u32_at(entry, 8)?))?;
        Some(PathBuf::from(path)).filter(|path| path.is_file())
    }
}

fn string(bytes: &[u8]) -> OsString {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    OsStr::from_bytes(bytes).to_owned()
}

fn piece(file: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    file.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced() {
        let origin = Path::new("/opt/x");
        assert_eq!(expand(b"$ORIGIN/../lib", origin), Path::new("/opt/x/../lib"));
        assert_eq!(expand(b"/a/${ORIGIN}/$PLATFORM", origin), Path::new("/a//opt/x/x86_64"));
    }

    #[test]
    fn the_shell_needs_what_ldd_says() {
        let found = of(Path::new("/bin/sh")).unwrap();
        assert_eq!(found[0], Path::new("/bin/sh"));
        let ldd = std::process::Command::new("ldd").arg("/bin/sh").output().unwrap();
        for line in String::from_utf8_lossy(&ldd.stdout).lines().filter(|line| line.contains("=>")) {
            let path = line.split("=> ").nth(1).unwrap().split(' ').next().unwrap();
            let path = Path::new(path).canonicalize().unwrap();
            assert!(found.iter().any(|file| file.canonicalize().unwrap() == path), "{line}: {found:?}");
        }
    }

    #[test]
    fn a_broken_file_needs_nothing() {
        let file = fs::read("/bin/sh").unwrap();
        for size in [0, 4, 63, 64, 200, 4096] {
            let _ = Elf::parse(&file[..size]);
        }
    }
}
