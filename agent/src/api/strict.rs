//! JSON into values, with objects taken as objects only, and each key once.
//!
//! Derived readers also take a list for an object, its items in the order of the fields; nobody writes that on purpose,
//! and the description of the API does not allow it. Neighbours: `body` reads every body of `/v1` by this.
//! Invariant: a value that is read is one that the wire's JSON Schema describes, as far as its form goes.

use serde::{
    Deserialize, Deserializer, de,
    de::value::{MapDeserializer, SeqDeserializer},
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Number, Value};
use std::fmt;

/// A JSON value that is read so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strict<'de>(pub(super) &'de Value);

impl<'de> de::IntoDeserializer<'de, Error> for Strict<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Strict<'de> {
    fn unexpected(self) -> de::Unexpected<'de> {
        match self.0 {
            Value::Null => de::Unexpected::Unit,
            Value::Bool(value) => de::Unexpected::Bool(*value),
            Value::Number(number) => number
                .as_u64()
                .map(de::Unexpected::Unsigned)
                .or_else(|| number.as_i64().map(de::Unexpected::Signed))
                .unwrap_or_else(|| de::Unexpected::Float(number.as_f64().unwrap_or(f64::NAN))),
            Value::String(text) => de::Unexpected::Str(text),
            Value::Array(_) => de::Unexpected::Seq,
            Value::Object(_) => de::Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(Strict));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(fields) => {
                let mut fields = MapDeserializer::new(fields.iter().map(|(key, value)| (key.as_str(), Strict(value))));
                let value = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.0.is_object() {
            self.deserialize_any(visitor)
        } else {
            Err(de::Error::invalid_type(self.unexpected(), &visitor))
        }
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (name, content) = match self.0 {
            Value::String(name) => (name, None),
            Value::Object(fields) => match fields.iter().next() {
                Some((name, content)) if fields.len() == 1 => (name, Some(Strict(content))),
                _ => return Err(de::Error::invalid_value(self.unexpected(), &"one key that says which")),
            },
            _ => return Err(de::Error::invalid_type(self.unexpected(), &visitor)),
        };
        visitor.visit_enum(Choice { name, content })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// A variant by its name, and what is in it.
struct Choice<'de> {
    name: &'de str,
    content: Option<Strict<'de>>,
}

impl<'de> de::EnumAccess<'de> for Choice<'de> {
    type Error = Error;
    type Variant = Content<'de>;

    fn variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content<'de>), Error> {
        let name = de::value::BorrowedStrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, Content(self.content)))
    }
}

/// What is in a variant.
struct Content<'de>(Option<Strict<'de>>);

impl<'de> Content<'de> {
    fn there(self, wanted: &str) -> Result<Strict<'de>, Error> {
        self.0.ok_or_else(|| de::Error::invalid_type(de::Unexpected::UnitVariant, &wanted))
    }
}

impl<'de> de::VariantAccess<'de> for Content<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.0 {
            None => Ok(()),
            Some(content) => Err(de::Error::invalid_type(content.unexpected(), &"the word alone")),
        }
    }

    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.there("a key with what belongs to it")?)
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.there("a key with a list")?.deserialize_any(visitor)
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.there("a key with a map")?.deserialize_struct("", fields, visitor)
    }
}

/// A JSON value in which no object has a key twice. Its one error of its own is that one has, at the second.
pub(super) struct Unique(pub(super) Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> de::Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if all.contains_key(&key) {
                // Said as of the value, so that whoever keeps the path has the key in it.
                fields.next_value::<Twice>()?;
            }
            let Unique(value) = fields.next_value()?;
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

/// A value that there should not be.
struct Twice;

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("a key stands there twice"))
    }
}

#[cfg(test)]
mod tests {
    use super::Strict;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use squall_wire::{FaultKind, FaultSpec, ProxyPatch, ProxySpec};

    fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, String> {
        T::deserialize(Strict(value)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_as_it_should_be_reads_as_ever() {
        for example in FaultKind::CATALOGUE.iter().map(|kind| kind.example) {
            let spec: FaultSpec = serde_saphyr::from_str(&format!("{{fault: {example}}}")).unwrap();
            let value = serde_json::to_value(&spec).unwrap();
            assert_eq!(read::<FaultSpec>(&value), Ok(spec), "{example}");
        }
        let spec = json!({"name": "a", "upstream": "b:1", "enabled": false, "listen_tls": null});
        assert!(!read::<ProxySpec>(&spec).unwrap().enabled);
    }

    #[test]
    fn a_list_is_no_object_however_deep() {
        for value in [json!([null, null]), json!([]), json!("x"), json!(7), json!(null)] {
            assert!(read::<ProxyPatch>(&value).is_err(), "{value}");
        }
        for fault in [json!({"latency": ["800ms"]}), json!({"refuse": []}), json!("refuse"), json!({}), json!([1])] {
            assert!(read::<FaultSpec>(&json!({"fault": fault})).is_err(), "{fault}");
        }
        assert!(read::<FaultSpec>(&json!({"fault": {"refuse": {}}, "direction": {"both": null}})).is_err());
        let error = read::<FaultSpec>(&json!({"fault": {"latncy": {}}})).unwrap_err();
        assert!(error.starts_with("unknown variant `latncy`, expected one of `latency`"), "{error}");
    }
}
