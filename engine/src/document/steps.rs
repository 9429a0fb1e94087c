//! What stands behind `surge`, `ramp`, `run`, `check`, `pause` and `repeat`, as it is written; and time windows.
//!
//! Neighbours: `method` has the step itself, `validate` says what is wrong with them together.

use super::{InjectDoc, OneOrMore, RequestRate, StepDoc, Text};
use crate::experiment::{Answer, OnFailure};
use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::Span;
use std::collections::BTreeMap;

/// Another load than the traffic's own for as long as the step's `for` says, after which it is what it was. Several in a
/// row are stages.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurgeDoc {
    /// Requests a second, all together; the traffic's `rate` is what is normal.
    #[schemars(required)]
    pub rate: Option<RequestRate>,
}

/// Grows one parameter of a fault, its `percent`, or the rate of the traffic. Each level is held and judged by the
/// steady state's rows for `during`; the first that breaks ends the ramp. Exactly one of `steps` and `factor`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RampDoc {
    /// What grows: a parameter of the fault (`delay`), `percent`, or `traffic.rate`.
    #[schemars(required)]
    pub vary: Option<String>,
    /// The fault, unless it is `traffic.rate` that grows.
    pub inject: Option<InjectDoc>,
    /// The first level; what stands in the fault, or the traffic's rate, when absent.
    pub from: Option<Text>,
    /// The last level. Smaller than `from` where less is worse, as with a bandwidth.
    #[schemars(required)]
    pub to: Option<Text>,
    /// So many levels, evenly apart, both ends included.
    #[schemars(range(min = 2, max = 100))]
    pub steps: Option<u32>,
    /// Each level is so many times the one before, or a part of it where the ramp goes down.
    pub factor: Option<f64>,
    /// How long each level is held.
    #[schemars(required)]
    pub hold: Option<Span>,
    /// What the last safe level must be, `">= 1s"`; every level must be safe when absent.
    pub expect: Option<Text>,
}

/// Runs a program, without a shell, or sends a request. Exactly one of `command` and `http`. Later `run` and `pause`
/// steps can write
/// `${steps.NAME.output}`, or `${steps.NAME.output:$.json.path}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunDoc {
    /// The program and its arguments: `[./failover.sh, --to, b]`. A program with a `/` is relative to this file.
    pub command: Option<Vec<Text>>,
    /// Variables for the program by name, besides `PATH`, `HOME`, `LANG` and `TMPDIR`: it finds no others.
    pub env: Option<BTreeMap<String, Text>>,
    /// The request.
    pub http: Option<ActionHttpDoc>,
    /// It has failed after so long, and is killed with all that it has started; 30s when absent.
    pub timeout: Option<Span>,
    /// What counts as success; exit code 0, or every status below 400, when absent.
    pub expect: Option<RunExpectDoc>,
    /// What a failure means: `stop` ends the run as `error`, `continue` goes on.
    pub on_failure: Option<OnFailure>,
    /// What takes it back when the run heals: always done once this step has begun, however the run ends.
    pub undo: Option<UndoDoc>,
    /// Its output is written nowhere, and kept out of everything that is.
    pub secret: Option<bool>,
}

/// Takes a `run` step back. Exactly one of `command` and `http`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoDoc {
    /// The program and its arguments.
    pub command: Option<Vec<Text>>,
    /// Variables for the program by name.
    pub env: Option<BTreeMap<String, Text>>,
    /// The request.
    pub http: Option<ActionHttpDoc>,
    /// It has failed after so long; 30s when absent.
    pub timeout: Option<Span>,
}

/// A request of a step. Its output is the body of the answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionHttpDoc {
    /// Where to.
    #[schemars(required)]
    pub url: Option<String>,
    /// POST when absent.
    #[schemars(extend("enum" = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]))]
    pub method: Option<String>,
    /// Headers by name.
    pub headers: Option<BTreeMap<String, Text>>,
    /// A body that is sent as JSON, with its content type unless `headers` give one.
    pub json: Option<serde_json::Value>,
    /// A body that is sent as it is.
    pub body: Option<Text>,
}

/// What counts as success of a `run` step.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunExpectDoc {
    /// The exit code of the program, or a list of them.
    pub exit_code: Option<OneOrMore<u16>>,
    /// The status of the answer, or a list of them.
    pub status: Option<OneOrMore<u16>>,
    /// A text that the output must contain.
    pub contains: Option<Text>,
}

/// Judges the steady state in the middle of the method. What does not hold is `deviated`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckDoc {
    /// The window, which ends now.
    #[schemars(required)]
    pub over: Option<Span>,
    /// Which rows of the steady state: those for `during`, or for `after`; `during` when absent.
    pub when: Option<CheckWhen>,
    /// `continue`, when absent, or `stop`: the method ends here.
    pub on_failure: Option<OnFailure>,
}

/// Which rows a check looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckWhen {
    /// Those that must hold while faults are on.
    #[default]
    During,
    /// Those that must hold when they are gone.
    After,
}

/// Asks a person on the terminal. Without one, or with `--yes`, the default is taken at once.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseDoc {
    /// What is asked: `Is the dashboard green?` Yes goes on, no stops.
    #[schemars(required)]
    pub question: Option<String>,
    /// So long is waited for an answer.
    #[schemars(required)]
    pub timeout: Option<Span>,
    /// What happens without an answer; `stop` when absent.
    pub default: Option<Answer>,
}

/// Does steps again and again. Exactly one of `times` and `for`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatDoc {
    /// So many rounds.
    #[schemars(range(min = 1, max = 1000))]
    pub times: Option<u32>,
    /// No round begins after so long; one that has begun is carried out.
    #[serde(rename = "for")]
    pub lasting: Option<Span>,
    /// One round.
    #[schemars(required, length(min = 1))]
    pub steps: Option<Vec<StepDoc>>,
}

/// When it may run. One that closes at or before the time at which it opens is open over midnight, and its days are
/// those on which it opens.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowDoc {
    /// `mon-fri`, `sat`, or several with commas; every day when absent.
    pub days: Option<String>,
    /// When it opens, `"09:00"`; at the beginning of the day when absent.
    pub from: Option<String>,
    /// When it closes, `"17:00"`; at the end of the day when absent.
    pub to: Option<String>,
    /// Where these times are meant: `Europe/Berlin`, `UTC`.
    #[schemars(required)]
    pub zone: Option<String>,
}
