#![cfg_attr(not(test), no_std)]
#![no_main]
//! The boot order, to be read from top to bottom.
