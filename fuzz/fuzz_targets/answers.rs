//! libFuzzer entry: everything a plugin can answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| eaves_plugin_host::checks::answers(bytes));
