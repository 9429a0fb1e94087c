//! What stands behind `run`, `check`, `pause` and `repeat`: it can be done, it ends, and it refers only to steps that
//! have run by then.
//!
//! Neighbours: `method` has the other steps; `run::action` carries out what is made here.

use super::{
    Check, LONGEST, forms,
    method::{Before, SHORTEST},
};
use crate::{
    document::{
        ActionHttpDoc, CheckDoc, CheckWhen, OneOrMore, PauseDoc, RepeatDoc, RunDoc, RunExpectDoc, StepDoc, Text,
        UndoDoc,
    },
    experiment::{
        Action, Answer, CheckStep, Inside, Late, LatePiece, OnFailure, Pause, Repeat, Rounds, RunExpect, RunStep,
        SteadyRow, Undo, When,
    },
    variables::SIGN,
    yaml::Spot,
};
use serde_json::Value;
use squall_wire::Span;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const MOST_ROUNDS: u32 = 1000;
/// Rounds of `for` are at least so long, so that their number is bounded.
const SHORTEST_ROUND: Duration = Duration::from_millis(100);

/// What an action may be made of, as both `run` and `undo` have it.
struct ActionDoc<'a> {
    command: Option<&'a [Text]>,
    env: Option<&'a BTreeMap<String, Text>>,
    http: Option<&'a ActionHttpDoc>,
}

impl Check<'_, '_, '_> {
    pub(super) fn run(&mut self, doc: &RunDoc, step: &StepDoc, spot: Spot<'_>, before: &mut Before) -> Option<RunStep> {
        let at = spot.key("run");
        let written = ActionDoc { command: doc.command.as_deref(), env: doc.env.as_ref(), http: doc.http.as_ref() };
        let action = self.action_of(&written, at, &before.outputs);
        let made_up = || action.as_ref().map_or_else(|| "run".to_owned(), |action| format!("run {}", action.shown()));
        let name = self.step_name(step, spot, before, made_up);
        let timeout = self.action_timeout(doc.timeout, at);
        let expect = self.run_expect(doc.expect.as_ref(), doc.http.is_some(), at.key("expect"));
        before.outputs.insert(name.clone());
        // It can use what its own step has put out: the number of what was made, say.
        let undo = doc.undo.as_ref().map(|undo| self.undo(undo, at.key("undo"), &before.outputs));
        let undo = match undo {
            Some(undo) => Some(undo?),
            None => None,
        };
        let (on_failure, secret) = (doc.on_failure.unwrap_or_default(), doc.secret.unwrap_or(false));
        Some(RunStep { name, action: action?, timeout, expect, on_failure, undo, secret })
    }

    fn undo(&mut self, doc: &UndoDoc, at: Spot<'_>, known: &BTreeSet<String>) -> Option<Undo> {
        let written = ActionDoc { command: doc.command.as_deref(), env: doc.env.as_ref(), http: doc.http.as_ref() };
        let action = self.action_of(&written, at, known);
        let timeout = self.action_timeout(doc.timeout, at);
        Some(Undo { action: action?, timeout })
    }

    fn action_timeout(&mut self, given: Option<Span>, at: Spot<'_>) -> Duration {
        let range = SHORTEST..=Duration::from_secs(3600);
        self.duration(at.key("timeout"), "timeout", given.map(Span::get), &range).unwrap_or(DEFAULT_TIMEOUT)
    }

    fn action_of(&mut self, doc: &ActionDoc<'_>, at: Spot<'_>, known: &BTreeSet<String>) -> Option<Action> {
        let (command, http) = (at.node().had("command"), at.node().had("http"));
        if command && http {
            let related = at.key("command").key_mark();
            let told = self.report.error(at.key("http").key_mark(), "give `command` or `http`, not both");
            told.related(related, "the other is here");
            return None;
        }
        if http && at.node().had("env") {
            self.report.error(at.key("env").key_mark(), "`env` goes with `command`").help("a request has `headers`");
        }
        if let Some(http) = doc.http {
            return self.request_of(http, at.key("http"), known);
        }
        if let Some(command) = doc.command {
            return self.command_of(command, doc.env, at, known);
        }
        if !command && !http && !at.node().had_nearly(&["command", "http"]) {
            let told = self.report.error(at.key_mark(), "what is run is missing here");
            told.expected("`command: [PROGRAM, ARGUMENT, …]`, or `http: {url: …}`");
        }
        None
    }

    fn command_of(
        &mut self,
        command: &[Text],
        env: Option<&BTreeMap<String, Text>>,
        at: Spot<'_>,
        known: &BTreeSet<String>,
    ) -> Option<Action> {
        let list = at.key("command");
        if command.is_empty() && !list.node().has_lost() {
            let told = self.report.error(list.mark(), "no program is named");
            told.expected("the program and its arguments, such as `[./failover.sh, --to, b]`");
            return None;
        }
        let mut texts = Vec::new();
        for (index, text) in command.iter().enumerate() {
            let spot = list.item(index);
            if text.as_str().contains('\0') {
                self.report.error(spot.mark(), "a program's argument cannot hold a zero byte");
            } else if index == 0 && text.as_str().trim().is_empty() {
                self.report.error(spot.mark(), "the program's name is empty");
            }
            texts.push(self.late(text.as_str(), known, Inside::Text));
        }
        let mut variables = Vec::new();
        for (name, value) in env.into_iter().flatten() {
            if let Err(message) = forms::variable(name, value.as_str()) {
                self.report.error(at.key("env").key(name).key_mark(), message);
            }
            variables.push((name.clone(), self.late(value.as_str(), known, Inside::Text)));
        }
        Some(Action::Command { command: texts, env: variables, directory: self.directory.to_owned() })
    }

    fn request_of(&mut self, doc: &ActionHttpDoc, at: Spot<'_>, known: &BTreeSet<String>) -> Option<Action> {
        let method = doc.method.as_deref().unwrap_or("POST").to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            let told = self.report.error(at.key("method").mark(), format!("`{method}` is no HTTP method"));
            told.nearest(&method, METHODS);
        }
        let mut headers = Vec::new();
        for (name, value) in doc.headers.iter().flatten() {
            self.header(name, value, at.key("headers"));
            headers.push((name.clone(), self.late(value.as_str(), known, Inside::Text)));
        }
        if doc.json.is_some() && doc.body.is_some() {
            let related = at.key("json").key_mark();
            let told = self.report.error(at.key("body").key_mark(), "give `json` or `body`, not both");
            told.related(related, "the other is here");
        }
        let body = match (&doc.json, &doc.body) {
            (Some(json), _) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type".into(), "application/json".to_owned().into()));
                }
                let mut pieces = Vec::new();
                self.json(json, known, &mut pieces);
                Some(Late(pieces))
            }
            (None, Some(body)) => Some(self.late(body.as_str(), known, Inside::Text)),
            (None, None) => None,
        };
        let Some(url) = &doc.url else {
            self.missing(at, "url", "say where: `url: \"${shop}/admin/flags\"`");
            return None;
        };
        // An output counts as a digit, which fits wherever a value may stand.
        let plain: String = url.split(SIGN).enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "0" }).collect();
        let url = self.late(url, known, Inside::Text);
        if let Err(message) = forms::url(&plain) {
            self.report.error(at.key("url").mark(), message.replacen(&plain, &url.shown(), 1));
        }
        Some(Action::Http { method, url, headers, body })
    }

    /// JSON as a text in which outputs stand: as values of their own, or inside texts.
    fn json(&mut self, value: &Value, known: &BTreeSet<String>, pieces: &mut Vec<LatePiece>) {
        let mut put = |text: &str| pieces.push(LatePiece::Text(text.to_owned()));
        match value {
            Value::Object(map) => {
                put("{");
                for (index, (key, value)) in map.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    pieces.push(LatePiece::Text(format!("{comma}{}:", Value::from(key.as_str()))));
                    self.json(value, known, pieces);
                }
                pieces.push(LatePiece::Text("}".into()));
            }
            Value::Array(items) => {
                put("[");
                for (index, value) in items.iter().enumerate() {
                    if index > 0 {
                        pieces.push(LatePiece::Text(",".into()));
                    }
                    self.json(value, known, pieces);
                }
                pieces.push(LatePiece::Text("]".into()));
            }
            Value::String(text) if text.contains(SIGN) => {
                let alone = text.starts_with(SIGN) && text.ends_with(SIGN) && text.matches(SIGN).count() == 2;
                if alone {
                    pieces.extend(self.late(text, known, Inside::Json).0);
                    return;
                }
                // The sign needs no escape in JSON, so the text around it can be escaped as one.
                pieces.extend(self.late(&Value::from(text.as_str()).to_string(), known, Inside::JsonText).0);
            }
            other => put(&other.to_string()),
        }
    }

    /// A text whose signs become the outputs that they stand for; steps that have not run by then are reported.
    fn late(&mut self, text: &str, known: &BTreeSet<String>, inside: Inside) -> Late {
        let mut pieces = Vec::new();
        for (index, part) in text.split(SIGN).enumerate() {
            let reference =
                (index % 2 == 1).then(|| part.parse::<usize>().ok().and_then(|n| self.outputs.get(n))).flatten();
            let Some(reference) = reference else {
                if !part.is_empty() {
                    pieces.push(LatePiece::Text(part.to_owned()));
                }
                continue;
            };
            let step = reference.step.clone();
            if !known.contains(&step) {
                let message = format!("no `run` step named `{step}` has ended before this one");
                let told = self.report.error(reference.mark, message);
                match squall_wire::nearest::nearest(&step, known.iter().map(String::as_str)) {
                    Some(near) => told.help(format!("did you mean `{near}`?")),
                    None => {
                        told.help("give the step a `name` of letters, digits, `-` and `_`, and put it before this one")
                    }
                };
            }
            let path = reference.path.as_deref().map(serde_json_path::JsonPath::parse).transpose();
            let path = path.unwrap_or_else(|error| {
                let told = self.report.error(reference.mark, format!("what follows `:` is not a JSON path: {error}"));
                told.expected("one such as `$.id` or `$.items[0].name`");
                None
            });
            pieces.push(LatePiece::Output { step, path, inside });
        }
        Late(pieces)
    }

    fn run_expect(&mut self, doc: Option<&RunExpectDoc>, is_http: bool, at: Spot<'_>) -> RunExpect {
        let doc = doc.cloned().unwrap_or_default();
        let (right, wrong, wrong_key) = if is_http {
            (doc.status, doc.exit_code.is_some(), "exit_code")
        } else {
            (doc.exit_code, doc.status.is_some(), "status")
        };
        if wrong {
            let what = if is_http { "a request has a `status`" } else { "a program has an `exit_code`" };
            self.report.error(at.key(wrong_key).key_mark(), format!("{what}, and no `{wrong_key}`"));
        }
        let codes = right.map_or_else(Vec::new, |OneOrMore(codes)| codes);
        let (key, range) = if is_http { ("status", 100..=599) } else { ("exit_code", 0..=255) };
        for code in codes.iter().filter(|code| !range.contains(*code)) {
            let told = self.report.error(at.key(key).mark(), format!("`{code}` cannot be the `{key}`"));
            told.expected(format!("from {} to {}", range.start(), range.end()));
        }
        RunExpect { codes, contains: doc.contains.map(|text| text.to_string()) }
    }

    pub(super) fn check(
        &mut self,
        doc: &CheckDoc,
        step: &StepDoc,
        spot: Spot<'_>,
        before: &mut Before,
    ) -> Option<CheckStep> {
        let at = spot.key("check");
        let name = self.step_name(step, spot, before, || "check".to_owned());
        let (when, word) = match doc.when.unwrap_or_default() {
            CheckWhen::During => (When::During, "during"),
            CheckWhen::After => (When::After, "after"),
        };
        let rows = self.own_rows(doc, when, at);
        if doc.rows.is_none() {
            self.wants_rows(when, at, &format!("a check is judged by the rows for `{word}`"));
        }
        let Some(over) = doc.over else {
            self.missing(at, "over", "say over how long it looks back: `over: 5s`");
            return None;
        };
        let over = self.duration(at.key("over"), "over", Some(over.get()), &(SHORTEST..=LONGEST))?;
        let on_failure = doc.on_failure.unwrap_or(OnFailure::Continue);
        Some(CheckStep { name, when, rows, over, settle: self.settle(), on_failure })
    }

    /// The rows of a check that does not look at the steady state's.
    fn own_rows(&mut self, doc: &CheckDoc, when: When, at: Spot<'_>) -> Vec<SteadyRow> {
        let list = at.key("rows");
        let Some(rows) = &doc.rows else { return Vec::new() };
        if rows.is_empty() && !list.node().has_lost() {
            let told = self.report.error(list.mark(), "a check without rows judges nothing");
            told.help("write some, or leave `rows` out: then it is the steady state that is judged");
        }
        let mut found = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let spot = list.item(index);
            if row.when.is_some() {
                let told =
                    self.report.error(spot.key("when").key_mark(), "rows of a check are judged when it is reached");
                told.help("leave `when` out");
            }
            found.extend(self.steady_row(row, vec![when], spot));
        }
        found
    }

    pub(super) fn pause(
        &mut self,
        doc: &PauseDoc,
        step: &StepDoc,
        spot: Spot<'_>,
        before: &mut Before,
    ) -> Option<Pause> {
        let at = spot.key("pause");
        let name = self.step_name(step, spot, before, || "pause".to_owned());
        let question = match doc.question.as_deref() {
            Some(question) if !question.trim().is_empty() => {
                Some(self.late(question.trim(), &before.outputs, Inside::Text))
            }
            Some(_) => {
                self.report.error(at.key("question").mark(), "the question is empty");
                None
            }
            None => {
                self.missing(at, "question", "say what is asked: `question: Is the dashboard green?`");
                None
            }
        };
        let Some(timeout) = doc.timeout else {
            self.missing(at, "timeout", "say how long is waited for an answer: `timeout: 5m`");
            return None;
        };
        let timeout = self.duration(at.key("timeout"), "timeout", Some(timeout.get()), &(SHORTEST..=LONGEST))?;
        Some(Pause { name, question: question?, timeout, default: doc.default.unwrap_or(Answer::Stop) })
    }

    pub(super) fn repeat(
        &mut self,
        doc: &RepeatDoc,
        step: &StepDoc,
        spot: Spot<'_>,
        before: &mut Before,
    ) -> Option<Repeat> {
        let at = spot.key("repeat");
        let list = at.key("steps");
        let steps = match &doc.steps {
            Some(steps) => {
                if steps.is_empty() && !list.node().has_lost() {
                    self.report.error(list.mark(), "there is nothing to repeat");
                }
                self.steps(steps, list, before)
            }
            None => {
                self.missing(at, "steps", "say what is repeated: `steps: [{inject: …, for: 2s}, {wait: 2s}]`");
                Vec::new()
            }
        };
        let rounds = self.rounds(doc, at)?;
        let name = self.step_name(step, spot, before, || "repeat".to_owned());
        let repeat = Repeat { name, steps, rounds };
        if matches!(rounds, Rounds::Lasting(_)) && !repeat.steps.is_empty() && repeat.round() < SHORTEST_ROUND {
            let told = self.report.error(list.key_mark(), "a round takes no time, so there would be no end of rounds");
            told.help("add `{wait: 1s}` to its steps, or give `times`");
        }
        Some(repeat)
    }

    fn rounds(&mut self, doc: &RepeatDoc, at: Spot<'_>) -> Option<Rounds> {
        match (doc.times, doc.lasting) {
            (Some(_), Some(_)) => {
                let related = at.key("times").key_mark();
                let told = self.report.error(at.key("for").key_mark(), "give `times` or `for`, not both");
                told.related(related, "the other is here");
                None
            }
            (Some(times), None) if (1..=MOST_ROUNDS).contains(&times) => Some(Rounds::Times(times)),
            (Some(times), None) => {
                let told = self.report.error(at.key("times").mark(), format!("`{times}` rounds cannot be"));
                told.expected(format!("from 1 to {MOST_ROUNDS}"));
                None
            }
            (None, Some(lasting)) => {
                let range = SHORTEST..=LONGEST;
                self.duration(at.key("for"), "for", Some(lasting.get()), &range).map(Rounds::Lasting)
            }
            (None, None) => {
                if !at.node().had("for") {
                    self.missing(at, "times", "say how often: `times: 5`, or for how long: `for: 2m`");
                }
                None
            }
        }
    }
}
