//! What can be said of the sandbox: the patterns that its shop lacks, and its database.
//!
//! Neighbours: `environment` and `document` have it in their files, whoever starts the sandbox does it. Invariant: a URL with
//! a password is never shown.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

/// The shop of the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShopEntry {
    /// Patterns that are switched off: `circuit-breaker`, `retry`, …
    pub without: Vec<String>,
    /// Its database: `sqlite`, which it has when absent; `postgres`, one of its own behind the agent's proxy `database`; or the
    /// address of one that there is, behind that proxy as well.
    pub database: Option<ShopDatabase>,
}

/// What an experiment needs of the sandbox; elsewhere, the environment has to have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxDoc {
    /// `postgres`: the shop has a PostgreSQL server of its own, behind the agent's proxy `database`.
    pub database: Option<OwnDatabase>,
}

/// A database that comes with the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnDatabase {
    /// A file, which no proxy can be put before.
    #[default]
    Sqlite,
    /// A PostgreSQL server, which is started for it and reached through the proxy `database`.
    Postgres,
}

/// The database of the sandbox's shop.
#[derive(Clone, PartialEq, Eq)]
pub enum ShopDatabase {
    /// One that comes with it.
    Own(OwnDatabase),
    /// A PostgreSQL server that there is: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    At(Arc<str>),
}

impl Default for ShopDatabase {
    fn default() -> Self {
        Self::Own(OwnDatabase::Sqlite)
    }
}

/// A text that is no database of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no database of the sandbox: write `sqlite`, `postgres` or postgres://USER:PASSWORD@HOST:PORT/DATABASE"
)]
pub struct NoDatabase;

impl FromStr for ShopDatabase {
    type Err = NoDatabase;

    fn from_str(text: &str) -> Result<Self, NoDatabase> {
        match text.trim() {
            "sqlite" => Ok(Self::Own(OwnDatabase::Sqlite)),
            "postgres" => Ok(Self::Own(OwnDatabase::Postgres)),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Self::At(url.into())),
            _ => Err(NoDatabase),
        }
    }
}

impl fmt::Debug for ShopDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(own) => write!(f, "{own:?}"),
            Self::At(_) => f.write_str("At(***)"),
        }
    }
}

impl<'de> Deserialize<'de> for ShopDatabase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ShopDatabase {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ShopDatabase".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(sqlite|postgres|postgres(ql)?://.+|.*\\$\\{.+\\}.*)$",
            "description": "`sqlite`, `postgres`, or the address of a PostgreSQL server",
            "examples": ["postgres"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{OwnDatabase, ShopDatabase};

    #[test]
    fn a_database_is_a_word_or_an_address_which_is_not_shown() {
        assert_eq!("postgres".parse(), Ok(ShopDatabase::Own(OwnDatabase::Postgres)));
        let url = "postgres://shop:verysecret@db/shop".parse::<ShopDatabase>().unwrap();
        assert!(!format!("{url:?}").contains("verysecret"));
        for wrong in ["", "mysql", "mysql://a/b", "shop.db"] {
            assert!(wrong.parse::<ShopDatabase>().is_err(), "{wrong}");
        }
    }
}
