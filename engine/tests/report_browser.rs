//! Pages in a real browser, at two widths, light and dark, and on paper: nothing complains, nothing overflows, charts are
//! drawn, lettering can be read, values are reached by pointer and by keys. With `SQUALL_PICTURES=DIR` it also takes the
//! pictures of the documentation (`docs/pictures` does that).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it")]

mod browser;
mod report_fixture;

use base64::Engine as _;
use browser::Browser;
use report_fixture as fixture;
use serde_json::json;
use squall_engine::{
    event::{Event, What},
    record::{Outcome, RunRecord},
    report::{
        case::{Case, Ending},
        gate, html,
    },
    verdict::Verdict,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const CHECK: &str = include_str!("browser/check.js");
const WIDTHS: [u32; 2] = [1280, 390];

fn held() -> RunRecord {
    let mut record = fixture::record();
    let end = record.end.as_mut().unwrap();
    (end.verdict, end.exit_code, end.reasons) = (Verdict::Held, 0, vec![]);
    end.rows.iter_mut().for_each(|row| row.outcome = Outcome::Held);
    record
}

/// Aborted, with hundreds of events and long words in all of them.
fn aborted() -> RunRecord {
    let mut record = fixture::record();
    let end = record.end.as_mut().unwrap();
    (end.verdict, end.exit_code) = (Verdict::Aborted, 5);
    end.reasons = vec![format!("traffic success_ratio < 90% for 2s: {}", "measured".repeat(30))];
    end.faults[0].to = None;
    let breach = What::Breach { condition: "traffic success_ratio < 90% for 2s".into(), measured: "84.2 %".into() };
    record.events.insert(9, Event { at: Duration::from_millis(12_000), what: breach });
    for number in 0..400u64 {
        let text = format!("note {number} {}", "w".repeat(usize::try_from(number % 90).unwrap()));
        record.events.push(Event { at: Duration::from_millis(33_000 + number / 4), what: What::Note { text } });
    }
    record
}

fn cases() -> Vec<Case> {
    let ran = |record: RunRecord| Case {
        file: record.start.source.path.clone(),
        ending: Ending::Ran { record: Box::new(record), report: Some("runs/report.html".into()), regressions: vec![] },
    };
    let message = "proxy `payment` is held by squall on build-6, until 08:15:00 UTC".to_owned();
    let refused = Ending::Prevented { exit_code: 10, message, mistakes: vec![] };
    vec![ran(held()), ran(fixture::record()), Case { file: "experiments/locked.yaml".into(), ending: refused }]
}

/// Every sort of page, in files.
fn pages() -> Vec<(&'static str, PathBuf)> {
    use fixture::pages;
    let pages = [
        ("held", html::render(&held())),
        ("deviated", html::render(&fixture::record())),
        ("aborted", html::render(&aborted())),
        ("everything", html::render(&fixture::record_of_everything())),
        ("gate", gate::render(&cases(), Path::new("runs"))),
        ("limit", pages::limit().render()),
        ("matrix", pages::matrix().render()),
        ("compare", pages::compare().render()),
    ];
    pages
        .into_iter()
        .map(|(name, page)| {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("browser-{name}.html"));
            std::fs::write(&path, page.unwrap()).unwrap();
            (name, path)
        })
        .collect()
}

#[test]
fn every_page_is_sound_in_a_real_browser() {
    let Some(mut browser) = Browser::start("every_page_is_sound_in_a_real_browser") else { return };
    for (name, path) in pages() {
        for width in WIDTHS {
            for (scheme, media) in [("light", "screen"), ("dark", "screen"), ("light", "print")] {
                let what = format!("{name} at {width} px, {scheme}, {media}");
                browser.look(width, scheme, media);
                let (complaints, _) = browser.open(&path);
                assert!(complaints.is_empty(), "{what}: {complaints:?}");
                let found = browser.evaluate(CHECK);
                assert_eq!(found["problems"], json!([]), "{what}");
                assert_eq!(found["ground"].as_f64().unwrap() < 0.2, scheme == "dark", "{what}");
                let charts = !matches!(name, "gate" | "matrix");
                assert_eq!(found["paths"].as_u64().unwrap() > 0, charts, "{what}: {found}");
            }
        }
    }
}

#[test]
fn the_check_finds_what_is_wrong() {
    let Some(mut browser) = Browser::start("the_check_finds_what_is_wrong") else { return };
    let (_, path) = pages().swap_remove(1);
    browser.look(390, "light", "screen");
    browser.open(&path);
    browser.evaluate(
        "document.querySelector('.word').style.cssText = 'color: #fdd; width: 900px';
         document.querySelectorAll('.chart path').forEach((path) => path.setAttribute('d', ''));
         console.error('told'); 0",
    );
    let found = browser.evaluate(CHECK)["problems"].to_string();
    for problem in ["in 390", "contrast 1.", "a chart without a line"] {
        assert!(found.contains(problem), "{problem}: {found}");
    }
    assert_eq!(browser.complaints().len(), 1);
}

#[test]
fn values_are_reached_by_keys_and_by_pointer() {
    let Some(mut browser) = Browser::start("values_are_reached_by_keys_and_by_pointer") else { return };
    let (_, path) = pages().swap_remove(1);
    browser.look(390, "light", "screen");
    browser.open(&path);
    let tips = "JSON.stringify([...document.querySelectorAll('.tip:not([hidden])')].map((tip) => tip.textContent))";
    assert_eq!(browser.evaluate(tips), "[]");
    browser.evaluate("document.querySelector('.chart .area').focus(); 0");
    browser.press("End");
    browser.press("ArrowLeft");
    let told = browser.evaluate(tips);
    assert!(told.as_str().unwrap().contains("p99") && told.as_str().unwrap().contains("ms"), "{told}");
    // Also at the very end of a narrow page, the tip does not reach out of it.
    assert_eq!(browser.evaluate(CHECK)["problems"], json!([]));
    browser.press("Escape");
    assert_eq!(browser.evaluate(tips), "[]");
    browser.evaluate("document.querySelector('.chart.strip').scrollIntoView({block: 'center'}); 0");
    let place = browser.evaluate(
        "(() => { const box = document.querySelector('.chart.strip .area').getBoundingClientRect();
           return {x: box.x + box.width * 0.71, y: box.y + box.height / 2}; })()",
    );
    browser.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": place["x"], "y": place["y"]}));
    let told = browser.evaluate(tips);
    assert!(told.as_str().unwrap().contains("503"), "the status of that moment: {told}");
}

#[test]
fn an_hour_of_samples_opens_at_once() {
    let Some(mut browser) = Browser::start("an_hour_of_samples_opens_at_once") else { return };
    let mut record = fixture::record();
    for series in &mut record.series {
        let samples = std::mem::take(&mut series.samples);
        let hour = samples.iter().cycle().take(100_000).enumerate().map(|(number, sample)| {
            let at = Duration::from_millis(number as u64 * 36);
            squall_engine::sample::Sample { at, ..sample.clone() }
        });
        series.samples = hour.collect();
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser-hour.html");
    std::fs::write(&path, html::render(&record).unwrap()).unwrap();
    browser.look(1280, "light", "screen");
    let (complaints, took) = browser.open(&path);
    assert!(complaints.is_empty(), "{complaints:?}");
    assert_eq!(browser.evaluate(CHECK)["problems"], json!([]));
    let size = std::fs::metadata(&path).unwrap().len();
    eprintln!("400000 samples: a page of {size} bytes, open after {took:?}");
    assert!(size < 400_000, "{size}");
    let most = browser.evaluate("Math.max(...[...document.querySelectorAll('path')].map((path) => path.getAttribute('d').split(/[MLHV]/).length))");
    assert!(most.as_u64().unwrap() < 1_000, "points of a line: {most}");
}

#[test]
fn pictures() {
    let Some(directory) = std::env::var_os("SQUALL_PICTURES").map(PathBuf::from) else { return };
    let mut browser = Browser::start("pictures").expect("pictures are asked for, so there is a chromium");
    let pages = pages();
    let taken = [
        ("deviated", "report", 1280, "light", 1400),
        ("deviated", "report-dark", 1280, "dark", 1400),
        ("deviated", "report-phone", 390, "light", 1400),
        ("matrix", "matrix", 1280, "light", 860),
    ];
    for (page, picture, width, scheme, height) in taken {
        let path = &pages.iter().find(|(name, _)| *name == page).unwrap().1;
        browser.look(width, scheme, "screen");
        browser.open(path);
        let whole = browser.evaluate("document.documentElement.scrollHeight").as_u64().unwrap();
        let height = height.min(u32::try_from(whole).unwrap());
        let png = base64::engine::general_purpose::STANDARD.decode(browser.picture(width, height)).unwrap();
        assert!(png.len() < 200_000, "{picture}: {} bytes", png.len());
        std::fs::write(directory.join(format!("{picture}.png")), png).unwrap();
    }
}
