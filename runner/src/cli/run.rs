//! `osv run`: a program of this machine, in a VM whose root is this machine's file system under an overlay.

use super::{Hypervisor, Run, VmOptions, image, kernel};
use anyhow::{Context as _, Result, anyhow, bail};
use osv_runner::config::Config;
use osv_runner::{Outcome, Vm, app, firecracker, install, session};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Runs the program as asked.
pub fn run(options: Run) -> Result<Outcome> {
    let from_env = Config::from_env().map_err(|e| anyhow!(e))?;
    let is_firecracker = options.vm.hypervisor == Hypervisor::Firecracker;
    let mut vm = if options.image || !options.contents.is_empty() || is_firecracker {
        let mut vm = image_machine(&options)?;
        from_env.apply(&mut vm);
        vm
    } else {
        let program = find_program(&options.program[0])?;
        let file = File::open(&program).with_context(|| format!("cannot read {}", program.display()))?;
        let own = app::read_config(&file).map_err(|e| anyhow!("{}: {e}", program.display()))?;
        let mut vm = match own {
            Some(_) if options.vm.kernel.is_none() => app::machine(&program, options.program.clone()),
            _ => host_machine(&program, &options)?,
        };
        own.unwrap_or_default().overridden_by(from_env).apply(&mut vm);
        vm
    };
    options.vm.apply(&mut vm);
    set_environment(&mut vm, &options);
    if let Some(cwd) = &options.cwd {
        vm.option("--cwd", cwd);
    }
    for (index, mount) in options.mount.iter().enumerate() {
        add_mount(&mut vm, index, mount)?;
    }
    if is_firecracker {
        return run_by_firecracker(vm, &options);
    }
    if options.vm.dry_run {
        return app::print_command_line(&vm).map_err(|e| anyhow!(e));
    }
    install::ensure_qemu(options.vm.install).map_err(|e| anyhow!(e))?;
    Ok(session::run(&vm)?)
}

/// Runs a VM whose root is an image by Firecracker, or prints its configuration.
fn run_by_firecracker(mut vm: Vm, options: &Run) -> Result<Outcome> {
    if !vm.shares.is_empty() {
        bail!("Firecracker shares no directories: put files into the image by --file");
    }
    // All that is said goes through the log, the environment through the command line.
    vm.options.retain(|option| option != "--quiet");
    for assignment in &options.env {
        vm.option("--env", assignment);
    }
    if options.vm.dry_run {
        print!("{}", firecracker::configuration(&vm).map_err(|e| anyhow!(e))?);
        return Ok(Outcome::Exited(0));
    }
    firecracker::run(&vm).map_err(|e| anyhow!(e))
}

/// A VM with the built-in kernel, which runs what the options say.
fn plain_machine(options: &Run) -> Result<Vm> {
    let kernel = match &options.vm.kernel {
        Some(path) => path.clone(),
        None => kernel::file()?,
    };
    let mut vm = Vm::new(kernel);
    vm.symbols = Some(vm.kernel.clone());
    vm.is_verbose = options.vm.verbose;
    vm.option(if vm.is_verbose { "--verbose" } else { "--quiet" }, "");
    vm.argv.clone_from(&options.program);
    vm.env = env::vars_os().collect();
    Ok(vm)
}

/// A VM whose root is the host's file system.
fn host_machine(program: &Path, options: &Run) -> Result<Vm> {
    let mut vm = plain_machine(options)?;
    vm.option("--rootfs", "9p:root");
    // What this machine has in /init is not meant for the VM.
    vm.option("--noinit", "");
    vm.shares.push(osv_runner::vm::Share { tag: "root".into(), path: "/".into(), is_writable: false });
    vm.option("--exe", program);
    if options.cwd.is_none() {
        vm.option("--cwd", env::current_dir().unwrap_or_else(|_| "/".into()));
    }
    Ok(vm)
}

/// A VM whose root is an image. In an image that is taken as it is, the program need not be on this machine.
fn image_machine(options: &Run) -> Result<Vm> {
    let program = find_program(&options.program[0]);
    let program = if options.contents.rootfs.is_some() { program.ok() } else { Some(program?) };
    let image = image::cached(program.as_deref(), &options.contents)?;
    let mut vm = plain_machine(options)?;
    if let Some(program) = program {
        vm.option("--exe", program);
    }
    if options.disk || options.vm.hypervisor == Hypervisor::Firecracker {
        vm.option("--rootfs", "erofs:vda");
        vm.disks.push(image);
        return Ok(vm);
    }
    vm.option("--rootfs", "erofs:ram");
    vm.memory = vm.memory.with_room_for(image.metadata()?.len());
    vm.initrd = Some(image);
    Ok(vm)
}

impl VmOptions {
    fn apply(&self, vm: &mut Vm) {
        vm.memory = self.memory.unwrap_or(vm.memory);
        vm.cpus = self.cpus.unwrap_or(vm.cpus);
        vm.machine = self.machine.unwrap_or(vm.machine);
        vm.timeout = self.timeout.or(vm.timeout);
        if let Some(port) = self.gdb {
            vm.wait_for_debugger(port);
        }
        vm.is_verbose |= self.verbose;
        for (name, is_asked) in [("--strace", self.strace), ("--bootchart", self.bootchart)] {
            if is_asked {
                vm.option(name, "");
            }
        }
        vm.options.extend(self.kernel_arg.iter().cloned());
        vm.qemu_args.extend(self.qemu_arg.iter().cloned());
    }
}

fn set_environment(vm: &mut Vm, options: &Run) {
    if options.clear_env {
        vm.env.clear();
    }
    for assignment in &options.env {
        let bytes = assignment.as_bytes();
        let split = bytes.iter().position(|&byte| byte == b'=');
        let name = OsStr::from_bytes(&bytes[..split.unwrap_or(bytes.len())]);
        vm.env.retain(|(other, _)| other != name);
        if let Some(split) = split {
            vm.env.push((name.to_owned(), OsStr::from_bytes(&bytes[split + 1..]).to_owned()));
        }
    }
}

fn add_mount(vm: &mut Vm, index: usize, mount: &OsStr) -> Result<()> {
    let (places, is_writable) = match mount.as_bytes() {
        [places @ .., b':', b'r', b'w'] => (places, true),
        [places @ .., b':', b'r', b'o'] => (places, false),
        places => (places, false),
    };
    let mut parts = places.splitn(2, |&byte| byte == b':');
    let host = PathBuf::from(OsString::from_vec(parts.next().unwrap_or_default().to_vec()));
    let host = host.canonicalize().with_context(|| format!("cannot share {}", host.display()))?;
    let guest = match parts.next() {
        Some(guest) => OsStr::from_bytes(guest).to_owned(),
        None => host.clone().into_os_string(),
    };
    if !guest.as_bytes().starts_with(b"/") {
        bail!("--mount wants an absolute path in the guest, not `{}`", guest.display());
    }
    vm.mount(&format!("share{index}"), host, &guest, is_writable);
    Ok(())
}

/// The program's file, found as a shell finds it.
pub fn find_program(name: &OsStr) -> Result<PathBuf> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let path = PathBuf::from(name);
    if name.as_bytes().contains(&b'/') {
        return match path.metadata() {
            Ok(_) if is_program(&path) => Ok(std::path::absolute(path)?),
            Ok(_) => bail!("{} is no program", path.display()),
            Err(e) => bail!("cannot run {}: {e}", path.display()),
        };
    }
    let dirs = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let found = env::split_paths(&dirs).map(|dir| dir.join(&path)).find(is_program);
    found.with_context(|| format!("there is no program `{}` on this machine", path.display()))
}
