//! What can go wrong with the journal, and what to do about it.

use std::path::PathBuf;

/// Why the journal could not be opened, written or read.
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
        "failed to open the journal `{}` for writing: {cause}; choose a journal where you may write, on a disk that is \
         not full",
        path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file is something else.
    #[error("`{}` is not a journal of squall ({cause}); choose another file, this one was left as it is", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// How that is known.
        cause: String,
    },
    /// A newer squall has written it.
    #[error(
        "the journal `{}` was written by a newer squall (schema {version}); use that version, or another journal",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration that is not known here.
        version: i64,
    },
    /// Something could not be written.
    #[error("failed to write {what} to the journal `{}`: {source}; check its disk", path.display())]
    Write {
        /// What.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// Something could not be read.
    #[error("failed to read {what} from the journal `{}`: {source}", path.display())]
    Read {
        /// What.
        what: &'static str,
        /// The file.
        path: PathBuf,
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
    #[error("no run `{asked}` in the journal `{}`; `squall history` lists them", path.display())]
    NotFound {
        /// What was asked for.
        asked: String,
        /// The file.
        path: PathBuf,
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
