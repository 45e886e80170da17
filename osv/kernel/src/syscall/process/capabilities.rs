//! `capget(2)` and `capset(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::ids::positive;
use crate::errno::{Errno, Result};
use crate::mem::user::UserPtr;
use crate::process::credentials::ALL_CAPABILITIES;
use crate::process::{current_task, tree};
use crate::syscall::SysResult;

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: 32 capabilities.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// How many [`Data`] the version in the header has; for a version that is none, writes the newest and fails.
fn data_count(header: UserPtr<Header>) -> Result<(Header, usize)> {
    let given = header.read()?;
    match given.version {
        VERSION_1 => Ok((given, 1)),
        VERSION_2 | VERSION_3 => Ok((given, 2)),
        _ => {
            header.cast::<u32>().write(&VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}

/// <https://man7.org/linux/man-pages/man2/capget.2.html>
pub fn capget(header: UserPtr<Header>, data: UserPtr<Data>) -> SysResult {
    let (given, count) = match data_count(header) {
        // Asking for the version is what a null pointer is for.
        Err(Errno::EINVAL) if data.is_null() => return Ok(0),
        outcome => outcome?,
    };
    if given.pid < 0 {
        return Err(Errno::EINVAL);
    }
    let credentials = match positive(given.pid)? {
        0 => current_task().task().credentials(),
        tid => tree::find_task(tid)?.credentials(),
    };
    if data.is_null() {
        return Err(Errno::EFAULT);
    }
    let sets = &credentials.capabilities;
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    for (index, shift) in [0, 32].into_iter().enumerate().take(count) {
        data.at(index).write(&half(shift))?;
    }
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/capget.2.html>
pub fn capset(header: UserPtr<Header>, data: UserPtr<Data>) -> SysResult {
    let (given, count) = data_count(header)?;
    let task = current_task();
    if given.pid != 0 && given.pid as u32 != task.tid() {
        return Err(Errno::EPERM);
    }
    let mut halves = [Data::default(); 2];
    for (index, half) in halves.iter_mut().enumerate().take(count) {
        *half = data.at(index).read()?;
    }
    let [low, high] = halves;
    let join = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32) & ALL_CAPABILITIES;
    let new = task.credentials().set_capabilities(
        join(low.effective, high.effective),
        join(low.permitted, high.permitted),
        join(low.inheritable, high.inheritable),
    )?;
    task.set_credentials(new);
    Ok(0)
}
