//! The command `osv`.

use clap::Parser as _;

mod cli;

fn main() {
    match cli::run(cli::Cli::parse()) {
        Ok(outcome) => outcome.exit(),
        Err(error) => {
            eprintln!("osv: {error:#}");
            std::process::exit(125);
        }
    }
}
