//! The few calls of the host's C library that std does not have; all `unsafe` of this package is here.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Does the kernel under this process say that it is osv?
pub fn is_osv() -> bool {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY:
    // - `name` is a valid place for a `utsname`, which `uname` fills;
    // - zeroed bytes are a valid `utsname`, so it is initialised even if the call failed.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    // SAFETY: the kernel ends each field with a NUL, and a zeroed field is one.
    let release = unsafe { CStr::from_ptr(name.release.as_ptr()) };
    release.to_bytes().ends_with(b"-osv")
}

/// Whether an ELF file is a program that can lie anywhere (ET_DYN).
pub fn is_relocatable(file: &File) -> bool {
    const ET_DYN: u16 = 3;
    let mut header = [0; 18];
    file.read_exact_at(&mut header, 0).is_ok() && u16::from_le_bytes([header[16], header[17]]) == ET_DYN
}

/// A file in memory with `contents`, at its start, which a child process inherits.
pub fn memory_file(name: &CStr, contents: &[u8]) -> io::Result<File> {
    // SAFETY: `name` is a C string; the flags are plain.
    let fd = check(unsafe { libc::memfd_create(name.as_ptr(), 0) })?;
    // SAFETY: the call has just made this descriptor, nobody else owns it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    io::Write::write_all(&mut &file, contents)?;
    Ok(file)
}

/// Lets a child process inherit `fd`.
pub fn make_inheritable(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `fd` is borrowed; the call changes a flag of it only.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
}

/// A child process that has not been waited for yet.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
}

impl Child {
    /// Starts `program`, which inherits stdin and stdout as `/dev/null` and stderr as `stderr` (or ours). It gets a
    /// process group of its own, and is killed as soon as this thread is gone, however it goes.
    ///
    /// `std::process::Command` would do, but brings glibc's `fork` and with that the whole name service into every
    /// static program that launches a VM: 200 KiB.
    pub fn spawn(program: &Path, arguments: &[OsString], stderr: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let words = std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
        let words = words.map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let stderr = stderr.map_or(2, |stderr| stderr.as_raw_fd());
        let (mut reader, writer) = io::pipe()?;
        // SAFETY:
        // - the system call makes a process with a copy of this thread alone, without the handlers of glibc's `fork`;
        // - the copy runs `in_child` only, which is made for that, and never returns.
        let pid = check_long(unsafe { libc::syscall(libc::SYS_fork) })?;
        if pid == 0 {
            // SAFETY: `pointers` are to C strings that live on, with a null pointer at the end.
            unsafe { in_child(&pointers, [null.as_raw_fd(), null.as_raw_fd(), stderr], writer.as_raw_fd()) }
        }
        drop(writer);
        let child = Self { pid: libc::pid_t::try_from(pid).map_err(io::Error::other)? };
        let mut errno = [0; 4];
        match io::Read::read_exact(&mut reader, &mut errno) {
            Ok(()) => {
                let _ = child.wait();
                Err(io::Error::from_raw_os_error(i32::from_le_bytes(errno)))
            }
            Err(_) => Ok(child),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits for its end.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        let mut status = 0;
        loop {
            // SAFETY: the call writes to a local; the process is our child, and is waited for once.
            match check(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }) {
                Ok(_) => return Ok(ExitStatus::from_raw(status)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// The child's way to its program: if there is no way, the reason goes into the pipe `report`.
///
/// # Safety
/// To be called in a new process that is a copy of one thread. `arguments` are C strings, then a null pointer.
unsafe fn in_child(arguments: &[*const libc::c_char], streams: [RawFd; 3], report: RawFd) -> ! {
    // SAFETY:
    // - all calls are async-signal-safe, and take plain numbers or pointers to what the caller vouches for;
    // - nothing here allocates, locks or unwinds.
    unsafe {
        libc::setpgid(0, 0);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        for (fd, stream) in (0..).zip(streams) {
            if stream != fd {
                libc::dup2(stream, fd);
            }
        }
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
            libc::execv(*arguments.as_ptr(), arguments.as_ptr());
        }
        let errno = (*libc::__errno_location()).to_le_bytes();
        libc::write(report, errno.as_ptr().cast(), errno.len());
        libc::_exit(127)
    }
}

fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Ends this process by `signal`, without a core of our own.
pub fn die_by(signal: i32) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls take plain numbers and valid pointers to initialised local structures.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::signal(signal, libc::SIG_DFL);
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// The effective user is root.
pub fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal.to_le_bytes()[0];
    // SAFETY: `write` is async-signal-safe; `byte` lives on this stack. errno is kept for whom we interrupt.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(SIGNAL_PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
        *errno = saved;
    }
}

/// Turns `signals` into bytes that can be read from the stream, one per signal. A signal that the process
/// was started to ignore stays ignored. For once per process.
pub fn signal_stream(signals: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    writer.set_nonblocking(true)?;
    SIGNAL_PIPE.store(writer.as_raw_fd(), Ordering::Relaxed);
    std::mem::forget(writer);
    for &signal in signals {
        // SAFETY:
        // - a zeroed `sigaction` is a valid one (default action, empty mask), and the pointers are to locals;
        // - the handler does async-signal-safe calls only.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            check(libc::sigaction(signal, std::ptr::null(), &raw mut action))?;
            if action.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()))?;
        }
    }
    Ok(reader)
}

/// Does what std does before `main`, which is not reached yet when an app launches its VM: ignores SIGPIPE, and
/// opens `/dev/null` in place of a standard descriptor that is closed, so that no socket of ours takes its number.
pub fn prepare_process() {
    // SAFETY: the calls take plain numbers and a C string; `open` takes the lowest free number, which is `fd`,
    // since those below have been filled before.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        for fd in 0..3 {
            if libc::fcntl(fd, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}

/// The size of a terminal: rows, columns.
pub fn window_size(terminal: RawFd) -> Option<(u16, u16)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the request fills the `winsize` that the pointer leads to; zeroed bytes are a valid one.
    let (result, size) = unsafe { (libc::ioctl(terminal, libc::TIOCGWINSZ, size.as_mut_ptr()), size.assume_init()) };
    (result == 0 && size.ws_row > 0).then_some((size.ws_row, size.ws_col))
}

/// A terminal in raw mode, restored when this is dropped.
pub struct RawTerminal {
    fd: RawFd,
    saved: libc::termios,
}

impl RawTerminal {
    /// Switches to raw mode if we are the terminal's foreground process.
    pub fn enter(fd: RawFd) -> Option<Self> {
        let mut saved = MaybeUninit::<libc::termios>::zeroed();
        // SAFETY:
        // - `tcgetattr` fills the `termios` that the pointer leads to, and zeroed bytes are a valid one;
        // - the other calls take plain numbers and pointers to initialised locals.
        unsafe {
            if libc::tcgetpgrp(fd) != libc::getpgrp() || libc::tcgetattr(fd, saved.as_mut_ptr()) != 0 {
                return None;
            }
            let saved = saved.assume_init();
            let mut raw = saved;
            libc::cfmakeraw(&raw mut raw);
            (libc::tcsetattr(fd, libc::TCSANOW, &raw const raw) == 0).then_some(Self { fd, saved })
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // SAFETY: `saved` is what `tcgetattr` gave for this terminal.
        unsafe { libc::tcsetattr(self.fd, libc::TCSADRAIN, &raw const self.saved) };
    }
}

/// A standard descriptor as a file that is not closed in the end: it is the process's, not ours.
pub fn borrowed_file(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: `ManuallyDrop` keeps the descriptor open, and reads and writes on a closed one merely fail.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

/// The path by which another process finds a descriptor that it has inherited from us.
pub fn fd_path(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}

/// Is `name` set to something else than nothing or `0`?
pub fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !matches!(value.as_os_str().as_bytes(), b"" | b"0"))
}

/// A value of the environment, if it is set and not empty.
pub fn var(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| value != OsStr::new("")).map(|value| value.to_string_lossy().into_owned())
}

/// Kills a child that has not been waited for yet.
pub fn kill(pid: u32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: the call takes plain numbers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}
