//! Fuzzes [`osv_fuzz::acpi`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::acpi);
