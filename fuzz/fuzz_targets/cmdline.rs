//! Fuzzes [`osv_fuzz::cmdline`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::cmdline);
