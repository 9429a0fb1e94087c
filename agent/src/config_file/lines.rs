//! Where each field of a configuration stands: from `proxies[1].listen` to a line of the file.
//!
//! Neighbours: `super` reads it beside the values; `config` tells its mistakes by it; the binary's `cli` takes out what the
//! command line has said otherwise. Invariant: a line is that of the field, or of the nearest thing around it that is
//! written there; what does not come from the file has none.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;
use std::fmt;

/// The lines of a file.
#[derive(Debug, Clone, Default)]
pub struct Lines(Inside);

/// What there is in a map, in a list, or in nothing that has parts.
#[derive(Debug, Clone, Default)]
enum Inside {
    #[default]
    Nothing,
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

/// A field or an item.
#[derive(Debug, Clone)]
struct Node {
    line: u64,
    inside: Inside,
}

impl Lines {
    /// Those of a text; none when it is not YAML.
    pub(super) fn read(text: &str) -> Self {
        Self(serde_saphyr::from_str_with_options(text, super::options()).unwrap_or_default())
    }

    /// The line of a field.
    #[must_use]
    pub fn of(&self, field: &str) -> Option<u64> {
        let (mut inside, mut rest, mut line) = (&self.0, field, None);
        loop {
            let found = match inside {
                Inside::Map(fields) => field_of(fields, rest),
                // An item that is not there was added by somebody else.
                Inside::List(items) if rest.starts_with('[') => Some(item_of(items, rest)?),
                Inside::List(_) | Inside::Nothing => None,
            };
            let Some((node, after)) = found else { return line };
            line = Some(node.line);
            (inside, rest) = (&node.inside, after.strip_prefix('.').unwrap_or(after));
        }
    }

    /// The keys of the file, with their lines.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, u64)> {
        let fields = match &self.0 {
            Inside::Map(fields) => fields.as_slice(),
            Inside::List(_) | Inside::Nothing => &[],
        };
        fields.iter().map(|(key, node)| (key.as_str(), node.line))
    }

    /// A key whose value comes from elsewhere now.
    pub fn forget(&mut self, key: &str) {
        if let Inside::Map(fields) = &mut self.0 {
            fields.retain(|(name, _)| name != key);
        }
    }

    /// Some items of a list are no longer in it: it says for each whether it stays.
    pub fn retain(&mut self, key: &str, mut stays: impl Iterator<Item = bool>) {
        let Inside::Map(fields) = &mut self.0 else { return };
        for (_, node) in fields.iter_mut().filter(|(name, _)| name == key) {
            if let Inside::List(items) = &mut node.inside {
                items.retain(|_| stays.next().unwrap_or(true));
            }
        }
    }
}

/// The field that a path begins with, and the rest of the path. A name may have dots in it, so the longest counts.
fn field_of<'a, 'p>(fields: &'a [(String, Node)], path: &'p str) -> Option<(&'a Node, &'p str)> {
    let begun = fields.iter().filter_map(|(key, node)| {
        let rest = path.strip_prefix(key.as_str())?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some((node, rest))
    });
    begun.min_by_key(|(_, rest)| rest.len())
}

fn item_of<'a, 'p>(items: &'a [Node], path: &'p str) -> Option<(&'a Node, &'p str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((items.get(index.parse::<usize>().ok()?)?, rest))
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Inside;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("YAML")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
                let mut fields = Vec::new();
                while let Some(Spanned { value, referenced, .. }) = map.next_key::<Spanned<String>>()? {
                    fields.push((value, Node { line: referenced.line(), inside: map.next_value()? }));
                }
                Ok(Inside::Map(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inside, A::Error> {
                let mut items = Vec::new();
                while let Some(Spanned { value, referenced, .. }) = list.next_element::<Spanned<Inside>>()? {
                    items.push(Node { line: referenced.line(), inside: value });
                }
                Ok(Inside::List(items))
            }

            fn visit_unit<E>(self) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }

            fn visit_none<E>(self) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }

            fn visit_str<E>(self, _: &str) -> Result<Inside, E> {
                Ok(Inside::Nothing)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    const TEXT: &str = "\
name: edge
max_lease: 2m
proxies:
  - name: a
    listen: 127.0.0.1:1

    upstream: b:1
  - {name: c,
     upstream: d:1}
labels: {}
drain:
faults:
  a.b:
    - fault: {latency: {delay: 1s}}
      percent: 5
  a:
    - fault:
        reset: {}
";

    #[test]
    fn a_field_has_the_line_that_it_stands_on_or_that_of_what_it_is_missing_from() {
        let lines = Lines::read(TEXT);
        for (field, line) in [
            ("name", 1),
            ("max_lease", 2),
            ("proxies", 3),
            ("proxies[0]", 4),
            ("proxies[0].upstream", 7),
            ("proxies[0].protocol", 4),
            ("proxies[1].listen", 8),
            ("proxies[1].upstream", 9),
            ("drain", 11),
            ("faults.a.b[0].percent", 15),
            ("faults.a.b[0].fault.latency.delay", 14),
            ("faults.a[0].fault.reset", 18),
            ("faults.c", 12),
        ] {
            assert_eq!(lines.of(field), Some(line), "{field}");
        }
        for field in ["listen", "proxies[2].listen", "nam", ""] {
            assert_eq!(lines.of(field), None, "{field}");
        }
        assert_eq!(Lines::read("a: [").of("a"), None);
    }

    #[test]
    fn what_the_command_line_says_has_no_line() {
        let mut lines = Lines::read(TEXT);
        lines.forget("max_lease");
        lines.retain("proxies", [false, true].into_iter());
        assert_eq!(lines.of("max_lease"), None);
        assert_eq!((lines.of("proxies[0].upstream"), lines.of("proxies[1].upstream")), (Some(9), None));
    }
}
