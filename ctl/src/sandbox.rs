//! The built-in environment: an agent, the shop and its dependencies, in this process, on free loopback ports, with
//! the database in a temporary directory. Real parts over real sockets; nothing of it outlives this process.
//!
//! ```text
//! traffic ─▶ shop ─┬─▶ agent's proxy ─▶ dependency                     (five of them: inventory, payment, …)
//!                  └─▶ agent's proxy `database` ─▶ PostgreSQL          (or a file of SQLite's, without a proxy)
//! ```
//! Invariant: `stop` ends everything that `start` started, in the order of the arrows.

mod database;

use crate::exit::Failure;
use database::Database;
use squall_agent::{Agent, AgentConfig};
use squall_engine::{agent_client::AgentTarget, agent_tls::AgentTls, environment::ShopDatabase, experiment::Secrets};
use squall_shop::{
    DatabaseConfig, DatabaseUrl, Dependency, DependencyConfig, DependencyKind, FrontConfig, Origin, Pattern,
    RateConfig, Shop, ShopConfig, ShutdownConfig, StorageConfig,
};
use squall_wire::ProxySpec;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The name of the sandbox's agent, and of the sandbox as an environment.
pub const NAME: &str = "sandbox";
/// The shop's budget for an order: short, so that an experiment of seconds can see what time-outs do.
const ORDER_BUDGET: Duration = Duration::from_secs(3);
/// Requests a second, and at once, of a client that says who it is: so few that a small load shows what the limit does. Others
/// are limited by their address, as everywhere.
const CLIENT_RATE: u32 = 20;
/// How long the parts may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Its directories are `squall-sandbox-PROCESS-…`, so that those of dead processes can be told.
const PREFIX: &str = "squall-sandbox-";
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a sandbox shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Patterns that the shop lacks.
    pub without: Vec<String>,
    /// The shop's database.
    pub database: ShopDatabase,
}

impl Wanted {
    /// What must not be shown of it.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        if let ShopDatabase::At(url) = &self.database {
            secrets.add_url(url);
        }
        secrets
    }
}

/// A running sandbox.
pub struct Sandbox {
    shop: SocketAddr,
    agent: SocketAddr,
    proxies: BTreeMap<String, String>,
    /// The dependencies themselves, behind their proxies: what they keep is looked at there.
    dependencies: BTreeMap<DependencyKind, SocketAddr>,
    /// Ended one after the other: first who asks, then who answers.
    layers: Vec<(CancellationToken, JoinSet<()>)>,
    database: Database,
    /// Whether the database's address may be shown: its password is of no use to anybody when the sandbox is gone.
    shown_database: bool,
    _directory: TempDir,
}

impl Sandbox {
    /// Starts everything.
    pub async fn start(wanted: &Wanted) -> Result<Self, Failure> {
        let without = patterns(&wanted.without)?;
        remove_left_over();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .map_err(|e| Failure::failed(format!("failed to make a directory for the sandbox: {e}")))?;
        let postgres = std::env::temp_dir().join(format!("{prefix}postgres"));
        let database = Database::start(&wanted.database, directory.path().join("shop.db"), &postgres).await?;
        let (mut dependencies, mut upstreams) = (layer(), BTreeMap::new());
        for kind in DependencyKind::ALL {
            let config = DependencyConfig { listen: ANY_PORT, ..DependencyConfig::new(kind) };
            let dependency = Dependency::bind(config).await.map_err(|e| broken(kind.name(), &e))?;
            upstreams.insert(kind, dependency.local_addr());
            let token = dependencies.0.clone();
            dependencies.1.spawn(dependency.serve(token));
        }
        let mut agents = layer();
        let agent = bind_agent(&upstreams, database.server()).await?;
        let agent_address = agent.local_addr();
        let proxies: BTreeMap<String, String> =
            agent.proxies().into_iter().map(|proxy| (proxy.name.to_string(), proxy.listen)).collect();
        let token = agents.0.clone();
        agents.1.spawn(async move {
            if let Err(error) = agent.run(token).await {
                tracing::error!(%error, "the sandbox's agent failed");
            }
        });
        let mut shops = layer();
        let proxy = proxies.get(database::PROXY).map(|listen| listen.parse()).transpose();
        let proxy = proxy.map_err(|e: std::net::AddrParseError| broken("agent", &e))?;
        let shop = bind_shop(&proxies, database.through(proxy), without).await?;
        let shop_address = shop.local_addr();
        let token = shops.0.clone();
        shops.1.spawn(shop.serve(token));
        let layers = vec![shops, agents, dependencies];
        let shown_database = !matches!(wanted.database, ShopDatabase::At(_));
        let (shop, agent, dependencies) = (shop_address, agent_address, upstreams);
        Ok(Self { shop, agent, proxies, dependencies, layers, database, shown_database, _directory: directory })
    }

    /// Its agent.
    pub fn target(&self) -> AgentTarget {
        AgentTarget {
            name: NAME.to_owned(),
            url: format!("http://{}", self.agent),
            token: None,
            tls: AgentTls::default(),
            labels: BTreeMap::new(),
        }
    }

    /// What experiments call its parts: `shop`, `agent`, each dependency by its name, and `database` as it is without a proxy.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let dependencies = self.dependencies.iter().map(|(kind, address)| (kind.name(), *address));
        let parts = [("shop", self.shop), ("agent", self.agent)].into_iter().chain(dependencies);
        let parts = parts.map(|(name, address)| (name.to_owned(), format!("http://{address}")));
        parts.chain([(database::PROXY.to_owned(), self.database.url().to_owned())]).collect()
    }

    /// The same names with addresses where nothing listens: enough to check a file by.
    pub fn variables_before_start() -> BTreeMap<String, String> {
        let names = ["shop", "agent"].into_iter().chain(DependencyKind::ALL.map(DependencyKind::name));
        let parts = names.map(|name| (name.to_owned(), "http://127.0.0.1:9".to_owned()));
        parts.chain([(database::PROXY.to_owned(), "sqlite:shop.db".to_owned())]).collect()
    }

    /// Those that may be shown.
    fn shown_variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.variables();
        variables.retain(|name, _| self.shown_database || name != database::PROXY);
        variables
    }

    /// Where everything is, for programs.
    pub fn description(&self) -> serde_json::Value {
        serde_json::json!({"variables": self.shown_variables(), "agent": self.target().url, "proxies": self.proxies})
    }

    /// An environment file by which another process can use it.
    pub fn environment_yaml(&self) -> String {
        let variables: String = self.shown_variables().iter().map(|(name, url)| format!("  {name}: {url}\n")).collect();
        format!(
            "# A running sandbox; gone when it is.\nagents:\n  {NAME}: {{url: \"{}\"}}\nvariables:\n{variables}",
            self.target().url
        )
    }

    /// Ends everything, customers first.
    pub async fn stop(self) {
        for (token, mut tasks) in self.layers {
            token.cancel();
            let ended = async { while tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
                tracing::warn!("a part of the sandbox did not end in time; it is cut off");
                tasks.shutdown().await;
            }
        }
        self.database.stop().await;
    }
}

impl std::fmt::Display for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "shop    http://{}", self.shop)?;
        write!(f, "agent   http://{}", self.agent)?;
        if self.shown_database {
            write!(f, "\ndata    {}", self.database.url())?;
        }
        for (name, listen) in &self.proxies {
            write!(f, "\nproxy   {name} on {listen}")?;
        }
        Ok(())
    }
}

/// Removes the directories of sandboxes whose process was killed before it could.
fn remove_left_over() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        let Some(pid) = owner.and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw) else {
            continue;
        };
        let dead = rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
        if dead && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "failed to remove what a dead sandbox left");
        }
    }
}

fn layer() -> (CancellationToken, JoinSet<()>) {
    (CancellationToken::new(), JoinSet::new())
}

fn patterns(names: &[String]) -> Result<BTreeSet<Pattern>, Failure> {
    names.iter().map(|name| name.parse::<Pattern>().map_err(|e| Failure::usage(e.to_string()))).collect()
}

async fn bind_agent(
    upstreams: &BTreeMap<DependencyKind, SocketAddr>,
    database: Option<String>,
) -> Result<Agent, Failure> {
    let mut proxies = Vec::new();
    let upstreams = upstreams.iter().map(|(kind, address)| (kind.name(), address.to_string()));
    for (name, upstream) in upstreams.chain(database.map(|server| (database::PROXY, server))) {
        let name = name.parse().map_err(|e| Failure::failed(format!("a bug in the sandbox: {e}")))?;
        proxies.push(ProxySpec { listen: ANY_PORT.to_string(), ..ProxySpec::tcp(name, upstream) });
    }
    let drain = Duration::from_secs(1);
    let config = AgentConfig { name: NAME.to_owned(), listen: ANY_PORT, proxies, drain, ..AgentConfig::default() };
    Agent::bind(config).await.map_err(|e| broken("agent", &e))
}

async fn bind_shop(
    proxies: &BTreeMap<String, String>,
    database: DatabaseUrl,
    without: BTreeSet<Pattern>,
) -> Result<Shop, Failure> {
    let address = |kind: DependencyKind| {
        let listen =
            proxies.get(kind.name()).ok_or_else(|| Failure::failed(format!("the agent has no proxy {kind}")))?;
        let origin = listen.parse::<Origin>().map_err(|e| broken("shop", &e))?;
        Ok((kind, origin))
    };
    let dependencies = DependencyKind::ALL.into_iter().map(address).collect::<Result<_, Failure>>()?;
    let config = ShopConfig {
        listen: ANY_PORT,
        dependencies,
        storage: StorageConfig {
            database: DatabaseConfig { url: Some(database), ..DatabaseConfig::default() },
            ..StorageConfig::default()
        },
        without,
        order_budget: ORDER_BUDGET,
        front: FrontConfig {
            rate: RateConfig { client: CLIENT_RATE, client_burst: CLIENT_RATE, ..RateConfig::default() },
            ..FrontConfig::default()
        },
        // No load balancer has to notice that this shop goes.
        shutdown: ShutdownConfig { pause: Duration::ZERO, ..ShutdownConfig::default() },
        ..ShopConfig::default()
    };
    Shop::bind(config).await.map_err(|e| broken("shop", &e))
}

fn broken(part: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::failed(format!("failed to start the sandbox's {part}: {error}"))
}
