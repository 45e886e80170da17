//! Makes an image of the files that a program bundles.
//!
//! The image goes into this crate's `OUT_DIR` under a name that says what is in it, and from there into the
//! program by `include_bytes!`.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use osv_runner::image::{Tree, erofs};

/// An image, and the files that it was made of.
pub struct Bundle {
    pub image: PathBuf,
    pub sources: Vec<PathBuf>,
}

/// Bundles `files`, each `HOST[:GUEST]`: `HOST` in the package at `root`, `GUEST` in the VM, by default the same
/// below `/`.
pub fn build(root: &Path, files: &[String]) -> Result<Bundle, String> {
    let mut tree = Tree::default();
    let mut sources = Vec::new();
    for file in files {
        let (host, guest) = match file.split_once(':') {
            Some((host, guest)) => (host, guest.to_owned()),
            None => (file.as_str(), format!("/{}", file.trim_start_matches("./"))),
        };
        let host = root.join(host);
        let added = tree.add_host_at(&host, Path::new(&guest)).and_then(|()| host.canonicalize());
        let gathered = added.and_then(|host| gather(&host, &mut sources));
        gathered.map_err(|e| format!("cannot bundle {}: {e}", host.display()))?;
    }
    let mut image = Vec::new();
    erofs::write(&tree, &mut image, |_| ()).map_err(|e| format!("cannot bundle the files: {e}"))?;
    let path = publish(&image).map_err(|e| format!("cannot write the image of the bundled files: {e}"))?;
    Ok(Bundle { image: path, sources })
}

fn gather(path: &Path, sources: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        sources.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if !path.is_symlink() {
            gather(&path, sources)?;
        }
    }
    Ok(())
}

fn publish(image: &[u8]) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    let dir = Path::new(env!("OUT_DIR"));
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("bundle-{:016x}.erofs", hasher.finish()));
    if !path.is_file() {
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&draft, image)?;
        fs::rename(&draft, &path)?;
    }
    Ok(path)
}
