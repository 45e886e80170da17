//! The kernel's image, which the linker script puts where a hypervisor loads it.

core::arch::global_asm!(
    ".pushsection .osv.kernel, \"aR\", @progbits",
    ".globl osv_kernel_image",
    ".hidden osv_kernel_image",
    ".type osv_kernel_image, @object",
    "osv_kernel_image:",
    concat!(".incbin \"", env!("OSV_KERNEL_IMAGE"), "\""),
    ".size osv_kernel_image, . - osv_kernel_image",
    ".popsection",
);
