//! Fuzzes [`osv_fuzz::elf`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::elf);
