//! From the text of a file to a valid experiment, or to everything that is wrong with it.
//!
//! ```text
//! text ─▶ yaml::parse ─▶ variables::resolve ─▶ yaml::read::<Document> ─▶ validate ─▶ Experiment
//!            └──────────────────┴──────── mistakes ─────┴───────────────────┘──▶ Diagnostics
//! ```
//!
//! Each step goes on with what the one before left right, so that one reading tells all mistakes.

use crate::{
    diagnostic::{Diagnostics, Reporter},
    document::Document,
    environment::OwnDatabase,
    experiment::{Experiment, Secrets, Source},
    validate::validate,
    variables::{self, Sources},
    yaml::{self, Node, Value},
};
use std::{collections::BTreeMap, path::Path};

/// What an experiment is made of besides its file.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The file's path, as messages and the journal name it.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
    /// `--set NAME=VALUE`: before everything else.
    pub set: &'a BTreeMap<String, String>,
    /// Variables of the environment: before the file's own defaults.
    pub environment: &'a BTreeMap<String, String>,
    /// Secrets of the environment: a variable that contains one is kept secret.
    pub secrets: &'a Secrets,
    /// The process's environment variables, for `${env:NAME}`.
    pub env_var: &'a dyn Fn(&str) -> Option<String>,
    /// The directory that `${file:PATH}` is relative to, and in which the programs of probes run.
    pub base_dir: &'a Path,
}

/// Reads a file's text into a valid experiment.
///
/// # Errors
/// Every mistake in it, with its place.
pub fn load(inputs: &Inputs<'_>) -> Result<Experiment, Diagnostics> {
    let mut report = Reporter::new(inputs.text);
    let mut secrets = inputs.secrets.clone();
    let experiment = read(inputs, &mut report, &mut secrets);
    match (experiment, report.finish(inputs.path, &secrets)) {
        (Some(experiment), None) => Ok(experiment),
        (_, Some(diagnostics)) => Err(diagnostics),
        (None, None) => Err(Diagnostics::whole_file(inputs.path, "the file is not an experiment", None)),
    }
}

fn read(inputs: &Inputs<'_>, report: &mut Reporter<'_>, secrets: &mut Secrets) -> Option<Experiment> {
    let mut tree = yaml::parse(inputs.text, "an experiment", report)?;
    if !is_map(&tree, report) {
        return None;
    }
    let sources = Sources {
        set: inputs.set,
        environment: inputs.environment,
        secrets: inputs.secrets,
        env_var: inputs.env_var,
        base_dir: inputs.base_dir,
    };
    let mut resolved = variables::resolve(&mut tree, sources, false, report);
    // Of the tree, not of the document: a mistake beside a password must not show it either.
    for probe in tree.get("probes").into_iter().flat_map(Node::entries) {
        let url = probe.value.get("sql").and_then(|sql| sql.get("url"));
        if let Some(Value::Scalar { text, .. }) = url.map(|url| &url.value) {
            resolved.secrets.add_url(text);
        }
    }
    secrets.extend(&resolved.secrets);
    let document: Document = yaml::read(&mut tree, report)?;
    let source = Source { path: inputs.path.to_owned(), text: inputs.text.to_owned() };
    validate(&document, &tree, resolved, source, inputs.base_dir, report)
}

/// The database that an experiment needs in the sandbox, which has to be known before it is read with the sandbox's
/// addresses. Says nothing of mistakes: `load` does.
#[must_use]
pub fn sandbox_database(text: &str) -> Option<OwnDatabase> {
    let tree = yaml::parse(text, "an experiment", &mut Reporter::new(text))?;
    let Value::Scalar { text, .. } = &tree.get("sandbox")?.get("database")?.value else { return None };
    let own = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    serde::Deserialize::deserialize(own).ok()
}

/// Whether there is a map at the top, as every file of ours has.
pub(crate) fn is_map(tree: &Node, report: &mut Reporter<'_>) -> bool {
    let is_map = matches!(tree.value, Value::Map { .. });
    if !is_map {
        let told = report.error(tree.mark, format!("{} stands at the top of the file", tree.what()));
        told.expected("a map: `version: 1`, `name: …` and so on, each at the start of a line");
    }
    is_map
}

/// The bytes of a file as text.
///
/// # Errors
/// When they are not UTF-8, with the place of the first byte that is wrong.
pub fn decode<'a>(path: &str, bytes: &'a [u8]) -> Result<&'a str, Diagnostics> {
    std::str::from_utf8(bytes).map_err(|error| {
        let right = &bytes[..error.valid_up_to()];
        let line = right.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = right.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let column = String::from_utf8_lossy(&right[line_start..]).chars().count() + 1;
        let (message, help) = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => ("the file is in UTF-16", "save it as UTF-8"),
            _ if bytes.contains(&0) => ("this is not a text file", "give a YAML file in UTF-8"),
            _ => ("the file is not UTF-8: this byte is wrong", "save it as UTF-8"),
        };
        Diagnostics::at(path, line, column, message, help)
    })
}
