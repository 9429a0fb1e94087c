//! The screen at two sizes, in several states, as it would be seen; and what keys do to it.

use super::{
    draw,
    keys::{self, Action},
    model::{GuardRow, Mode, Model, ProbeRow},
    panels,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use squall_engine::{
    event::{Event, Phase, What},
    experiment::Answer,
    record::Outcome,
    run::{gate, person::Question},
};
use std::{collections::VecDeque, time::Duration};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn event(at: u64, json: serde_json::Value) -> Event {
    Event { at: ms(at), what: serde_json::from_value(json).unwrap() }
}

fn phase(at: u64, phase: Phase, lasting: Option<u64>) -> Event {
    Event { at: ms(at), what: What::Phase { phase, lasting: lasting.map(ms) } }
}

fn probe(probe: &str, metric: &str, tolerance: &str, shown: &str, outcome: Outcome, values: &[f64]) -> ProbeRow {
    let mut row = ProbeRow {
        probe: probe.into(),
        metric: metric.into(),
        tolerance: tolerance.into(),
        shown: shown.into(),
        outcome: Some(outcome),
        history: VecDeque::new(),
        range: None,
        bounds: None,
    };
    values.iter().for_each(|value| row.push(Some(*value), |value| format!("{value}")));
    row
}

/// Ten seconds into a run: the baseline is over, a fault is set.
fn model() -> Model {
    let wave: Vec<f64> = (0..40u32).map(|x| f64::from((x * 7) % 11)).collect();
    let rise: Vec<f64> = (0..30u32).map(|x| if x < 20 { 22.0 } else { 22.0 + f64::from(x - 20) * 80.0 }).collect();
    let mut model = Model {
        experiment: "payment-slow".into(),
        environment: "sandbox".into(),
        run: "0197a3c2-5b1e-7c40".into(),
        keys: true,
        probes: vec![
            probe("traffic.checkout", "p99", "< 1500ms", "1620 ms", Outcome::Broken, &rise),
            probe("traffic.checkout", "success", ">= 99%", "100 %", Outcome::Held, &wave),
            probe("traffic.browse", "p99", "within 20% of baseline or < 50ms", "23.1 ms", Outcome::Held, &wave),
            ProbeRow { outcome: None, ..probe("breaker", "value", "== 0", "2", Outcome::Held, &[0.0, 0.0, 2.0, 1.0]) },
            probe("ready", "status", "200", "–", Outcome::Inconclusive, &[]),
        ],
        guards: vec![
            GuardRow {
                condition: "ready status != 200 for 1s".into(),
                measured: "200".into(),
                near: 0.0,
                met_since: None,
                lasting: ms(1000),
            },
            GuardRow {
                condition: "traffic success_ratio < 90% for 2s".into(),
                measured: "91 %".into(),
                near: 0.9,
                met_since: None,
                lasting: ms(2000),
            },
        ],
        ..Model::default()
    };
    for event in [
        phase(0, Phase::Plan, None),
        phase(42, Phase::Lease, None),
        phase(55, Phase::Baseline, Some(8_000)),
        phase(8_060, Phase::Method, Some(21_000)),
        event(
            8_061,
            serde_json::json!({"step_started": {"step": "payment is slow", "lasting": {"secs": 12, "nanos": 0}}}),
        ),
        event(
            8_067,
            serde_json::json!({"injected": {"step": "payment is slow", "agent": "sandbox", "proxy": "payment", "fault": {
                "name": "latency-1", "fault": {"latency": {"delay": "800ms"}}, "direction": "upstream", "percent": 100, "skip": 0,
                "seed": 7, "lease": "l-5f3a9c", "expires_in": "10s", "hits": 212, "units": 212}}}),
        ),
        event(9_000, serde_json::json!({"note": {"text": "the pager is\u{1b}[31m quiet"}})),
    ] {
        model.hear(&event);
    }
    model.now = ms(10_000);
    model
}

fn drawn(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(model, frame)).unwrap();
    terminal.backend().to_string()
}

fn press(model: &mut Model, letters: &str) -> Vec<Action> {
    letters.chars().filter_map(|letter| key(model, KeyCode::Char(letter))).collect()
}

fn key(model: &mut Model, code: KeyCode) -> Option<Action> {
    keys::press(model, KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn a_fault_is_set_and_one_promise_is_broken() {
    insta::assert_snapshot!("fault_80x24", drawn(&model(), 80, 24));
    insta::assert_snapshot!("fault_120x40", drawn(&model(), 120, 40));
}

#[test]
fn a_surge_of_the_load_is_shown_with_the_time_that_it_has_left() {
    let mut model = model();
    model.hear(&event(
        9_100,
        serde_json::json!({"step_started": {"step": "rush", "lasting": {"secs": 60, "nanos": 0}}}),
    ));
    model.hear(&event(9_100, serde_json::json!({"surged": {"step": "rush", "rate": "600/s", "normal": "150/s"}})));
    let screen = drawn(&model, 120, 40);
    assert!(screen.contains("▼ load 600/s, normally 150/s"), "{screen}");
    assert!(screen.contains("60 s left"), "{screen}");
    model.hear(&event(9_900, serde_json::json!({"subsided": {"step": "rush", "rate": "150/s"}})));
    let screen = drawn(&model, 120, 40);
    assert!(!screen.contains("▼ load"), "{screen}");
    assert!(screen.contains("the load is back at 150/s: rush is over"), "{screen}");
}

#[test]
fn the_readme_shows_the_screen_as_it_is() {
    let readme = include_str!("../../../README.md");
    for line in drawn(&model(), 80, 24).lines() {
        let line = line.trim_matches('"').trim_end();
        assert!(readme.lines().any(|shown| shown == line), "README.md has no\n{line}");
    }
}

#[test]
fn a_condition_is_met_and_the_run_is_paused() {
    let mut model = model();
    model.guards[1].met_since = Some(ms(8_800));
    model.guards[1].near = 1.0;
    model.gate = gate::State::Waiting;
    insta::assert_snapshot!("met_and_paused_80x24", drawn(&model, 80, 24));
}

#[test]
fn a_run_that_has_just_begun_and_one_that_is_healing() {
    let begun =
        Model { experiment: "payment-slow".into(), environment: "sandbox".into(), keys: true, ..Model::default() };
    insta::assert_snapshot!("begun_80x24", drawn(&begun, 80, 24));
    let mut healing = model();
    healing.hear(&event(
        11_000,
        serde_json::json!({"breach": {"condition": "traffic success_ratio < 90% for 2s", "measured": "84 %"}}),
    ));
    healing.hear(&phase(11_001, Phase::Heal, None));
    healing.hear(&event(11_020, serde_json::json!({"heal_confirmed": {"agent": "sandbox"}})));
    insta::assert_snapshot!("healing_120x40", drawn(&healing, 120, 40));
}

#[test]
fn questions_notes_and_help_are_laid_over_it() {
    let mut model = model();
    assert_eq!(press(&mut model, "a"), []);
    insta::assert_snapshot!("abort_80x24", drawn(&model, 80, 24));
    assert_eq!(press(&mut model, "x"), [], "any other key goes on");
    assert_eq!(press(&mut model, "n"), []);
    assert_eq!(press(&mut model, "quiet? a pager"), [], "letters are no commands in a note");
    insta::assert_snapshot!("note_80x24", drawn(&model, 80, 24));
    assert_eq!(key(&mut model, KeyCode::Enter), Some(Action::Note("quiet? a pager".into())));
    assert_eq!(press(&mut model, "?"), []);
    insta::assert_snapshot!("help_80x24", drawn(&model, 80, 24));
}

#[test]
fn keys_ask_once_before_they_abort_and_ctrl_c_is_the_signal_everywhere() {
    let mut model = model();
    assert_eq!(press(&mut model, "ay"), [Action::Abort]);
    assert_eq!(press(&mut model, "ay"), [], "it is stopping already");
    let mut model = self::model();
    assert_eq!(press(&mut model, "p"), [Action::Pause]);
    assert_eq!(press(&mut model, "n \u{7}"), []);
    assert_eq!(key(&mut model, KeyCode::Enter), None, "an empty note is none");
    assert_eq!(press(&mut model, "nab"), []);
    assert_eq!(key(&mut model, KeyCode::Backspace), None);
    let ctrl =
        |model: &mut Model, letter| keys::press(model, KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
    assert_eq!(ctrl(&mut model, 'z'), Some(Action::Suspend));
    assert_eq!(model.mode, Mode::Noting("a".into()), "what was typed is still there");
    assert_eq!(ctrl(&mut model, 'c'), Some(Action::Quit));
    assert_eq!(model.mode, Mode::Watching);
}

#[test]
fn any_size_and_any_text_is_drawn() {
    let mut model = model();
    model.experiment = "ü".repeat(300);
    for number in 0..300 {
        model.probes.push(probe(
            &format!("probe-{number}-日本語"),
            "value",
            "== 0",
            "1",
            Outcome::Held,
            &[f64::NAN, 1.0],
        ));
        model.hear(&event(9_500, serde_json::json!({"note": {"text": "x".repeat(500)}})));
    }
    for (width, height) in [(1, 1), (10, 3), (39, 12), (40, 12), (80, 24), (81, 13), (300, 100)] {
        for mode in [Mode::Watching, Mode::Aborting, Mode::Noting("y".repeat(400)), Mode::Help] {
            model.mode = mode;
            drawn(&model, width, height);
        }
    }
    assert!(drawn(&Model { mode: Mode::Watching, ..model }, 80, 24).contains("more, none of them worse"));
}

#[test]
fn a_question_is_answered_by_keys_but_not_by_one_that_was_on_its_way() {
    let mut model = model();
    let question = Question { step: "look".into(), question: "Is the dashboard green?".into(), default: Answer::Stop };
    model.ask(Some(question.clone()));
    assert_eq!(press(&mut model, "n"), [], "it was meant as a note");
    model.pass(ms(11_000));
    model.ask(Some(question.clone()));
    insta::assert_snapshot!("question_80x24", drawn(&model, 80, 24));
    assert_eq!(press(&mut model, "x"), []);
    assert_eq!(press(&mut model, "y"), [Action::Answer(Answer::Continue)]);
    model.ask(Some(question));
    model.pass(ms(13_000));
    assert_eq!(press(&mut model, "n"), [Action::Answer(Answer::Stop)]);
    model.ask(None);
    assert_eq!(press(&mut model, "n"), []);
    assert_eq!(model.mode, Mode::Noting(String::new()), "and without a question it is a note again");
}

#[test]
fn no_time_of_a_phase_passes_while_the_run_waits_for_a_person() {
    let mut model = model();
    model.gate = gate::State::Waiting;
    let since = model.phase.unwrap().since;
    model.pass(ms(14_000));
    assert_eq!(model.phase.unwrap().since, since + ms(4_000));
    model.gate = gate::State::Open;
    model.pass(ms(15_000));
    assert_eq!((model.phase.unwrap().since, model.now), (since + ms(4_000), ms(15_000)));
}

#[test]
fn a_sparkline_has_gaps_where_nothing_was_measured() {
    let mut row = probe("p", "value", "== 0", "1", Outcome::Held, &[0.0, 7.0]);
    row.push(None, |value| value.to_string());
    row.push(Some(3.5), |value| value.to_string());
    assert_eq!(panels::sparkline(&row, 6), "  ▁█ ▅");
}

#[test]
fn without_colour_every_state_still_has_its_sign() {
    let plain = drawn(&model(), 80, 24);
    for sign in ["✓ traffic.checkout", "✕ traffic.checkout", "? ready", "– breaker", "▼ payment", "! ███"]
    {
        assert!(plain.contains(sign), "{sign}\n{plain}");
    }
}
