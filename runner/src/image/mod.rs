//! Root images: a tree of files, gathered from the host or from an archive, written as EROFS.
//!
//! [`Tree`] is what shall be in the image, [`erofs`] writes it so that the kernel can map every file in place,
//! and [`closure`] finds what a program needs beside itself.

#[cfg(feature = "cli")]
pub mod archive;
pub mod closure;
pub mod erofs;
pub mod tree;

pub use tree::{Attributes, Kind, Node, Source, Tree};
