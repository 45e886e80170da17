//! A user's program: what it does its first argument says.

use std::io::{Read, Write};

#[osv::main(memory = "256M", cpus = 2, files = ["Cargo.toml:/etc/bundled"])]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = std::time::Instant::now();
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    match words.iter().map(|word| word.as_ref()).collect::<Vec<_>>().as_slice() {
        [] => println!("hello"),
        ["arguments", ..] => println!("{arguments:?} {:?} {:?}", std::env::var_os("ODD"), std::env::current_dir()?),
        ["streams"] => {
            let mut input = Vec::new();
            std::io::stdin().read_to_end(&mut input)?;
            std::io::stdout().write_all(&input)?;
            eprintln!("{} bytes", input.len());
        }
        // An `Instant` shows itself as seconds and nanoseconds since the machine's start.
        ["since"] => println!("{started:?}"),
        ["exit", code] => std::process::exit(code.parse()?),
        ["error"] => Err("so it ends")?,
        ["panic"] => panic!("on purpose"),
        ["abort"] => std::process::abort(),
        ["overflow"] => println!("{}", overflow(0)),
        ["fault"] => {
            // SAFETY: none; the fault is what this is for.
            unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
        }
        ["fixture"] => print!("{}", std::fs::read_to_string("fixture.txt")?),
        ["bundled"] => print!("{}", std::fs::read_to_string("/etc/bundled")?.lines().next().unwrap_or_default()),
        other => Err(format!("{other:?}?"))?,
    }
    Ok(())
}

fn overflow(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + page[0]
}
