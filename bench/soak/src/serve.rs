//! The child's side of `agent`: be an agent, as `squall-agent` is, whose heap is counted.
//!
//! Same library, same kind of allocator, runtime and defaults as the program `squall-agent`; around the allocator is a count of
//! what is allocated, which resident memory does not tell: an allocator keeps what was given back to it.
//!
//! ```text
//!  standard input: a line ──▶ standard output: the bytes that are allocated now, and the most that ever were
//! ```
//! Invariant: it ends with its standard input, so never outlives the harness.

use crate::{ALLOCATOR, error::SoakError};
use squall_agent::{Agent, AgentConfig, state::write_atomically};
use std::{
    io::{BufRead, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Serves until SIGTERM or the end of standard input, having written to `ready` where the API is.
pub(crate) fn serve(ready: &Path, drain: Duration) -> Result<(), SoakError> {
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    // Not joined: after SIGTERM it waits for a line that nobody writes.
    std::thread::spawn(move || {
        answer_lines();
        stop.cancel();
    });
    let config = AgentConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), drain, ..AgentConfig::default() };
    let runtime = Agent::runtime(&config).map_err(|e| SoakError::new("start the agent's runtime", e))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| SoakError::new("listen for SIGTERM", e))?;
        let agent = Agent::bind(config).await.map_err(|e| SoakError::new("start the agent", e))?;
        let told = serde_json::json!({ "api": agent.local_addr() }).to_string();
        write_atomically(ready, told.as_bytes()).map_err(|e| SoakError::new("write the ready file", e))?;
        let on_signal = shutdown.clone();
        tokio::spawn(async move {
            terminate.recv().await;
            on_signal.cancel();
        });
        agent.run(shutdown).await.map_err(|e| SoakError::new("serve", e))
    })
}

/// Answers each line with the heap, until there are no more.
fn answer_lines() {
    for line in std::io::stdin().lock().lines() {
        if line.is_err()
            || writeln!(std::io::stdout(), "{} {}", ALLOCATOR.allocated(), ALLOCATOR.max_allocated()).is_err()
        {
            return;
        }
    }
}
