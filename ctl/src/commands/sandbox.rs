//! `squall sandbox`: an agent, the shop and its dependencies on free loopback ports, until Ctrl-C.

use super::Outcome;
use crate::{
    cli::{Common, Format, Sandbox as Args},
    exit::Failure,
    output,
    sandbox::{Sandbox, Wanted},
    signals,
};
use squall_engine::{
    environment::{OwnDatabase, ShopDatabase},
    run::stop::Stop,
};

/// Starts it, says where everything is, waits, takes it down.
pub async fn sandbox(args: &Args, common: &Common) -> Outcome {
    let stop = Stop::default();
    let listening =
        signals::listen(stop.clone()).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
    let own = args.postgres.then_some(ShopDatabase::Own(OwnDatabase::Postgres));
    let database = own.or_else(|| args.database.clone()).unwrap_or_default();
    let sandbox = Sandbox::start(&Wanted { without: args.without.clone(), database }).await?;
    if let Some(path) = &args.write_env {
        std::fs::write(path, sandbox.environment_yaml())
            .map_err(|e| Failure::failed(format!("failed to write {}: {e}", path.display())))?;
    }
    match common.output {
        Format::Json => output::json(&sandbox.description()),
        Format::Text => output::result(&sandbox.to_string()),
    }
    output::progress("Ctrl-C ends it");
    stop.stopped().await;
    sandbox.stop().await;
    listening.abort();
    if let Some(path) = &args.write_env
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(%error, path = %path.display(), "failed to remove the environment file");
    }
    Ok(0)
}
