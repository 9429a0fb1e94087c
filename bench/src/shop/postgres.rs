//! PostgreSQL as it comes, for as long as this process lives.

use squall_shop::local_postgres::LocalPostgres;

/// The server and the address of its database.
pub(super) struct Postgres {
    pub(super) url: String,
    _server: LocalPostgres,
}

impl Postgres {
    /// Starts one, or says why there is none.
    pub(super) fn start() -> Result<Self, String> {
        let server = LocalPostgres::start(&std::env::temp_dir().join("squall-postgres"), &[]);
        let server = server.map_err(|error| error.to_string())?;
        Ok(Self { url: server.url("postgres"), _server: server })
    }
}
