//! A document of which all is left out but one place: what is read through it sees maps with one key and lists with
//! one item, down to that place, and from there on everything.
//!
//! `sections.rs` asks by it. Invariant: what is seen is seen where it stands, so that an error tells its line.

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use std::fmt;

/// One step on the way to a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// What is on the way to a place: a deserializer, a visitor, a map, a list, or the seed of a value.
pub(super) struct Only<'a, T> {
    inner: T,
    place: &'a [Step<'a>],
}

impl<'a, T> Only<'a, T> {
    pub(super) fn new(inner: T, place: &'a [Step<'a>]) -> Self {
        Self { inner, place }
    }
}

impl<'a, 'de, D: Deserializer<'de>> Deserializer<'de> for Only<'a, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = Only::new(visitor, self.place);
        match self.place {
            [Step::Key(_), ..] => self.inner.deserialize_map(visitor),
            [Step::Item(_), ..] => self.inner.deserialize_seq(visitor),
            [] => self.inner.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'a, 'de, V: Visitor<'de>> Visitor<'de> for Only<'a, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Only::new(map, self.place))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let (at, place) = match self.place {
            [Step::Item(at), rest @ ..] => (*at, rest),
            _ => return Err(A::Error::custom("a list where there was none")),
        };
        self.inner.visit_seq(OnlyItem { list, before: Some(at), place })
    }
}

impl<'a, 'de, A: MapAccess<'de>> MapAccess<'de> for Only<'a, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let [Step::Key(wanted), ..] = self.place else { return Err(A::Error::custom("a map where there was none")) };
        let mut seed = Some(seed);
        while let Some(found) = self.inner.next_key_seed(KeyIf { wanted, seed: &mut seed })? {
            if found.is_some() {
                return Ok(found);
            }
            self.inner.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Only::new(seed, self.place.get(1..).unwrap_or_default()))
    }
}

impl<'a, 'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Only<'a, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        if self.place.is_empty() {
            return self.inner.deserialize(deserializer);
        }
        self.inner.deserialize(Only::new(deserializer, self.place))
    }
}

/// A key, if it is this one: then what the seed makes of it, in its place.
struct KeyIf<'a, K> {
    wanted: &'a str,
    seed: &'a mut Option<K>,
}

impl<'a, 'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeyIf<'a, K> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'a, 'de, K: DeserializeSeed<'de>> Visitor<'de> for KeyIf<'a, K> {
    type Value = Option<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        match self.seed.take_if(|_| key == self.wanted) {
            Some(seed) => seed.deserialize(key.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }
}

/// A list of which one item is seen.
struct OnlyItem<'a, A> {
    list: A,
    /// Items before it; none when it was seen.
    before: Option<usize>,
    place: &'a [Step<'a>],
}

impl<'a, 'de, A: SeqAccess<'de>> SeqAccess<'de> for OnlyItem<'a, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let Some(before) = self.before.take() else {
            while self.list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        for _ in 0..before {
            self.list.next_element::<IgnoredAny>()?;
        }
        self.list.next_element_seed(Only::new(seed, self.place))
    }
}
