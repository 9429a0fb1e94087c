//! A serde deserializer over the tree, whose errors know where they happened and what to take out to go on.
//!
//! Scalars are given as what the reader asks for: a text takes `42` as it stands, a quantity sees whether it was a
//! number or a word. Neighbours: `read` drives it, the document types are what it fills.

use super::{
    node::{Entry, Mark, Node, Spot, Value},
    scalar::{self, Meaning},
};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor, value::StrDeserializer};
use std::fmt;

/// Why the tree is not what was asked for, and where.
#[derive(Debug)]
pub(super) struct DeError {
    pub(super) why: Why,
    /// Where to point.
    pub(super) mark: Option<Mark>,
    /// What to take out to go on, as child indices from the innermost outwards.
    pub(super) path: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Why {
    /// As the type says it.
    Custom(String),
    /// Another kind of value.
    Type { expected: String, found: Option<String> },
    /// A key that is not known here.
    UnknownField { field: String, known: &'static [&'static str] },
    /// A word that is not known here.
    UnknownVariant { variant: String, known: &'static [&'static str] },
    /// A key that must be there.
    MissingField(&'static str),
    /// It follows from a mistake that was told before.
    Silent,
}

impl DeError {
    fn new(why: Why) -> Self {
        Self { why, mark: None, path: Vec::new() }
    }

    /// It happened in the child of this index, which stands there.
    fn inside(mut self, index: usize, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self.path.push(index);
        self
    }

    fn at(mut self, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self
    }

    /// Says what was found instead, where that is this node itself.
    fn found(mut self, node: &Node) -> Self {
        if let Why::Type { found: found @ None, .. } = &mut self.why
            && self.path.is_empty()
        {
            *found = Some(node.what());
        }
        self
    }
}

impl std::error::Error for DeError {}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.why)
    }
}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Why::Custom(message.to_string()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Why::Type { expected: in_words(&expected.to_string()), found: None })
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Why::Type { expected: in_words(&expected.to_string()), found: None })
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(Why::UnknownVariant { variant: variant.to_owned(), known })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(Why::UnknownField { field: field.to_owned(), known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Why::MissingField(field))
    }
}

/// What serde calls a type, in a user's words.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" => "a text",
        "a sequence" => "a list",
        other => other,
    }
    .to_owned()
}

/// A node as a deserializer.
#[derive(Clone, Copy)]
pub(super) struct NodeDe<'a>(pub(super) &'a Node);

impl<'a> NodeDe<'a> {
    fn wrong(self, expected: impl Into<String>) -> DeError {
        DeError::new(Why::Type { expected: expected.into(), found: Some(self.0.what()) })
    }

    fn is_nothing(self) -> bool {
        matches!(&self.0.value, Value::Scalar { text, plain } if scalar::is_nothing(text, *plain))
    }

    fn map<'de, V: Visitor<'de>>(self, entries: &'a [Entry], visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_map(Entries { entries, next: 0 })
    }
}

impl<'de> Deserializer<'de> for NodeDe<'_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let result = match (&self.0.value, scalar::meaning(&self.0.value)) {
            (Value::Map { entries, .. }, _) => self.map(entries, visitor),
            (Value::List { items, .. }, _) => visitor.visit_seq(Items { items, next: 0 }),
            (_, Some(Meaning::Bool(value))) => visitor.visit_bool(value),
            (_, Some(Meaning::Unsigned(value))) => visitor.visit_u64(value),
            (_, Some(Meaning::Signed(value))) => visitor.visit_i64(value),
            (_, Some(Meaning::Float(value))) => visitor.visit_f64(value),
            (_, Some(Meaning::Text(value))) => visitor.visit_str(value),
            (_, Some(Meaning::Nothing) | None) => visitor.visit_unit(),
        };
        result.map_err(|error| error.found(self.0))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.value {
            Value::Scalar { text, .. } if !self.is_nothing() => {
                visitor.visit_str(text).map_err(|error: DeError| error.found(self.0))
            }
            _ => Err(self.wrong("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.value {
            Value::List { items, .. } => visitor.visit_seq(Items { items, next: 0 }),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.value {
            Value::Map { entries, .. } => self.map(entries, visitor),
            _ if self.is_nothing() => self.map(&[], visitor),
            _ => Err(self.wrong("a map: `key: value`")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let entries: &[Entry] = match &self.0.value {
            Value::Map { entries, .. } => entries,
            _ if self.is_nothing() => &[],
            _ if fields.is_empty() => return Err(self.wrong("`{}`")),
            _ => return Err(self.wrong(format!("a map with {}", crate::diagnostic::one_of(fields)))),
        };
        self.map(entries, visitor).map_err(|error| match error.why {
            Why::MissingField(field) if error.path.is_empty() && (self.0.had(field) || self.0.had_nearly(&[field])) => {
                DeError::new(Why::Silent)
            }
            _ => error,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let known = crate::diagnostic::one_of(variants);
        let (name, mark, content) = match &self.0.value {
            Value::Scalar { text, .. } if !self.is_nothing() => (text, self.0.mark, None),
            Value::Map { entries, .. } if entries.len() == 1 && !self.0.has_lost() => {
                (&entries[0].key, entries[0].key_mark, Some(&entries[0]))
            }
            Value::Map { .. } if self.0.has_lost() => return Err(DeError::new(Why::Silent)),
            Value::Map { entries, .. } if entries.len() > 1 => {
                let error = format!("one key only: `{}` and `{}` stand here together", entries[0].key, entries[1].key);
                return Err(DeError::new(Why::Custom(error)).at(entries[1].key_mark));
            }
            _ => return Err(self.wrong(known)),
        };
        visitor.visit_enum(Variant { name, mark, content }).map_err(|error| error.found(self.0))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier
    }
}

struct Entries<'a> {
    entries: &'a [Entry],
    next: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, DeError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.inside(self.next, entry.key_mark))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DeError> {
        let Some(entry) = self.entries.get(self.next) else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let index = self.next;
        self.next += 1;
        seed.deserialize(NodeDe(&entry.value)).map_err(|error| error.inside(index, Spot::of(entry).mark()))
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(NodeDe(item)).map(Some).map_err(|error| error.inside(index, Spot::root(item).mark()))
    }
}

struct Variant<'a> {
    name: &'a str,
    mark: Mark,
    content: Option<&'a Entry>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = DeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DeError> {
        let name: StrDeserializer<'_, DeError> = self.name.into_deserializer();
        let value = seed.deserialize(name).map_err(|error| error.at(self.mark))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        match self.content {
            Some(entry) if !NodeDe(&entry.value).is_nothing() && entry.value.size() > 1 => {
                let message = format!("`{}` takes no parameters: write `{}`", self.name, self.name);
                Err(DeError::new(Why::Custom(message)).at(self.mark))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DeError> {
        match self.content {
            Some(entry) => seed
                .deserialize(NodeDe(&entry.value))
                // An error in what it holds prunes that only; one of what it holds prunes the entry.
                .map_err(|error| error.inside(0, Spot::of(entry).mark())),
            None => {
                let message = format!("`{}` is a key with its parameters: write `{{{}: {{…}}}}`", self.name, self.name);
                Err(DeError::new(Why::Custom(message)).at(self.mark))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DeError> {
        Err(de::Error::custom("a list cannot stand here"))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, DeError> {
        match self.content {
            Some(entry) => NodeDe(&entry.value)
                .deserialize_struct("", fields, visitor)
                .map_err(|error| error.inside(0, Spot::of(entry).mark())),
            None => Err(de::Error::custom("a map must follow")),
        }
    }
}
