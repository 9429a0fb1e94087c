//! Any bytes as what Toxiproxy's clients send. What is checked is in `agent/src/inside/toxic.rs`.
#![no_main]

mod json_mutator;

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_agent::inside::toxic(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    json_mutator::mutate(data, size, max_size, seed)
});
