//! What boot loaders and hypervisors put on a command line unasked, for Linux: before it (`BOOT_IMAGE=…` of GRUB, `root=`,
//! `ro`, `reboot=` of Firecracker) and behind it (`virtio_mmio.device=…` of microvm). Whoever wants such a word reads the
//! line itself; our options and the program's arguments begin and end where these words do.

/// Words without a value that are no program's name in front of our options.
const FLAGS: [&[u8]; 10] =
    [b"ro", b"rw", b"quiet", b"splash", b"auto", b"nomodule", b"nomodules", b"noapic", b"nosmp", b"debug"];

const DEVICE: &[u8] = b"virtio_mmio.device=";

/// The line from the first word on that is ours.
pub fn skip_words(line: &[u8]) -> &[u8] {
    let mut rest = line.trim_ascii_start();
    loop {
        let (word, after) = split(rest);
        if !is_loaders(word) {
            return rest;
        }
        rest = after;
    }
}

/// The line without the devices that are named at its end.
pub fn without_devices(line: &[u8]) -> &[u8] {
    let mut rest = line.trim_ascii_end();
    loop {
        let start = rest.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
        match rest.split_at_checked(start) {
            Some((before, word)) if word.starts_with(DEVICE) => rest = before.trim_ascii_end(),
            _ => return rest,
        }
    }
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_ascii_start())
}

/// `NAME=VALUE` with a name as Linux' parameters have it, or one of the flags.
fn is_loaders(word: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    match word.iter().position(|&byte| byte == b'=') {
        Some(at) => !word.starts_with(b"-") && at != 0 && word.iter().take(at).all(is_name),
        None => FLAGS.contains(&word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::{Options, is_silent};

    #[test]
    fn loaders_words_are_skipped() {
        let line =
            b"BOOT_IMAGE=/boot/vmlinuz ro root=/dev/vda --quiet pci=off /bin/x a=b quiet virtio_mmio.device=4K@1:5 ";
        let options = Options::parse(line).unwrap();
        assert!(options.is_quiet);
        assert_eq!(options.line, b"/bin/x a=b quiet");
        assert_eq!(skip_words(b"/a=b c"), b"/a=b c");
        assert_eq!(skip_words(b"--env=A=b"), b"--env=A=b");
        assert_eq!(skip_words(b"=x"), b"=x");
    }

    #[test]
    fn loaders_words_alone_say_nothing() {
        assert!(is_silent(
            b" BOOT_IMAGE=/x  virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=512@0xfeb00c00:11"
        ));
        assert!(is_silent(b"") && is_silent(b"quiet"));
        assert!(!is_silent(b"--quiet") && !is_silent(b"ro sh"));
        assert!(Options::parse(b"virtio_mmio.device=512@0xfeb00e00:12").unwrap().line.is_empty());
    }
}
