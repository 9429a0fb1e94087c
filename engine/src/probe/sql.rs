//! Asks SQLite or PostgreSQL for one value, and changes nothing.
//!
//! ```text
//! open once (read-only) ─▶ [ begin read only, limit its time ─▶ the statement ─▶ one row, one column ─▶ roll back ] ─▶ Seen
//!      ▲                                                                                             │
//!      └─────────────────────────────── again after any failure ─────────────────────────────────────┘
//! ```
//!
//! A reading that is given up drops its connection, and the database ends the statement at the same time-out by itself.
//! Neighbours: `probe` calls it on the clock, limits its time and takes secrets out of its texts.
//! Invariant: no row, several, several columns and null are failed readings; none of them is taken for 0.

use super::{Seen, Unread};
use crate::{experiment::SqlPlan, fetch::plain_cause};
use futures::TryStreamExt;
use parking_lot::Mutex;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Executor, Row, SqlSafeStr, TypeInfo, ValueRef,
    postgres::{PgConnectOptions, PgConnection, PgRow},
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow},
};
use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

/// SQLite asks after so many of its steps whether it shall go on: every millisecond or so.
const STEPS: i32 = 10_000;

pub(super) struct SqlProbe {
    database: Database,
    query: String,
    timeout: Duration,
    /// Kept from reading to reading; taken out while one is under way, so that one that is given up ends it.
    open: Option<Open>,
}

enum Database {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

enum Open {
    Postgres(Box<PgConnection>),
    /// With the time at which its statement ends.
    Sqlite(Box<SqliteConnection>, Arc<Mutex<Instant>>),
}

/// A value as it was read: its text, and the number that it is, if it is one.
type Read = (String, Option<f64>);

/// Whether a database of this URL can be asked.
///
/// # Errors
/// What is wrong with it, without the URL.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    Database::of(url, std::path::Path::new("")).map(|_| ())
}

impl Database {
    fn of(url: &str, directory: &std::path::Path) -> Result<Self, String> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "postgres" | "postgresql" => {
                let parsed = url::Url::parse(url).map_err(|error| error.to_string())?;
                if parsed.host().is_none() && !parsed.query_pairs().any(|(name, _)| name == "host") {
                    return Err("the host is missing".to_owned());
                }
                let options = PgConnectOptions::from_str(url).map_err(|error| cause(&error))?;
                Ok(Self::Postgres(Box::new(options.application_name("squall").disable_statement_logging())))
            }
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url).map_err(|error| cause(&error))?;
                let file = directory.join(options.get_filename());
                if url.contains(":memory:") || url.contains("mode=memory") || file.as_os_str().is_empty() {
                    return Err("a database in memory is nobody's but ours: name a file".to_owned());
                }
                let options = options.filename(file).read_only(true).create_if_missing(false);
                Ok(Self::Sqlite(Box::new(options.disable_statement_logging())))
            }
            _ => Err("it begins with neither `postgres://` nor `sqlite:`".to_owned()),
        }
    }
}

impl SqlProbe {
    pub(super) fn new(plan: &SqlPlan, timeout: Duration) -> Result<Self, Unread> {
        let database = Database::of(&plan.url, &plan.directory).map_err(Unread::new)?;
        Ok(Self { database, query: plan.query.clone(), timeout, open: None })
    }

    pub(super) async fn read(&mut self) -> Result<Seen, Unread> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open().await.map_err(|error| Unread::new(format!("failed to connect: {}", cause(&error))))?,
        };
        let (text, value) = open.ask(&self.query, self.timeout).await?;
        self.open = Some(open);
        Ok(Seen { value, text: Some(text), ..Seen::default() })
    }

    async fn open(&self) -> Result<Open, sqlx::Error> {
        match &self.database {
            Database::Postgres(options) => {
                let mut connection = PgConnection::connect_with(options).await?;
                // Readings are sent as plain text, to be answered so whatever the type; here it is made sure that this
                // is one statement, and one that the database understands.
                connection.prepare(AssertSqlSafe(self.query.clone()).into_sql_str()).await?;
                Ok(Open::Postgres(Box::new(connection)))
            }
            Database::Sqlite(options) => {
                let options = (**options).clone().busy_timeout(self.timeout);
                let mut connection = SqliteConnection::connect_with(&options).await?;
                let until = Arc::new(Mutex::new(Instant::now() + self.timeout));
                let deadline = Arc::clone(&until);
                connection.lock_handle().await?.set_progress_handler(STEPS, move || Instant::now() < *deadline.lock());
                Ok(Open::Sqlite(Box::new(connection), until))
            }
        }
    }
}

impl Open {
    async fn ask(&mut self, query: &str, timeout: Duration) -> Result<Read, Unread> {
        match self {
            Self::Postgres(connection) => {
                let limit = timeout.as_millis().max(1);
                let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}");
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut **connection).await.map_err(failed)?;
                let read = {
                    let mut rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch(&mut **connection);
                    let row = rows.try_next().await.map_err(failed)?;
                    only(row.as_ref(), rows.try_next().await.map_err(failed)?.as_ref(), postgres)?
                };
                sqlx::raw_sql("ROLLBACK").execute(&mut **connection).await.map_err(failed)?;
                Ok(read)
            }
            Self::Sqlite(connection, until) => {
                *until.lock() = Instant::now() + timeout;
                // The file is open for reading only, and one statement sees one state of it.
                let mut rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch(&mut **connection);
                let row = rows.try_next().await.map_err(failed)?;
                only(row.as_ref(), rows.try_next().await.map_err(failed)?.as_ref(), sqlite)
            }
        }
    }
}

/// The one value of the one row.
fn only<R: Row>(
    row: Option<&R>,
    second: Option<&R>,
    value: impl Fn(&R) -> Result<Option<Read>, Unread>,
) -> Result<Read, Unread> {
    let Some(row) = row else { return Err(Unread::new("the query gives no row, and one value is asked for")) };
    if second.is_some() {
        return Err(Unread::new("the query gives more than one row, and one value is asked for"));
    }
    if row.columns().len() != 1 {
        let names: Vec<&str> = row.columns().iter().map(Column::name).collect();
        let (count, names) = (names.len(), names.join(", "));
        return Err(Unread::new(format!("the query gives {count} columns ({names}), and one value is asked for")));
    }
    let (text, number) = value(row)?.ok_or_else(|| Unread::new("the query gives null, which is no value"))?;
    if number.is_some_and(|number| !number.is_finite()) {
        return Err(Unread::new(format!("the query gives {text}, which is not a number to go by")));
    }
    Ok((text, number))
}

fn postgres(row: &PgRow) -> Result<Option<Read>, Unread> {
    let raw = row.try_get_raw(0).map_err(failed)?;
    if raw.is_null() {
        return Ok(None);
    }
    let text = raw.as_str().map_err(|error| Unread::new(format!("failed to read the value: {error}")))?.to_owned();
    Ok(Some(match raw.type_info().name() {
        "BOOL" if text == "t" => ("true".to_owned(), Some(1.0)),
        "BOOL" => ("false".to_owned(), Some(0.0)),
        _ => numbered(text),
    }))
}

fn sqlite(row: &SqliteRow) -> Result<Option<Read>, Unread> {
    let raw = row.try_get_raw(0).map_err(failed)?;
    let kind = raw.type_info().name().to_owned();
    if raw.is_null() {
        return Ok(None);
    }
    let text = match kind.as_str() {
        "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(0).map(|number| number.to_string()),
        "REAL" => row.try_get_unchecked::<f64, _>(0).map(|number| number.to_string()),
        "BLOB" => return Err(Unread::new("the query gives a blob, which is no value to go by")),
        _ => row.try_get_unchecked::<String, _>(0),
    };
    text.map(|text| Some(numbered(text))).map_err(failed)
}

fn numbered(text: String) -> Read {
    let number = text.trim().parse().ok();
    (text, number)
}

fn failed(error: sqlx::Error) -> Unread {
    Unread::new(cause(&error))
}

/// In the database's words, without what sqlx says around them.
fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) if error.message() == "interrupted" => "timed out in the database".to_owned(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => plain_cause(&error.to_string()).to_owned(),
        other => plain_cause(&other.to_string()).to_owned(),
    }
}
