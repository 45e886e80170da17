//! A program that cancels a thread that waits.

use std::ffi::{c_int, c_ulong, c_void};
use std::ptr::{null, null_mut};
use std::thread;
use std::time::Duration;

unsafe extern "C" {
    fn read(fd: c_int, buffer: *mut c_void, len: usize) -> isize;
    fn pipe(ends: *mut c_int) -> c_int;
    fn pthread_create(
        thread: *mut c_ulong,
        attributes: *const c_void,
        run: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_cancel(thread: c_ulong) -> c_int;
    fn pthread_join(thread: c_ulong, result: *mut *mut c_void) -> c_int;
}

extern "C" fn wait(ends: *mut c_void) -> *mut c_void {
    let mut bytes = [0_u8; 4];
    // SAFETY: the argument is the pipe's two ends, which outlive the thread.
    unsafe { read(*ends.cast::<c_int>(), bytes.as_mut_ptr().cast(), 4) };
    null_mut()
}

#[osv::main]
fn main() {
    let mut ends = [0; 2];
    let (mut other, mut result) = (0, null_mut());
    // SAFETY: all pointers are to variables that stay.
    unsafe {
        println!("{}", pipe(ends.as_mut_ptr()));
        println!("{}", pthread_create(&mut other, null(), wait, ends.as_mut_ptr().cast()));
        thread::sleep(Duration::from_millis(200));
        println!("{}", pthread_cancel(other));
        println!("{}", pthread_join(other, &mut result));
    }
    println!("{}", result.addr() == usize::MAX);
}
