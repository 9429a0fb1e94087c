//! The soak itself, for seconds: it finds nothing in a sound agent, and does not pass without one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Output},
};

const SOAK: &str = env!("CARGO_BIN_EXE_squall-soak");

fn soak(arguments: &[&str], json: &Path) -> Output {
    Command::new(SOAK)
        .args(["--seed", "7", "--clients", "8", "--protocols", "tcp", "--json"])
        .arg(json)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_sound_agent_is_found_sound_after_rounds_of_real_exchanges_and_faults() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("soak.json");
    let output = soak(&["--for", "4s", "--every", "2s"], &json);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let result: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let outcome = &result["outcome"];
    assert!(!outcome["looks"].as_array().unwrap().is_empty(), "{told}");
    assert!(outcome["counts"]["exchanges"]["tcp"]["whole"].as_u64().unwrap() > 50, "{told}");
    assert!(!outcome["counts"]["faults"].as_object().unwrap().is_empty(), "{told}");
    for look in outcome["looks"].as_array().unwrap() {
        assert_eq!(look["held"], outcome["before"], "{told}");
        let (heap, resident) = (look["heap"]["kib"].as_u64().unwrap(), look["resident_kib"].as_u64().unwrap());
        assert!(heap > 100 && heap < resident, "{heap} KiB allocated of {resident} resident: {told}");
    }
}

#[test]
fn an_agent_that_is_not_there_is_said_and_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let output = soak(&["--for", "1s", "--agent", "/nowhere/squall-agent"], &directory.path().join("soak.json"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/squall-agent"));
}
