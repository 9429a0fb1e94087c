//! A moment in one life of an agent, as the agent gives it out: from which traffic is counted, or events are told.
//!
//! Neighbours: `traffic` and `event` have them; `squall-agent` makes them.
//! Invariant: a mark of one life of an agent is never taken for one of another.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A moment in one life of an agent, told by eight hexadecimal digits and a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    life: String,
    number: u64,
}

/// Why a text is no mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mark: take one that the agent gave out")]
pub struct InvalidMark(String);

impl Mark {
    /// The moment with this number in the life of the agent with this `instance`.
    #[must_use]
    pub fn new(instance: &str, number: u64) -> Self {
        let digits = instance.chars().filter(char::is_ascii_hexdigit).take(8);
        let life: String = digits.map(|digit| digit.to_ascii_lowercase()).collect();
        Self { life: format!("{life:0>8}"), number }
    }

    /// Its number in that life.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is of the life of the agent with this `instance`.
    #[must_use]
    pub fn is_of(&self, instance: &str) -> bool {
        *self == Self::new(instance, self.number)
    }
}

impl FromStr for Mark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        let wrong = || InvalidMark(text.chars().take(40).collect());
        let (life, number) = text.split_once('-').ok_or_else(wrong)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = (1..=19).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        if life.len() != 8 || !life.bytes().all(is_hex) || !digits {
            return Err(wrong());
        }
        Ok(Self { life: life.to_owned(), number: number.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.life, self.number)
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Mark {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mark".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9a-f]{8}-[0-9]{1,19}$",
            "description": "A moment in one life of the agent, as the agent gave it out.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn a_mark_is_what_an_agent_gave_out() {
        let mark = Mark::new("0F3A22E1-77aa", 17);
        assert_eq!(mark.to_string(), "0f3a22e1-17");
        assert_eq!(mark.to_string().parse(), Ok(mark.clone()));
        assert!(mark.is_of("0f3a22e1-77aa") && !mark.is_of("1f3a22e1-77aa"));
        for text in ["", "0123abcd", "0123abcd-", "0123ABCD-1", "x123abcd-1", "0123abcd-1x", "0123abcd--1"] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }
}
