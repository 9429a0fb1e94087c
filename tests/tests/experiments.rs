//! Every experiment of the repository, both ways: it holds with the shop as it is, and fails when the pattern that it
//! is about is taken away. An experiment that no missing pattern can fail is not a test.

#![expect(clippy::unwrap_used, reason = "a test that cannot start must fail loudly")]

use squall_tests::{has_postgres, printed, squall_in};
use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::{PoisonError, RwLock},
};

/// Each drives load, and two that drive much would take the machine's time from each other: those run alone. Of those that
/// drive at most sixty requests a second, two fit beside each other on two cores.
static MACHINE: RwLock<()> = RwLock::new(());

/// How much of the machine an experiment needs.
enum Load {
    Much,
    Little,
}

fn both_ways(name: &str, pattern: &str, load: Load) {
    // One that failed has let go of the machine all the same.
    let _alone = matches!(load, Load::Much).then(|| MACHINE.write().unwrap_or_else(PoisonError::into_inner));
    let _shared = matches!(load, Load::Little).then(|| MACHINE.read().unwrap_or_else(PoisonError::into_inner));
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
        // As much as a shop that was built for debugging can be sent on two cores, in one process with its customers.
        "shop-surge" => {
            &["--set", "surge=15s", "--set", "rate=250/s", "--set", "goodput=70/s", "--set", "budget=1500ms"]
        }
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
    both_ways("payment-slow", "bulkhead", Load::Much);
}

#[test]
fn payment_gone_is_about_the_circuit_breaker() {
    both_ways("payment-gone", "circuit-breaker", Load::Much);
}

#[test]
fn recommendations_garbage_is_about_degradation() {
    both_ways("recommendations-garbage", "degradation", Load::Little);
}

#[test]
fn inventory_flapping_is_about_retries() {
    both_ways("inventory-flapping", "retry", Load::Little);
}

#[test]
fn reviews_drip_is_about_the_timeout_budget() {
    both_ways("reviews-drip", "timeout-budget", Load::Little);
}

#[test]
fn recommendations_queued_is_about_the_failover_cache() {
    both_ways("recommendations-queued", "failover-cache", Load::Little);
}

#[test]
fn database_gone_is_about_the_timeout_budget() {
    if !has_postgres() {
        eprintln!("SKIPPED database_gone…: PostgreSQL is not installed (Debian's package postgresql)");
        return;
    }
    both_ways("database-gone", "timeout-budget", Load::Little);
}

#[test]
fn shop_surge_is_about_load_shedding() {
    both_ways("shop-surge", "load-shedding", Load::Much);
}

#[test]
fn orders_bottleneck_is_about_adaptive_concurrency() {
    both_ways("orders-bottleneck", "adaptive-concurrency", Load::Much);
}

#[test]
fn orders_late_is_about_back_pressure() {
    both_ways("orders-late", "back-pressure", Load::Much);
}

#[test]
fn client_greedy_is_about_rate_limiting() {
    both_ways("client-greedy", "rate-limiting", Load::Much);
}

#[test]
fn facets_gone_is_about_the_retry_budget() {
    both_ways("facets-gone", "retry-budget", Load::Little);
}

#[test]
fn customers_repeat_is_about_idempotency() {
    both_ways("customers-repeat", "idempotency", Load::Little);
}

#[test]
fn messages_repeat_is_about_the_memory_of_messages() {
    both_ways("messages-repeat", "message-dedupe", Load::Little);
}

#[test]
fn payment_breaks_is_about_compensation() {
    both_ways("payment-breaks", "compensation", Load::Little);
}

#[test]
fn payment_unseen_is_about_health_checks() {
    both_ways("payment-unseen", "health-checks", Load::Little);
}

#[test]
fn events_surge_is_about_micro_batching() {
    both_ways("events-surge", "micro-batching", Load::Much);
}

#[test]
fn reviews_late_is_about_fan_out() {
    both_ways("reviews-late", "fan-out", Load::Little);
}

#[test]
fn workers_crash_is_about_letting_them() {
    both_ways("workers-crash", "let-it-crash", Load::Little);
}

#[test]
fn shop_leaves_is_about_graceful_shutdown() {
    both_ways("shop-leaves", "graceful-shutdown", Load::Little);
}

#[test]
fn every_experiment_is_valid_and_tested_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in experiments() {
        let tested = tested_pattern(&name).unwrap_or_else(|| panic!("{name} is not tested both ways"));
        let tags = text.lines().find(|line| line.starts_with("tags: ")).unwrap();
        assert!(tags.contains(&format!(" {tested}, ")), "{name} is tested without {tested}, and its tags say: {tags}");
        let path = root().join("experiments").join(format!("{name}.yaml"));
        let output = squall_in(directory.path()).arg("validate").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", printed(&output));
    }
}

/// A pattern is told by an experiment, or docs/patterns.md has a line for it: why none can, and the test that does.
#[test]
fn every_pattern_has_its_experiment_or_its_reason_and_its_test() {
    let source = include_str!("../../target-app/src/pattern.rs");
    let patterns =
        source.lines().filter_map(|line| line.trim().split_once(" => \"")?.1.strip_suffix("\",")).collect::<Vec<_>>();
    assert!(patterns.len() >= 25, "{patterns:?}");
    let told: Vec<String> = experiments().iter().filter_map(|(name, _)| tested_pattern(name)).collect();
    let page = std::fs::read_to_string(root().join("docs/patterns.md")).unwrap();
    for pattern in patterns {
        if told.iter().any(|known| known == pattern) {
            continue;
        }
        let line = page.lines().find(|line| line.starts_with(&format!("| `{pattern}` | ")));
        let line = line.unwrap_or_else(|| panic!("nothing tells that {pattern} is missing"));
        let (file, test) = line.split('`').nth(3).and_then(|cell| cell.split_once(' ')).unwrap();
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}, which docs/patterns.md names");
    }
}

/// Every experiment by its name, with its text.
fn experiments() -> Vec<(String, String)> {
    let files = std::fs::read_dir(root().join("experiments")).unwrap().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The pattern that an experiment is run without, in the tests above.
fn tested_pattern(name: &str) -> Option<String> {
    let call = format!("both_ways(\"{name}\", \"");
    let (_, rest) = include_str!("experiments.rs").split_once(&call)?;
    rest.split('"').next().map(str::to_owned)
}
