//! A program without std: some 40 KiB beside the kernel. The crate brings its start, allocator and panic handler, and the
//! traits of `embedded-io` on console and files.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use osv::io::traits::{Read, Write};
use osv::io::{Error, File};

#[osv::main(memory = "16M", cpus = 1)]
fn main() -> Result<(), Error> {
    File::create("/tmp/note")?.write_all(b"written and read")?;
    let mut note = [0; 64];
    let count = File::open("/tmp/note")?.read(&mut note)?;
    osv::println!("{} in {:?}", String::from_utf8_lossy(&note[..count]), osv::memory());
    Ok(())
}
