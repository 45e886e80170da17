//! `/proc/PID/maps`, `smaps` and `smaps_rollup`: what a process has mapped.

use linux_raw_sys::mempolicy;

use super::process::Subject;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Text, parse_written};
use crate::fs::{major, minor};
use crate::mem::space::{AreaFlags, AreaInfo, Policy, Prot};

const KIB: u64 = 1024;
const PAGE: u64 = 4 * KIB;
/// Column at which names begin.
const NAME_COLUMN: usize = 73;

pub(super) fn maps(subject: &Subject, out: &mut Text) -> Result<()> {
    for area in areas(subject, false)? {
        heading(&area, out);
    }
    Ok(())
}

fn areas(subject: &Subject, counts_pages: bool) -> Result<alloc::vec::Vec<AreaInfo>> {
    subject.space().map_or(Ok(alloc::vec::Vec::new()), |space| space.vmas(counts_pages))
}

/// The line of an area that both files have.
fn heading(area: &AreaInfo, out: &mut Text) {
    let start = out.len();
    let flag = |prot, letter| if area.prot.contains(prot) { letter } else { '-' };
    let [read, write, exec] = [flag(Prot::READ, 'r'), flag(Prot::WRITE, 'w'), flag(Prot::EXEC, 'x')];
    let shared = if area.flags.contains(AreaFlags::SHARED) { 's' } else { 'p' };
    let (device, ino) = area.identity;
    write!(out, "{:08x}-{:08x} {read}{write}{exec}{shared} {:08x} ", area.start, area.end, area.offset);
    write!(out, "{:02x}:{:02x} {ino} ", major(device), minor(device));
    if !area.name.is_empty() {
        out.pad_to(start, NAME_COLUMN);
        name(&area.name, out);
    }
    out.push(b"\n");
}

/// A name with its line feeds escaped.
fn name(name: &[u8], out: &mut Text) {
    for (index, part) in name.split(|&byte| byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b"\\012");
        }
        out.push(part);
    }
}

/// What smaps counts of one or of all areas. A page of a file that is mapped counts as shared, any other as private:
/// how many processes have a page mapped is not known, so the proportional share is what a single user would have.
#[derive(Clone, Copy, Default)]
struct Counts {
    anonymous: u64,
    file: u64,
    locked: u64,
}

impl Counts {
    fn of(area: &AreaInfo) -> Counts {
        let resident = area.resident_anonymous + area.resident_file;
        let locked = if area.flags.contains(AreaFlags::LOCKED) { resident } else { 0 };
        Counts { anonymous: area.resident_anonymous, file: area.resident_file, locked }
    }

    fn add(self, other: Counts) -> Counts {
        Counts {
            anonymous: self.anonymous + other.anonymous,
            file: self.file + other.file,
            locked: self.locked + other.locked,
        }
    }

    fn show(&self, is_rollup: bool, out: &mut Text) {
        let resident = self.anonymous + self.file;
        line(out, "Rss", resident);
        line(out, "Pss", resident);
        line(out, "Pss_Dirty", self.anonymous);
        if is_rollup {
            line(out, "Pss_Anon", self.anonymous);
            line(out, "Pss_File", self.file);
            line(out, "Pss_Shmem", 0);
        }
        line(out, "Shared_Clean", self.file);
        line(out, "Shared_Dirty", 0);
        line(out, "Private_Clean", 0);
        line(out, "Private_Dirty", self.anonymous);
        line(out, "Referenced", resident);
        line(out, "Anonymous", self.anonymous);
        for name in ["LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb"] {
            line(out, name, 0);
        }
        for name in ["Private_Hugetlb", "Swap", "SwapPss"] {
            line(out, name, 0);
        }
        line(out, "Locked", self.locked);
    }
}

fn line(out: &mut Text, name: &str, bytes: u64) {
    let start = out.len();
    write!(out, "{name}:");
    out.pad_to(start, 16);
    writeln!(out, "{:8} kB", bytes / KIB);
}

pub(super) fn smaps(subject: &Subject, out: &mut Text) -> Result<()> {
    for area in areas(subject, true)? {
        heading(&area, out);
        line(out, "Size", area.end - area.start);
        line(out, "KernelPageSize", 4 * KIB);
        line(out, "MMUPageSize", 4 * KIB);
        Counts::of(&area).show(false, out);
        out.push(b"THPeligible:    0\nVmFlags: ");
        vm_flags(&area, out);
        out.push(b"\n");
    }
    Ok(())
}

fn vm_flags(area: &AreaInfo, out: &mut Text) {
    let prot = [(Prot::READ, "rd "), (Prot::WRITE, "wr "), (Prot::EXEC, "ex ")];
    for (_, name) in prot.into_iter().filter(|&(bit, _)| area.prot.contains(bit)) {
        out.push(name.as_bytes());
    }
    if area.flags.contains(AreaFlags::SHARED) {
        out.push(b"sh ");
    }
    out.push(b"mr mw me ");
    let flags = [
        (AreaFlags::SHARED, "ms "),
        (AreaFlags::GROWS_DOWN, "gd "),
        (AreaFlags::LOCKED, "lo "),
        (AreaFlags::DONT_FORK, "dc "),
        (AreaFlags::NO_RESERVE, "nr "),
        (AreaFlags::DONT_DUMP, "dd "),
        (AreaFlags::BIG, "hg "),
        (AreaFlags::NO_BIG, "nh "),
        (AreaFlags::WIPE_ON_FORK, "wf "),
    ];
    for (_, name) in flags.into_iter().filter(|&(bit, _)| area.flags.contains(bit)) {
        out.push(name.as_bytes());
    }
}

pub(super) fn smaps_rollup(subject: &Subject, out: &mut Text) -> Result<()> {
    let areas = areas(subject, true)?;
    let (Some(first), Some(last)) = (areas.first(), areas.last()) else { return Ok(()) };
    let rollup = AreaInfo {
        start: first.start,
        end: last.end,
        prot: Prot::empty(),
        flags: AreaFlags::empty(),
        offset: 0,
        identity: (0, 0),
        name: b"[rollup]".to_vec(),
        policy: None,
        resident_anonymous: 0,
        resident_file: 0,
    };
    heading(&rollup, out);
    areas.iter().map(Counts::of).fold(Counts::default(), Counts::add).show(true, out);
    Ok(())
}

/// Where the memory of each area shall be, and where it is: on the one node.
pub(super) fn numa_maps(subject: &Subject, out: &mut Text) -> Result<()> {
    for area in areas(subject, true)? {
        write!(out, "{:08x} ", area.start);
        policy(area.policy, out);
        match area.name.as_slice() {
            b"" => {}
            b"[heap]" => out.push(b" heap"),
            b"[stack]" => out.push(b" stack"),
            path if path.first() == Some(&b'[') => {}
            path => {
                out.push(b" file=");
                name(path, out);
            }
        }
        let (anonymous, file) = (area.resident_anonymous / PAGE, area.resident_file / PAGE);
        if anonymous != 0 {
            write!(out, " anon={anonymous} dirty={anonymous}");
        }
        if file != 0 {
            write!(out, " mapped={}", anonymous + file);
        }
        if anonymous + file != 0 {
            write!(out, " N0={} kernelpagesize_kB=4", anonymous + file);
        }
        out.push(b"\n");
    }
    Ok(())
}

fn policy(policy: Option<Policy>, out: &mut Text) {
    const NAMES: [&str; 6] = ["default", "prefer", "bind", "interleave", "local", "prefer (many)"];
    let Some(policy) = policy else { return out.push(b"default") };
    let name = NAMES.get(policy.mode as usize).copied().unwrap_or("unknown");
    out.push(name.as_bytes());
    let flags = [(mempolicy::MPOL_F_STATIC_NODES, "=static"), (mempolicy::MPOL_F_RELATIVE_NODES, "=relative")];
    for (_, flag) in flags.into_iter().filter(|(flag, _)| policy.flags & flag != 0) {
        out.push(flag.as_bytes());
    }
    if policy.nodes != 0 {
        out.push(b":0");
    }
}

/// Forgets the most memory that was ever used (5). Which pages were used since is not known, so it cannot be forgotten (1 to 4).
pub(super) fn clear_refs(subject: &Subject, text: &[u8]) -> Result<()> {
    if parse_written(text)? != 5 {
        return Err(Errno::EINVAL);
    }
    if let Some(space) = subject.space() {
        space.reset_peak();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(name: &[u8]) -> AreaInfo {
        AreaInfo {
            start: 0x557f_a36d_7000,
            end: 0x557f_a36d_c000,
            prot: Prot::READ | Prot::EXEC,
            flags: AreaFlags::empty(),
            offset: 0x2000,
            identity: (0xfe00, 247_030),
            name: name.to_vec(),
            policy: None,
            resident_anonymous: 0,
            resident_file: 0,
        }
    }

    #[test]
    fn lines_are_those_of_linux() {
        let mut out = Text::default();
        heading(&area(b"/usr/bin/cat"), &mut out);
        let unnamed = AreaInfo { prot: Prot::READ | Prot::WRITE, offset: 0, identity: (0, 0), ..area(b"") };
        heading(&unnamed, &mut out);
        assert_eq!(
            out.into_bytes().unwrap(),
            b"557fa36d7000-557fa36dc000 r-xp 00002000 fe:00 247030                     /usr/bin/cat\n\
              557fa36d7000-557fa36dc000 rw-p 00000000 00:00 0 \n"
        );
    }
}
