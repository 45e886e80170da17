//! Lays out a program's first stack: strings, the auxiliary vector, and the pointer tables that `_start` reads.
//!
//! Pure: [`Layout::build`] turns [`Strings`] and a list of auxiliary entries into the bytes below a given top.
//! The order is Linux' (`fs/exec.c`, `create_elf_tables`), since tools rely on it, for example to change the name
//! that `ps` shows. From the top downwards: eight zero bytes, the path that was executed, the environment's
//! strings, the arguments' strings, the platform's name, 16 random bytes, then at a multiple of 16 the table:
//! argc, argv, NULL, envp, NULL, auxiliary vector.

use alloc::vec::Vec;

use linux_raw_sys::auxvec::{AT_EXECFN, AT_NULL, AT_PLATFORM, AT_RANDOM};

use crate::errno::{Errno, Result};

/// The longest single string, with its NUL (Linux' MAX_ARG_STRLEN).
pub const MAX_STRING_SIZE: usize = 32 * 4096;

/// What the strings and their pointers may take when the stack may grow without limit: 3/4 of 8 MiB.
const MAX_TOTAL_SIZE: u64 = 6 * 1024 * 1024;

/// What they may always take (Linux' ARG_MAX).
const MIN_TOTAL_SIZE: u64 = 32 * 4096;

const PLATFORM: &[u8] = b"x86_64\0";

/// NUL-terminated strings behind one another: arguments or environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// No strings.
    pub const fn new() -> Strings {
        Strings { bytes: Vec::new(), count: 0 }
    }

    /// The strings of `list`, which must not contain a NUL.
    pub fn from_list<'a>(list: impl IntoIterator<Item = &'a [u8]>) -> Result<Strings> {
        let mut strings = Strings::new();
        for string in list {
            strings.push(string)?;
        }
        Ok(strings)
    }

    /// Adds a string that has no NUL in it.
    pub fn push(&mut self, string: &[u8]) -> Result<()> {
        if string.len() >= MAX_STRING_SIZE {
            return Err(Errno::E2BIG);
        }
        self.bytes.try_reserve(string.len() + 1).map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// Puts `front` in place of the first `dropped` strings.
    pub fn replace_front(&mut self, dropped: usize, front: &[&[u8]]) -> Result<()> {
        let mut replaced = Strings::from_list(front.iter().copied())?;
        for string in self.iter().skip(dropped) {
            replaced.push(string)?;
        }
        *self = replaced;
        Ok(())
    }

    /// The strings, without their NULs.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == 0).take(self.count)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all strings with their NULs.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the address of each string, given that of the first.
    fn push_addresses(&self, table: &mut Vec<u64>, base: u64) {
        let mut address = base;
        for string in self.iter() {
            table.push(address);
            address += string.len() as u64 + 1;
        }
        table.push(0);
    }
}

/// What strings and their pointers may take with a stack limit of `stack_limit` bytes.
pub fn arguments_limit(stack_limit: u64) -> u64 {
    (stack_limit / 4).clamp(MIN_TOTAL_SIZE, MAX_TOTAL_SIZE)
}

/// E2BIG if arguments and environment take more than a stack of `stack_limit` bytes allows.
pub fn check_size(arguments: &Strings, environment: &Strings, path_len: usize, stack_limit: u64) -> Result<()> {
    let pointers = (arguments.count.max(1) + environment.count) as u64 * 8;
    let strings = (arguments.size() + environment.size() + path_len + 1) as u64;
    if strings + pointers > arguments_limit(stack_limit) { Err(Errno::E2BIG) } else { Ok(()) }
}

/// A finished first stack.
#[derive(Debug)]
pub struct Layout {
    /// What to copy below the top; its first byte belongs at `stack_pointer`.
    pub bytes: Vec<u8>,
    /// The first stack pointer, a multiple of 16.
    pub stack_pointer: u64,
    /// From the first argument's first byte to behind the last one's NUL.
    pub arguments: (u64, u64),
    /// The same for the environment.
    pub environment: (u64, u64),
    /// Where the auxiliary vector lies, and its bytes.
    pub auxiliary: (u64, usize),
}

/// What goes onto the stack.
pub struct Contents<'a> {
    /// The path that was executed (AT_EXECFN).
    pub path: &'a [u8],
    /// The arguments.
    pub arguments: &'a Strings,
    /// The environment.
    pub environment: &'a Strings,
    /// The auxiliary vector but for AT_RANDOM, AT_EXECFN, AT_PLATFORM and AT_NULL, which are added.
    pub auxiliary: &'a [(u32, u64)],
    /// For AT_RANDOM.
    pub random: [u8; 16],
    /// Bytes left free between strings and tables (ASLR), a multiple of 16 below 8192.
    pub gap: u64,
}

impl Layout {
    /// The stack whose highest byte is below `top`, a multiple of 16.
    pub fn build(top: u64, contents: &Contents<'_>) -> Layout {
        let path = top - 8 - (contents.path.len() as u64 + 1);
        let environment = path - contents.environment.size() as u64;
        let arguments = environment - contents.arguments.size() as u64;
        let platform = (arguments & !15) - contents.gap - PLATFORM.len() as u64;
        let random = platform - 16;

        let mut auxiliary = Vec::from(contents.auxiliary);
        auxiliary.extend([(AT_RANDOM, random), (AT_EXECFN, path), (AT_PLATFORM, platform), (AT_NULL, 0)]);
        let words = 3 + contents.arguments.count + contents.environment.count + 2 * auxiliary.len();
        let stack_pointer = (random - 8 * words as u64) & !15;

        let mut table = Vec::with_capacity(words);
        table.push(contents.arguments.count as u64);
        contents.arguments.push_addresses(&mut table, arguments);
        contents.environment.push_addresses(&mut table, environment);
        let auxiliary_at = stack_pointer + 8 * table.len() as u64;
        for &(key, value) in &auxiliary {
            table.extend([u64::from(key), value]);
        }

        let mut bytes = alloc::vec![0; (top - stack_pointer) as usize];
        let mut put = |address: u64, part: &[u8]| {
            let at = (address - stack_pointer) as usize;
            if let Some(place) = bytes.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
        };
        for (index, word) in table.iter().enumerate() {
            put(stack_pointer + 8 * index as u64, &word.to_le_bytes());
        }
        put(random, &contents.random);
        put(platform, PLATFORM);
        put(arguments, &contents.arguments.bytes);
        put(environment, &contents.environment.bytes);
        put(path, contents.path);
        Layout {
            bytes,
            stack_pointer,
            arguments: (arguments, environment),
            environment: (environment, path),
            auxiliary: (auxiliary_at, auxiliary.len() * 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x7fff_ffff_f000;

    fn word(layout: &Layout, index: usize) -> u64 {
        u64::from_le_bytes(layout.bytes[8 * index..8 * index + 8].try_into().unwrap())
    }

    fn string(layout: &Layout, address: u64) -> &[u8] {
        let bytes = &layout.bytes[(address - layout.stack_pointer) as usize..];
        &bytes[..bytes.iter().position(|&byte| byte == 0).unwrap()]
    }

    fn build(gap: u64) -> Layout {
        let arguments = Strings::from_list([&b"prog"[..], b"", b"two words"]).unwrap();
        let environment = Strings::from_list([&b"A=1"[..]]).unwrap();
        let contents = Contents {
            path: b"/bin/prog",
            arguments: &arguments,
            environment: &environment,
            auxiliary: &[(6, 4096)],
            random: [7; 16],
            gap,
        };
        Layout::build(TOP, &contents)
    }

    #[test]
    fn tables_point_to_strings() {
        for gap in [0, 16, 8176] {
            let layout = build(gap);
            assert_eq!(layout.stack_pointer % 16, 0);
            assert_eq!(layout.bytes.len() as u64, TOP - layout.stack_pointer);
            assert_eq!(word(&layout, 0), 3);
            assert_eq!(string(&layout, word(&layout, 1)), b"prog");
            assert_eq!(string(&layout, word(&layout, 2)), b"");
            assert_eq!(string(&layout, word(&layout, 3)), b"two words");
            assert_eq!(word(&layout, 4), 0);
            assert_eq!(string(&layout, word(&layout, 5)), b"A=1");
            assert_eq!(word(&layout, 6), 0);
            assert_eq!((word(&layout, 7), word(&layout, 8)), (6, 4096));
            assert_eq!(layout.auxiliary.0, layout.stack_pointer + 56);
            assert_eq!(word(&layout, 9), u64::from(AT_RANDOM));
            let random = (word(&layout, 10) - layout.stack_pointer) as usize;
            assert_eq!(layout.bytes[random..random + 16], [7; 16]);
            assert_eq!(string(&layout, word(&layout, 12)), b"/bin/prog");
            assert_eq!(string(&layout, word(&layout, 14)), b"x86_64");
            assert_eq!((word(&layout, 15), word(&layout, 16)), (0, 0));
        }
    }

    #[test]
    fn arguments_and_environment_are_adjacent() {
        let layout = build(0);
        assert_eq!(layout.arguments.1, layout.environment.0);
        assert_eq!(layout.arguments.1 - layout.arguments.0, 5 + 1 + 10);
        assert_eq!(layout.environment.1, word(&layout, 12));
    }

    #[test]
    fn limits_are_those_of_linux() {
        assert_eq!(arguments_limit(8 << 20), 2 << 20);
        assert_eq!(arguments_limit(u64::MAX), 6 << 20);
        assert_eq!(arguments_limit(0), 128 << 10);
        let mut strings = Strings::new();
        assert_eq!(strings.push(&alloc::vec![b'x'; MAX_STRING_SIZE]), Err(Errno::E2BIG));
        for _ in 0..16 {
            strings.push(&alloc::vec![b'x'; MAX_STRING_SIZE - 1]).unwrap();
        }
        assert_eq!(check_size(&strings, &Strings::new(), 1, 8 << 20), Err(Errno::E2BIG));
        assert_eq!(check_size(&strings, &Strings::new(), 1, 16 << 20), Ok(()));
    }

    #[test]
    fn a_script_replaces_the_first_argument() {
        let mut strings = Strings::from_list([&b"s.sh"[..], b"x"]).unwrap();
        strings.replace_front(1, &[b"/bin/sh", b"-e", b"./s.sh"]).unwrap();
        assert!(strings.iter().eq([&b"/bin/sh"[..], b"-e", b"./s.sh", b"x"]));
    }
}
