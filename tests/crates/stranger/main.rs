//! A crate that has never heard of osv.

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let Some(code) = arguments.first().and_then(|word| word.parse().ok()) {
        std::process::exit(code);
    }
    println!("{arguments:?} {}", on_osv());
}

fn on_osv() -> bool {
    std::fs::read_to_string("/proc/version").unwrap_or_default().contains("-osv")
}

#[cfg(test)]
mod tests {
    #[test]
    fn passes() {
        assert!(super::on_osv());
    }

    #[test]
    fn fails() {
        panic!("as meant");
    }
}
