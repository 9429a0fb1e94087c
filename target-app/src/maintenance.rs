//! The steps of the change of the orders table that people take: look, migrate what is left, contract.
//!
//! Neighbours: the command line calls, `store/schema.rs` does. Invariant: contracting refuses while it would lose something.

use crate::{
    ShopError,
    store::{DatabaseConfig, Store, StoreError},
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Say how far it is.
    Status,
    /// Migrate every row that is left.
    Backfill,
    /// Drop the old column; no shop may need it any more.
    Contract,
}

/// Rows of one statement.
const BATCH: i64 = 500;

/// Takes a step, and says in one line how things are after it.
///
/// # Errors
/// When the database cannot be opened, or the step is refused.
pub async fn migrate(database: &DatabaseConfig, step: Step) -> Result<String, ShopError> {
    let name = || database.url.as_ref().map_or_else(String::new, ToString::to_string);
    let failed = |source: sqlx::Error| ShopError::Database { database: name(), source };
    let refused = |error: StoreError| ShopError::Schema(format!("failed to migrate {}: {error}", name()));
    let store = Store::open(database).await.map_err(failed)?;
    if store.is_contracted().await {
        return Ok("contracted: there is only the new shape".to_owned());
    }
    let mut moved = 0;
    if step == Step::Backfill {
        loop {
            let batch = store.migrate_batch(BATCH).await.map_err(refused)?;
            if batch == 0 {
                break;
            }
            moved += batch;
        }
    }
    let left = store.unmigrated().await.map_err(refused)?;
    let said = match step {
        Step::Status => format!("expanded: {left} orders are not migrated"),
        Step::Backfill => format!("{moved} orders were migrated, {left} are left"),
        Step::Contract => match store.contract().await.map_err(refused)? {
            Ok(()) => "contracted: there is only the new shape".to_owned(),
            Err(left) => {
                return Err(ShopError::Schema(format!(
                    "{left} orders are not migrated, and contracting would lose their price: run `squall-shop migrate \
                     backfill` first, and end shops that run with `--schema old`"
                )));
            }
        },
    };
    store.close().await;
    Ok(said)
}
