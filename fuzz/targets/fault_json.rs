//! Any bytes as the faults, proxies and leases that `/v1` reads. What is checked is in `agent/src/inside/json.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_agent::inside::fault_json(data));
