//! See `procession_fuzz::targets::recovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procession_fuzz::targets::recovery(data));
