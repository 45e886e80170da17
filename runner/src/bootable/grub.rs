//! Images that a machine's own firmware starts: an ISO, which is a disk as well.
//!
//! GRUB is the boot loader, taken from the host's packages by its own `grub-mkrescue`: it knows the BIOS' and UEFI's disks
//! and CDs, a memory map of either, and where in memory there is room, which is no business of a library OS. The result
//! boots from CD, hard disk and USB, by BIOS and by 64-bit UEFI. It holds our bzImage, and the root image either as
//! a file that GRUB puts into memory (for machines whose disks we cannot read) or as a partition (for virtio disks).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the root gets to the kernel.
#[derive(Clone, Copy, Debug)]
pub enum Root<'a> {
    /// It is in the kernel's file, or there is none.
    None,
    /// GRUB puts it into memory.
    InMemory(&'a Path),
    /// A partition of its own.
    Partition(&'a Path),
}

/// What must be there, and the Debian package that brings it.
const NEEDED: [(&str, &str); 5] = [
    ("grub-mkrescue", "grub-common"),
    ("/usr/lib/grub/i386-pc/cdboot.img", "grub-pc-bin"),
    ("/usr/lib/grub/x86_64-efi/linux.mod", "grub-efi-amd64-bin"),
    ("xorriso", "xorriso"),
    ("mformat", "mtools"),
];

/// The modules that our menu needs, besides what `grub-mkrescue` always takes.
const MODULES: &str = "linux normal echo test iso9660 part_msdos part_gpt part_acorn part_amiga part_apple part_bsd part_dfly part_dvh \
     part_plan part_sun part_sunpc serial all_video";

/// Writes an image with the bzImage `kernel` to `output`.
///
/// # Errors
/// What to install, or what `grub-mkrescue` says.
pub fn write(kernel: &[u8], root: Root<'_>, output: &Path) -> Result<(), String> {
    check()?;
    let tree = Scratch::new(output)?;
    let failed = |e: io::Error| format!("cannot write {}: {e}", tree.0.display());
    let boot = tree.0.join("boot");
    fs::create_dir_all(boot.join("grub")).map_err(failed)?;
    fs::write(boot.join("osv"), kernel).map_err(failed)?;
    let mut menu = String::from("set timeout=0\nset gfxpayload=text\nlinux /boot/osv\n");
    if let Root::InMemory(image) = root {
        fs::hard_link(image, boot.join("root.erofs"))
            .or_else(|_| fs::copy(image, boot.join("root.erofs")).map(drop))
            .map_err(failed)?;
        menu += "initrd /boot/root.erofs\n";
    }
    menu += "boot\n";
    fs::write(boot.join("grub/grub.cfg"), menu).map_err(failed)?;

    let mut command = Command::new("grub-mkrescue");
    command.arg("--output").arg(output).args(["--locales=", "--fonts=", "--themes="]);
    command.arg(format!("--install-modules={MODULES}")).arg(&tree.0);
    if let Root::Partition(image) = root {
        command.args(["--", "-append_partition", "3", "0x83"]).arg(image);
    }
    let done = command.output().map_err(|e| format!("cannot run grub-mkrescue: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("grub-mkrescue failed:\n{}", String::from_utf8_lossy(&done.stderr).trim_end()))
}

/// Says what to install, if something is missing.
fn check() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let is_there = |what: &str| {
        let is_file = |dir: PathBuf| dir.join(what).is_file();
        if what.starts_with('/') { Path::new(what).is_file() } else { std::env::split_paths(&path).any(is_file) }
    };
    let missing: Vec<&str> = NEEDED.iter().filter(|(what, _)| !is_there(what)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("images that boot by themselves need GRUB: `apt-get install {}`", missing.join(" ")))
}

/// A directory beside the output that goes when it is no longer needed.
struct Scratch(PathBuf);

impl Scratch {
    fn new(output: &Path) -> Result<Self, String> {
        let path = output.with_extension(format!("{}.tree", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("cannot create {}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
