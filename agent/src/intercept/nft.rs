//! The program `nft`: scripts on its standard input, its answers, and what its failures mean to whoever runs the agent.
//!
//! Neighbours: `rules.rs` writes the scripts; `mod.rs`, `table.rs` and `watchdog.rs` have them done.
//! Invariant: every run has a limit, and a run that is given up is killed.

use super::rules::removal;
use std::{io, process::Stdio, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// It takes milliseconds; this is for a machine in trouble.
const LIMIT: Duration = Duration::from_secs(10);

/// Why `nft` did not do it.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no such program.
    #[error(
        "there is no program `nft` here: install the package nftables (`apt-get install nftables`, `apk add nftables`)"
    )]
    Missing,
    /// The machine lets only the powerful do it.
    #[error(
        "this process may not change the rules of nftables: it needs the capability CAP_NET_ADMIN; run it as root, or \
         its container with `--cap-add NET_ADMIN` (nft: {0})"
    )]
    Denied(String),
    /// It refused.
    #[error("nft failed: {0}")]
    Failed(String),
    /// It took too long.
    #[error("nft did not end within {} s: look at the load of the machine", LIMIT.as_secs())]
    Late,
    /// It could not be run.
    #[error("failed to run nft: {0}")]
    Run(#[from] io::Error),
}

/// Does what a script says, all of it or nothing.
pub(super) async fn apply(script: &str) -> Result<(), NftError> {
    run(&["-f", "-"], script).await.map(drop)
}

/// Takes a table away; it is as good when there is none.
pub(super) async fn remove(table: &str) -> Result<(), NftError> {
    apply(&removal(table)).await
}

/// The tables of the family `inet`.
pub(super) async fn tables() -> Result<Vec<String>, NftError> {
    let answer = run(&["-j", "list", "tables", "inet"], "").await?;
    let answer: serde_json::Value = serde_json::from_str(&answer)
        .map_err(|error| NftError::Failed(format!("an answer that is no JSON: {error}: {answer}")))?;
    let all = answer["nftables"].as_array().into_iter().flatten();
    Ok(all.filter_map(|one| one["table"]["name"].as_str()).map(str::to_owned).collect())
}

async fn run(arguments: &[&str], script: &str) -> Result<String, NftError> {
    let child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NftError::Missing,
            _ => NftError::Run(error),
        })?;
    tokio::time::timeout(LIMIT, answer(child, script)).await.unwrap_or(Err(NftError::Late))
}

async fn answer(mut child: Child, script: &str) -> Result<String, NftError> {
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why itself.
        let _ = stdin.write_all(script.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.contains("Operation not permitted") { NftError::Denied(said) } else { NftError::Failed(said) })
}
