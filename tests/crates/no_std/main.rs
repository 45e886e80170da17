//! A user's program without std: what it does its first argument says.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use osv::io::traits::{Read, Seek, SeekFrom, Write};
use osv::io::{Console, Error, File};

#[osv::main(memory = "32M", cpus = 1)]
fn main() -> Result<u8, Error> {
    let arguments: Vec<String> = osv::args().skip(1).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => osv::println!("hello without std"),
        ["arguments", rest @ ..] => osv::println!("{rest:?}"),
        ["heap"] => use_the_heap(),
        ["files"] => use_files()?,
        ["machine"] => ask_the_machine()?,
        ["since"] => osv::println!("{}", osv::boot_time().unwrap_or_default().as_nanos()),
        ["echo"] => echo()?,
        ["exit", code] => return Ok(code.parse().unwrap_or(1)),
        ["off", code] => osv::power_off(code.parse().unwrap_or(1)),
        ["panic"] => panic!("on purpose"),
        ["error"] => File::open("/nowhere").map(drop)?,
        other => osv::println!("{other:?}?"),
    }
    Ok(0)
}

fn use_the_heap() {
    let mut map = BTreeMap::new();
    for number in 0..10_000_u32 {
        map.insert(number.wrapping_mul(2_654_435_761), format!("{number}"));
    }
    let mut large: Vec<u64> = Vec::new();
    for number in 0..200_000 {
        large.push(number);
    }
    let text: usize = map.values().map(String::len).sum();
    osv::println!("{} {text} {}", map.len(), large.iter().sum::<u64>());
    drop(map);
    for size in [1, 15, 16, 17, 4096, 40_000, 1 << 20] {
        let mut bytes = alloc::vec![7_u8; size];
        bytes.resize(size * 2, 9);
        assert!(bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() == size * 16);
    }
    let aligned = core::alloc::Layout::from_size_align(100, 1 << 16).unwrap();
    // SAFETY: the block is given back with the layout that it was asked for with.
    unsafe {
        let block = alloc::alloc::alloc(aligned);
        assert!(!block.is_null() && block.addr() % (1 << 16) == 0);
        alloc::alloc::dealloc(block, aligned);
    }
}

fn use_files() -> Result<(), Error> {
    let mut file = File::create("/tmp/file")?;
    file.write_all(b"one two three")?;
    file.seek(SeekFrom::End(-5))?;
    let mut word = [0; 8];
    let count = file.read(&mut word)?;
    osv::println!("{} of {}", String::from_utf8_lossy(&word[..count]), file.len()?);
    File::append("/tmp/file")?.write_all(b" four")?;
    osv::println!("{}", String::from_utf8_lossy(&osv::io::read("/tmp/file")?));
    osv::io::remove("/tmp/file")?;
    osv::println!("{}", File::open("/tmp/file").unwrap_err());
    Ok(())
}

fn ask_the_machine() -> Result<(), Error> {
    if !osv::is_osv() {
        assert!(osv::hypervisor().is_none() && osv::boot_time().is_none() && osv::cmdline().is_none());
        assert_eq!(osv::trace::line("no").unwrap_err(), Error::UNSUPPORTED);
        osv::println!("Linux");
        return Ok(());
    }
    let memory = osv::memory();
    assert!(memory.total > 16 << 20 && memory.total <= 32 << 20 && memory.free < memory.total);
    assert!(osv::boot_time().is_some_and(|time| !time.is_zero()));
    assert!(osv::cmdline().is_some_and(|line| line.starts_with(b"--")));
    osv::trace::line("a line for the log")?;
    let span = osv::trace::span("a piece of work");
    osv::println!("{} {:?} {}", osv::cpus(), osv::hypervisor().is_some(), osv::process_id());
    drop(span);
    Ok(())
}

fn echo() -> Result<(), Error> {
    let mut buffer = [0; 100];
    loop {
        let count = Console.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        Console.write_all(&buffer[..count])?;
    }
}
