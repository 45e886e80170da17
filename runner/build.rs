//! Builds the kernel that `osv run` boots for programs that do not carry one; the library alone needs none.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "cli")]
    match osv_kernel_build::build() {
        Ok(kernel) => println!("cargo:rustc-env=OSV_KERNEL_ELF={}", kernel.elf.display()),
        Err(sentence) => {
            eprintln!("osv: {sentence}");
            std::process::exit(1);
        }
    }
}
