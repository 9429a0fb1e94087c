//! What can go wrong with the journal, and what to do about it.

use std::path::PathBuf;

/// Why the journal could not be opened, written or read. `place` is where it is, without a password.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its directory cannot be made.
    #[error(
        "failed to create the journal's directory `{}`: {source}; choose a journal where you may write",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened and written.
    #[error(
        "failed to open the journal `{place}` for writing: {cause}; choose a journal where you may write, on a disk that is \
         not full"
    )]
    Unwritable {
        /// The file.
        place: String,
        /// Why.
        cause: String,
    },
    /// The database cannot be reached or written.
    #[error(
        "failed to open the journal `{place}`: {cause}; check that the server runs, that the database is there and that \
         this user may create tables in it (`?sslmode=…` says how TLS is used)"
    )]
    Unreachable {
        /// The database.
        place: String,
        /// Why.
        cause: String,
    },
    /// The file or database is something else.
    #[error("`{place}` is not a journal of squall ({cause}); choose another one, this one was left as it is")]
    NotAJournal {
        /// The journal.
        place: String,
        /// How that is known.
        cause: String,
    },
    /// A newer squall has written it.
    #[error(
        "the journal `{place}` was written by a newer squall (schema {version}); use that version, or another journal"
    )]
    Newer {
        /// The journal.
        place: String,
        /// The first migration that is not known here.
        version: i64,
    },
    /// Something could not be written.
    #[error("failed to write {what} to the journal `{place}`: {source}; check its disk or its server")]
    Write {
        /// What.
        what: &'static str,
        /// The journal.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The journal is away, and so is the place where entries wait for it.
    #[error("failed to keep {what} for the journal, which is away, in the spool `{}`: {cause}", path.display())]
    Spool {
        /// What.
        what: &'static str,
        /// The spool.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Something could not be read.
    #[error("failed to read {what} from the journal `{place}`: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// The journal.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// What is stored is not what this version understands.
    #[error("failed to understand {what} of run `{run}` in the journal: {cause}; was it written by another version?")]
    Corrupt {
        /// The run.
        run: String,
        /// Which part of it.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// `started_at` is no time.
    #[error("failed to start run `{run}` in the journal: `{text}` is not a time as in RFC 3339")]
    StartTime {
        /// The run.
        run: String,
        /// What stood there.
        text: String,
    },
    /// The run is not in the journal.
    #[error("no run `{asked}` in the journal `{place}`; `squall history` lists them")]
    NotFound {
        /// What was asked for.
        asked: String,
        /// The journal.
        place: String,
    },
    /// Several runs start with these letters.
    #[error("`{asked}` is the beginning of several runs ({}); write more of the id", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Some of the ids.
        candidates: Vec<String>,
    },
    /// A run ends only once.
    #[error("run `{run}` has ended already; its verdict stays as it is")]
    AlreadyEnded {
        /// The run.
        run: String,
    },
}
