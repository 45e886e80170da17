//! `getsockopt(2)`, `setsockopt(2)`.

use super::socket_at;
use crate::errno::Errno;
use crate::mem::user::{UserAddr, UserPtr, UserSlice};
use crate::syscall::{Fd, SysResult};

/// The longest option value that is read.
const MAX_LEN: usize = 64;

/// The value of an option. <https://man7.org/linux/man-pages/man2/getsockopt.2.html>
pub fn getsockopt(fd: Fd, level: u32, name: u32, value: UserAddr, len: UserPtr<u32>) -> SysResult {
    let (_, socket) = socket_at(fd)?;
    let room = usize::try_from(len.read()? as i32).map_err(|_| Errno::EINVAL)?;
    let found = socket.option(level, name)?;
    let shown = &found[..found.len().min(room)];
    UserSlice::new(value.0, shown.len()).write_all(shown)?;
    len.write(&(shown.len() as u32))?;
    Ok(0)
}

/// Sets an option. <https://man7.org/linux/man-pages/man2/setsockopt.2.html>
pub fn setsockopt(fd: Fd, level: u32, name: u32, value: UserAddr, len: i32) -> SysResult {
    let (_, socket) = socket_at(fd)?;
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?.min(MAX_LEN);
    let mut bytes = [0; MAX_LEN];
    UserSlice::new(value.0, len).read_exact(&mut bytes[..len])?;
    socket.set_option(level, name, &bytes[..len])?;
    Ok(0)
}
