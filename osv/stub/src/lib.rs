//! Unpacks a kernel that was packed into a bzImage: LZMA over the image, in which the targets of calls are absolute.
//!
//! LZMA because it packs machine code a quarter smaller than the LZ4 and a tenth smaller than the Zstandard family, and
//! its decoder is two hundred lines. It reads the packed bytes and writes where the kernel belongs, which is its
//! dictionary at the same time: nothing is allocated, nothing is copied twice. Whatever the bytes are, it returns.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// Where this package lies.
pub const DIRECTORY: &str = env!("CARGO_MANIFEST_DIR");

mod calls;
mod lzma;

pub use calls::{make_absolute, make_relative};
pub use lzma::unpack;
