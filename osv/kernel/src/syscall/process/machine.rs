//! The machine: `reboot(2)`, `syslog(2)`, `iopl(2)`, `ioperm(2)`.

use linux_raw_sys::general as linux;

use crate::drivers::power;
use crate::errno::Errno;
use crate::log;
use crate::mem::user::{UserAddr, UserSlice, read_cstr};
use crate::process::status::ExitStatus;
use crate::process::{current_task, exit};
use crate::sched::{Deadline, WaitQueue};
use crate::syscall::SysResult;

/// EPERM for those who lack the capability.
fn require(capability: u32) -> Result<(), Errno> {
    if current_task().credentials().is_capable(capability) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Switches the machine off as if the first program had ended well, or starts it anew. With this kernel's own second
/// magic number, which the crate `osv` uses, the fourth argument is the status of the first program's end.
/// <https://man7.org/linux/man-pages/man2/reboot.2.html>
pub fn reboot(magic: u32, magic2: u32, command: u32, text: UserAddr) -> SysResult {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC_2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const MAGIC_2_WITH_STATUS: u32 = 0x006f_7376;
    const RESTART: u32 = 0x0123_4567;
    const RESTART_2: u32 = 0xa1b2_c3d4;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    require(linux::CAP_SYS_BOOT)?;
    let has_status = magic2 == MAGIC_2_WITH_STATUS;
    if magic != MAGIC || !has_status && !MAGIC_2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        POWER_OFF if has_status => exit::end_vm(ExitStatus::Exited(text.0 as u8)),
        RESTART => restart(),
        RESTART_2 => {
            read_cstr(text, 256)?;
            restart()
        }
        HALT | POWER_OFF => exit::end_vm(ExitStatus::Exited(0)),
        // There is no Ctrl-Alt-Del.
        CAD_ON | CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn restart() -> ! {
    crate::fs::flush_streams();
    power::reboot()
}

/// Reads and clears the kernel's log. <https://man7.org/linux/man-pages/man2/syslog.2.html>
pub fn syslog(command: u32, buffer: UserAddr, len: i32) -> SysResult {
    const CLOSE: u32 = 0;
    const OPEN: u32 = 1;
    const READ: u32 = 2;
    const READ_ALL: u32 = 3;
    const READ_CLEAR: u32 = 4;
    const CLEAR: u32 = 5;
    const CONSOLE_OFF: u32 = 6;
    const CONSOLE_ON: u32 = 7;
    const CONSOLE_LEVEL: u32 = 8;
    const SIZE_UNREAD: u32 = 9;
    const SIZE_BUFFER: u32 = 10;
    if !matches!(command, READ_ALL | SIZE_BUFFER) && require(linux::CAP_SYSLOG).is_err() {
        require(linux::CAP_SYS_ADMIN)?;
    }
    if matches!(command, READ | READ_ALL | READ_CLEAR) {
        let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
        if buffer.is_null() {
            return Err(Errno::EINVAL);
        }
        return read_log(command == READ, command == READ_CLEAR, buffer, len);
    }
    match command {
        // What stands on the console is the runner's to choose.
        CLOSE | OPEN | CONSOLE_OFF | CONSOLE_ON => Ok(0),
        CONSOLE_LEVEL if (1..=8).contains(&len) => Ok(0),
        CLEAR => {
            log::clear();
            Ok(0)
        }
        SIZE_UNREAD => Ok(log::unread() as u64),
        SIZE_BUFFER => Ok(log::CAPACITY as u64),
        _ => Err(Errno::EINVAL),
    }
}

/// How often a reader of the log looks for news: lines come from places that cannot wake anybody.
const LOOK_AGAIN_NS: u64 = 100_000_000;

fn read_log(only_unread: bool, clears: bool, buffer: UserAddr, len: usize) -> SysResult {
    if len == 0 {
        return Ok(0);
    }
    buffer.check(len)?;
    let text = if only_unread {
        loop {
            let text = log::take_unread(len);
            if !text.is_empty() {
                break text;
            }
            match WaitQueue::new().wait_interruptible(Some(Deadline::after(LOOK_AGAIN_NS)), || None::<()>) {
                Err(Errno::ETIMEDOUT) => {}
                outcome => outcome?,
            }
        }
    } else {
        log::last(len)
    };
    UserSlice::new(buffer.0, text.len()).write_all(&text)?;
    if clears {
        log::clear();
    }
    Ok(text.len() as u64)
}

/// Programs run in ring 0 and may use ports always; who is privileged is told so.
/// <https://man7.org/linux/man-pages/man2/iopl.2.html>
pub fn iopl(level: u32) -> SysResult {
    match level {
        0 => Ok(0),
        1..=3 => require(linux::CAP_SYS_RAWIO).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// As for `iopl`. <https://man7.org/linux/man-pages/man2/ioperm.2.html>
pub fn ioperm(from: u64, count: u64, is_on: i32) -> SysResult {
    const PORTS: u64 = 65536;
    match from.checked_add(count) {
        Some(end) if end > from && end <= PORTS => {}
        _ => return Err(Errno::EINVAL),
    }
    if is_on != 0 {
        require(linux::CAP_SYS_RAWIO)?;
    }
    Ok(0)
}
