//! `squall-agent`: arguments → configuration → `Agent::bind` → run until a signal → heal and drain → exit code.
//!
//! Neighbours: `cli` has the arguments, the library everything else.
//! Invariant: exit code 0 after an ordered shutdown, 2 for what the caller got wrong, 1 for what the machine refused.

mod cli;

use cli::{Cli, Command, LogFormat};
use serde_json::json;
use squall_agent::{
    Agent, AgentError,
    config::AgentConfig,
    config_file::{ConfigError, ConfigFile},
    intercept::InterceptConfig,
    state::write_atomically,
};
use std::{collections::BTreeMap, io::Write, path::Path, process::ExitCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What ends the program early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("failed to {what}: {source}")]
    Machine { what: String, source: std::io::Error },
    #[error("a second signal came: ended without draining")]
    Impatient,
}

fn main() -> ExitCode {
    let cli = Cli::from_arguments();
    let outcome = match cli.command {
        Some(Command::Check { config }) => check(&config),
        Some(Command::Intercept(arguments)) => intercept(*arguments),
        Some(Command::InterceptWatchdog { table }) => watch(&table),
        None => serve(cli.serve, None),
    };
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    // Nobody may be reading any more; the exit code says it as well.
    let _ = writeln!(std::io::stderr(), "squall-agent: {failure}");
    match failure {
        Failure::Config(_) | Failure::Agent(AgentError::Config(_)) => ExitCode::from(2),
        Failure::Agent(_) | Failure::Machine { .. } => ExitCode::from(1),
        Failure::Impatient => ExitCode::from(130),
    }
}

fn check(path: &Path) -> Result<(), Failure> {
    let mut config = AgentConfig::default();
    ConfigFile::read(path)?.apply(&mut config);
    config.check()?;
    let _ = writeln!(std::io::stdout(), "{} is sound", path.display());
    Ok(())
}

fn intercept(arguments: cli::Intercept) -> Result<(), Failure> {
    let program = std::env::current_exe()
        .map_err(|source| Failure::Machine { what: "find this program for its watchdog".into(), source })?;
    let (intercept, serving) = arguments.split(program);
    serve(serving, Some(intercept))
}

fn watch(table: &str) -> Result<(), Failure> {
    squall_agent::intercept::watch(table).map_err(|source| Failure::Machine {
        what: format!("take the rules of a dead agent away (type `nft delete table inet {table}`)"),
        source,
    })
}

fn serve(arguments: cli::Serve, intercept: Option<InterceptConfig>) -> Result<(), Failure> {
    log_to_stderr(arguments.log);
    let ready_file = arguments.ready_file.clone();
    let config = AgentConfig { intercept, ..arguments.into_config()? };
    raise_file_limit();
    let runtime =
        Agent::runtime(&config).map_err(|source| Failure::Machine { what: "start the runtime".into(), source })?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let agent = Agent::bind(config).await?;
        announce(&agent, ready_file.as_deref())?;
        run(agent, &mut signals).await
    });
    // After an ordered end there is nothing left to wait for, and after a second signal nobody wants to.
    runtime.shutdown_background();
    outcome
}

/// Runs until a signal, and then until drained or the next signal. A hangup makes an agent read its tokens and
/// certificates again; one that has none ends by it, as by any other.
async fn run(agent: Agent, signals: &mut Signals) -> Result<(), Failure> {
    let shutdown = CancellationToken::new();
    let reloader = agent.reloader();
    let mut running = Box::pin(agent.run(shutdown.clone()));
    loop {
        let name = tokio::select! {
            ended = &mut running => return Ok(ended?),
            name = signals.next() => name,
        };
        if name == HANGUP && reloader.has_files() {
            let reloader = reloader.clone();
            read_again(tokio::task::spawn_blocking(move || reloader.reload()).await);
        } else {
            tracing::info!(signal = name, "shutting down: healing and draining");
            break;
        }
    }
    shutdown.cancel();
    tokio::select! {
        ended = running => Ok(ended?),
        _ = signals.next() => Err(Failure::Impatient),
    }
}

fn read_again(outcome: Result<Result<(), ConfigError>, tokio::task::JoinError>) {
    match outcome {
        Ok(Ok(())) => tracing::info!("read tokens and certificates again"),
        // A line of the log for each.
        Ok(Err(ConfigError::Mistakes { found })) => {
            found.iter().for_each(|mistake| tracing::error!(%mistake, "kept the tokens and certificates from before"))
        }
        Ok(Err(error)) => tracing::error!(%error, "kept the tokens and certificates from before"),
        Err(error) => tracing::error!(%error, "failed to read tokens and certificates again"),
    }
}

/// Says every address that was bound, in the log and in the ready file.
fn announce(agent: &Agent, ready_file: Option<&Path>) -> Result<(), Failure> {
    tracing::info!(address = %agent.local_addr(), "the API listens");
    let proxies = agent.proxies();
    for proxy in &proxies {
        let (address, upstream, protocol) = (&proxy.listen, &proxy.upstream, proxy.protocol);
        tracing::info!(proxy = %proxy.name, address, upstream, %protocol, "a proxy listens");
    }
    let Some(path) = ready_file else { return Ok(()) };
    let addresses: BTreeMap<_, _> = proxies.iter().map(|proxy| (proxy.name.as_str(), proxy.listen.as_str())).collect();
    let ready = json!({ "api": agent.local_addr(), "proxies": addresses, "pid": std::process::id() });
    write_atomically(path, format!("{ready}\n").as_bytes())
        .map_err(|source| Failure::Machine { what: format!("write the ready file {}", path.display()), source })
}

/// The signal by which a terminal says that it is gone, and an operator that files have changed.
const HANGUP: &str = "SIGHUP";

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|source| Failure::Machine { what: "listen for signals".into(), source });
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.hangup.recv() => HANGUP,
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Each connection takes two descriptors: as many as the machine allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}
