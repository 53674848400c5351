//! See `procession_fuzz::targets::varlink`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procession_fuzz::targets::varlink(data));
