//! `osv build --format …`: files that a machine boots from by themselves; and `osv image`, which looks into them.

use super::{Build, Format, ImageCommand, image, kernel};
use anyhow::{Context as _, Result, anyhow, bail};
use osv_runner::bootable::{Payload, bzimage, elf, grub, handoff, multiboot, qcow2};
use osv_runner::vm::quoted;
use osv_runner::{Outcome, Vm, app};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The start of a bzImage, as an ELF file.
const STUB: &[u8] = include_bytes!(env!("OSV_STUB_ELF"));

/// Builds a file of a format that boots.
pub fn build(options: &Build) -> Result<Outcome> {
    let program = options.program.first().map(|name| super::run::find_program(name)).transpose()?;
    let app = match &program {
        Some(path) if has_kernel(path)? => Some(path),
        _ => None,
    };
    let mut payload = match app {
        Some(path) => Payload::of_elf(&fs::read(path)?),
        None => Payload::of_elf(&kernel::bytes(options.kernel.as_deref())?),
    }
    .map_err(|e| anyhow!(e))?;
    let root = match &program {
        Some(_) if app.is_some() && options.image.is_empty() => None,
        None if options.image.is_empty() => None,
        _ if app.is_some() => bail!("this program carries its files: give them to it in its manifest, not by --file"),
        program => Some(image::cached(program.as_deref(), &options.image)?),
    };
    let line = command_line(options, program.as_deref().filter(|_| app.is_none()), root.is_some());
    if !line.is_empty() {
        payload.set_command_line(&line).map_err(|e| anyhow!(e))?;
    }
    let output = options.output.clone().unwrap_or_else(|| options.format.default_name().into());
    write(payload, root.as_deref(), options.format, &output).map_err(|e| anyhow!(e))?;
    println!("{}: {} KiB", output.display(), fs::metadata(&output)?.len() >> 10);
    Ok(Outcome::Exited(0))
}

fn has_kernel(program: &Path) -> Result<bool> {
    let file = File::open(program).with_context(|| format!("cannot read {}", program.display()))?;
    Ok(app::read_config(&file).map_err(|e| anyhow!("{}: {e}", program.display()))?.is_some())
}

/// What the image's kernel shall do where its boot loader says nothing: options, and the program with its arguments.
fn command_line(options: &Build, program: Option<&Path>, has_root: bool) -> String {
    let mut vm = Vm::new(PathBuf::new());
    if has_root && options.format.has_partition() {
        vm.option("--rootfs", "erofs:disk");
    }
    vm.options.extend(options.kernel_arg.iter().cloned());
    let mut words = vec![vm.command_line().to_string_lossy().into_owned()];
    words.extend(program.map(|path| quoted(path.as_os_str())));
    words.extend(options.program.iter().skip(1).map(|word| quoted(word)));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn write(mut payload: Payload, root: Option<&Path>, format: Format, output: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("cannot write {}: {e}", output.display());
    let is_disk = matches!(format, Format::Raw | Format::Qcow2 | Format::Iso);
    if let Some(root) = root.filter(|_| !is_disk) {
        payload.add_bundle(&fs::read(root).map_err(|e| format!("cannot read {}: {e}", root.display()))?);
    }
    let bytes = match format {
        Format::Erofs => unreachable!("an image of files is no file that boots"),
        Format::Elf => elf::write(payload)?,
        Format::Multiboot => multiboot::write(payload)?,
        Format::Bzimage => bzimage::write(&payload, STUB)?,
        Format::Raw | Format::Qcow2 | Format::Iso => {
            let kernel = bzimage::write(&payload, STUB)?;
            let place = match root {
                None => grub::Root::None,
                Some(root) if format == Format::Iso => grub::Root::InMemory(root),
                Some(root) => grub::Root::Partition(root),
            };
            grub::write(&kernel, place, output)?;
            if format != Format::Qcow2 {
                return Ok(());
            }
            qcow2::write(&fs::read(output).map_err(failed)?)
        }
    };
    fs::write(output, bytes).map_err(failed)
}

/// `osv image`.
pub fn image(command: ImageCommand) -> Result<Outcome> {
    match command {
        ImageCommand::Show { file } => {
            let (bytes, at) = read(&file)?;
            let config = handoff::config(&bytes[at..]).unwrap_or_default();
            println!("{}: {} KiB, hand-off page at {at:#x}", file.display(), bytes.len() >> 10);
            println!("command line: {}", handoff::command_line(&config));
            for line in config.lines().filter(|line| !line.starts_with("kernel-args=") && !line.is_empty()) {
                println!("{line}");
            }
        }
        ImageCommand::SetCmdline { file, line } => {
            let (mut bytes, at) = read(&file)?;
            let page = &mut bytes[at..];
            let config = handoff::config(page).unwrap_or_default();
            let config = handoff::with_command_line(&config, &line).map_err(|e| anyhow!(e))?;
            handoff::set_config(page, &config).map_err(|e| anyhow!(e))?;
            let page = &page[..handoff::USED];
            use std::os::unix::fs::FileExt as _;
            File::options()
                .write(true)
                .open(&file)
                .and_then(|out| out.write_all_at(page, at as u64))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(Outcome::Exited(0))
}

/// A file, and where in it the hand-off page lies.
fn read(file: &Path) -> Result<(Vec<u8>, usize)> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let at = handoff::find(&bytes).with_context(|| format!("there is no kernel of osv in {}", file.display()))?;
    Ok((bytes, at))
}
