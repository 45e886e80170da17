//! The page in front of the kernel (see `osv/linker-scripts/app.ld`): what lies behind the kernel, the headers of boot loaders
//! that look for one, and a configuration whose line `kernel-args=` is the command line where the boot loader gives none.

use super::{HANDOFF, get_u64, put_u64};

/// The page's size.
pub const PAGE: usize = 4096;
/// So much of the page can hold something; the rest is zeros.
pub const USED: usize = 0x900;
/// Boot loaders' headers.
pub const HEADERS: std::ops::Range<usize> = 0x40..TEXT;

const MAGIC: &[u8; 8] = b"OSVHAND1";
const BUNDLE: usize = 32;
const CONFIG: usize = 48;
const TEXT: usize = 0x100;
const TEXT_MAX: usize = USED - TEXT;
const KEY: &str = "kernel-args=";

/// Says where the bundled files are.
pub fn set_bundle(page: &mut [u8], start: u64, end: u64) {
    put_u64(page, BUNDLE, start);
    put_u64(page, BUNDLE + 8, end);
}

/// The range of the configuration in physical memory.
pub fn config_range(page: &[u8]) -> Option<(u64, u64)> {
    Some((get_u64(page, CONFIG)?, get_u64(page, CONFIG + 8)?))
}

/// The configuration, if it lies in the page.
pub fn config(page: &[u8]) -> Option<String> {
    let (start, end) = config_range(page)?;
    let from = usize::try_from(start.checked_sub(HANDOFF)?).ok()?;
    let to = usize::try_from(end.checked_sub(HANDOFF)?).ok()?;
    page.get(..USED)?.get(from..to).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Puts the configuration into the page.
///
/// # Errors
/// If it is too long.
pub fn set_config(page: &mut [u8], text: &str) -> Result<(), String> {
    if text.len() > TEXT_MAX {
        return Err(format!("the command line is too long: an image has room for {} bytes", TEXT_MAX - KEY.len() - 1));
    }
    page[TEXT..USED].fill(0);
    page[TEXT..TEXT + text.len()].copy_from_slice(text.as_bytes());
    put_u64(page, CONFIG, HANDOFF + TEXT as u64);
    put_u64(page, CONFIG + 8, HANDOFF + (TEXT + text.len()) as u64);
    Ok(())
}

/// The command line in a configuration.
pub fn command_line(config: &str) -> &str {
    config.lines().find_map(|line| line.strip_prefix(KEY)).unwrap_or_default()
}

/// The configuration with another command line.
///
/// # Errors
/// If it has a line break.
pub fn with_command_line(config: &str, line: &str) -> Result<String, String> {
    if line.contains(['\n', '\0']) {
        return Err("a command line is one line".into());
    }
    let others = config.lines().filter(|line| !line.starts_with(KEY) && !line.is_empty());
    Ok(others.map(|other| format!("{other}\n")).collect::<String>() + KEY + line + "\n")
}

/// Where in a file the page lies: what starts like one, and is told apart from a mere copy of the magic number by its
/// ranges.
pub fn find(file: &[u8]) -> Option<usize> {
    let is_page = |page: &[u8]| {
        let is_range = |at| matches!((get_u64(page, at), get_u64(page, at + 8)), (Some(from), Some(to)) if from <= to && to < 1 << 40);
        page.starts_with(MAGIC) && page.len() >= USED && (16..64).step_by(16).all(is_range)
    };
    (0..file.len()).step_by(16).find(|&at| is_page(&file[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(MAGIC);
        page
    }

    #[test]
    fn command_lines_are_kept_and_changed() {
        let mut page = page();
        set_config(&mut page, &with_command_line("memory=64M\nkernel-args=old\n", "--quiet /bin/sh").unwrap()).unwrap();
        let kept = config(&page).unwrap();
        assert_eq!(kept, "memory=64M\nkernel-args=--quiet /bin/sh\n");
        assert_eq!(command_line(&kept), "--quiet /bin/sh");
        assert!(set_config(&mut page, &"x".repeat(TEXT_MAX + 1)).is_err());
        assert!(with_command_line("", "a\nb").is_err());
    }

    #[test]
    fn pages_are_found_in_files() {
        let file = [vec![1; 4096], page(), vec![0; 100]].concat();
        assert_eq!(find(&file), Some(4096));
        assert_eq!(find(&file[8..]), None);
        let mut false_start = page();
        put_u64(&mut false_start, BUNDLE, 5);
        assert_eq!(find(&false_start), None);
    }
}
