//! What CI gets of several files: JUnit, a Markdown summary, annotations, JSON.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod report_fixture;

use report_fixture as fixture;
use squall_engine::{
    diagnostic::Diagnostic,
    record::{Outcome, RunRecord},
    report::{
        case::{Case, Ending},
        gate, github, json, junit, markdown,
    },
    verdict::Verdict,
};

fn ran(record: RunRecord) -> Case {
    let report = Some("squall-runs/payment-slow.html".to_owned());
    Case {
        file: record.start.source.path.clone(),
        ending: Ending::Ran { record: Box::new(record), report, regressions: vec![] },
    }
}

fn held() -> RunRecord {
    let mut record = fixture::record();
    record.start.experiment = "reviews-drip".into();
    record.start.source.path = "experiments/reviews-drip.yaml".into();
    let end = record.end.as_mut().unwrap();
    (end.verdict, end.exit_code, end.reasons) = (Verdict::Held, 0, vec![]);
    end.rows.retain(|row| row.outcome == Outcome::Held);
    end.rows.truncate(2);
    end.faults.truncate(1);
    record
}

fn prevented(file: &str, exit_code: u8, message: &str, mistakes: Vec<Diagnostic>) -> Case {
    Case { file: file.into(), ending: Ending::Prevented { exit_code, message: message.into(), mistakes } }
}

fn mistake(line: usize, column: usize, message: &str, expected: Option<&str>, help: Option<&str>) -> Diagnostic {
    Diagnostic {
        path: "experiments/wrong.yaml".into(),
        line,
        column,
        length: 7,
        message: message.into(),
        expected: expected.map(str::to_owned),
        help: help.map(str::to_owned),
        related: vec![],
    }
}

/// One of each sort.
fn cases() -> Vec<Case> {
    let mistakes = vec![
        mistake(4, 3, "unknown key `latncy`", None, Some("did you mean `latency`?")),
        mistake(9, 12, "`100` has no unit", Some("one such as `100ms`"), None),
    ];
    vec![
        ran(held()),
        ran(fixture::record()),
        prevented("experiments/wrong.yaml", 3, "2 mistakes", mistakes),
        prevented("experiments/locked.yaml", 10, "proxy `payment` is held by ci@build-6, 100 % <of> it", vec![]),
        Case { file: "experiments/last.yaml".into(), ending: Ending::NotRun },
    ]
}

#[test]
fn junit_tells_failures_errors_and_what_was_left_alone_apart() {
    insta::assert_snapshot!(junit::render(&cases()).unwrap());
}

#[test]
fn every_verdict_but_held_is_a_failure_or_an_error() {
    for verdict in Verdict::ALL {
        let mut record = held();
        let end = record.end.as_mut().unwrap();
        (end.verdict, end.exit_code) = (verdict, verdict.exit_code());
        let xml = junit::render(&[ran(record)]).unwrap();
        let (failure, error) = match verdict {
            Verdict::Held => (0, 0),
            Verdict::NotHealed | Verdict::Error | Verdict::Interrupted => (0, 1),
            _ => (1, 0),
        };
        assert_eq!((xml.matches("<failure").count(), xml.matches("<error").count()), (failure, error), "{verdict}");
        assert!(xml.contains(&format!("failures=\"{failure}\" errors=\"{error}\"")), "{xml}");
    }
}

#[test]
fn what_held_but_got_worse_is_a_failure_with_the_code_of_deviated() {
    let mut case = ran(held());
    let worse = "traffic p99 was 500 ms during the faults, and 100 ms when it was last held";
    if let Ending::Ran { regressions, .. } = &mut case.ending {
        regressions.push(worse.into());
    }
    assert_eq!((case.word(), case.exit_code(), case.is_held(), &*case.reason()), ("regressed", Some(1), false, worse));
    let cases = [case];
    assert!(junit::render(&cases).unwrap().contains("type=\"regressed\""));
    assert!(markdown::render(&cases).contains(&format!("- {worse}")));
    assert!(github::annotations(&cases)[0].ends_with(worse));
    assert_eq!(
        (&json::cases(&cases)["exit_code"], &json::cases(&cases)["cases"][0]["regressions"][0]),
        (&1.into(), &worse.into())
    );
}

#[test]
fn junit_stays_xml_whatever_was_answered() {
    let mut record = fixture::record();
    record.end.as_mut().unwrap().reasons = vec!["\u{1b}[31m]]> <b> & \"quoted\" \u{0}".into()];
    let xml = junit::render(&[ran(record)]).unwrap();
    assert!(!xml.contains('\u{1b}') && !xml.contains('\u{0}') && !xml.contains("<b>"), "{xml}");
}

#[test]
fn a_run_without_an_end_is_an_error() {
    let case = ran(RunRecord { end: None, ..fixture::record() });
    assert_eq!((case.word(), case.exit_code(), case.is_held()), ("error", Some(7), false));
    assert!(junit::render(&[case]).unwrap().contains("<error"));
}

#[test]
fn the_summary_has_a_table_of_all_and_the_details_of_what_is_not_held() {
    insta::assert_snapshot!(markdown::render(&cases()));
}

#[test]
fn annotations_stand_where_the_mistake_or_the_promise_stands() {
    let mut cases = cases();
    if let Ending::Ran { record, .. } = &mut cases[1].ending {
        record.start.source.text.push_str(
            "steady_state:\n  - {probe: traffic.checkout, success_ratio: \">= 99%\"}\n  - probe: traffic.checkout\n    \
             p99: \"< 1500ms\"\n  - {probe: ready, status: 200}\n",
        );
    }
    insta::assert_snapshot!(github::annotations(&cases).join("\n"));
    assert!(github::annotations(&cases[..1]).is_empty());
}

#[test]
fn programs_get_every_case_with_its_run() {
    let value = json::cases(&cases());
    assert_eq!(value["exit_code"], 3);
    let words: Vec<&str> = value["cases"].as_array().unwrap().iter().map(|c| c["outcome"].as_str().unwrap()).collect();
    assert_eq!(words, ["held", "deviated", "invalid", "refused", "not_run"]);
    assert_eq!(value["cases"][1]["run"]["verdict"], "deviated");
    assert_eq!(value["cases"][2]["mistakes"][1]["line"], 9);
    assert!(value["cases"][4]["exit_code"].is_null() && value["cases"][2]["run"].is_null());
}

#[test]
fn a_line_each_says_the_word_the_name_and_why() {
    let lines: Vec<String> = cases().iter().map(Case::line).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_page_of_a_gate_has_every_file_and_leads_to_the_reports() {
    let page = gate::render(&cases(), std::path::Path::new("squall-runs")).unwrap();
    std::fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("gate.html"), &page).unwrap();
    for case in cases() {
        assert!(page.contains(&case.file.replace('/', "&#x2f;")), "{}", case.file);
    }
    assert!(page.contains("href=\".&#x2f;payment-slow.html\""), "beside the page");
    assert!(page.contains("did you mean") && page.contains("<p class=\"word\">Failed</p>"));
}

#[test]
fn the_page_of_a_gate_that_passed_says_so() {
    let page = gate::render(&[ran(held())], std::path::Path::new("squall-runs")).unwrap();
    assert!(page.contains("<p class=\"word\">Passed</p>") && page.contains("exit code 0"));
    assert!(!page.contains("class=\"reasons\""), "nothing to explain");
}
