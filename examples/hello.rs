//! The least that there is: an ordinary `main`, and one line that boots it.

#[osv::main]
fn main() {
    println!("hello from {}", std::fs::read_to_string("/proc/version").unwrap_or_default().trim());
}
