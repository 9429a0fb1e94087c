//! What can go wrong with the database, as the shop needs to tell it apart.
//!
//! Neighbours: every file here returns it, `api/answer.rs` gives it a status.
//!
//! Invariant: what may be better in a moment is `Busy`; both databases' codes for one thing give one variant.

/// The database refused, or could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Somebody else has stored an order under this key.
    #[error("the idempotency key was used by another request at the same time")]
    KeyTaken,
    /// The order took so long that it is being undone.
    #[error("the order was not done in time and is undone")]
    Undone,
    /// No connection in time, a lock or a statement that took too long, a server that is not there.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// A row that was written before the table changed, and a shop that does not migrate.
    #[error("order {0} was written in the old way, which this shop does not read")]
    NotMigrated(String),
    /// Anything else.
    #[error("failed to use the database")]
    Failed(#[source] sqlx::Error),
}

/// PostgreSQL: cancelled (a time-out is one), lock not available, serialization, deadlock, too many connections, shutting
/// down, crashed, starting.
const BUSY: [&str; 8] = ["57014", "55P03", "40001", "40P01", "53300", "57P01", "57P02", "57P03"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let busy = match &error {
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(cause) if cause.is_unique_violation() => return Self::KeyTaken,
            sqlx::Error::Database(cause) => cause.code().is_some_and(|code| is_busy(&code)),
            _ => false,
        };
        if busy { Self::Busy(error) } else { Self::Failed(error) }
    }
}

/// SQLite's codes are numbers: 5 busy, 6 locked, 9 interrupted, in the low byte of extended ones.
fn is_busy(code: &str) -> bool {
    BUSY.contains(&code) || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 9))
}

#[cfg(test)]
mod tests {
    use super::is_busy;

    #[test]
    fn busy_is_told_from_broken_on_both_databases() {
        assert!(["5", "261", "517", "9", "57014", "40P01"].into_iter().all(is_busy));
        assert!(!["1", "14", "42601", "22005", "23505"].into_iter().any(is_busy));
    }
}
