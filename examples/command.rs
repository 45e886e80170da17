//! An unmodified Linux program, run by `std::process::Command` with pipes at both ends: the kernel has processes.
//!
//! The program is bundled; a static one needs no libraries beside it.

use std::io::Write;
use std::process::{Command, Stdio};

#[osv::main(files = ["/bin/busybox:/bin/busybox"])]
fn main() -> std::io::Result<()> {
    let mut sort = Command::new("/bin/busybox").arg("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut input) = sort.stdin.take() {
        input.write_all(b"pear\napple\nfig\n")?;
    }
    let output = sort.wait_with_output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    std::process::exit(output.status.code().unwrap_or(1));
}
