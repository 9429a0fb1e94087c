//! Every experiment of the repository, both ways: it holds with the shop as it is, and fails when the pattern that it
//! is about is taken away. An experiment that no missing pattern can fail is not a test.

#![expect(clippy::unwrap_used, reason = "a test that cannot start must fail loudly")]

use squall_tests::{has_postgres, printed, squall_in};
use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::Mutex,
};

/// One at a time: each drives load, and two would take the machine's time from each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn both_ways(name: &str, pattern: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = root().join("experiments").join(format!("{name}.yaml"));
    let directory = tempfile::tempdir().unwrap();
    let run = |without: &[&str]| {
        steady_run(|| {
            squall_in(directory.path()).arg("run").arg(&file).args(shortened(name)).args(without).output().unwrap()
        })
    };

    let whole = run(&[]);
    assert_eq!(whole.status.code(), Some(0), "{name} does not hold with every pattern on\n{}", printed(&whole));

    let lacking = run(&["--without", pattern]);
    let code = lacking.status.code();
    assert!(
        matches!(code, Some(1 | 5)),
        "{name} without {pattern} should deviate (1) or abort (5)\n{}",
        printed(&lacking)
    );
}

/// What is for people to see takes a minute; a test needs less of it.
fn shortened(name: &str) -> &'static [&'static str] {
    match name {
        // What a shop that was built for debugging can do on a busy machine; without load shedding it is far below.
        "shop-surge" => &["--set", "surge=15s", "--set", "budget=1500ms", "--set", "goodput=60/s"],
        _ => &[],
    }
}

/// Runs it again, twice at most, when there was no steady state to begin with: on a machine that is busy with something
/// else nothing is injected then, and nothing is learnt. Every other verdict counts as it is.
fn steady_run(run: impl Fn() -> Output) -> Output {
    const NOT_STEADY: Option<i32> = Some(4);
    let again = (0..2).map(|_| run()).find(|output| output.status.code() != NOT_STEADY);
    again.unwrap_or_else(run)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn payment_slow_is_about_the_bulkhead() {
    both_ways("payment-slow", "bulkhead");
}

#[test]
fn payment_gone_is_about_the_circuit_breaker() {
    both_ways("payment-gone", "circuit-breaker");
}

#[test]
fn recommendations_garbage_is_about_degradation() {
    both_ways("recommendations-garbage", "degradation");
}

#[test]
fn inventory_flapping_is_about_retries() {
    both_ways("inventory-flapping", "retry");
}

#[test]
fn reviews_drip_is_about_the_timeout_budget() {
    both_ways("reviews-drip", "timeout-budget");
}

#[test]
fn recommendations_queued_is_about_the_failover_cache() {
    both_ways("recommendations-queued", "failover-cache");
}

#[test]
fn database_gone_is_about_the_timeout_budget() {
    if !has_postgres() {
        eprintln!("SKIPPED database_gone…: PostgreSQL is not installed (Debian's package postgresql)");
        return;
    }
    both_ways("database-gone", "timeout-budget");
}

#[test]
fn shop_surge_is_about_load_shedding() {
    both_ways("shop-surge", "load-shedding");
}

#[test]
fn every_experiment_is_valid_and_tested_both_ways() {
    let tested = include_str!("experiments.rs");
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root().join("experiments")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(tested.contains(&format!("both_ways(\"{name}\"")), "{name} is not tested both ways");
            let output = squall_in(directory.path()).arg("validate").arg(&path).output().unwrap();
            assert!(output.status.success(), "{}", printed(&output));
        }
    }
}
