//! Whatever the text: an experiment or mistakes, soon, and never a panic; every mistake points into the file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod language_support;

use language_support::{EXAMPLE, Loader, small};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Loads it, renders what is told, and looks at the places.
fn survives(text: &str) {
    let started = Instant::now();
    if let Err(told) = Loader::new().load(text) {
        assert!(!told.mistakes.is_empty());
        let lines = text.split('\n').count();
        for mistake in &told.mistakes {
            assert!(
                (1..=lines.max(1)).contains(&mistake.line) && mistake.column >= 1 && mistake.length >= 1,
                "{mistake}"
            );
            assert!(!mistake.message.is_empty());
        }
        let shown = told.render(text, false);
        assert!(shown.ends_with(&format!("{}\n", told.count())));
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?} for {} bytes", started.elapsed(), text.len());
}

#[test]
fn every_beginning_of_the_example_survives() {
    for (end, _) in EXAMPLE.char_indices() {
        survives(&EXAMPLE[..end]);
    }
}

#[test]
fn every_line_may_be_missing() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for missing in 0..lines.len() {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, line)| *line).collect();
        survives(&rest.join("\n"));
    }
}

#[test]
fn a_secret_is_shown_nowhere_wherever_it_stands() {
    for secret in
        ["s3cr3t", "s3cr3t \"q\" {{ s3cr3t(1) }}\\", "http://u:s3cr3t@h:99999/", "{{ s3cr3t", "< s3cr3t", "s3cr3t()"]
    {
        let loader = Loader::new().env("TOKEN", secret);
        for (at, _) in EXAMPLE.match_indices(": ").chain(EXAMPLE.match_indices('[')) {
            let start = at + EXAMPLE[at..].find([' ', '[']).unwrap() + 1;
            let end = start + EXAMPLE[start..].find([',', '}', ']', '\n']).unwrap();
            let text = format!("{}\"${{env:TOKEN}}\"{}", &EXAMPLE[..start], &EXAMPLE[end..]);
            match loader.load(&text) {
                Ok(experiment) => {
                    assert!(!format!("{:?}", experiment.variables).contains("s3cr3t"), "{text}");
                    assert!(!experiment.source.text.contains("s3cr3t"));
                }
                Err(told) => {
                    let shown = format!("{told}{}{}", told.render(&text, false), serde_json::to_string(&told).unwrap());
                    assert!(!shown.contains("s3cr3t"), "{shown}");
                }
            }
        }
    }
}

#[test]
fn costly_files_are_cheap() {
    let chain: String = (0..5000).map(|i| format!("  v{i}: {{default: \"${{v{}}}\"}}\n", i + 1)).collect();
    let doubling: String = (0..40).map(|i| format!("  v{i}: {{default: \"${{v{0}}}${{v{0}}}\"}}\n", i + 1)).collect();
    let wide = "method:\n".to_owned() + &"  - {inject: {proxy: 5 5, fualt: {}}, for: x}\n".repeat(1900);
    let long_line = format!("owner: [{}]", "x".repeat(900_000));
    let texts = [
        small(&format!("variables:\n{chain}")),
        small(&format!("variables:\n{doubling}  v40: {{default: xxxxxxxxxx}}")),
        wide,
        small(&long_line),
        small(&format!("tags: [{}]", "a, ".repeat(30_000))),
        small(&format!("owner: {}", "(".repeat(100_000))),
        "? ".repeat(10_000),
        "- ".repeat(10_000),
        "{".repeat(10_000),
        "\"".repeat(10_001),
    ];
    for text in texts {
        survives(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_text_survives(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_soup_of_yaml_survives(words in prop::collection::vec(prop::sample::select(vec![
        "version: 1", "\n", "\n  ", "- ", ": ", "{", "}", "[", "]", ", ", "&a ", "*a", "<<: *a", "!x ", "|", ">", "#", "'", "\"",
        "method", "inject", "fault", "latency", "probe", "traffic", "${shop}", "${", "{{", "5s", "~", "---", "\t", "ä", "?",
    ]), 0..60)) {
        survives(&words.concat());
    }

    #[test]
    fn the_example_with_a_part_replaced_survives(
        from in 0..2000_usize, length in 0..40_usize, with in "[a-z0-9:{}\\[\\],&*'\" \n$\u{e4}-]{0,12}",
    ) {
        let start = EXAMPLE.floor_char_boundary(from.min(EXAMPLE.len()));
        let end = EXAMPLE.floor_char_boundary((start + length).min(EXAMPLE.len()));
        survives(&format!("{}{with}{}", &EXAMPLE[..start], &EXAMPLE[end..]));
    }
}
