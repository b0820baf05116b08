//! libFuzzer entry: everything that can come through the socket between a function and the
//! process that runs plugins, in either direction.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| eaves_plugin_host::checks::frames(bytes));
