//! `/proc/sys`: settings of the kernel. Most of them are fixed here and refuse to be changed (EACCES when opened for
//! writing); those that mean something can be.

use core::sync::atomic::Ordering;

use crate::drivers::random;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text};
use crate::fs::{MAX_FDS, devpts};
use crate::ipc::{msg, sem, shm};
use crate::limits::{self, Limit};
use crate::mem::space::{ALWAYS_OVERCOMMITS, AREA_LIMIT};
use crate::process::tree::MAX_ID;
use crate::sync::Once;
use crate::{mem, uts};

/// A file with one fixed line.
macro_rules! fixed {
    ($name:literal, $value:literal) => {
        Entry::file($name, |_, out| {
            out.push(concat!($value, "\n").as_bytes());
            Ok(())
        })
    };
}

/// A file with a limit that can be changed.
macro_rules! limit {
    ($name:literal, $limit:path) => {
        Entry::writable($name, |_, out| number($limit.get(), out), |_, text| set_limit(&$limit, text))
    };
}

/// The id that the next object of a family of IPC is to have; -1 for whichever comes.
macro_rules! next_id {
    ($name:literal, $table:path) => {
        Entry::writable(
            $name,
            |_, out| wanted_id($table().wanted_id(), out),
            |_, text| $table().want_id(parse_id(text)?),
        )
    };
}

pub(super) static ROOT: &[Entry<()>] = &[
    Entry::directory("fs", FS),
    Entry::directory("kernel", KERNEL),
    Entry::directory("net", NET),
    Entry::directory("vm", VM),
];

static KERNEL: &[Entry<()>] = &[
    fixed!("cap_last_cap", "40"),
    fixed!("core_pattern", "core"),
    fixed!("core_uses_pid", "0"),
    Entry::writable("domainname", |_, out| name(&uts::DOMAIN, out), |_, text| set_name(&uts::DOMAIN, text)),
    Entry::writable("hostname", |_, out| name(&uts::HOST, out), |_, text| set_name(&uts::HOST, text)),
    fixed!("kptr_restrict", "0"),
    limit!("msgmax", limits::MSG_MAX),
    limit!("msgmnb", limits::MSG_BYTES),
    limit!("msgmni", limits::MSG_IDS),
    next_id!("msg_next_id", msg::table),
    fixed!("ngroups_max", "65536"),
    Entry::file("osrelease", |_, out| line(uts::RELEASE, out)),
    Entry::file("ostype", |_, out| line(uts::SYSTEM, out)),
    fixed!("overflowgid", "65534"),
    fixed!("overflowuid", "65534"),
    fixed!("panic", "0"),
    fixed!("perf_event_paranoid", "2"),
    Entry::file("pid_max", pid_max),
    fixed!("printk", "4\t4\t1\t7"),
    Entry::directory("pty", PTY),
    Entry::directory("random", RANDOM),
    fixed!("randomize_va_space", "2"),
    fixed!("sched_rr_timeslice_ms", "100"),
    Entry::writable("sem", semaphores, set_semaphores),
    next_id!("sem_next_id", sem::table),
    limit!("shmall", limits::SHM_ALL),
    limit!("shmmax", limits::SHM_MAX),
    limit!("shmmni", limits::SHM_IDS),
    next_id!("shm_next_id", shm::table),
    fixed!("shm_rmid_forced", "0"),
    fixed!("tainted", "0"),
    Entry::file("threads-max", threads_max),
    Entry::file("version", |_, out| line(uts::VERSION, out)),
];

static PTY: &[Entry<()>] = &[
    Entry::file("max", |_, out| number(u64::from(devpts::MAX_PAIRS), out)),
    Entry::file("nr", |_, out| number(u64::from(devpts::pair_count()), out)),
    fixed!("reserve", "1024"),
];

static RANDOM: &[Entry<()>] = &[
    Entry::file("boot_id", boot_id),
    fixed!("entropy_avail", "256"),
    fixed!("poolsize", "256"),
    fixed!("urandom_min_reseed_secs", "60"),
    Entry::file("uuid", |_, out| uuid(new_uuid(), out)),
    fixed!("write_wakeup_threshold", "256"),
];

static VM: &[Entry<()>] = &[
    fixed!("dirty_background_ratio", "10"),
    fixed!("dirty_ratio", "20"),
    Entry::writable("drop_caches", |_, _| Err(Errno::EACCES), drop_caches).with_mode(0o200),
    fixed!("legacy_va_layout", "0"),
    Entry::writable("max_map_count", max_map_count, set_max_map_count),
    fixed!("min_free_kbytes", "4096"),
    fixed!("mmap_min_addr", "4096"),
    fixed!("nr_hugepages", "0"),
    fixed!("overcommit_kbytes", "0"),
    Entry::writable("overcommit_memory", overcommit, set_overcommit),
    fixed!("overcommit_ratio", "50"),
    fixed!("page-cluster", "3"),
    fixed!("panic_on_oom", "0"),
    fixed!("swappiness", "60"),
    fixed!("vfs_cache_pressure", "100"),
];

static FS: &[Entry<()>] = &[
    fixed!("aio-max-nr", "65536"),
    fixed!("aio-nr", "0"),
    Entry::directory("epoll", &[fixed!("max_user_watches", "1048576")]),
    fixed!("file-max", "9223372036854775807"),
    fixed!("file-nr", "0\t0\t9223372036854775807"),
    Entry::directory(
        "inotify",
        &[
            limit!("max_queued_events", limits::INOTIFY_EVENTS),
            limit!("max_user_instances", limits::INOTIFY_INSTANCES),
            limit!("max_user_watches", limits::INOTIFY_WATCHES),
        ],
    ),
    fixed!("lease-break-time", "45"),
    Entry::directory(
        "mqueue",
        &[
            limit!("msg_default", limits::MQ_MESSAGES_DEFAULT),
            limit!("msg_max", limits::MQ_MESSAGES),
            limit!("msgsize_default", limits::MQ_SIZE_DEFAULT),
            limit!("msgsize_max", limits::MQ_SIZE),
            limit!("queues_max", limits::MQ_QUEUES),
        ],
    ),
    Entry::file("nr_open", |_, out| number(MAX_FDS as u64, out)),
    fixed!("overflowgid", "65534"),
    fixed!("overflowuid", "65534"),
    Entry::writable("pipe-max-size", |_, out| number(limits::PIPE_MAX_SIZE.get(), out), set_pipe_max_size),
    fixed!("pipe-user-pages-hard", "0"),
    fixed!("pipe-user-pages-soft", "16384"),
    limit!("protected_fifos", limits::PROTECTED_FIFOS).with_mode(0o600),
    limit!("protected_hardlinks", limits::PROTECTED_HARDLINKS).with_mode(0o600),
    limit!("protected_regular", limits::PROTECTED_REGULAR).with_mode(0o600),
    limit!("protected_symlinks", limits::PROTECTED_SYMLINKS).with_mode(0o600),
    fixed!("suid_dumpable", "0"),
];

static NET: &[Entry<()>] = &[
    Entry::directory("core", &[fixed!("somaxconn", "4096")]),
    Entry::directory(
        "ipv4",
        &[
            fixed!("ip_local_port_range", "32768\t60999"),
            fixed!("ip_unprivileged_port_start", "1024"),
            fixed!("tcp_fin_timeout", "60"),
        ],
    ),
    Entry::directory("unix", &[fixed!("max_dgram_qlen", "512")]),
];

/// Gives back the memory of file pages that can be read again (bit 0); names (bit 1) are kept.
fn drop_caches(_: &(), text: &[u8]) -> Result<()> {
    match parse_numbers(text)?.first() {
        Some(1..=4) => {
            mem::reclaim::shrink(usize::MAX);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

fn max_map_count(_: &(), out: &mut Text) -> Result<()> {
    number(AREA_LIMIT.load(Ordering::Relaxed) as u64, out)
}

fn set_max_map_count(_: &(), text: &[u8]) -> Result<()> {
    let value = parse_numbers(text)?.first().copied().filter(|&value| value <= i32::MAX as u64).ok_or(Errno::EINVAL)?;
    AREA_LIMIT.store(value as usize, Ordering::Relaxed);
    Ok(())
}

fn overcommit(_: &(), out: &mut Text) -> Result<()> {
    number(u64::from(ALWAYS_OVERCOMMITS.load(Ordering::Relaxed)), out)
}

/// What is promised is not counted, so that it cannot be limited (2).
fn set_overcommit(_: &(), text: &[u8]) -> Result<()> {
    let always = match parse_numbers(text)?.first() {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Errno::EINVAL),
    };
    ALWAYS_OVERCOMMITS.store(always, Ordering::Relaxed);
    Ok(())
}

fn line(text: &str, out: &mut Text) -> Result<()> {
    writeln!(out, "{text}");
    Ok(())
}

fn number(value: u64, out: &mut Text) -> Result<()> {
    writeln!(out, "{value}");
    Ok(())
}

fn set_limit(limit: &Limit, text: &[u8]) -> Result<()> {
    let value = parse_numbers(text)?.first().copied().ok_or(Errno::EINVAL)?;
    if limit.set(value) { Ok(()) } else { Err(Errno::EINVAL) }
}

fn wanted_id(id: Option<i32>, out: &mut Text) -> Result<()> {
    writeln!(out, "{}", id.unwrap_or(-1));
    Ok(())
}

fn parse_id(text: &[u8]) -> Result<i32> {
    let value = parse_numbers(text)?.first().copied().ok_or(Errno::EINVAL)?;
    i32::try_from(value).map_err(|_| Errno::EINVAL)
}

/// A pipe has a power of two of bytes, and a page at least.
fn set_pipe_max_size(_: &(), text: &[u8]) -> Result<()> {
    let value = parse_numbers(text)?.first().copied().filter(|&value| value <= 1 << 31).ok_or(Errno::EINVAL)?;
    let is_possible = value != 0 && limits::PIPE_MAX_SIZE.set(value.max(4096).next_power_of_two());
    if is_possible { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The limits of semaphores share a line.
const SEMAPHORES: [&Limit; 4] = [&limits::SEM_PER_SET, &limits::SEM_ALL, &limits::SEM_OPERATIONS, &limits::SEM_IDS];

fn semaphores(_: &(), out: &mut Text) -> Result<()> {
    let [per_set, all, operations, sets] = SEMAPHORES.map(Limit::get);
    writeln!(out, "{per_set}\t{all}\t{operations}\t{sets}");
    Ok(())
}

fn set_semaphores(_: &(), text: &[u8]) -> Result<()> {
    for (limit, value) in SEMAPHORES.into_iter().zip(parse_numbers(text)?) {
        if !limit.set(value) {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

/// Numbers with blanks between.
fn parse_numbers(text: &[u8]) -> Result<alloc::vec::Vec<u64>> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    text.split_ascii_whitespace().map(|number| number.parse().map_err(|_| Errno::EINVAL)).collect()
}

fn name(name: &uts::Name, out: &mut Text) -> Result<()> {
    name.with(|name| out.push(name));
    out.push(b"\n");
    Ok(())
}

fn set_name(name: &uts::Name, text: &[u8]) -> Result<()> {
    let end = text.iter().position(|&byte| byte == b'\n' || byte == 0).unwrap_or(text.len());
    name.set(text.get(..end).ok_or(Errno::EINVAL)?)
}

fn pid_max(_: &(), out: &mut Text) -> Result<()> {
    number(u64::from(MAX_ID), out)
}

/// As many threads as an eighth of the memory has room for with 16 KiB each, as on Linux.
fn threads_max(_: &(), out: &mut Text) -> Result<()> {
    number((mem::stats().total / 8 / 16384).max(20), out)
}

fn boot_id(_: &(), out: &mut Text) -> Result<()> {
    static BOOT_ID: Once<[u8; 16]> = Once::new();
    uuid(*BOOT_ID.call_once(new_uuid), out)
}

/// A random UUID (version 4).
fn new_uuid() -> [u8; 16] {
    let mut id = [0; 16];
    random::fill(&mut id);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

fn uuid(id: [u8; 16], out: &mut Text) -> Result<()> {
    for (index, byte) in id.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b"-");
        }
        write!(out, "{byte:02x}");
    }
    out.push(b"\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_look_like_uuids() {
        let mut out = Text::default();
        uuid([0xab; 16], &mut out).unwrap();
        assert_eq!(out.into_bytes().unwrap(), b"abababab-abab-abab-abab-abababababab\n");
    }
}
