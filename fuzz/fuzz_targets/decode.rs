//! libFuzzer's way into `src/decode.rs`.
#![no_main]

#[path = "../src/decode.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::check(bytes));
