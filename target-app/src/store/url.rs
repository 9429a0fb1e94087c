//! Which database a shop has: an SQLite file, or PostgreSQL by its address.
//!
//! Neighbours: the command line reads it, `sqlite.rs` and `postgres.rs` connect.
//!
//! Invariant: a password is in neither `Display` nor `Debug`.

use sqlx::postgres::PgConnectOptions;
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where the database is: `FILE`, `sqlite:FILE` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Place);

#[derive(Clone)]
pub(super) enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// A text that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no database{because}: write FILE, sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
pub struct InvalidDatabase {
    because: String,
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabase;

    fn from_str(text: &str) -> Result<Self, InvalidDatabase> {
        let invalid = |because: String| InvalidDatabase { because };
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let options: PgConnectOptions = text.parse().map_err(|error| invalid(format!(" ({error})")))?;
            return match options.get_database() {
                Some(_) => Ok(Self(Place::Postgres(Box::new(options.application_name("squall-shop"))))),
                None => Err(invalid(" (the address has no name of a database)".to_owned())),
            };
        }
        let file = match text.strip_prefix("sqlite:") {
            Some(file) => file.strip_prefix("//").unwrap_or(file),
            // A scheme that is another database's, and not a file with a colon in its name.
            None if text.contains("://") => return Err(invalid(" (of this scheme)".to_owned())),
            None => text,
        };
        match file {
            "" => Err(invalid(" (the name is empty)".to_owned())),
            ":memory:" => Err(invalid(
                " (one in memory is not shared by connections; leave it out for a temporary file)".to_owned(),
            )),
            file => Ok(Self::from(Path::new(file))),
        }
    }
}

impl DatabaseUrl {
    /// Where its server is reached over TCP; none for a file, and for a server behind a Unix socket.
    #[must_use]
    pub fn server(&self) -> Option<(String, u16)> {
        match &self.0 {
            Place::Postgres(to) if to.get_socket().is_none() => Some((to.get_host().to_owned(), to.get_port())),
            Place::Postgres(_) | Place::Sqlite(_) => None,
        }
    }

    /// The same database by another address, such as that of a proxy before it.
    #[must_use]
    pub fn through(&self, address: SocketAddr) -> Self {
        match &self.0 {
            Place::Postgres(to) => {
                let to = (**to).clone().host(&address.ip().to_string()).port(address.port());
                Self(Place::Postgres(Box::new(to)))
            }
            Place::Sqlite(file) => Self(Place::Sqlite(file.clone())),
        }
    }
}

impl From<&Path> for DatabaseUrl {
    fn from(file: &Path) -> Self {
        Self(Place::Sqlite(file.to_owned()))
    }
}

impl From<PathBuf> for DatabaseUrl {
    fn from(file: PathBuf) -> Self {
        Self(Place::Sqlite(file))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Place::Postgres(to) => {
                let database = to.get_database().unwrap_or_default();
                write!(f, "postgres://{}@{}:{}/{database}", to.get_username(), to.get_host(), to.get_port())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::DatabaseUrl;

    #[test]
    fn a_file_may_stand_alone_and_a_password_is_never_shown() {
        for (text, shown) in [
            ("shop.sqlite", "sqlite:shop.sqlite"),
            ("sqlite:/var/shop.sqlite", "sqlite:/var/shop.sqlite"),
            ("sqlite://shop.sqlite", "sqlite:shop.sqlite"),
            ("postgres://shop:secret@db:5433/orders", "postgres://shop@db:5433/orders"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }

    #[test]
    fn what_is_no_database_is_told_what_is() {
        for text in ["", "sqlite:", "mysql://a/b", "postgres://db:x/y", "postgres://shop@db", ":memory:"] {
            let message = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(message.contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE"), "{text}: {message}");
        }
    }
}
