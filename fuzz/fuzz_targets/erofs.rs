//! Fuzzes [`osv_fuzz::erofs`].
#![cfg_attr(fuzzing, no_main)]

osv_fuzz::target!(osv_fuzz::erofs);
