//! What `run` steps put out, for later steps; and what of it is secret.
//!
//! Invariant: a text that goes to the log has passed `clean`.

use crate::experiment::Secrets;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The outputs of a run's steps, the last of each.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    texts: Mutex<BTreeMap<String, String>>,
    secrets: Mutex<Secrets>,
}

impl Outputs {
    /// Keeps one, and its secret parts from everything that is written.
    pub(super) fn keep(&self, step: &str, output: &str, secret: bool) {
        if secret {
            let mut secrets = self.secrets.lock();
            secrets.add(output);
            // What a path finds in it is as secret as the whole.
            if let Ok(json) = serde_json::from_str(output) {
                leaves(&json, &mut secrets);
            }
        }
        self.texts.lock().insert(step.to_owned(), output.to_owned());
    }

    /// Forgets one: a later round of the step has failed.
    pub(super) fn forget(&self, step: &str) {
        self.texts.lock().remove(step);
    }

    pub(super) fn get(&self, step: &str) -> Option<String> {
        self.texts.lock().get(step).cloned()
    }

    pub(super) fn all(&self) -> BTreeMap<String, String> {
        self.texts.lock().clone()
    }

    /// Without secrets of either kind.
    pub(super) fn clean(&self, text: &str, known: &Secrets) -> String {
        self.secrets.lock().redact(&known.redact(text))
    }
}

fn leaves(json: &serde_json::Value, secrets: &mut Secrets) {
    match json {
        serde_json::Value::Object(map) => map.values().for_each(|value| leaves(value, secrets)),
        serde_json::Value::Array(items) => items.iter().for_each(|value| leaves(value, secrets)),
        serde_json::Value::String(text) => secrets.add(text),
        serde_json::Value::Number(number) => secrets.add(&number.to_string()),
        serde_json::Value::Bool(_) | serde_json::Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::Outputs;
    use crate::experiment::Secrets;

    #[test]
    fn a_secret_output_and_what_is_in_it_is_cleaned_away() {
        let outputs = Outputs::default();
        outputs.keep("login", r#"{"token": "abc-123-def", "ok": true}"#, true);
        outputs.keep("open", "visible", false);
        let mut known = Secrets::default();
        known.add("from-the-file");
        let cleaned = outputs.clean("abc-123-def from-the-file visible", &known);
        assert_eq!(cleaned, "*** *** visible");
        assert_eq!(outputs.get("open").as_deref(), Some("visible"));
    }
}
