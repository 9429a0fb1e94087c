//! Texts that are whole only when earlier steps have run: `${steps.NAME.output}`, `${steps.NAME.output:$.json.path}`.
//!
//! While a file is read, such a reference becomes a sign that no file can write by accident, with the number of the
//! reference; what is valid becomes a `Late`. Neighbours: `variables` finds the references, `validate` checks them,
//! `run` fills them in. Invariant: what fills a text in is never scanned again.

use serde_json::Value;
use serde_json_path::JsonPath;
use std::fmt;

/// A text with places that are filled in at run time. `Debug` does not show it: it may hold a secret.
#[derive(Clone, Default, PartialEq)]
pub struct Late(pub Vec<LatePiece>);

/// A part of it.
#[derive(Clone, PartialEq)]
pub enum LatePiece {
    /// Known already.
    Text(String),
    /// What a step has put out, or what a JSON path finds in it.
    Output {
        /// The step.
        step: String,
        /// Where in its output; the whole when absent.
        path: Option<JsonPath>,
        /// What it stands in.
        inside: Inside,
    },
}

/// What an output is put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// A text as it is.
    Text,
    /// A text of JSON, so quotes are escaped.
    JsonText,
    /// JSON, as a value of its own: a number that a path finds stays one.
    Json,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Late({} pieces)", self.0.len())
    }
}

impl From<String> for Late {
    fn from(text: String) -> Self {
        Self(vec![LatePiece::Text(text)])
    }
}

impl Late {
    /// The text, with what this knows of a step's output.
    ///
    /// # Errors
    /// Which step's output is not there, or where nothing is.
    pub fn filled(&self, output: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                LatePiece::Text(known) => text.push_str(known),
                LatePiece::Output { step, path, inside } => {
                    let whole = output(step).ok_or_else(|| format!("there is no output of step `{step}`"))?;
                    let found = match path {
                        None => Value::String(whole),
                        Some(path) => {
                            found(path, &whole).map_err(|why| format!("the output of step `{step}`: {why}"))?
                        }
                    };
                    text.push_str(&inside.written(found));
                }
            }
        }
        Ok(text)
    }

    /// The text with the references as they are written: for showing what is going to be done.
    #[must_use]
    pub fn shown(&self) -> String {
        let piece = |piece: &LatePiece| match piece {
            LatePiece::Text(text) => text.clone(),
            LatePiece::Output { step, path: None, .. } => format!("${{steps.{step}.output}}"),
            LatePiece::Output { step, path: Some(path), .. } => format!("${{steps.{step}.output:{path}}}"),
        };
        self.0.iter().map(piece).collect()
    }

    /// Every step whose output it needs.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            LatePiece::Output { step, .. } => Some(step.as_str()),
            LatePiece::Text(_) => None,
        })
    }
}

impl Inside {
    fn written(self, value: Value) -> String {
        match (self, value) {
            (Self::Json, value) => value.to_string(),
            (Self::Text, Value::String(text)) => text,
            (Self::Text, other) => other.to_string(),
            (Self::JsonText, value) => {
                let quoted = Value::String(Self::Text.written(value)).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
        }
    }
}

fn found(path: &JsonPath, text: &str) -> Result<Value, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    path.query(&json).first().cloned().ok_or_else(|| format!("nothing is at `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::{Inside, Late, LatePiece};

    fn of(path: Option<&str>, inside: Inside) -> Late {
        let path = path.map(|path| path.parse().unwrap());
        Late(vec![
            LatePiece::Text("id=".into()),
            LatePiece::Output { step: "order".into(), path, inside },
            LatePiece::Text("!".into()),
        ])
    }

    #[test]
    fn an_output_or_what_a_path_finds_in_it_fills_the_text() {
        let known = |step: &str| (step == "order").then(|| r#"{"id": 7, "name": "a\"b"}"#.to_owned());
        assert_eq!(of(Some("$.id"), Inside::Text).filled(known).unwrap(), "id=7!");
        assert_eq!(of(Some("$.name"), Inside::Text).filled(known).unwrap(), "id=a\"b!");
        assert_eq!(of(Some("$.name"), Inside::JsonText).filled(known).unwrap(), r#"id=a\"b!"#);
        assert_eq!(of(Some("$.id"), Inside::Json).filled(known).unwrap(), "id=7!");
        assert_eq!(of(Some("$.name"), Inside::Json).filled(known).unwrap(), r#"id="a\"b"!"#);
        assert_eq!(of(None, Inside::Text).filled(|_| Some("${env:HOME}".into())).unwrap(), "id=${env:HOME}!");
        assert_eq!(of(Some("$.id"), Inside::Text).shown(), "id=${steps.order.output:$.id}!");
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert_eq!(of(None, Inside::Text).filled(|_| None).unwrap_err(), "there is no output of step `order`");
        let told = of(Some("$.none"), Inside::Text).filled(|_| Some("{}".into())).unwrap_err();
        assert!(told.contains("nothing is at"), "{told}");
        assert!(of(Some("$.id"), Inside::Text).filled(|_| Some("x".into())).unwrap_err().contains("it is not JSON"));
    }
}
