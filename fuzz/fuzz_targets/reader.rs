//! See `procession_fuzz::targets::reader`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procession_fuzz::targets::reader(data));
