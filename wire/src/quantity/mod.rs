//! Quantities as people write them: `800ms`, `64KiB`, `1MB/s`, `30`.
//!
//! Each is a checked type with one parser and one printed form, which parse back to the same value. A number
//! without a unit is refused, with a message that shows the right form: what a bare `800` means is anybody's guess.
//! Neighbours: every other module of this crate, and the tolerances in `squall-engine`.

mod percent;
mod rate;
mod size;
mod span;

pub use percent::Percent;
pub use rate::ByteRate;
pub use size::ByteSize;
pub use span::{Span, SpanOrForever};

/// Why a text is not the quantity that was asked for. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidQuantity(pub(crate) String);

/// Splits `1.5s` into the number and the unit behind it; `None` where there is no number in front.
pub(crate) fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

/// Writes `value / unit` with as many decimals as it needs, at most six.
pub(crate) fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Serde and JSON Schema for a quantity that is written as text and parsed by `FromStr`.
macro_rules! text_quantity {
    ($type:ty, $name:literal, $example:literal, $pattern:literal, $about:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!($name, " such as `", $example, "`"))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^(", $pattern, $crate::or_variable!(), ")$"),
                    "description": $about,
                    "examples": [$example],
                })
            }
        }
    };
}
pub(crate) use text_quantity;
