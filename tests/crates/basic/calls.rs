//! The functions of libc that `osv` makes calls of the kernel: results, errors, interruption and restart, as on Linux.

use std::ffi::{c_int, c_long, c_void};
use std::io::{Error, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

unsafe extern "C" {
    fn read(fd: c_int, buffer: *mut c_void, len: usize) -> isize;
    fn write(fd: c_int, data: *const c_void, len: usize) -> isize;
    fn recv(fd: c_int, buffer: *mut c_void, len: usize, flags: c_int) -> isize;
    fn send(fd: c_int, data: *const c_void, len: usize, flags: c_int) -> isize;
    fn epoll_wait(epoll: c_int, events: *mut c_void, max: c_int, timeout: c_int) -> c_int;
    fn getpid() -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn pipe(ends: *mut c_int) -> c_int;
    fn alarm(seconds: u32) -> u32;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn siginterrupt(number: c_int, interrupts: c_int) -> c_int;
}

const SIGALRM: c_int = 14;
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn say(name: &str, result: isize) {
    let error = if result < 0 { Error::last_os_error().to_string() } else { String::new() };
    println!("{name}: {result} {error}");
}

#[osv::main]
fn main() {
    let mut bytes = [0_u8; 16];
    let buffer = bytes.as_mut_ptr().cast::<c_void>();
    // SAFETY: the buffer has 16 bytes, of which none asks for more; the other pointers are wrong on purpose.
    unsafe {
        say("read", read(99, buffer, 4));
        say("write", write(1, 8 as *const c_void, 4));
        say("recv", recv(1, buffer, 4, 0));
        say("send", send(99, buffer, 4, 0));
        say("epoll_wait", epoll_wait(99, buffer, 1, 0) as isize);
        say("syscall", syscall(9999, 1, 2, 3, 4, 5, 6) as isize);
        println!("getpid: {}", syscall(39) == c_long::from(getpid()));
        let mut ends = [0; 2];
        say("pipe", pipe(ends.as_mut_ptr()) as isize);
        signal(SIGALRM, handle);
        siginterrupt(SIGALRM, 1);
        alarm(1);
        say("interrupted", read(ends[0], buffer, 4));
        siginterrupt(SIGALRM, 0);
        alarm(1);
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(1500));
            write(ends[1], c"late".as_ptr().cast(), 4)
        });
        say("restarted", read(ends[0], buffer, 16));
        println!("{} {}", late.join().unwrap(), HANDLED.load(Ordering::SeqCst));
    }
    let (mut left, mut right) = UnixStream::pair().unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        right.read_to_end(&mut all).unwrap();
        all.len()
    });
    for _ in 0..1000 {
        left.write_all(&[7; 100]).unwrap();
    }
    drop(left);
    println!("{}", reader.join().unwrap());
}
