//! `eventfd(2)`.

use linux_raw_sys::general;

use super::{file_flags, install};
use crate::event::EventFd;
use crate::fs::OpenFlags;
use crate::syscall::SysResult;

/// A counter to wait for. <https://man7.org/linux/man-pages/man2/eventfd2.2.html>
pub fn eventfd2(initial: u32, flags: u32) -> SysResult {
    let file_flags = file_flags(flags, general::EFD_SEMAPHORE)?;
    let is_semaphore = flags & general::EFD_SEMAPHORE != 0;
    install(EventFd::new(initial, is_semaphore), file_flags | OpenFlags::RDWR)
}

/// `eventfd2` without flags. <https://man7.org/linux/man-pages/man2/eventfd.2.html>
pub fn eventfd(initial: u32) -> SysResult {
    eventfd2(initial, 0)
}
