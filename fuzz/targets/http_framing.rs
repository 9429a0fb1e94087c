//! Any bytes as HTTP/1.1 on a proxied stream. What is checked is in `agent/src/inside/framing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_agent::inside::http_framing_once(data));
