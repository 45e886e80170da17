//! Reads the first line of a script: `#!interpreter argument`.
//!
//! The rules are Linux' (`fs/binfmt_script.c`): only the first 256 bytes of the file are looked at, blanks and
//! tabs around the parts are dropped, everything behind the interpreter is one single argument, and a line
//! whose interpreter's name may have been cut off by the limit is refused.

use crate::errno::{Errno, Result};

/// How much of a file is looked at.
pub const PROBE_SIZE: usize = 256;

/// The two parts of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// What runs the script.
    pub interpreter: &'a [u8],
    /// Its first argument, if the line has one.
    pub argument: Option<&'a [u8]>,
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(last)
    {
        bytes = rest;
    }
    bytes
}

/// Reads the first [`PROBE_SIZE`] bytes of a file; `None` if it is no script.
pub fn parse(probe: &[u8]) -> Option<Result<Script<'_>>> {
    let line = probe.get(..PROBE_SIZE).unwrap_or(probe).strip_prefix(b"#!")?;
    let end = line.iter().position(|&byte| matches!(byte, b'\n' | 0));
    let is_cut_off = end.is_none() && probe.len() >= PROBE_SIZE;
    let text = end.and_then(|end| line.get(..end)).unwrap_or(line);
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let name_end = text.iter().position(is_blank);
    if text.is_empty() || (is_cut_off && name_end.is_none()) {
        return Some(Err(Errno::ENOEXEC));
    }
    let (interpreter, rest) = text.split_at(name_end.unwrap_or(text.len()));
    let argument = Some(trim(rest)).filter(|argument| !argument.is_empty());
    Some(Ok(Script { interpreter, argument }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(probe: &[u8]) -> (&[u8], Option<&[u8]>) {
        let script = parse(probe).unwrap().unwrap();
        (script.interpreter, script.argument)
    }

    #[test]
    fn lines_are_split_as_on_linux() {
        assert_eq!(parts(b"#!/bin/sh\necho"), (&b"/bin/sh"[..], None));
        assert_eq!(parts(b"#! \t/bin/sh -e  \n"), (&b"/bin/sh"[..], Some(&b"-e"[..])));
        assert_eq!(parts(b"#!/usr/bin/env python3 -u\n"), (&b"/usr/bin/env"[..], Some(&b"python3 -u"[..])));
        assert_eq!(parts(b"#!/bin/sh"), (&b"/bin/sh"[..], None));
        assert_eq!(parts(b"#!/bin/sh\0-e\n"), (&b"/bin/sh"[..], None));
    }

    #[test]
    fn what_is_no_script_is_told_from_a_broken_one() {
        assert_eq!(parse(b"\x7fELF"), None);
        assert_eq!(parse(b"#"), None);
        assert_eq!(parse(b"#!\n"), Some(Err(Errno::ENOEXEC)));
        assert_eq!(parse(b"#!   \nx"), Some(Err(Errno::ENOEXEC)));
    }

    #[test]
    fn a_name_that_may_be_cut_off_is_refused() {
        let mut long = alloc::vec![b'a'; 300];
        long[..3].copy_from_slice(b"#!/");
        assert_eq!(parse(&long), Some(Err(Errno::ENOEXEC)));
        long[100] = b' ';
        let (interpreter, argument) = parts(&long);
        assert_eq!((interpreter.len(), argument.unwrap().len()), (98, 155));
    }
}
