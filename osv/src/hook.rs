//! What runs before `main`: on osv hardly anything, on Linux the launch of the VM.
//!
//! The file is a Linux executable and a bootable kernel at once. Started on Linux, it must not run there but
//! start the hypervisor on itself; so a function in `.init_array` looks at the kernel's name before `main`
//! is reached. The linker script pulls it in by name (`osv_launch_hook`), and with it the kernel's image.

use std::ffi::{c_int, c_ulong};
use std::path::PathBuf;

// Brings the script that lays out the file into the link.
#[link(name = "osv_link", kind = "dylib")]
unsafe extern "C" {}

unsafe extern "C" {
    safe fn getauxval(kind: c_ulong) -> usize;
}

/// Where the kernel says that its vDSO is.
const AT_SYSINFO_EHDR: c_ulong = 33;

#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".init_array")]
static osv_launch_hook: extern "C" fn(c_int, *const *const u8, *const *const u8) = hook;

extern "C" fn hook(_: c_int, _: *const *const u8, _: *const *const u8) {
    // SAFETY: the kernel says where its vDSO is, if it has one.
    unsafe { crate::gate::open(core::ptr::with_exposed_provenance(getauxval(AT_SYSINFO_EHDR))) };
    crate::machine::note_start();
    if !crate::is_osv() {
        osv_runner::app::launch_unless_native(PathBuf::from(env!("OSV_KERNEL_SYMBOLS")));
    }
}
