//! The page of a run: all its parts are there, hostile text stays text, and nothing is fetched from anywhere.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod report_fixture;

use report_fixture as fixture;
use squall_engine::{
    event::{Event, What},
    record::{RunRecord, SeriesRecord},
    report::html,
    sample::Sample,
    verdict::Verdict,
};
use std::{path::Path, time::Duration};

/// The page, also written to the target directory, to be looked at.
fn page(name: &str, record: &RunRecord) -> String {
    let page = html::render(record).unwrap();
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.html")), &page).unwrap();
    page
}

fn count(page: &str, part: &str) -> usize {
    page.matches(part).count()
}

#[test]
fn every_part_of_a_run_is_on_its_page() {
    let record = fixture::record();
    let page = page("report", &record);
    for part in [
        "<h1 id=\"experiment\">payment-slow</h1>",
        "<p class=\"word\">Deviated</p>",
        "exit code 1",
        "When the payment provider answers 800 ms late",
        "traffic.checkout p99 was 1620 ms during the faults",
        "96.4 %",
        "841 samples",
        "within 20% of baseline or &lt; 50ms",
        "latency · payment",
        "486 hits",
        "7310254418",
        "success_ratio &lt; 90% for 2s",
        "Latency-1 is set on payment",
        "21 November 2026, 08:14:07 UTC",
        "team-checkout",
        "800ms",
        "experiments&#x2f;payment-slow.yaml",
        "weight: 8, get: &quot;${shop}&#x2f;products&#x2f;{{ random(1, 500) }}&quot;",
    ] {
        assert!(page.contains(part), "no `{part}`");
    }
    // Two charts for each kind of traffic, a strip and the times for `ready`, the value of `breaker`.
    assert_eq!(count(&page, "<figure class=\"chart line\">"), 6);
    assert_eq!(count(&page, "<figure class=\"chart strip\">"), 1);
    assert_eq!(count(&page, "<desc "), 6);
    for outcome in ["outcome held", "outcome broken", "outcome inconclusive"] {
        assert!(page.contains(outcome), "{outcome}");
    }
}

#[test]
fn ramps_burn_rates_and_those_hit_beside_those_spared_have_charts() {
    let page = page("everything", &fixture::record_of_everything());
    let part = |from: &str, to: &str| &page[page.find(from).unwrap()..page.find(to).unwrap()];
    let ramps = part("<h2 id=\"ramps\">", "<h2 id=\"faults\">");
    assert!(ramps.contains("how late may payment be: delay"), "{ramps}");
    // For each metric of the steady state that is a number: a point for each level, with how it was judged.
    assert_eq!(count(ramps, "<figure class=\"chart line\">"), 5);
    assert_eq!([count(ramps, "<b class=\"dot good\""), count(ramps, "<b class=\"dot bad\"")], [10, 5], "{ramps}");
    assert!(ramps.contains("at 800ms · the level broken\""), "{ramps}");
    let compared = part("<h2 id=\"compared\">", "<h2 id=\"ramps\">");
    assert!(compared.contains("<i class=\"bar hit\" style=\"width:100.0%\">"), "{compared}");
    assert!(compared.contains("<i class=\"bar spared\" style=\"width:24.8%\">"), "{compared}");
    let checkout = part("<h3>traffic.checkout", "<h3>ready");
    let burn = &checkout[checkout.find("<h4>Burn rate</h4>").unwrap()..];
    assert!(burn.contains("over 5s") && burn.contains("promised: burn rate &lt; 14.4 of 99%"), "{burn}");
}

#[test]
fn a_chart_shows_limits_and_fault_windows_where_they_were() {
    let page = page("report", &fixture::record());
    let checkout = &page[page.find("<h3>traffic.checkout").unwrap()..page.find("<h3>ready").unwrap()];
    let window = checkout.match_indices("<i class=\"window\"").next().unwrap().0;
    // 8.067 s of 33.126 s, until 20.071 s.
    assert!(
        checkout[window..].starts_with("<i class=\"window\" style=\"left:24.35%;width:36.24%\""),
        "{}",
        &checkout[window..][..80]
    );
    assert!(checkout.contains("promised: p99 &lt; 1500ms"));
    assert!(checkout.contains("aborts at: all traffic: success_ratio &lt; 90% for 2s"));
    // The scale goes to 2000 ms, so 1500 ms is a quarter from the top.
    assert!(checkout.contains("<i class=\"limit tolerance\" style=\"top:25.0%\">"));
}

#[test]
fn texts_that_were_judged_are_shown_as_they_changed() {
    let mut record = fixture::record();
    let body = |record: &mut RunRecord| {
        let row = record.end.as_mut().unwrap().rows.iter_mut().find(|row| row.probe == "ready").unwrap();
        row.metric = squall_engine::sample::Metric::Body;
        record.series.iter_mut().find(|series| series.name == "ready").unwrap().samples.clone()
    };
    let mut samples = body(&mut record);
    for (number, sample) in samples.iter_mut().enumerate() {
        sample.text = Some(if number < 30 { "warming up".into() } else { "serving".into() });
    }
    record.series[2].samples = samples;
    let page = page("texts", &record);
    assert!(page.contains("<h4>Text</h4>") && page.contains("<h4>Status</h4>"));
    assert!(page.contains("warming up from 0.06 s to 15.1 s (30 readings)"));
}

#[test]
fn hostile_text_stays_text_wherever_it_stands() {
    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'";
    let mut record = fixture::record();
    let evil = || EVIL.to_owned();
    record.start.experiment = evil();
    record.start.hypothesis = evil();
    record.start.owner = Some(evil());
    record.start.tags = vec![evil()];
    record.start.variables.insert(evil(), evil());
    record.start.environment = evil();
    record.start.agents[0].name = evil();
    record.start.agents[0].url = evil();
    record.start.host = evil();
    record.start.started_at = evil();
    record.start.source.text = evil();
    record.start.source.path = evil();
    record.start.version = evil();
    let end = record.end.as_mut().unwrap();
    end.reasons.push(evil());
    for row in &mut end.rows {
        (row.tolerance, row.shown) = (evil(), evil());
    }
    for fault in &mut end.faults {
        (fault.step, fault.agent, fault.proxy) = (evil(), evil(), evil());
        (fault.name, fault.kind, fault.shown) = (evil(), evil(), evil());
    }
    for abort in &mut end.aborts {
        abort.condition = evil();
    }
    record.events.push(Event { at: Duration::from_secs(20), what: What::Failed { message: evil() } });
    for series in &mut record.series {
        series.name.push_str(EVIL);
        for sample in series.samples.iter_mut().take(40) {
            (sample.status, sample.text) = (None, Some(EVIL.into()));
        }
    }
    let page = page("hostile", &record);
    assert!(!page.contains("alert(1)</script>"));
    assert!(!page.contains("<img"));
    // The page's own: one for the pointer, and the data of each chart.
    assert_eq!(count(&page, "<script"), 1 + count(&page, "<figure"));
    assert_eq!(count(&page, "</script>"), 1 + count(&page, "<figure"));
    // No attribute is left by a quote: the text's own quotes are gone from it.
    assert!(!page.contains("onerror=alert(2)>\""));
    assert!(!page.contains("onerror=alert(2)>'"));
}

#[test]
fn the_page_needs_no_network() {
    let page = page("report", &fixture::record());
    for fetched in ["src=", "href=", "@import", "url(", "<link", "<iframe", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert!(page.contains("default-src 'none'"), "and a browser is told to refuse it");
}

#[test]
fn a_run_without_an_end_says_so() {
    let record = RunRecord { end: None, ..fixture::record() };
    let page = page("open", &record);
    assert!(page.contains("No verdict") && page.contains("squall recover"));
    assert!(page.contains("<h3>traffic.browse"), "its samples are shown all the same");
}

#[test]
fn a_run_in_which_nothing_happened_has_a_page() {
    let mut record = fixture::record();
    (record.events, record.series) = (vec![], vec![]);
    let end = record.end.as_mut().unwrap();
    (end.rows, end.faults, end.aborts, end.reasons) = (vec![], vec![], vec![], vec![]);
    (end.verdict, end.took) = (Verdict::Error, Duration::ZERO);
    let page = page("empty", &record);
    assert!(page.contains("Nothing was judged.") && page.contains("No fault was injected."));
    assert!(!page.contains("NaN"));
}

#[test]
fn a_fault_that_is_not_confirmed_gone_stands_out() {
    let mut record = fixture::record();
    let end = record.end.as_mut().unwrap();
    end.verdict = Verdict::NotHealed;
    end.faults[0].to = None;
    let page = page("not-healed", &record);
    assert!(page.contains("✕ not confirmed gone"));
    assert!(page.contains("<p class=\"word\">Not healed</p>"));
}

#[test]
fn a_long_run_with_many_samples_keeps_a_small_page() {
    let sample = |number: u64| Sample {
        at: Duration::from_millis(number * 18),
        took: Duration::from_micros(900 + number * 7_919 % 90_000),
        ok: !number.is_multiple_of(97),
        status: Some(if number.is_multiple_of(97) { 503 } else { 200 }),
        value: Some((number * 31 % 1000) as f64),
        text: None,
    };
    let names = ["traffic.a", "traffic.b", "probe", "ready"];
    let mut record = fixture::record();
    record.series = names
        .iter()
        .map(|name| {
            let mut samples: Vec<Sample> = (0..200_000).map(sample).collect();
            if *name == "ready" {
                samples.iter_mut().for_each(|sample| sample.value = None);
            }
            SeriesRecord { name: (*name).into(), samples }
        })
        .collect();
    record.end.as_mut().unwrap().took = Duration::from_secs(3_600);
    let page = page("long", &record);
    assert!(page.len() < 600_000, "{} bytes", page.len());
}

#[test]
fn ports_and_programs_are_on_the_page_too() {
    let mut record = fixture::record();
    let before = page("ports-and-programs", &record);
    let sample = |at: u64, ok: bool, value: Option<f64>, why: &str| Sample {
        at: Duration::from_millis(at * 500),
        took: Duration::from_millis(3),
        ok,
        status: None,
        value,
        text: (!ok).then(|| why.into()),
    };
    let refused = "failed to connect: Connection refused";
    let port = (0..60).map(|at| sample(at, !(20..30).contains(&at), None, refused)).collect();
    let job = (0..60).map(|at| sample(at, at != 40, Some(if at == 40 { 3.0 } else { 0.0 }), "exit code 3")).collect();
    record.series =
        vec![SeriesRecord { name: "port".into(), samples: port }, SeriesRecord { name: "job".into(), samples: job }];
    let page = page("ports-and-programs", &record);
    assert!(!before.contains("failed to connect") && page.contains("failed to connect"), "why is on the strip");
    // A strip and the times of the port, the exit codes of the program.
    assert_eq!(count(&page, "<figure class=\"chart strip\">"), 1);
    assert_eq!(count(&page, "<figure class=\"chart line\">"), 2);
}

#[test]
fn every_sort_of_page_has_the_same_shell_and_escapes_what_it_shows() {
    use fixture::pages;
    let all = [("limit", pages::limit()), ("matrix", pages::matrix()), ("compare", pages::compare())];
    for (name, page) in all {
        let page = page.section("<b>bold</b>", vec![]).render().unwrap();
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.html")), &page).unwrap();
        assert!(page.contains("<h1 id=\"experiment\">payment-slow</h1>"), "{name}");
        assert!(page.contains("&lt;b&gt;bold&lt;&#x2f;b&gt;") && !page.contains("<b>bold"), "{name}");
        assert!(!page.contains("NaN") && !page.contains("src="), "{name}");
    }
    assert_eq!(pages::verdicts().count(), Verdict::ALL.len());
}
