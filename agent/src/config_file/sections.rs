//! Every mistake in the shape of a configuration: the reader stops at its first, so it is asked again place by place,
//! with all others left out: section by section, proxy by proxy, rule by rule of the policy.
//!
//! Only a file that is known to be wrong comes here. Neighbours: `super` has the shape, `only` leaves the rest out.
//! Invariant: what is told here the reader of the whole file would have told too, once it had come so far.

mod only;

use super::{ConfigFile, Lines, told};
use only::{Only, Step};
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::Value;
use squall_wire::nearest::nearest;

/// Mistakes that are told, at most: each costs one reading of the file.
const MOST: usize = 100;

/// Every mistake in a text that is not a configuration; empty when it is not even a map of sections.
pub(super) fn mistakes(text: &str, lines: &Lines) -> Vec<String> {
    // A file with keys that are no words has no such tree; then its sections are asked as a whole.
    let tree: Value = serde_saphyr::from_str_with_options(text, super::options()).unwrap_or_default();
    let known = known_keys();
    let mut found = Vec::new();
    for (name, line) in lines.keys() {
        if !known.contains(&name) {
            let meant = nearest(name, known.iter().copied()).map(|word| format!(": did you mean `{word}`?"));
            found.push(format!("line {line}: there is no `{name}`{}", meant.unwrap_or_default()));
            continue;
        }
        let places = places(name, tree.get(name).unwrap_or(&Value::Null));
        found.extend(places.iter().take(MOST).filter_map(|place| read(text, place).err()));
    }
    found.truncate(MOST);
    found
}

/// The places of a section that are right or wrong by themselves.
fn places<'a>(section: &'a str, value: &'a Value) -> Vec<Vec<Step<'a>>> {
    let mut all = Vec::new();
    // Of a proxy and of a fault some keys are required, so each is asked as a whole; of the policy none is.
    let depth = match section {
        "proxies" => 1,
        "faults" => 2,
        "policy" => usize::MAX,
        _ => 0,
    };
    descend(value, depth, &mut vec![Step::Key(section)], &mut all);
    all
}

fn descend<'a>(value: &'a Value, depth: usize, path: &mut Vec<Step<'a>>, all: &mut Vec<Vec<Step<'a>>>) {
    let inside: Vec<(Step<'a>, &Value)> = match value {
        Value::Object(map) if depth > 0 => map.iter().map(|(key, value)| (Step::Key(key), value)).collect(),
        Value::Array(list) if depth > 0 => list.iter().enumerate().map(|(at, value)| (Step::Item(at), value)).collect(),
        _ => Vec::new(),
    };
    if inside.is_empty() {
        return all.push(path.clone());
    }
    for (step, value) in inside {
        path.push(step);
        descend(value, depth - 1, path, all);
        path.pop();
    }
}

/// Reads the configuration as if there were nothing in it but this place.
fn read(text: &str, place: &[Step<'_>]) -> Result<(), String> {
    let options = super::options();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |de| {
        ConfigFile::deserialize(Only::new(de, place)).map(drop)
    })
    .map_err(|error| told(&error))
}

/// The keys that a configuration has, as the reader itself names them.
fn known_keys() -> &'static [&'static str] {
    struct Names(&'static [&'static str]);
    impl<'de> Deserializer<'de> for &mut Names {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.visit_unit()
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0 = fields;
            visitor.visit_unit()
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut names = Names(&[]);
    // It fails, for there is nothing to read; what counts is what was asked for.
    let _ = ConfigFile::deserialize(&mut names);
    names.0
}

#[cfg(test)]
mod tests {
    use super::{super::Lines, known_keys};

    fn mistakes(text: &str) -> Vec<String> {
        super::mistakes(text, &Lines::read(text))
    }

    #[test]
    fn every_section_every_proxy_and_every_rule_is_asked_by_itself() {
        let text = "\
listen: nowhere
drian: 5s
max_lease: 300
policy:
  max_precent: 5
  upstreams: {allowed: ['10.*', 10.0.0.0/8, 'a b'], nevr: []}
  require_lease: maybe
  kinds: [latency]
proxies:
  - {name: a, upstrem: 'b:1'}
  - {name: good, upstream: 'b:1'}
  - {name: 'no name', upstream: 'b:1'}
tls: {cert: a.pem}
toxiproxy: maybe
";
        let found = mistakes(text);
        let lines: Vec<_> = found.iter().map(|told| told.split("line ").nth(1).unwrap_or(told)).collect();
        let starts: Vec<_> = lines.iter().map(|line| line.chars().take_while(char::is_ascii_digit).collect()).collect();
        assert_eq!(
            starts.iter().map(String::as_str).collect::<Vec<_>>(),
            ["1", "2", "3", "5", "6", "6", "6", "7", "10", "12", "13", "14"]
        );
        for (told, part) in found.iter().zip([
            "listen",
            "did you mean `drain`?",
            "`300s`",
            "did you mean `max_percent`?",
            "`10.*`",
            "`a b`",
            "did you mean `never`?",
            "maybe",
            "did you mean `upstream`?",
            "no name",
            "key",
            "maybe",
        ]) {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }

    #[test]
    fn the_known_keys_are_the_readers_own() {
        assert!(known_keys().contains(&"proxies") && known_keys().contains(&"policy"));
        assert!(!known_keys().contains(&"populate"), "Toxiproxy's list is no key");
    }

    #[test]
    fn every_key_is_in_the_docs() {
        let docs = include_str!("../../../docs/agent.md");
        let missing: Vec<_> = known_keys().iter().filter(|key| !docs.contains(&format!("\n| `{key}` |"))).collect();
        assert!(missing.is_empty(), "docs/agent.md does not know {missing:?}");
    }

    #[test]
    fn what_is_no_map_of_sections_has_no_sections_to_ask() {
        for text in ["- a", "just words", "a: [", "a: 1\na: 2"] {
            assert_eq!(mistakes(text), Vec::<String>::new(), "{text}");
        }
    }
}
