//! What can be read of a file that has mistakes of shape, so that its other mistakes are told in the same run.
//!
//! A word that is not known is taken for the known one that was meant, or left out. A value that cannot be read is
//! left out with its whole section, and with the sections that would look wrong without it.
//!
//! Neighbours: `sections.rs` tells the mistakes of shape themselves. Invariant: what is read here is never run by; it is
//! only asked for mistakes, and better too few are found in it than one that is none.

use super::{ConfigFile, suggestion};
use serde_json::Value;
use serde_path_to_error::Segment;

/// Words and sections that are put right or left out, at most.
const MOST: usize = 100;

/// The sections that can be judged only beside this one.
const BESIDE: [(&str, &[&str]); 4] = [
    ("proxies", &["faults"]),
    ("tls", &["listen", "client_roles"]),
    ("tokens", &["listen"]),
    ("max_fault_duration", &["faults"]),
];

/// Reads what can be read of a text.
pub(super) fn rest(text: &str) -> ConfigFile {
    let mut tree: Value = serde_saphyr::from_str_with_options(text, super::options()).unwrap_or_default();
    for _ in 0..MOST {
        let error = match serde_path_to_error::deserialize::<_, ConfigFile>(&tree) {
            Ok(file) => return file,
            Err(error) => error,
        };
        let path: Option<Vec<Step>> = error.path().iter().map(step).collect();
        let message = error.into_inner().to_string();
        let respelt = message.starts_with("unknown field")
            && path.as_deref().is_some_and(|path| respell(&mut tree, path, suggestion(&message)));
        let Some(Step::Key(section)) = path.as_deref().and_then(<[Step]>::first) else { break };
        if !respelt {
            leave_out(&mut tree, section);
        }
    }
    ConfigFile::default()
}

enum Step {
    Key(String),
    Item(usize),
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Unknown => None,
    }
}

/// Puts a key right, or leaves it out; false where there is no such key.
fn respell(tree: &mut Value, path: &[Step], meant: Option<String>) -> bool {
    let Some((Step::Key(wrong), around)) = path.split_last() else { return false };
    let found = around.iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Item(index) => value.get_mut(index),
    });
    let Some(Value::Object(map)) = found else { return false };
    let Some(value) = map.remove(wrong) else { return false };
    if let Some(meant) = meant {
        map.entry(meant).or_insert(value);
    }
    true
}

fn leave_out(tree: &mut Value, section: &str) {
    let Value::Object(map) = tree else { return };
    map.remove(section);
    let beside = BESIDE.iter().filter(|(name, _)| *name == section).flat_map(|(_, beside)| *beside);
    beside.for_each(|key| drop(map.remove(*key)));
}

#[cfg(test)]
mod tests {
    use super::rest;
    use crate::config::AgentConfig;

    fn told(text: &str) -> Vec<String> {
        let mut config = AgentConfig::default();
        rest(text).apply(&mut config);
        config.mistakes().into_iter().map(|mistake| mistake.field).collect()
    }

    #[test]
    fn a_misspelt_word_hides_no_other_mistake() {
        let text = "drian: 5s\nmax_lease: 0s\nproxies: [{name: a, listen: '127.0.0.1:1', upstrem: b, wha: 1}]\n\
                    faults: {a: [{fault: {latency: {delay: 0s, jiter: 0s}}, percnt: 5}], b: []}\n";
        assert_eq!(told(text), ["max_lease", "proxies[0].upstream", "faults.a[0].fault.latency.delay", "faults.b"]);
    }

    #[test]
    fn what_depends_on_something_that_cannot_be_read_is_not_judged() {
        for text in [
            "proxies: [{name: a b, upstream: 'c:1'}]\nfaults: {a: [{fault: {reset: {}}}]}\nmax_lease: 0s\n",
            "listen: 0.0.0.0:1\ntls: 5\nmax_lease: 0s\n",
            "listen: 0.0.0.0:1\ntokns: /nowhere\nmax_lease: 0s\n",
            "listen: nowhere\nmax_lease: 0s\n",
        ] {
            assert_eq!(told(text), ["max_lease"], "{text}");
        }
        for text in ["- a", "a: [", "max_lease: 0s\nmax_lease: 0s\n"] {
            assert!(told(text).is_empty(), "{text}");
        }
    }
}
