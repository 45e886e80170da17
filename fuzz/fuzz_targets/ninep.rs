//! Fuzzes [`osv_fuzz::ninep`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::ninep);
