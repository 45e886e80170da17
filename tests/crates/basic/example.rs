//! A user's example.

fn main() {
    println!("example {}", basic::double(4));
}
