//! What the system says of itself: `uname(2)`, `sysinfo(2)`, `getrandom(2)`, names, `personality(2)`.

use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::drivers::{clock, random};
use crate::errno::Errno;
use crate::mem;
use crate::mem::user::{Dest, UserAddr, UserPtr, UserSlice};
use crate::process::{current_process, current_task, session, tree};
use crate::syscall::SysResult;
use crate::{sched, uts};

/// Bytes of each name in `struct utsname`.
const NAME_SIZE: usize = 65;

/// `struct new_utsname`.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Utsname {
    system: [u8; NAME_SIZE],
    node: [u8; NAME_SIZE],
    release: [u8; NAME_SIZE],
    version: [u8; NAME_SIZE],
    machine: [u8; NAME_SIZE],
    domain: [u8; NAME_SIZE],
}

fn padded(name: &[u8]) -> [u8; NAME_SIZE] {
    let mut bytes = [0; NAME_SIZE];
    for (place, &byte) in bytes.iter_mut().take(NAME_SIZE - 1).zip(name) {
        *place = byte;
    }
    bytes
}

/// <https://man7.org/linux/man-pages/man2/uname.2.html>
pub fn uname(names: UserPtr<Utsname>) -> SysResult {
    names.write(&Utsname {
        system: padded(uts::SYSTEM.as_bytes()),
        node: uts::HOST.with(padded),
        release: padded(uts::RELEASE.as_bytes()),
        version: padded(uts::VERSION.as_bytes()),
        machine: padded(uts::MACHINE.as_bytes()),
        domain: uts::DOMAIN.with(padded),
    })?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/vhangup.2.html>
pub fn vhangup() -> SysResult {
    if !current_task().credentials().is_capable(linux::CAP_SYS_TTY_CONFIG) {
        return Err(Errno::EPERM);
    }
    session::hang_up_own_terminal();
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/sethostname.2.html>
pub fn sethostname(name: UserAddr, len: i32) -> SysResult {
    set_name(&uts::HOST, name, len)
}

/// <https://man7.org/linux/man-pages/man2/setdomainname.2.html>
pub fn setdomainname(name: UserAddr, len: i32) -> SysResult {
    set_name(&uts::DOMAIN, name, len)
}

fn set_name(which: &uts::Name, name: UserAddr, len: i32) -> SysResult {
    if !current_task().credentials().is_capable(linux::CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let len = usize::try_from(len).ok().filter(|&len| len <= uts::MAX_LEN).ok_or(Errno::EINVAL)?;
    which.set(&UserSlice::new(name.0, len).read_vec()?)?;
    Ok(0)
}

/// `struct sysinfo`.
#[derive(Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Sysinfo {
    uptime: u64,
    loads: [u64; 3],
    total_ram: u64,
    free_ram: u64,
    shared_ram: u64,
    buffer_ram: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    padding: [u16; 3],
    total_high: u64,
    free_high: u64,
    unit: u32,
    padding_2: u32,
}

/// <https://man7.org/linux/man-pages/man2/sysinfo.2.html>
pub fn sysinfo(info: UserPtr<Sysinfo>) -> SysResult {
    const FIXED_POINT: u64 = 1 << 16;
    let memory = mem::stats();
    let load = sched::runnable_threads() as u64 * FIXED_POINT;
    info.write(&Sysinfo {
        uptime: clock::monotonic_ns().div_ceil(1_000_000_000),
        loads: [load; 3],
        total_ram: memory.total,
        free_ram: memory.free,
        processes: tree::task_count() as u16,
        unit: 1,
        ..Sysinfo::default()
    })?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/getrandom.2.html>
pub fn getrandom(buffer: UserAddr, len: usize, flags: u32) -> SysResult {
    const CHUNK: usize = 256;
    let known = linux::GRND_NONBLOCK | linux::GRND_RANDOM | linux::GRND_INSECURE;
    if flags & !known != 0 || flags & (linux::GRND_RANDOM | linux::GRND_INSECURE) == known & !linux::GRND_NONBLOCK {
        return Err(Errno::EINVAL);
    }
    let mut dest = Dest::from_user(UserSlice::new(buffer.0, len.min(i32::MAX as usize)));
    while !dest.is_full() {
        let mut bytes = [0; CHUNK];
        random::fill(&mut bytes);
        let wanted = dest.remaining().min(CHUNK);
        match dest.push(bytes.get(..wanted).unwrap_or_default()) {
            Err(errno) if dest.moved() == 0 => return Err(errno),
            Ok(pushed) if pushed == wanted => {}
            _ => break,
        }
        sched::relax();
    }
    Ok(dest.moved() as u64)
}

/// <https://man7.org/linux/man-pages/man2/personality.2.html>
pub fn personality(new: u32) -> SysResult {
    let personality = &current_process().personality;
    let old = match new {
        u32::MAX => personality.load(Ordering::Relaxed),
        new => personality.swap(new, Ordering::Relaxed),
    };
    Ok(u64::from(old))
}
