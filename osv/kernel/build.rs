//! Gives the kernel's binary its linker script.
//!
//! Only the feature `image` asks for it: the workspace's own builds see the library alone. The nested
//! build that makes a bootable kernel is one line (package `osv-kernel-build` wraps it for users):
//!
//! ```text
//! CARGO_ENCODED_RUSTFLAGS=$'-Crelocation-model=static\x1f-Ccode-model=kernel\x1f-Cno-redzone=yes\x1f-Cforce-frame-pointers=yes'
//! \ cargo build -p osv-kernel --bin osv-kernel --features image --config kernel-build/profiles.toml --profile kernel \
//! --target x86_64-unknown-linux-gnu --target-dir target/kernel
//! ```
//!
//! The result is an ELF executable with a PVH note, which `qemu-system-x86_64 -kernel` boots as it is. Its
//! loadable segments, flattened from physical 0x100000 to `__data_end`, are the image that goes into an app.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_IMAGE").is_none() {
        return;
    }
    let script =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("kernel.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    let args = [
        "-nostartfiles".to_owned(),
        "-static".to_owned(),
        format!("-Wl,-T,{}", script.display()),
        // Functions whose code is the same become one.
        "-Wl,--icf=all".to_owned(),
        // What is alike lies side by side: a hundredth less when it is packed.
        "-Wl,--bp-compression-sort=both".to_owned(),
        "-Wl,-z,max-page-size=4096".to_owned(),
        "-Wl,-z,norelro".to_owned(),
        "-Wl,-z,noexecstack".to_owned(),
        "-Wl,--build-id=none".to_owned(),
    ];
    for arg in args {
        println!("cargo:rustc-link-arg-bin=osv-kernel={arg}");
    }
}
