//! Servers as children of a test: a Prometheus that scrapes a page of ours, a PostgreSQL. Each has its own temporary directory and
//! a free port of 127.0.0.1, and is ended by its process id.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

/// A child that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.0.kill();
        let _ended_before = self.0.wait();
    }
}

/// A port that is free now.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok()
}

/// Waits for it; false when the child has ended instead, as it does when somebody else took the port.
fn wait_for(server: &mut Server, what: &str, ready: impl Fn() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !ready() {
        if server.0.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < until, "{what} is not there in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn found(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// A Prometheus server that scrapes a page with two series of `orders_total`, 42 together.
pub struct Prometheus {
    pub url: String,
    _server: Server,
    _directory: TempDir,
    _page: JoinSet<()>,
}

impl Prometheus {
    /// None, and a word about it, where it is not installed.
    pub async fn start(test: &str) -> Option<Self> {
        if !found("prometheus") {
            eprintln!("SKIPPED {test}: `prometheus` is not installed");
            return None;
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let page = "# TYPE orders_total counter\norders_total{state=\"paid\"} 40\norders_total{state=\"stuck\"} 2\n";
        let headers = [(axum::http::header::CONTENT_TYPE, "text/plain; version=0.0.4")];
        let router = axum::Router::new().route("/metrics", axum::routing::get(move || async move { (headers, page) }));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });

        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        for _ in 0..5 {
            let port = port();
            let mut command = Command::new("prometheus");
            command.arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}")).stdout(Stdio::null()).stderr(Stdio::null());
            let mut server = Server(command.spawn().unwrap());
            let url = format!("http://127.0.0.1:{port}");
            let started = tokio::task::spawn_blocking(move || {
                wait_for(&mut server, "prometheus", || is_ready(port)).then_some(server)
            });
            if let Some(server) = started.await.unwrap() {
                return Some(Self { url, _server: server, _directory: directory, _page: tasks });
            }
        }
        panic!("prometheus does not start");
    }
}

/// It listens before it is ready, and says so by a path of its own.
fn is_ready(port: u16) -> bool {
    use std::io::Read;
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let asked = stream.write_all(b"GET /-/ready HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = [0; 12];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b" 200")
}

/// A PostgreSQL server with a user `squall` who has a password.
pub struct Postgres {
    port: u16,
    programs: PathBuf,
    directory: TempDir,
    server: Option<Server>,
}

impl Postgres {
    pub const PASSWORD: &str = "s3cret-of-the-store";

    /// None, and a word about it, where its programs are not installed.
    pub fn start(test: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED {test}: PostgreSQL's `initdb` and `postgres` are not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self { port: 0, programs, directory, server: None };
        std::fs::set_permissions(server.directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(server.path("password"), Self::PASSWORD).unwrap();
        let mut made = server.command("initdb");
        made.arg("-D").arg(server.path("data")).args(["-U", "squall", "-A", "scram-sha-256", "--no-sync"]);
        made.arg("--pwfile").arg(server.path("password"));
        let made = made.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for _ in 0..5 {
            server.port = port();
            if server.try_go() {
                return Some(server);
            }
        }
        panic!("postgres does not start");
    }

    pub fn url(&self) -> String {
        format!("postgres://squall:{}@127.0.0.1:{}/postgres", Self::PASSWORD, self.port)
    }

    /// Ends it, at once.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again, on the same port.
    pub fn go(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.try_go() {
            assert!(Instant::now() < until, "postgres does not start again");
        }
    }

    fn try_go(&mut self) -> bool {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data")).arg("-p").arg(self.port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]);
        let mut server = Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let port = self.port;
        let started = wait_for(&mut server, "postgres", || answers(port) && self.is_ready());
        self.server = started.then_some(server);
        started
    }

    /// It listens before it takes queries.
    fn is_ready(&self) -> bool {
        let mut ready = Command::new(self.programs.join("pg_isready"));
        ready
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status()
            .is_ok_and(|status| status.success())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As the user `postgres` where the test runs as root, whom PostgreSQL refuses. `setpriv` becomes the program, so that its
    /// process id is the program's.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !rustix::process::geteuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program).current_dir("/");
        command
    }
}

/// The newest of Debian's directories that has them, else where `PATH` has them.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    versions.into_iter().rev().chain([PathBuf::new()]).find(|directory| {
        ["initdb", "postgres"].iter().all(|program| found(directory.join(program).to_str().unwrap_or_default()))
    })
}
