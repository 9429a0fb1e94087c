//! Every seed of the fuzzer, once, without it: what it found stays found.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use squall_agent::inside;
use std::path::{Path, PathBuf};

fn run_all(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut seeds: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 10, "the seeds are in {}", folder.display());
    let broken = |seed: &PathBuf| {
        let bytes = std::fs::read(seed).unwrap();
        std::panic::catch_unwind(|| check(&bytes)).is_err()
    };
    assert_eq!(seeds.into_iter().filter(broken).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn every_seed_of_the_http_framing_keeps_what_is_promised() {
    run_all("http_framing", inside::http_framing);
}

#[test]
fn every_seed_of_the_fault_json_keeps_what_is_promised() {
    run_all("fault_json", inside::fault_json);
}

#[test]
fn every_seed_of_the_toxics_keeps_what_is_promised() {
    run_all("toxic", inside::toxic);
}
