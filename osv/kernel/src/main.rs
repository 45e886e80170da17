//! The kernel's binary: the boot order, from first light to the first program.
//!
//! `arch` calls [`kernel_main`] on a stack of its own, with interrupts off, as soon as there is Rust to call.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use osv_kernel::arch::{self, BootError, BootInfo, Module, Physical};
use osv_kernel::cmdline::{self, BadOption, Console, MountOption, Options};
use osv_kernel::drivers::io::FirmwareMemory;
use osv_kernel::errno;
use osv_kernel::fs::init::{ExtraMount, RootConfig};
use osv_kernel::fs::{self, FsContext};
use osv_kernel::log::{self, Level};
use osv_kernel::mem::heap::Heap;
use osv_kernel::sched::{self, CpuMask, NewThread};
use osv_kernel::{bootchart, cpus, drivers, first_program, kprintln, mem, panic, upcalls};

#[global_allocator]
static HEAP: Heap = Heap;

/// Where the kernel starts: what needs no threads, on the boot CPU alone.
#[unsafe(no_mangle)]
fn kernel_main(boot: &'static BootInfo, problem: Option<BootError>) -> ! {
    if let Some(problem) = problem {
        panic!("cannot boot: {problem:?}");
    }
    if let Err(errno) = mem::init(boot) {
        panic!("too little memory to start ({errno})");
    }
    bootchart::done("memory");
    #[cfg(feature = "selftest")]
    if boot.cmdline() != b"sched" {
        arch::selftest::run_all(boot.cmdline());
    }
    let options = options(boot);
    let level = match &options {
        Ok(options) if options.is_verbose => Level::Debug,
        Ok(options) if options.is_quiet => Level::Warn,
        _ => Level::Info,
    };
    log::set_level(level);
    offer_images(boot);
    // SAFETY:
    // - this is the boot CPU, the only one yet, and interrupts have never been on.
    unsafe { upcalls::install(options.as_ref().is_ok_and(|options| options.has_strace)) };
    drivers::init(boot).expect("interrupt controllers and clock");
    bootchart::done("interrupt controllers and clock");
    give_help(options);
    sched::init_cpu().expect("memory for the first thread");
    cpus::start_others();
    bootchart::done("CPUs");
    let boot_thread =
        NewThread { name: "boot", entry: boot_thread, argument: 0, extension: None, affinity: CpuMask::ALL, nice: 0 };
    sched::spawn(boot_thread).expect("memory for the second thread");
    sched::run_idle_loop()
}

/// What the command line says, or the configuration of the program that came with the kernel where the boot loader
/// says nothing.
fn options(boot: &'static BootInfo) -> Result<Options, BadOption> {
    let line = match boot.cmdline() {
        line if cmdline::is_silent(line) => cmdline::from_configuration(configuration(boot)),
        line => line,
    };
    cmdline::remember(line);
    Options::parse(line)
}

/// The configuration of the program that came with the kernel.
fn configuration(boot: &BootInfo) -> &'static [u8] {
    static MEMORY: FirmwareMemory = FirmwareMemory;
    let Module { start, end } = boot.handoff.config;
    MEMORY.bytes(start, end.saturating_sub(start) as usize).unwrap_or_default()
}

/// Prints the list of options and ends the VM, if the command line asks for it or has an option that is none.
fn give_help(options: Result<Options, BadOption>) {
    let code = match options {
        Ok(options) if options.wants_help => 0,
        Ok(options) => {
            if options.powers_off_on_abort {
                panic::power_off_on_abort();
            }
            return;
        }
        Err(BadOption(option)) => {
            kprintln!("osv: unknown option {}", option.escape_ascii());
            1
        }
    };
    kprintln!("{}", cmdline::HELP);
    drivers::power::power_off(code)
}

/// The rest of the boot, on a thread that may sleep.
extern "C" fn boot_thread(_: usize) -> ! {
    #[cfg(feature = "selftest")]
    {
        drivers::clock::settle();
        sched::selftest::run_all();
        arch::power::debug_exit(0);
    }
    drivers::init_devices(arch::boot_info().cmdline());
    bootchart::done("devices");
    // The command line was checked by `give_help`.
    let options = Options::parse(cmdline::text()).unwrap_or_default();
    fs::console::init(options.console == Console::Serial).expect("memory for the console's threads");
    let context = match mount_root(&options) {
        Ok(context) => context,
        Err(errno) => panic!("no root file system ({errno})"),
    };
    bootchart::done("root file system");
    drivers::clock::settle();
    if !options.is_quiet {
        greet();
    }
    if options.has_bootchart {
        bootchart::print();
    }
    first_program::start(&options, context);
    bootchart::done("first program");
    if options.has_bootchart {
        bootchart::print();
    }
    sched::exit_thread()
}

/// The tree of the first program, as the command line asks for it.
fn mount_root(options: &Options) -> errno::Result<FsContext> {
    let mounts: Vec<_> = options.mounts.iter().map(extra_mount).collect();
    fs::init::init(&RootConfig { rootfs: options.rootfs.as_deref().unwrap_or(b"embedded"), mounts: &mounts })
}

/// Tells what the boot loader has put into memory: an image behind the kernel, and the bundled files inside of it.
fn offer_images(boot: &BootInfo) {
    for (name, module) in [("ram", boot.modules().first()), ("bundle", Some(&boot.handoff.bundle))] {
        if let Some(Module { start, end }) = module {
            fs::init::offer_image(name, *start, end.saturating_sub(*start));
        }
    }
}

fn extra_mount(option: &MountOption) -> ExtraMount<'_> {
    let MountOption { kind, device, path, is_writable } = option;
    ExtraMount { kind, device, path, is_writable: *is_writable }
}

/// The boot line.
fn greet() {
    let booted_ms = drivers::clock::monotonic_ns() / 1_000_000;
    let line = cmdline::text().escape_ascii();
    kprintln!("osv {} booted in {booted_ms} ms: {line}", env!("CARGO_PKG_VERSION"));
}
