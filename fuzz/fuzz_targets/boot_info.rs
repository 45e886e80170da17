//! Fuzzes [`osv_fuzz::boot_info`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::boot_info);
