#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cobring_fuzz::counter_file(bytes));
