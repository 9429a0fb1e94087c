//! Any bytes as what Toxiproxy's clients send. What is checked is in `agent/src/inside/toxic.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_agent::inside::toxic(data));
