//! What the kernel counts, limits, locks and forbids, in the words of `programs/*.c`: compiled here, run on Linux and on osv,
//! and compared.

use osv_tests::compile::gcc;
use osv_tests::{Case, Suite};

#[test]
fn threads_and_rights() {
    let mut suite = Suite::new("rights", &["--cpus", "2"]);
    for name in ["accounting", "lifecycle", "locking", "privileges", "remote", "seccomp"] {
        let program = gcc(&format!("{name}.c"), name, &["-O1", "-pthread"]).expect("a program that compiles");
        suite.add(Case::program(name, &program, &[]).seconds(120));
    }
    suite.check();
}
