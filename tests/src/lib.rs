//! A world for end-to-end tests: a web server, a real `squall-agent` process in front of it, and the real `squall`
//! command with files of its own, all on loopback ports that were asked for.
//!
//! Neighbours: the tests in `tests/tests/`. Invariant: what a `World` started ends with it, by its process id.

mod agent;
mod process;
mod server;
mod web_client;

pub use agent::Agent;
pub use process::{Running, binary, has_postgres};
pub use server::WebServer;
pub use web_client::WebClient;

use squall_wire::ProxyInfo;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long anything in a test may take before the test says that it did not happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A web server behind an agent, and a directory for experiments, journal and reports.
pub struct World {
    /// The server.
    pub web: WebServer,
    /// The agent's process.
    pub agent: Running,
    /// The agent's address.
    pub agent_url: String,
    /// Where clients reach the server through the proxy `web`.
    pub proxy_url: String,
    directory: TempDir,
}

impl World {
    /// Starts the server and the agent.
    ///
    /// # Panics
    /// When one of them does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its world must fail loudly")]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let web = WebServer::start();
        let Agent { process, url, proxy_url } =
            Agent::start_in(directory.path(), "test", &web.address().to_string(), &[]);
        let world = Self { web, agent: process, agent_url: url, proxy_url, directory };
        world.write(
            "world.yaml",
            &format!("agents:\n  main: {{url: \"{}\"}}\nvariables:\n  web: \"{}\"\n", world.agent_url, world.proxy_url),
        );
        world
    }

    /// A path in the world's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file there.
    ///
    /// # Panics
    /// When it cannot.
    #[expect(clippy::expect_used, reason = "a test without its files must fail loudly")]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the world's directory can be written");
        path
    }

    /// Writes the small experiment, altered line by line: each pair replaces the first text by the second.
    ///
    /// # Panics
    /// When a text to be replaced is not in it.
    pub fn experiment(&self, name: &str, changes: &[(&str, &str)]) -> PathBuf {
        let text = changes.iter().fold(EXPERIMENT.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "the experiment has no `{old}`");
            text.replace(old, new)
        });
        self.write(name, &text)
    }

    /// `squall` with the world's journal and reports; arguments follow.
    #[must_use]
    pub fn squall(&self) -> Command {
        squall_in(self.directory.path())
    }

    /// `squall run FILE` in this world, ready to start.
    #[must_use]
    pub fn run_command(&self, file: &Path) -> Command {
        let mut command = self.squall();
        command.arg("run").arg(file).arg("--env").arg(self.path("world.yaml"));
        command
    }

    /// Runs it to its end. Once more, twice at most, when there was no steady state to begin with: on a machine that is
    /// busy with something else nothing is injected then, and nothing is learnt. What it is in the end is given.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, file: &Path) -> Output {
        steady_output(|| self.run_command(file))
    }

    /// Starts it and returns at once.
    #[must_use]
    pub fn spawn_run(&self, file: &Path) -> Running {
        Running::spawn(self.run_command(file), &self.path("run.log"))
    }

    /// The proxy `web` as the agent has it.
    ///
    /// # Panics
    /// When the agent does not answer.
    #[must_use]
    pub fn proxy(&self) -> ProxyInfo {
        agent::proxy_of(&self.agent_url)
    }

    /// Writes the environment anew, with these agents: name, address, and labels as a map.
    pub fn with_agents(&self, agents: &[(&str, &str, &str)]) {
        let agent = |(name, url, labels): &(&str, &str, &str)| {
            let labels = if labels.is_empty() { String::new() } else { format!(", labels: {labels}") };
            format!("  {name}: {{url: \"{url}\"{labels}}}\n")
        };
        let agents: String = agents.iter().map(agent).collect();
        self.write("world.yaml", &format!("agents:\n{agents}variables:\n  web: \"{}\"\n", self.proxy_url));
    }

    /// The last run of the journal, as JSON.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its run must fail loudly")]
    pub fn last_run(&self) -> serde_json::Value {
        let shown = self.squall().args(["show", "last", "--output", "json"]).output().expect("squall starts");
        serde_json::from_slice(&shown.stdout).expect("a run as JSON")
    }

    /// Its events.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its run must fail loudly")]
    pub fn last_events(&self) -> Vec<serde_json::Value> {
        self.last_run()["events"].as_array().expect("a run has events").clone()
    }

    /// Waits until the proxy has a fault.
    pub fn wait_for_fault(&self) {
        wait_for("a fault on the proxy", || (!self.proxy().faults.is_empty()).then_some(()));
    }

    /// Waits until the proxy has none, and says how long it took.
    pub fn wait_for_healing(&self) -> Duration {
        let since = Instant::now();
        wait_for("the proxy without a fault", || self.proxy().faults.is_empty().then_some(()));
        since.elapsed()
    }
}

/// `squall` with journal and reports in this directory.
#[must_use]
pub fn squall_in(directory: &Path) -> Command {
    let mut command = Command::new(binary("squall"));
    command.env("SQUALL_JOURNAL", directory.join("journal.db")).current_dir(directory).env_remove("SQUALL_ENV");
    command
}

/// The output of a run, tried again as [`World::run`] does.
///
/// # Panics
/// When it cannot be started.
#[expect(clippy::expect_used, reason = "a test without its command must fail loudly")]
pub fn steady_output(command: impl Fn() -> Command) -> Output {
    let run = || command().output().expect("squall starts");
    let not_steady = |output: &Output| {
        matches!(output.status.code(), Some(4 | 9))
            && String::from_utf8_lossy(&output.stdout).contains("before the first fault")
    };
    let steady = (0..2).map(|_| run()).find(|output| !not_steady(output));
    steady.unwrap_or_else(run)
}

/// Changes that let the small experiment's fault stay for a minute, and its steady state hold on however busy a
/// machine: for tests of how it ends.
pub const LONG: &[(&str, &str)] = &[
    ("for: 2s", "for: 60s"),
    ("min_samples: 5, success_ratio: \">= 99%\", p99: \"< 900ms\"", "min_samples: 1, success_ratio: \">= 1%\""),
    ("timeout: 1s", "timeout: 20s"),
];

/// Everything that runs have written in this world: journal and reports.
///
/// # Panics
/// When it cannot be read.
#[must_use]
#[expect(clippy::expect_used, reason = "a test that cannot look must fail loudly")]
pub fn everything_written(world: &World) -> Vec<u8> {
    let show = world.squall().args(["report", "last", "--format", "json"]).output().expect("squall starts");
    let reports = std::fs::read_dir(world.path("squall-runs")).expect("the reports").flatten();
    let reports = reports.map(|entry| std::fs::read(entry.path()).unwrap_or_default());
    let journal = ["journal.db", "journal.db-wal"].map(|name| std::fs::read(world.path(name)).unwrap_or_default());
    assert!(!journal[0].is_empty(), "there is no journal");
    reports.chain(journal).chain([show.stdout]).flatten().collect()
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within `PATIENCE`.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} in vain for {what}");
        // Polling another process: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// GET as JSON; none when nobody answers or it is no JSON.
#[must_use]
pub fn get(url: &str) -> Option<serde_json::Value> {
    // Somebody else in this process may have installed it first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { reqwest::Client::new().get(url).send().await.ok()?.json().await.ok() })
}

/// What a command printed, for messages.
#[must_use]
pub fn printed(output: &Output) -> String {
    format!(
        "exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A small experiment on the world: fifty requests a second through the proxy `web`, 100 ms of latency for two seconds.
pub const EXPERIMENT: &str = r#"version: 1
name: small
hypothesis: The web server answers although the network is slow.
traffic:
  rate: 50/s
  clients: 32
  timeout: 1s
  requests:
    - {name: page, get: "${web}/"}
steady_state:
  - {probe: traffic.page, min_samples: 5, success_ratio: ">= 99%", p99: "< 900ms"}
method:
  - name: the network is slow
    inject: {proxy: web, fault: {latency: {delay: 100ms}}}
    for: 2s
blast_radius: {proxies: [web], percent: 100, duration: 2m}
abort_when:
  - {probe: traffic, success_ratio: "< 50%", for: 1s}
baseline: 1s
recovery: {within: 3s, hold: 1s}
lease: 2s
"#;

/// Runs a file that must be refused as invalid, with all of these words and nothing touched; answers what was printed.
pub fn refused(world: &World, file: &std::path::Path, expected: &[&str]) -> String {
    let before = world.proxy().counters;
    let output = world.run(file);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in expected {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(world.proxy().counters, before, "something was touched:\n{text}");
    assert!(world.proxy().lease.is_none() && world.proxy().faults.is_empty());
    text
}
