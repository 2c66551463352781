#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wse_fuzz::run("client_peer", data));
