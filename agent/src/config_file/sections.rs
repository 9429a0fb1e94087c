//! Every mistake in the shape of a configuration: the reader stops at its first, so it is asked again section by
//! section, and proxy by proxy, with all others left out.
//!
//! Only a file that is known to be wrong comes here. Neighbours: `super` has the shape.
//! Invariant: what is told here the reader of the whole file would have told too, once it had come so far.

use super::{ConfigFile, told};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::{Error, Spanned};
use squall_wire::{ProxySpec, nearest::nearest};
use std::{fmt, marker::PhantomData};

/// Mistakes that are told, at most: each costs one reading of the file.
const MOST: usize = 100;

/// Every mistake in a text that is not a configuration; empty when it is not even a map of sections.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    let Ok(keys) = read(text, PhantomData::<Keys>) else { return Vec::new() };
    let known = known_keys();
    let mut found = Vec::new();
    for key in &keys.0 {
        let (name, line) = (&key.value, key.referenced.line());
        if !known.contains(&name.as_str()) {
            let meant = nearest(name, known.iter().copied()).map(|word| format!(": did you mean `{word}`?"));
            found.push(format!("line {line}: there is no `{name}`{}", meant.unwrap_or_default()));
            continue;
        }
        match read(text, InProxies(Length)) {
            Ok(Some(count)) if name == "proxies" => {
                let each = (0..count).take(MOST).filter_map(|index| read(text, InProxies(Item(index))).err());
                found.extend(each.map(|error| told(&error)));
            }
            _ => found.extend(read(text, Section(name)).err().map(|error| told(&error))),
        }
    }
    found.truncate(MOST);
    found
}

fn read<T>(text: &str, seed: impl for<'de> DeserializeSeed<'de, Value = T>) -> Result<T, Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, super::options(), |de| seed.deserialize(de))
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

/// The top-level keys, with their places.
struct Keys(Vec<Spanned<String>>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a configuration")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = map.next_key()? {
                    keys.push(key);
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// The configuration with one section only.
struct Section<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let only = Only { map, key: self.0 };
        ConfigFile::deserialize(MapAccessDeserializer::new(only)).map(drop)
    }
}

/// A map that seems to have one key.
struct Only<'a, A> {
    map: A,
    key: &'a str,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Only<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key == self.key {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            self.map.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// What a seed makes of the value of `proxies`, if there is one.
struct InProxies<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for InProxies<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for InProxies<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut only = Only { map, key: "proxies" };
        let (mut seed, mut found) = (Some(self.0), None);
        while only.next_key::<IgnoredAny>()?.is_some() {
            match seed.take() {
                Some(seed) => found = Some(only.next_value_seed(seed)?),
                None => drop(only.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// How many there are.
struct Length;

impl<'de> DeserializeSeed<'de> for Length {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        Ok(Vec::<IgnoredAny>::deserialize(deserializer)?.len())
    }
}

/// The one with this index; the others may be whatever they are.
struct Item(usize);

impl<'de> DeserializeSeed<'de> for Item {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Item {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of proxies")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for _ in 0..self.0 {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element::<ProxySpec>()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{known_keys, mistakes};

    #[test]
    fn every_section_and_every_proxy_is_asked_by_itself() {
        let text = "\
listen: nowhere
drian: 5s
max_lease: 300
policy:
  max_precent: 5
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
        assert_eq!(starts.iter().map(String::as_str).collect::<Vec<_>>(), ["1", "2", "3", "5", "7", "9", "10", "11"]);
        for (told, part) in found.iter().zip([
            "listen",
            "did you mean `drain`?",
            "`300s`",
            "did you mean `max_percent`?",
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
    fn what_is_no_map_of_sections_has_no_sections_to_ask() {
        for text in ["- a", "just words", "a: [", "a: 1\na: 2"] {
            assert_eq!(mistakes(text), Vec::<String>::new(), "{text}");
        }
    }
}
