//! One agent, from its configuration to its end: bind everything, serve, and at the end heal and drain.
//!
//! ```text
//! AgentConfig ──bind──▶ Agent ──run──▶ serving ──shutdown──▶ stop accepting, heal, drain ──▶ done
//! ```
//!
//! Neighbours: `main` and the tests start it; `registry` keeps proxies and faults, `api` serves them.
//! Invariant: there is no global state, two agents in one process know nothing of each other. Whatever ends `run`,
//! no fault is left.

use crate::{
    DataPlane, PlaneLimits,
    api::{self, Api, server::Server},
    config::AgentConfig,
    config_file::ConfigError,
    events::Events,
    intercept::{InterceptError, Interception, Plan},
    metrics::ApiMetrics,
    policy::Policy,
    registry::{Caller, First, Limits, Refusal, Registry},
    state::{self, Saved, StateError},
    throttle::Throttle,
    traffic::Marks,
};
use squall_wire::{FaultSpec, Halt, ProxyInfo, ProxyName, ProxySpec};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Why an agent does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state file cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing can be intercepted as was asked for.
    #[error(transparent)]
    Intercept(#[from] InterceptError),
    /// Something could not be bound.
    #[error("the agent did not start:{}", list(.0))]
    Bind(Vec<String>),
    /// The task that ends faults and leases died. Everything was healed.
    #[error("the keeper of leases died, so everything was healed and the agent stopped: {0}")]
    Keeper(String),
}

/// Reads the files of tokens and certificates of one agent again.
#[derive(Debug, Clone)]
pub struct Reloader(Arc<Api>);

impl Reloader {
    /// Whether there is any such file.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.0.config.tokens.is_some() || self.0.config.tls.is_some()
    }

    /// Reads them; new requests and new connections go by what is in them. Blocks on the disk.
    ///
    /// # Errors
    /// When something is wrong with them; everything stays as it was.
    pub fn reload(&self) -> Result<(), ConfigError> {
        self.0.access.reload(&self.0.config).map_err(|found| ConfigError::Mistakes { found })
    }
}

fn list(failures: &[String]) -> String {
    failures.iter().map(|failure| format!("\n  {failure}")).collect()
}

/// Sets the faults of the configuration; answers why one could not be set, for each.
async fn first_faults(registry: &Registry, faults: BTreeMap<ProxyName, Vec<FaultSpec>>) -> Vec<String> {
    let mut failures = Vec::new();
    for (proxy, faults) in faults {
        for (index, fault) in faults.into_iter().enumerate() {
            if let Err(refusal) = registry.set_fault(&proxy, fault, &Caller::agent()).await {
                failures.push(format!("faults.{proxy}[{index}]: {refusal}"));
            }
        }
    }
    failures
}

/// An agent whose addresses are bound.
#[derive(Debug)]
pub struct Agent {
    api: Arc<Api>,
    listener: TcpListener,
    interception: Option<Interception>,
}

impl Agent {
    /// The runtime to bind and run such an agent on. With `busy_poll` it has one worker: a second one would sleep, be
    /// the one that sockets wake, and come back late with a connection that the first could have served in time.
    ///
    /// # Errors
    /// When the machine gives no thread or no descriptor.
    pub fn runtime(config: &AgentConfig) -> io::Result<Runtime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if !config.busy_poll.is_zero() {
            builder.worker_threads(1);
        }
        builder.enable_all().build()
    }

    /// Binds the API and all proxies: those of the configuration, and those that the state file brings back.
    ///
    /// # Errors
    /// When the configuration makes no sense, the state file is damaged or cannot be written, or an address cannot
    /// be bound; all that cannot are told. Nothing stays bound then.
    pub async fn bind(config: AgentConfig) -> Result<Self, AgentError> {
        let access = config.sound()?;
        let saved = config.state.as_deref().map(state::load).transpose()?.unwrap_or_default();
        let halt = saved.halt.clone();
        let plan = match &config.intercept {
            Some(intercept) => Some(Plan::prepare(intercept, &config.proxies).await?),
            None => None,
        };
        let plane_limits = PlaneLimits {
            dial_timeout: config.dial_timeout,
            max_connections: config.max_connections,
            upstreams: config.policy.upstreams.clone(),
            udp_idle: config.udp_idle,
            busy_poll: config.busy_poll,
            ..PlaneLimits::default()
        };
        let plane = DataPlane::intercepting(plane_limits, plan.as_ref().map(Plan::originals));
        let registry = Registry::new(plane, limits(&config), config.state.clone(), halt.clone());
        let listener = TcpListener::bind(config.listen).await;
        let configured: Vec<_> = config.proxies.iter().chain(plan.iter().flat_map(Plan::proxies)).cloned().collect();
        let mut failures = registry.start_all(merged(&configured, saved)).await;
        // Its mistakes were told above.
        let mut populate = crate::toxiproxy::prepared(&config.populate, config.listen.ip()).unwrap_or_default();
        let mut faults = config.faults.clone();
        if let Some(Halt { reason, .. }) = &halt {
            tracing::warn!(reason, "this agent is halted and takes no faults until that is lifted");
            populate.iter_mut().for_each(|planned| planned.toxics.clear());
            faults.clear();
        }
        if failures.is_empty()
            && let (done, Some(refusal)) = registry.populate(populate, &Caller::agent()).await
        {
            failures.push(format!("proxy {} of Toxiproxy's list: {refusal}", done.len() + 1));
        }
        if failures.is_empty() {
            failures = first_faults(&registry, faults).await;
        }
        if failures.is_empty()
            && let Err(Refusal::NotSaved(cause)) = registry.save().await
        {
            failures.push(cause);
        }
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((bound, listener)) if failures.is_empty() => {
                let interception = intercept(plan, &registry, halt.is_some()).await?;
                let instance = uuid::Uuid::new_v4().to_string();
                let api = Api {
                    registry,
                    config,
                    access,
                    refused: Throttle::default(),
                    bound,
                    marks: Marks::new(&instance),
                    instance,
                    started: Instant::now(),
                    ready: AtomicBool::new(true),
                    metrics: ApiMetrics::default(),
                    docs: api::docs::Docs::default(),
                };
                Ok(Self { api: Arc::new(api), listener, interception })
            }
            api => {
                registry.shut_down(Duration::ZERO).await;
                if let Err(error) = api {
                    failures.insert(
                        0,
                        format!("API on {}: failed to bind: {error}; choose another --listen", config.listen),
                    );
                }
                Err(AgentError::Bind(failures))
            }
        }
    }

    /// The bus on which every change is told.
    #[must_use]
    pub fn events(&self) -> Arc<Events> {
        Arc::clone(self.api.registry.events())
    }

    /// Reads the files of tokens and certificates again, each time that it is called.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.api))
    }

    /// Where the API listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.api.bound
    }

    /// The proxies as they were bound.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyInfo> {
        // Nobody else can have the lock before `run`, which takes the agent.
        self.api.registry.proxies_now().unwrap_or_default()
    }

    /// Serves until `shutdown` is cancelled; then stops accepting, heals, lets connections finish for up to the
    /// configured `drain`, and returns.
    ///
    /// # Errors
    /// When the agent can no longer keep its promise that faults end; it has healed them all then.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AgentError> {
        let Self { api, listener, interception } = self;
        let stop = shutdown.child_token();
        let keeper_stop = CancellationToken::new();
        let server = Server {
            listener,
            router: api::router(Arc::clone(&api)),
            api: Arc::clone(&api),
            max_connections: api.config.max_api_connections,
            patience: api.config.api_timeout,
        };
        let mut keeper = JoinSet::new();
        let registry = Arc::clone(&api.registry);
        let until = keeper_stop.clone();
        keeper.spawn(async move { registry.keep(until).await });
        let healing = async {
            // Nothing is redirected any more before the listeners close, nor what is open forgotten before it ended.
            let interception = match interception {
                Some(interception) => Some(interception.run(&api.registry, &stop).await),
                None => None,
            };
            stop.cancelled().await;
            api.ready.store(false, Ordering::Relaxed);
            let cut = api.registry.shut_down(api.config.drain).await;
            tracing::info!(cut, "healed and drained");
            if let Some(interception) = interception {
                interception.end().await;
            }
            keeper_stop.cancel();
        };
        let watching = async {
            let ended = keeper.join_next().await;
            stop.cancel();
            ended
        };
        let sampling = crate::sampler::sample(&api.registry, stop.clone());
        match tokio::join!(server.serve(stop.clone()), healing, watching, sampling).2 {
            Some(Err(error)) => Err(AgentError::Keeper(error.to_string())),
            _ => Ok(()),
        }
    }
}

/// Redirects to the proxies that are bound, if anything is to be intercepted.
async fn intercept(
    plan: Option<Plan>,
    registry: &Registry,
    halted: bool,
) -> Result<Option<Interception>, InterceptError> {
    let Some(plan) = plan else { return Ok(None) };
    let started = plan.start(&registry.proxies().await, halted).await;
    if started.is_err() {
        registry.shut_down(Duration::ZERO).await;
    }
    started.map(Some)
}

fn limits(config: &AgentConfig) -> Limits {
    let policy: Policy = config.policy.clone();
    Limits { max_fault_duration: config.max_fault_duration, max_lease: config.max_lease, policy: Arc::new(policy) }
}

/// Proxies of the configuration, then those of the last run that it does not name. A proxy that may have any port
/// gets the one it had, if it can.
fn merged(configured: &[ProxySpec], saved: Saved) -> Vec<First> {
    let any_port = saved.any_port;
    let mut saved: BTreeMap<_, _> = saved.proxies.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
    let bound = |spec: &ProxySpec| spec.listen.parse::<SocketAddr>().ok();
    let configured = configured.iter().cloned().map(|spec| {
        let had = saved.remove(&spec.name).as_ref().and_then(bound);
        First { spec, had, kept: false }
    });
    let mut all: Vec<_> = configured.collect();
    all.extend(saved.into_values().map(|spec| match bound(&spec) {
        Some(had) if any_port.contains(&spec.name) => {
            let listen = SocketAddr::new(had.ip(), 0).to_string();
            First { spec: ProxySpec { listen, ..spec }, had: Some(had), kept: true }
        }
        _ => First { spec, had: None, kept: true },
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::{First, Saved, merged};
    use squall_wire::ProxySpec;

    fn spec(name: &str, listen: &str) -> ProxySpec {
        serde_json::from_value(serde_json::json!({"name": name, "listen": listen, "upstream": "a:1"})).unwrap()
    }

    #[test]
    fn the_configuration_wins_over_the_state_but_for_the_port_that_was_had() {
        let configured = [spec("a", "127.0.0.1:0"), spec("b", "127.0.0.1:1")];
        let proxies = vec![spec("a", "127.0.0.1:77"), spec("c", "127.0.0.1:3"), spec("d", "127.0.0.1:4")];
        let saved = Saved { any_port: [spec("d", "").name].into(), proxies, halt: None };
        let told = |First { spec, had, kept }: First| (spec.name.to_string(), spec.listen, had, kept);
        let all: Vec<_> = merged(&configured, saved).into_iter().map(told).collect();
        assert_eq!(
            all,
            [
                ("a".into(), "127.0.0.1:0".into(), Some("127.0.0.1:77".parse().unwrap()), false),
                ("b".into(), "127.0.0.1:1".into(), None, false),
                ("c".into(), "127.0.0.1:3".into(), None, true),
                ("d".into(), "127.0.0.1:0".into(), Some("127.0.0.1:4".parse().unwrap()), true),
            ]
        );
    }
}
