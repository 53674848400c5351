//! See `procession_fuzz::targets::settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procession_fuzz::targets::settings(data));
