//! Where a journal is: an SQLite file, or a PostgreSQL database by its URL.
//!
//! Neighbours: `open` connects, the command line parses one from what was typed.
//! Invariant: a password in a URL is in no text that this gives out, `Debug` included.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use url::Url;

/// Where a journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalPlace {
    /// An SQLite file; made when it is not there.
    File(PathBuf),
    /// A database of a PostgreSQL server; it must be there, the tables are made.
    Postgres(PostgresUrl),
}

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`, shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Arc<str>);

/// Parameters of a URL that are as secret as a password in it.
const SECRET_PARAMETERS: [&str; 3] = ["password", "sslpassword", "passfile"];

impl PostgresUrl {
    /// The whole URL, for connecting.
    #[must_use]
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    fn shown(&self) -> String {
        let Ok(mut url) = Url::parse(&self.0) else { return "postgres://***".to_owned() };
        // Neither fails: a URL that was parsed has a host, or has no user either.
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return "postgres://***".to_owned();
        }
        if url.query_pairs().any(|(key, _)| SECRET_PARAMETERS.contains(&&*key)) {
            let shown = |key: &str, value: &str| match SECRET_PARAMETERS.contains(&key) {
                true => format!("{key}=***"),
                false => format!("{key}={value}"),
            };
            let pairs: Vec<_> = url.query_pairs().map(|(key, value)| shown(&key, &value)).collect();
            url.set_query(Some(&pairs.join("&")));
        }
        url.to_string()
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresUrl({})", self.shown())
    }
}

impl JournalPlace {
    /// Whether it is known, without connecting, that nothing is there yet.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(path) if !path.exists())
    }

    /// The same for every way to write the same journal, and without users and passwords: what a spool belongs to.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::File(path) => {
                let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.clone());
                path.display().to_string()
            }
            Self::Postgres(PostgresUrl(text)) => match Url::parse(text) {
                Ok(url) => {
                    let parameter = |name: &str| {
                        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
                    };
                    let host = parameter("host").or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
                    let port = parameter("port").and_then(|port| port.parse().ok()).or(url.port()).unwrap_or(5432);
                    let database = parameter("dbname").unwrap_or_else(|| url.path().trim_start_matches('/').to_owned());
                    format!("postgres://{host}:{port}/{database}")
                }
                Err(_) => "postgres://".to_owned(),
            },
        }
    }
}

impl std::fmt::Display for JournalPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(&url.shown()),
        }
    }
}

impl From<&str> for JournalPlace {
    fn from(text: &str) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Self::Postgres(PostgresUrl(text.into()));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        Self::File(path.into())
    }
}

impl From<&Path> for JournalPlace {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for JournalPlace {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Self> for JournalPlace {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::JournalPlace;

    #[test]
    fn no_password_is_shown_in_any_way() {
        for url in [
            "postgres://me:hunter2@db:5433/squall?sslmode=require",
            "postgresql://me:hunter2@db/squall",
            "postgres://me@db/squall?password=hunter2&sslmode=require",
            "postgres://me:hunter2@:not a url",
        ] {
            let place = JournalPlace::from(url);
            assert!(matches!(place, JournalPlace::Postgres(_)));
            for text in [place.to_string(), format!("{place:?}"), place.identity()] {
                assert!(!text.contains("hunter2"), "{text}");
            }
        }
        let place = JournalPlace::from("postgres://me:hunter2@db:5433/squall?sslmode=require");
        assert_eq!(place.to_string(), "postgres://me:***@db:5433/squall?sslmode=require");
    }

    #[test]
    fn the_same_database_is_known_again_whoever_connects() {
        let one = JournalPlace::from("postgres://me:hunter2@db/squall?sslmode=require");
        assert_eq!(one.identity(), JournalPlace::from("postgresql://you@db:5432/squall").identity());
        assert_ne!(one.identity(), JournalPlace::from("postgres://db/other").identity());
        assert_eq!(JournalPlace::from("sqlite:a/b.db"), JournalPlace::from("a/b.db"));
    }
}
