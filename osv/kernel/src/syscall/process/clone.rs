//! `fork(2)`, `vfork(2)`, `clone(2)`, `clone3(2)`, `unshare(2)`, `setns(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::MountNamespace;
use crate::fs::nsfs::{self, NamespaceFile};
use crate::mem::user::{UserAddr, UserPtr, UserSlice};
use crate::process::clone::Request;
use crate::process::pidfd::PidFd;
use crate::process::signal::Signal;
use crate::process::{clone as process, current_process, current_task, tree};
use crate::syscall::{Fd, SysResult};

/// How deep namespaces of ids may be nested, as on Linux.
const MAX_LEVELS: u64 = 32;

/// The bits of `clone`'s flags that are the exit signal.
const EXIT_SIGNAL: u64 = 0xff;

/// A process in the caller's image. <https://man7.org/linux/man-pages/man2/fork.2.html>
pub fn fork(frame: &mut TrapFrame) -> SysResult {
    process::clone(frame, &Request::fork()).map(u64::from)
}

/// A process in the caller's memory, while the caller waits. <https://man7.org/linux/man-pages/man2/vfork.2.html>
pub fn vfork(frame: &mut TrapFrame) -> SysResult {
    process::clone(frame, &Request::vfork()).map(u64::from)
}

/// <https://man7.org/linux/man-pages/man2/clone.2.html>
pub fn clone(frame: &mut TrapFrame, flags: u64, stack: u64, parent_tid: u64, child_tid: u64, tls: u64) -> SysResult {
    let flags = flags & u64::from(u32::MAX);
    let has = |flag: u32| flags & u64::from(flag) != 0;
    if has(linux::CLONE_PIDFD) && (has(linux::CLONE_PARENT_SETTID) || has(linux::CLONE_DETACHED)) {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        flags: flags & !EXIT_SIGNAL,
        exit_signal: Signal::new((flags & EXIT_SIGNAL) as u32).map_or(0, Signal::number),
        stack,
        tls,
        parent_tid,
        child_tid,
        pidfd: parent_tid,
        wanted_tid: None,
    };
    process::clone(frame, &request).map(u64::from)
}

/// `struct clone_args`.
#[derive(Clone, Copy, FromBytes, IntoBytes)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl CloneArgs {
    /// Reads a structure of `size` bytes, of which those that are not known have to be zero (E2BIG).
    fn read(at: UserAddr, size: usize) -> Result<CloneArgs> {
        const KNOWN: usize = size_of::<CloneArgs>();
        if size > 4096 {
            return Err(Errno::E2BIG);
        }
        if size < linux::CLONE_ARGS_SIZE_VER0 as usize {
            return Err(Errno::EINVAL);
        }
        let bytes = UserSlice::new(at.0, size).read_vec()?;
        let (known, rest) = bytes.split_at(size.min(KNOWN));
        if rest.iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG);
        }
        let mut args = CloneArgs::new_zeroed();
        if let Some(place) = args.as_mut_bytes().get_mut(..known.len()) {
            place.copy_from_slice(known);
        }
        Ok(args)
    }

    fn request(&self) -> Result<Request> {
        let known = !0u64 >> 32 | linux::CLONE_CLEAR_SIGHAND | linux::CLONE_INTO_CGROUP;
        let has = |flag: u32| self.flags & u64::from(flag) != 0;
        // CLONE_NEWTIME is one of the bits that `clone` has for the exit signal.
        let signal_bits = EXIT_SIGNAL & !u64::from(linux::CLONE_NEWTIME);
        let is_wrong = self.flags & !known != 0
            || self.flags & (signal_bits | u64::from(linux::CLONE_DETACHED)) != 0
            || self.flags & linux::CLONE_INTO_CGROUP != 0
            || self.exit_signal > Signal::COUNT as u64
            || (has(linux::CLONE_THREAD) || has(linux::CLONE_PARENT)) && self.exit_signal != 0
            || (self.stack == 0) != (self.stack_size == 0)
            || self.set_tid_size > MAX_LEVELS
            || (self.set_tid == 0) != (self.set_tid_size == 0);
        if is_wrong {
            return Err(Errno::EINVAL);
        }
        UserAddr(self.stack).check(self.stack_size as usize).map_err(|_| Errno::EINVAL)?;
        Ok(Request {
            flags: self.flags,
            exit_signal: self.exit_signal as u32,
            stack: self.stack.wrapping_add(self.stack_size),
            tls: self.tls,
            parent_tid: self.parent_tid,
            child_tid: self.child_tid,
            pidfd: self.pidfd,
            wanted_tid: self.wanted_tid()?,
        })
    }

    /// The id that the caller chooses for the new task: one, since there is one namespace of ids.
    fn wanted_tid(&self) -> Result<Option<u32>> {
        if self.set_tid == 0 {
            return Ok(None);
        }
        let wanted = UserPtr::<u32>::new(self.set_tid).read_vec(self.set_tid_size as usize)?;
        let &[tid] = wanted.as_slice() else { return Err(Errno::EINVAL) };
        if tid == 0 || tid >= tree::MAX_ID {
            return Err(Errno::EINVAL);
        }
        let own = current_task().credentials();
        let is_allowed = own.is_capable(linux::CAP_CHECKPOINT_RESTORE) || own.is_capable(linux::CAP_SYS_ADMIN);
        if is_allowed { Ok(Some(tid)) } else { Err(Errno::EPERM) }
    }
}

/// <https://man7.org/linux/man-pages/man2/clone.2.html>
pub fn clone3(frame: &mut TrapFrame, args: UserAddr, size: usize) -> SysResult {
    let request = CloneArgs::read(args, size)?.request()?;
    process::clone(frame, &request).map(u64::from)
}

/// Gives the task what it shares for itself alone; of namespaces there can be several of mounts only.
/// <https://man7.org/linux/man-pages/man2/unshare.2.html>
pub fn unshare(flags: u32) -> SysResult {
    const SHAREABLE: u32 = linux::CLONE_FS | linux::CLONE_FILES | linux::CLONE_SYSVSEM | linux::CLONE_NEWNS;
    const OF_PROCESS: u32 = linux::CLONE_THREAD | linux::CLONE_SIGHAND | linux::CLONE_VM;
    process::check_namespaces(u64::from(flags))?;
    if flags & !(SHAREABLE | OF_PROCESS) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & OF_PROCESS != 0 && current_process().task_count() > 1 {
        return Err(Errno::EINVAL);
    }
    let task = current_task();
    if flags & (linux::CLONE_FS | linux::CLONE_NEWNS) != 0 {
        task.unshare_fs();
    }
    if flags & linux::CLONE_NEWNS != 0 {
        task.fs().copy_namespace()?;
    }
    if flags & linux::CLONE_FILES != 0 {
        task.unshare_files();
    }
    if flags & linux::CLONE_SYSVSEM != 0 {
        task.release_sem_undo();
    }
    Ok(0)
}

/// Goes to the namespaces of a file from `/proc/PID/ns`, or those of `kinds` of a process' descriptor.
/// <https://man7.org/linux/man-pages/man2/setns.2.html>
pub fn setns(fd: Fd, kinds: u32) -> SysResult {
    let file = current_task().files().get(fd.0)?;
    if let Some(namespace) = file.downcast::<NamespaceFile>() {
        let kind = namespace.kind().flag;
        if kinds != 0 && kinds != kind {
            return Err(Errno::EINVAL);
        }
        return enter(kind, namespace.mounts());
    }
    let process = PidFd::process_of(&file).map_err(|_| Errno::EINVAL)?;
    let all = nsfs::KINDS.iter().fold(0, |all, kind| all | kind.flag);
    if kinds == 0 || kinds & !all != 0 {
        return Err(Errno::EINVAL);
    }
    let fs = process.first_task().and_then(|task| task.try_fs()).ok_or(Errno::ESRCH)?;
    enter(kinds, &fs.namespace())
}

/// Goes to the namespaces of `kinds`: of mounts to `mounts`, of all other kinds there is one. EINVAL for that of users, where the
/// caller is already, and for mounts if other tasks stand where the caller stands.
fn enter(kinds: u32, mounts: &Arc<MountNamespace>) -> SysResult {
    let task = current_task();
    if kinds & linux::CLONE_NEWUSER != 0 {
        return Err(Errno::EINVAL);
    }
    let is_capable = |capability| task.credentials().is_capable(capability);
    let enters_mounts = kinds & linux::CLONE_NEWNS != 0;
    if !is_capable(linux::CAP_SYS_ADMIN) || enters_mounts && !is_capable(linux::CAP_SYS_CHROOT) {
        return Err(Errno::EPERM);
    }
    if enters_mounts {
        if task.shares_fs() {
            return Err(Errno::EINVAL);
        }
        task.fs().enter_namespace(Arc::clone(mounts));
    }
    Ok(0)
}

const _: () = assert!(size_of::<CloneArgs>() == linux::CLONE_ARGS_SIZE_VER2 as usize);
