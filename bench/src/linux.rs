//! The Linux guest: Debian's cloud kernel with an initramfs that holds one static program.
//!
//! `apt-get download` fetches the package that `linux-image-cloud-amd64` depends on, `dpkg-deb -x` unpacks it into the
//! cache, and the kernel proper is taken out of the bzImage: QEMU boots an uncompressed `vmlinux` through its PVH
//! note, as it boots osv, so that neither decompression nor a boot loader is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cpio::Archive;
use crate::vm::{self, Firmware, Machine, Output};
use crate::{build, root};

const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Runs the micro-benchmarks on Linux.
pub fn run(machine: &Machine, rows: &[String]) -> Result<Output> {
    boot(machine, &build::micro()?, rows)
}

/// Boots Linux with `program` as its init.
pub fn boot(machine: &Machine, program: &Path, args: &[String]) -> Result<Output> {
    boot_kernel(machine, &vmlinux()?, program, args)
}

/// What the firmware takes before it enters the kernel.
pub fn firmware(machine: &Machine) -> Result<Firmware> {
    Firmware::of(&boot_kernel(machine, &build::entry()?, &build::micro()?, &[])?)
}

fn boot_kernel(machine: &Machine, kernel: &Path, program: &Path, args: &[String]) -> Result<Output> {
    let initramfs = build::cache()?.join("initramfs.cpio");
    let mut archive = Archive::default();
    archive.directory("dev", 0o755);
    archive.directory("tmp", 0o1777);
    archive.character_device("dev/console", 0o600, (5, 1));
    archive.file("init", 0o755, &fs::read(program)?);
    for file in if machine.has_programs { root::programs()? } else { Vec::new() } {
        archive.directories_above(&file.guest);
        archive.file(&file.guest, 0o755, &fs::read(&file.host)?);
    }
    fs::write(&initramfs, archive.finish())?;
    // `rootfstype=ramfs`: the root would be a tmpfs otherwise, and the rows say ramfs.
    let kernel_args = "console=ttyS0 quiet panic=-1 reboot=t rootfstype=ramfs -- --init";
    let mut command = machine.qemu();
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    command.args(["-append", &[kernel_args, &args.join(" ")].join(" ")]);
    vm::run(command, machine.patience())
}

/// The uncompressed kernel, downloaded at the first use.
pub fn vmlinux() -> Result<PathBuf> {
    let cache = build::cache()?;
    let vmlinux = cache.join("vmlinux");
    if !vmlinux.exists() {
        let image = download(&cache)?;
        let kernel = extract(&fs::read(&image)?).with_context(|| format!("unpacking {}", image.display()))?;
        let partial = cache.join("vmlinux.partial");
        fs::write(&partial, kernel)?;
        fs::rename(partial, &vmlinux)?;
    }
    Ok(vmlinux)
}

/// Downloads and unpacks the kernel's package; returns its bzImage.
fn download(cache: &Path) -> Result<PathBuf> {
    let package = text_of(Command::new("apt-cache").args(["depends", META_PACKAGE]))?
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{META_PACKAGE} is unknown: run apt-get update"))?
        .to_owned();
    eprintln!("downloading {package}");
    text_of(Command::new("apt-get").args(["-q", "download", &package]).current_dir(cache))?;
    let archive = only_file(cache, |name| name.starts_with(&package) && name.ends_with(".deb"))?;
    let unpacked = cache.join("linux");
    text_of(Command::new("dpkg-deb").arg("-x").args([&archive, &unpacked]))?;
    only_file(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))
}

fn text_of(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn only_file(directory: &Path, fits: impl Fn(&str) -> bool) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&fits) {
            return Ok(entry.path());
        }
    }
    bail!("not found in {}", directory.display())
}

/// Takes the kernel's ELF out of a bzImage.
///
/// See <https://docs.kernel.org/arch/x86/boot.html>: `setup_sects` at 0x1f1, `payload_offset` and `payload_length` at
/// 0x248. The payload ends with its uncompressed size, which is not part of the compressed stream.
fn extract(image: &[u8]) -> Result<Vec<u8>> {
    const SECTOR: usize = 512;
    let setup_sectors = usize::from(*image.get(0x1f1).context("too short for a bzImage")?);
    let offset = (setup_sectors + 1) * SECTOR + word(image, 0x248)?;
    let payload = image.get(offset..offset + word(image, 0x24c)?).context("the payload is cut off")?;
    let (stream, _size) = payload.split_last_chunk::<4>().context("the payload is empty")?;
    match stream {
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => unpack_lz4(blocks),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => unpack_with("xz", stream),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unpack_with("zstd", stream),
        [0x1f, 0x8b, ..] => unpack_with("gzip", stream),
        _ => bail!("an unknown compression"),
    }
}

fn word(bytes: &[u8], at: usize) -> Result<usize> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).context("cut off")?;
    Ok(u32::from_le_bytes(*word) as usize)
}

/// LZ4's legacy frame: blocks of at most 8 MiB, each with its compressed size in front.
fn unpack_lz4(mut blocks: &[u8]) -> Result<Vec<u8>> {
    const BLOCK_MAX: usize = 8 << 20;
    let mut kernel = Vec::new();
    while !blocks.is_empty() {
        let size = word(blocks, 0)?;
        let block = blocks.get(4..4 + size).context("an LZ4 block is cut off")?;
        kernel.extend(lz4_flex::block::decompress(block, BLOCK_MAX)?);
        blocks = &blocks[4 + size..];
    }
    Ok(kernel)
}

fn unpack_with(tool: &str, stream: &[u8]) -> Result<Vec<u8>> {
    let packed = build::cache()?.join("payload");
    fs::write(&packed, stream)?;
    let output = Command::new(tool).arg("-dc").stdin(fs::File::open(&packed)?).output();
    let output = output.with_context(|| format!("running {tool}"))?;
    ensure!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
