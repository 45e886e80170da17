//! `osv build`, and the images that `osv run --image` and `--rootfs` boot from.
//!
//! An image is made of a directory or an archive (`--rootfs`), of a program with all that it needs, and of
//! further files (`--file`). What was built is kept in the cache under a name that says what went into it.

use super::kernel::{cache_dir, forget_old};
use super::{Build, ImageOptions};
use anyhow::{Context as _, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use osv_runner::Outcome;
use osv_runner::image::{Kind, Node, Source, Tree, archive, closure, erofs};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Images smaller than this are done before a bar is seen.
const WORTH_A_BAR: u64 = 32 << 20;

/// Directories that the kernel and programs count on, with their permissions.
const DIRECTORIES: [(&str, u16); 6] =
    [("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/run", 0o755), ("/root", 0o700), ("/tmp", 0o1777)];

/// Builds an image into a file.
pub fn build(options: Build) -> Result<Outcome> {
    let program = options.program.first().map(|name| super::run::find_program(name)).transpose()?;
    if program.is_none() && options.image.is_empty() {
        bail!("there is nothing to put into an image: name a program, --file or --rootfs");
    }
    let tree = tree(program.as_deref(), &options.image)?;
    let output = options.output.unwrap_or_else(|| options.format.default_name().into());
    write(&tree, &output)?;
    println!("{}: {} KiB", output.display(), fs::metadata(&output)?.len() >> 10);
    Ok(Outcome::Exited(0))
}

/// The image that `osv run` shall boot from, built if it is not in the cache.
pub fn cached(program: Option<&Path>, options: &ImageOptions) -> Result<PathBuf> {
    if let Some(path) = &options.rootfs
        && is_image(path)
    {
        if !options.file.is_empty() {
            bail!("{} is a finished image: --file can add nothing to it", path.display());
        }
        return Ok(path.clone());
    }
    let tree = tree(program, options)?;
    let mut hasher = DefaultHasher::new();
    fingerprint(&tree.root, &mut hasher)?;
    let path = cache_dir().join(format!("image-{:016x}.erofs", hasher.finish()));
    if !path.is_file() {
        forget_old();
        write(&tree, &path)?;
    }
    Ok(path)
}

impl ImageOptions {
    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.rootfs.is_none() && self.file.is_empty()
    }
}

fn is_image(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(1024))?;
        file.read_exact(&mut magic)
    });
    read.is_ok() && magic == [0xe2, 0xe1, 0xf5, 0xe0]
}

fn tree(program: Option<&Path>, options: &ImageOptions) -> Result<Tree> {
    let mut tree = match &options.rootfs {
        Some(path) if path.is_dir() => {
            let mut tree = Tree::default();
            tree.add_host_at(path, Path::new("/")).with_context(|| format!("cannot read {}", path.display()))?;
            tree
        }
        Some(path) => archive::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => Tree::default(),
    };
    for (path, mode) in DIRECTORIES {
        if tree.get(Path::new(path)).is_none() {
            let kind = Kind::Directory(Default::default());
            tree.insert(Path::new(path), Node { attributes: osv_runner::image::Attributes::root(mode), kind })?;
        }
    }
    if let Some(program) = program
        && tree.get(program).is_none()
    {
        add_program(&mut tree, program)?;
    }
    for file in &options.file {
        add_file(&mut tree, file)?;
    }
    Ok(tree)
}

fn add_program(tree: &mut Tree, program: &Path) -> Result<()> {
    let needed = closure::of(program)?;
    let cache = Path::new("/etc/ld.so.cache");
    if needed.len() > 1 && cache.is_file() {
        tree.add_host(cache)?;
    }
    for path in needed {
        tree.add_host(&path).with_context(|| format!("cannot add {}", path.display()))?;
    }
    Ok(())
}

fn add_file(tree: &mut Tree, file: &OsStr) -> Result<()> {
    let mut parts = file.as_bytes().splitn(2, |&byte| byte == b':');
    let host = Path::new(OsStr::from_bytes(parts.next().unwrap_or_default()));
    let result = match parts.next() {
        Some(guest) => tree.add_host_at(host, Path::new(OsStr::from_bytes(guest))),
        None => std::path::absolute(host).and_then(|host| tree.add_host(&host)).map(drop),
    };
    result.with_context(|| format!("cannot add {}", host.display()))
}

/// Writes the image so that the file appears whole or not at all, and shows how far it is.
fn write(tree: &Tree, path: &Path) -> Result<()> {
    let size = erofs::size(tree)?;
    let bar = if size < WORTH_A_BAR { ProgressBar::hidden() } else { ProgressBar::new(size) };
    bar.set_style(ProgressStyle::with_template("osv: building the image {wide_bar} {bytes}/{total_bytes}")?);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&draft)?);
        erofs::write(tree, &mut out, |bytes| bar.inc(bytes))?;
        out.flush()?;
        fs::rename(&draft, path)
    })();
    bar.finish_and_clear();
    written.map_err(|e| {
        let _ = fs::remove_file(&draft);
        anyhow!("cannot write the image {}: {e}", path.display())
    })
}

/// Mixes into `hasher` all that makes this image differ from another.
fn fingerprint(node: &Node, hasher: &mut DefaultHasher) -> Result<()> {
    let attributes = node.attributes;
    (attributes.mode, attributes.uid, attributes.gid, attributes.mtime).hash(hasher);
    match &node.kind {
        Kind::Directory(entries) => {
            entries.len().hash(hasher);
            for (name, child) in entries {
                name.hash(hasher);
                fingerprint(child, hasher)?;
            }
        }
        Kind::File { source, size, .. } => {
            size.hash(hasher);
            match source {
                Source::Path(path) => path.hash(hasher),
                Source::Bytes(bytes) => bytes.hash(hasher),
                Source::Part(file, offset) => {
                    let metadata = file.metadata()?;
                    use std::os::unix::fs::MetadataExt as _;
                    (metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), offset).hash(hasher);
                }
            }
        }
        Kind::Symlink(target) => target.hash(hasher),
        Kind::Device(is_block, major, minor) => (is_block, major, minor).hash(hasher),
        Kind::Fifo => {}
    }
    std::mem::discriminant(&node.kind).hash(hasher);
    Ok(())
}
