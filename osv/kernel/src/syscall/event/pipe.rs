//! `pipe(2)`.

use super::file_flags;
use crate::errno::Errno;
use crate::fs::{OpenFile, OpenFlags, anonymous, pipe};
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};
use crate::syscall::SysResult;

/// A pipe: the descriptors of its reading and its writing end go to `ends`.
/// <https://man7.org/linux/man-pages/man2/pipe2.2.html>
pub fn pipe2(ends: UserPtr<[i32; 2]>, flags: u32) -> SysResult {
    let is_packet_mode = flags & OpenFlags::DIRECT.bits() != 0;
    let flags = file_flags(flags & !OpenFlags::DIRECT.bits(), 0)?;
    let flags = if is_packet_mode { flags | OpenFlags::DIRECT } else { flags };
    let (reader, writer) = pipe::create(flags)?;
    anonymous::give_to_caller(&*reader);
    let files = current_task().files();
    let limit = current_process().limit(Resource::OpenFiles);
    let closes_on_exec = flags.contains(OpenFlags::CLOEXEC);
    let reader_fd = files.install(OpenFile::anonymous(reader, flags), closes_on_exec, limit)?;
    let writer = OpenFile::anonymous(writer, flags | OpenFlags::WRONLY);
    let result = files.install(writer, closes_on_exec, limit).and_then(|writer_fd| {
        ends.write(&[reader_fd, writer_fd]).inspect_err(|_: &Errno| {
            let _ = files.close(writer_fd);
        })
    });
    if result.is_err() {
        let _ = files.close(reader_fd);
    }
    result.map(|()| 0)
}

/// `pipe2` without flags. <https://man7.org/linux/man-pages/man2/pipe.2.html>
pub fn pipe(ends: UserPtr<[i32; 2]>) -> SysResult {
    pipe2(ends, 0)
}
