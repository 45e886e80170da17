//! `getrusage(2)` and `times(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::drivers::clock::monotonic_ns;
use crate::errno::Errno;
use crate::mem::user::UserPtr;
use crate::process::resources::Used;
use crate::process::wait::ticks;
use crate::process::{current_process, current_task};
use crate::syscall::SysResult;
use crate::syscall::time::Timeval;

/// `struct rusage`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Rusage {
    user: Timeval,
    system: Timeval,
    max_resident_kib: u64,
    shared_text: u64,
    data: u64,
    stack: u64,
    minor_faults: u64,
    major_faults: u64,
    swaps: u64,
    blocks_in: u64,
    blocks_out: u64,
    messages_sent: u64,
    messages_received: u64,
    signals: u64,
    voluntary_switches: u64,
    involuntary_switches: u64,
}

impl From<&Used> for Rusage {
    fn from(used: &Used) -> Rusage {
        Rusage {
            user: Timeval::from_nanos(used.user_ns),
            system: Timeval::from_nanos(used.system_ns),
            max_resident_kib: used.max_resident_kib,
            minor_faults: used.minor_faults,
            major_faults: used.major_faults,
            voluntary_switches: used.voluntary_switches,
            involuntary_switches: used.involuntary_switches,
            ..Rusage::default()
        }
    }
}

/// <https://man7.org/linux/man-pages/man2/getrusage.2.html>
pub fn getrusage(who: i32, usage: UserPtr<Rusage>) -> SysResult {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let used = match who {
        SELF => current_process().used(),
        CHILDREN => current_process().children_used(),
        THREAD => current_task().used(),
        _ => return Err(Errno::EINVAL),
    };
    usage.write(&Rusage::from(&used))?;
    Ok(0)
}

/// `struct tms`: clock ticks.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Tms {
    user: u64,
    system: u64,
    children_user: u64,
    children_system: u64,
}

/// Returns ticks since boot. <https://man7.org/linux/man-pages/man2/times.2.html>
pub fn times(buffer: UserPtr<Tms>) -> SysResult {
    if let Some(buffer) = buffer.non_null() {
        let (own, children) = (current_process().used(), current_process().children_used());
        buffer.write(&Tms {
            user: ticks(own.user_ns),
            system: ticks(own.system_ns),
            children_user: ticks(children.user_ns),
            children_system: ticks(children.system_ns),
        })?;
    }
    Ok(ticks(monotonic_ns()))
}
