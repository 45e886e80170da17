//! Fuzzes [`osv_fuzz::script`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::script);
