//! `ioctl(2)`: the commands that all files know; the rest are the file's.

use linux_raw_sys::ioctl;

use super::file;
use crate::errno::Errno;
use crate::fs::{FileType, OpenFile, OpenFlags};
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// Controls a device. <https://man7.org/linux/man-pages/man2/ioctl.2.html>
pub fn ioctl(fd: Fd, command: u32, arg: u64) -> SysResult {
    let file = file(fd)?;
    if file.is_place() {
        return Err(Errno::EBADF);
    }
    match command {
        ioctl::FIOCLEX | ioctl::FIONCLEX => {
            current_task().files().set_close_on_exec(fd.0, command == ioctl::FIOCLEX)?;
        }
        ioctl::FIONBIO => {
            let is_on = UserPtr::<i32>::new(arg).read()? != 0;
            file.set_flag(OpenFlags::NONBLOCK, is_on);
        }
        ioctl::FIOASYNC => {
            let is_on = UserPtr::<i32>::new(arg).read()? != 0;
            if is_on && !file.can_signal() {
                return Err(Errno::ENOTTY);
            }
            file.owner().set_descriptor(fd.0);
            file.set_flag(OpenFlags::ASYNC, is_on);
        }
        _ if is_regular(&file) => return of_regular_file(&file, command, arg),
        _ => return file.ioctl(command, arg),
    }
    Ok(0)
}

fn is_regular(file: &OpenFile) -> bool {
    file.file().is_none() && file.inode().is_some_and(|inode| inode.kind() == FileType::Regular)
}

fn of_regular_file(file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let metadata = file.metadata()?;
    match command {
        ioctl::FIONREAD => {
            let rest = metadata.size.saturating_sub(file.position());
            UserPtr::<i32>::new(arg).write(&(rest.min(i32::MAX as u64) as i32))?;
        }
        ioctl::FIOQSIZE => UserPtr::<u64>::new(arg).write(&metadata.size)?,
        ioctl::FIGETBSZ => UserPtr::<u32>::new(arg).write(&metadata.block_size)?,
        ioctl::FICLONE | ioctl::FICLONERANGE => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}
