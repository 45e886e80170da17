//! Files by path.

use alloc::vec::Vec;
use core::ffi::CStr;

use embedded_io::{ErrorType, Read, ReadReady, Seek, SeekFrom, Write};

use super::{Error, read_from, write_to};
use crate::call::{call, number};

const O_RDWR: usize = 2;
const O_WRONLY: usize = 1;
const O_CREAT: usize = 0o100;
const O_TRUNC: usize = 0o1000;
const O_APPEND: usize = 0o2000;
const O_CLOEXEC: usize = 0o2_000_000;
const EINVAL: i32 = 22;

/// An open file; closed when it is dropped.
#[derive(Debug)]
pub struct File(usize);

impl File {
    /// Opens a file to read it.
    ///
    /// # Errors
    /// What the kernel says, such as that there is none.
    pub fn open(path: &str) -> Result<File, Error> {
        open(path, 0)
    }

    /// Makes a file, or empties one, to write and read it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(path: &str) -> Result<File, Error> {
        open(path, O_RDWR | O_CREAT | O_TRUNC)
    }

    /// Opens a file to write at its end; makes it if there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn append(path: &str) -> Result<File, Error> {
        open(path, O_WRONLY | O_CREAT | O_APPEND)
    }

    /// Makes the file this long.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_len(&mut self, len: u64) -> Result<(), Error> {
        // SAFETY: the call takes numbers only.
        unsafe { call(number::FTRUNCATE, [self.0, len as usize, 0, 0, 0, 0]) }.map(drop)
    }

    /// Its length.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn len(&self) -> Result<u64, Error> {
        let mut status = [0_u64; 18];
        // SAFETY: `status` is as large as a `struct stat`, 144 bytes.
        unsafe { call(number::FSTAT, [self.0, status.as_mut_ptr().addr(), 0, 0, 0, 0])? };
        Ok(status[6])
    }

    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.len().map(|len| len == 0)
    }
}

/// The whole of a file.
///
/// # Errors
/// What the kernel says.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
}

/// Makes a file of these bytes.
///
/// # Errors
/// What the kernel says.
pub fn write(path: &str, bytes: &[u8]) -> Result<(), Error> {
    File::create(path)?.write_all(bytes)
}

/// Removes a file.
///
/// # Errors
/// What the kernel says.
pub fn remove(path: &str) -> Result<(), Error> {
    // SAFETY: the path ends with a NUL.
    with_path(path, |path| unsafe { call(number::UNLINK, [path.as_ptr().addr(), 0, 0, 0, 0, 0]) }).map(drop)
}

fn open(path: &str, flags: usize) -> Result<File, Error> {
    let arguments = |path: &CStr| [path.as_ptr().addr(), flags | O_CLOEXEC, 0o666, 0, 0, 0];
    // SAFETY: the path ends with a NUL.
    with_path(path, |path| unsafe { call(number::OPEN, arguments(path)) }).map(File)
}

/// Hands on the path with a NUL behind it; EINVAL if it has one inside.
fn with_path<T>(path: &str, act: impl FnOnce(&CStr) -> Result<T, Error>) -> Result<T, Error> {
    let bytes = [path.as_bytes(), &[0]].concat();
    act(CStr::from_bytes_with_nul(&bytes).map_err(|_| Error::from_errno(EINVAL))?)
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: nobody uses the descriptor any more. What its end says comes too late for everybody.
        let _ = unsafe { call(number::CLOSE, [self.0, 0, 0, 0, 0, 0]) };
    }
}

impl ErrorType for File {
    type Error = Error;
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        read_from(self.0, buffer)
    }
}

impl ReadReady for File {
    fn read_ready(&mut self) -> Result<bool, Error> {
        Ok(true)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        write_to(self.0, bytes)
    }

    fn flush(&mut self) -> Result<(), Error> {
        // SAFETY: the call takes a number only.
        unsafe { call(number::FSYNC, [self.0, 0, 0, 0, 0, 0]) }.map(drop)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (i64::try_from(offset).map_err(|_| Error::from_errno(EINVAL))?, 0),
            SeekFrom::Current(offset) => (offset, 1),
            SeekFrom::End(offset) => (offset, 2),
        };
        // SAFETY: the call takes numbers only.
        let position = unsafe { call(number::LSEEK, [self.0, offset as usize, whence, 0, 0, 0])? };
        Ok(position as u64)
    }
}
