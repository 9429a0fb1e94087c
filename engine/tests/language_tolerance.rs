//! Tolerances: what they say of measurements, and what is said of tolerances that are none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use squall_engine::{
    sample::Metric,
    tolerance::{Judgement, Tolerance},
};

fn number(text: &str, metric: Metric, value: f64, baseline: Option<f64>) -> Judgement {
    Tolerance::parse(text, metric).unwrap_or_else(|e| panic!("{text}: {e}")).judge_number(metric, value, baseline)
}

fn text(tolerance: &str, body: &str) -> bool {
    Tolerance::parse(tolerance, Metric::Body).unwrap().judge_text(body) == Judgement::Met
}

#[test]
fn numbers_are_judged_in_the_units_of_their_metric() {
    use Metric::{ErrorRatio, P99, Rate, Status, SuccessRatio, Value};
    let table = [
        ("< 1500ms", P99, 1.4, true),
        ("<1500ms", P99, 1.5, false),
        ("<= 1.5 s", P99, 1.5, true),
        ("< 1m30s", P99, 89.0, true),
        ("> 10ms and < 20ms", P99, 0.015, true),
        ("> 10ms and < 20ms", P99, 0.025, false),
        ("< 10ms or > 20ms", P99, 0.025, true),
        ("between 10ms and 20ms", P99, 0.02, true),
        ("between 10ms and 20ms and != 15ms", P99, 0.015, false),
        (">= 99%", SuccessRatio, 0.99, true),
        (">= 99 %", SuccessRatio, 0.989, false),
        (">= 0.99", SuccessRatio, 0.995, true),
        ("100%", SuccessRatio, 1.0, true),
        ("< 0.5%", ErrorRatio, 0.004, true),
        ("== 0", ErrorRatio, 0.0, true),
        (">= 40/s", Rate, 40.0, true),
        (">= 40", Rate, 39.0, false),
        ("200", Status, 200.0, true),
        ("!= 200", Status, 503.0, true),
        ("between 200 and 299", Status, 204.0, true),
        ("== 0", Value, 0.0, true),
        ("== -1.5", Value, -1.5, true),
        ("0.25", Value, 0.25, true),
        ("< 1e3", Value, 999.0, true),
        ("< 1MB/s", Value, 999_999.0, true),
        ("<= 200ms", Value, 0.2, true),
        ("< 64KiB", Value, 65536.0, false),
    ];
    for (tolerance, metric, value, met) in table {
        let expected = if met { Judgement::Met } else { Judgement::Unmet };
        assert_eq!(number(tolerance, metric, value, None), expected, "{tolerance} of {value}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_parentheses_change_that() {
    assert_eq!(number("1 or 2 and 3", Metric::Value, 1.0, None), Judgement::Met);
    assert_eq!(number("(1 or 2) and 3", Metric::Value, 1.0, None), Judgement::Unmet);
    assert_eq!(number("(1 or (2))", Metric::Value, 2.0, None), Judgement::Met);
}

#[test]
fn ratios_do_not_fail_by_the_last_bit() {
    for n in 1..=1000_u32 {
        for hit in [n, n - 1, n / 2] {
            let ratio = f64::from(hit) / f64::from(n);
            let percent = f64::from(hit) * 100.0 / f64::from(n);
            let judged = number(&format!(">= {percent}%"), Metric::SuccessRatio, ratio, None);
            assert_eq!(judged, Judgement::Met, "{hit} of {n}");
            let judged = number(&format!("< {percent}%"), Metric::SuccessRatio, ratio, None);
            assert_eq!(judged, Judgement::Unmet, "{hit} of {n}");
        }
    }
}

#[test]
fn what_is_no_number_meets_nothing_but_unequal() {
    for tolerance in ["< 5", ">= 5", "== 5", "between 1 and 5", "within 20% of baseline"] {
        assert_eq!(number(tolerance, Metric::Value, f64::NAN, Some(1.0)), Judgement::Unmet, "{tolerance}");
    }
    assert_eq!(number("!= 5", Metric::Value, f64::NAN, None), Judgement::Met);
    assert_eq!(number("> 5", Metric::Value, f64::INFINITY, None), Judgement::Met);
    assert_eq!(number("== 5", Metric::Value, f64::INFINITY, None), Judgement::Unmet);
}

#[test]
fn within_looks_at_the_worse_side_only_where_there_is_one() {
    let within = |metric, value| number("within 20% of baseline", metric, value, Some(0.5)) == Judgement::Met;
    assert!(within(Metric::P99, 0.6) && !within(Metric::P99, 0.61) && within(Metric::P99, 0.01));
    assert!(within(Metric::ErrorRatio, 0.0) && !within(Metric::ErrorRatio, 0.7));
    assert!(within(Metric::SuccessRatio, 1.0) && !within(Metric::SuccessRatio, 0.39));
    assert!(within(Metric::Value, 0.6) && !within(Metric::Value, 0.39) && !within(Metric::Rate, 0.61));
    assert_eq!(number("within 20% of baseline", Metric::ErrorRatio, 0.01, Some(0.0)), Judgement::Unmet);
}

#[test]
fn without_a_baseline_the_other_part_decides_if_it_can() {
    let judged = |tolerance, value| number(tolerance, Metric::P99, value, None);
    assert_eq!(judged("within 20% of baseline", 0.01), Judgement::NoBaseline);
    assert_eq!(judged("within 20% of baseline or < 50ms", 0.01), Judgement::Met);
    assert_eq!(judged("within 20% of baseline or < 50ms", 0.06), Judgement::NoBaseline);
    assert_eq!(judged("within 20% of baseline and < 50ms", 0.06), Judgement::Unmet);
    assert_eq!(judged("within 20% of baseline and < 50ms", 0.01), Judgement::NoBaseline);
    assert!(Tolerance::parse("< 1s or within 5% of baseline", Metric::P99).unwrap().needs_baseline());
    assert!(!Tolerance::parse("< 1s", Metric::P99).unwrap().needs_baseline());
}

#[test]
fn texts_are_compared_whole_or_matched() {
    assert!(text("== ready", "ready") && !text("== ready", "ready!"));
    assert!(text("ready", "ready") && text("!= ready", "starting"));
    assert!(text("== \"all is well\"", "all is well") && text("'all is well' or ok", "ok"));
    assert!(text(r#"== "say \"hi\" \\""#, r#"say "hi" \"#));
    assert!(text(r"matches /^v\d+\.\d+$/", "v1.22") && !text(r"matches /^v\d+$/", "v1.2"));
    assert!(text(r"matches /a\/b/", "xa/by") && text("matches /up/ or matches /ok/", "is ok"));
}

#[test]
fn limits_are_numbers_for_charts() {
    let limits = |text, metric, baseline| Tolerance::parse(text, metric).unwrap().limits(metric, baseline);
    assert_eq!(limits("within 20% of baseline or < 50ms", Metric::P99, Some(1.0)), [0.05, 1.2]);
    assert_eq!(limits("within 20% of baseline or < 50ms", Metric::P99, None), [0.05]);
    assert_eq!(limits("between 2 and 1e1 and != 2", Metric::Value, None), [2.0, 10.0]);
    assert_eq!(limits("within 50% of baseline", Metric::Rate, Some(10.0)), [5.0, 15.0]);
    assert!(limits("matches /x/", Metric::Body, None).is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_right_form() {
    use Metric::{Body, P99, Rate, Status, SuccessRatio, Value};
    let table = [
        ("", P99),
        ("< 1500", P99),
        ("< 99%", P99),
        ("< 5 parsecs", P99),
        (">= 99", SuccessRatio),
        (">= 101%", SuccessRatio),
        (">= 20ms", SuccessRatio),
        ("> 40ms", Rate),
        ("20", Status),
        ("== up", Value),
        ("=> 5", Value),
        ("= 5", Value),
        ("< 5 and", Value),
        ("< 5 6", Value),
        ("(< 5", Value),
        ("< 5)", Value),
        ("between 1", Value),
        ("between 5 and 1", Value),
        ("within 20 of baseline", Value),
        ("within 20% of the baseline", Value),
        ("matches /x/", Value),
        ("matches /x", Body),
        ("matches /(x/", Body),
        ("< abc", Body),
        ("== \"abc", Body),
        ("ready to serve", Body),
        ("within 5% of baseline", Body),
    ];
    let told: Vec<String> = table
        .into_iter()
        .map(|(text, metric)| {
            let error = Tolerance::parse(text, metric).expect_err(text);
            format!(
                "{metric}: {text}\n{:>width$} {}",
                "^",
                error.message,
                width = metric.word().len() + 3 + error.offset
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn deep_parentheses_and_long_texts_are_refused() {
    for text in ["(".repeat(1999), "(".repeat(100_000), "< 5 or ".repeat(100_000)] {
        assert!(Tolerance::parse(&text, Metric::Value).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}", metric in 0..13_usize) {
        let _ = Tolerance::parse(&text, Metric::ALL[metric]);
    }

    #[test]
    fn no_sequence_of_words_makes_the_parser_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "<", ">=", "==", "between", "and", "or", "within", "20%", "of", "baseline", "matches", "/x/", "(", ")",
            "5", "5ms", "\"", "é", "'", "\\", "-", "%",
        ]), 0..12),
        metric in 0..13_usize,
    ) {
        let (spaced, joined) = (words.join(" "), words.concat());
        let metric = Metric::ALL[metric];
        for text in [spaced, joined] {
            if let Ok(tolerance) = Tolerance::parse(&text, metric) {
                let shown = tolerance.to_string();
                prop_assert_eq!(&Tolerance::parse(&shown, metric).unwrap(), &tolerance);
                prop_assert_eq!(shown, text.trim());
            }
        }
    }

    #[test]
    fn what_is_printed_judges_alike(low in -1e6..1e6_f64, span in 0.0..1e6_f64, value in -2e6..2e6_f64) {
        let text = format!("between {low} and {} and (!= 7 or within 10% of baseline)", low + span);
        let tolerance = Tolerance::parse(&text, Metric::Value).unwrap();
        let again = Tolerance::parse(&tolerance.to_string(), Metric::Value).unwrap();
        prop_assert_eq!(
            tolerance.judge_number(Metric::Value, value, Some(3.0)),
            again.judge_number(Metric::Value, value, Some(3.0))
        );
        let inside = value >= low && value <= low + span;
        prop_assert_eq!(tolerance.judge_number(Metric::Value, value, None) != Judgement::Unmet, inside);
    }
}
