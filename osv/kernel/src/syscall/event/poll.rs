//! `poll(2)`, `ppoll(2)`.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{deadline_after, deadline_ms, read_timeout, with_mask};
use crate::errno::{Errno, Result};
use crate::event::{PollEntry, PollEvents, poll_files};
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};
use crate::sched::Deadline;
use crate::syscall::SysResult;
use crate::syscall::time::Timespec;

/// `struct pollfd`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PollFd {
    fd: i32,
    events: u16,
    revents: u16,
}

/// Waits for any of several files. <https://man7.org/linux/man-pages/man2/poll.2.html>
pub fn poll(fds: UserPtr<PollFd>, count: u32, timeout_ms: i32) -> SysResult {
    let deadline = deadline_ms(timeout_ms);
    match wait(fds, count, deadline) {
        Err(Errno::ERESTARTNOHAND) => Err(restart(fds, count, deadline)),
        result => result,
    }
}

/// `poll` with nanoseconds and another signal mask. <https://man7.org/linux/man-pages/man2/ppoll.2.html>
pub fn ppoll(
    fds: UserPtr<PollFd>,
    count: u32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> SysResult {
    let deadline = read_timeout(timeout)?.map(deadline_after);
    let result = with_mask(mask, mask_size, || wait(fds, count, deadline));
    super::write_remaining(timeout, deadline, result)
}

/// Goes on with a `poll` that a signal without handler interrupted.
fn restart(fds: UserPtr<PollFd>, count: u32, deadline: Option<Deadline>) -> Errno {
    current_task().restart_with(alloc::boxed::Box::new(move || match wait(fds, count, deadline) {
        Err(Errno::ERESTARTNOHAND) => Err(restart(fds, count, deadline)),
        result => result,
    }))
}

fn wait(fds: UserPtr<PollFd>, count: u32, deadline: Option<Deadline>) -> SysResult {
    if u64::from(count) > current_process().limit(Resource::OpenFiles) {
        return Err(Errno::EINVAL);
    }
    let mut asked = fds.read_vec(count as usize)?;
    let ready = look(&mut asked);
    let is_over = ready > 0 || deadline.is_some_and(|deadline| deadline.has_passed());
    let ready = if is_over { ready } else { wait_for(&mut asked, deadline)? };
    for (index, PollFd { revents, .. }) in asked.iter().enumerate() {
        let field = fds.at(index).addr().add(core::mem::offset_of!(PollFd, revents) as u64);
        UserPtr::<u16>::new(field.0).write(revents)?;
    }
    Ok(ready as u64)
}

/// Looks at each file once; how many have something to tell. Negative descriptors are left out.
fn look(asked: &mut [PollFd]) -> usize {
    let files = current_task().files();
    let mut ready = 0;
    for entry in asked {
        entry.revents = match files.get(entry.fd) {
            _ if entry.fd < 0 => 0,
            Ok(file) => (file.readiness() & wanted(entry.events)).bits() as u16,
            Err(_) => PollEvents::POLLNVAL.bits() as u16,
        };
        ready += usize::from(entry.revents != 0);
    }
    ready
}

/// Waits, all descriptors being valid and none being ready.
fn wait_for(asked: &mut [PollFd], deadline: Option<Deadline>) -> Result<usize> {
    let files = current_task().files();
    let mut entries = Vec::new();
    entries.try_reserve_exact(asked.len()).map_err(|_| Errno::ENOMEM)?;
    entries.extend(asked.iter().map(|entry| PollEntry::new(files.get(entry.fd).ok(), wanted(entry.events))));
    let ready = poll_files(&mut entries, deadline)?;
    for (entry, waited) in asked.iter_mut().zip(&entries) {
        entry.revents = waited.events.bits() as u16;
    }
    Ok(ready)
}

fn wanted(events: u16) -> PollEvents {
    PollEvents::from_bits_truncate(u32::from(events)) | PollEvents::ALWAYS
}
