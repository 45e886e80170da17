//! Builds the kernel that `osv run` boots for programs that do not carry one; the library alone needs none.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "cli")]
    match osv_kernel_build::build().and_then(|kernel| Ok((kernel.elf, osv_kernel_build::build_stub()?))) {
        Ok((kernel, stub)) => {
            println!("cargo:rustc-env=OSV_KERNEL_ELF={}", kernel.display());
            println!("cargo:rustc-env=OSV_STUB_ELF={}", stub.display());
            println!("cargo:rerun-if-changed={}", stub.display());
        }
        Err(sentence) => {
            eprintln!("osv: {sentence}");
            std::process::exit(1);
        }
    }
}
