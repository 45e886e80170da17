//! Files of the package in the VM's root. They travel in the program's own file: copy that file to another
//! machine, and they are there.

#[osv::main(files = ["data/greeting.txt:/etc/greeting"])]
fn main() -> std::io::Result<()> {
    print!("{}", std::fs::read_to_string("/etc/greeting")?);
    // The root can be written to; what is written lives as long as the VM.
    std::fs::write("/etc/greeting", "changed\n")?;
    print!("{}", std::fs::read_to_string("/etc/greeting")?);
    Ok(())
}
