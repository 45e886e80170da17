//! Gives the macros a directory to write into (`OUT_DIR`), for the images of bundled files.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
