//! The child's side of `contestant`: be an agent, as `squall-agent` is, until standard input ends.
//!
//! Same library, same allocator, same kind of runtime and the same defaults as the `squall-agent` binary; only the
//! port of the API is any free one, and the end drains nothing.
//!
//! Invariant: it never outlives the harness, whose end closes our standard input.

use crate::{
    contestant::proxy_spec,
    error::{BenchError, Tried},
};
use squall_agent::{Agent, AgentConfig};
use squall_wire::Protocol;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Where proxies lead that nobody uses.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Serves with so many proxies to begin with, polling busily for so long before each deadline, having said on standard output where the API is.
pub(crate) fn serve(proxies: usize, busy_poll: Duration) -> Result<(), BenchError> {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let watcher = std::thread::spawn(move || {
        // Whatever ends the reading, nobody holds the other end any more.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.cancel();
    });
    let proxies = (0..proxies).map(|number| proxy_spec(&format!("idle-{number}"), NOWHERE, Protocol::Tcp));
    let config = AgentConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        drain: Duration::ZERO,
        busy_poll,
        proxies: proxies.collect::<Result<_, _>>()?,
        ..AgentConfig::default()
    };
    let runtime = Agent::runtime(&config).tried("start the runtime")?;
    let failed = |error: squall_agent::AgentError| BenchError::Agent { what: "serve".into(), why: error.to_string() };
    runtime.block_on(async {
        let agent = Agent::bind(config).await.map_err(failed)?;
        writeln!(std::io::stdout(), "{}", agent.local_addr()).tried("say where the agent listens")?;
        agent.run(shutdown).await.map_err(failed)
    })?;
    watcher.join().map_err(|_| BenchError::Panicked("watch standard input"))
}
