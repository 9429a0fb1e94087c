//! Network namespaces with a client's side and a server's side, an agent in the client's, and what a test asks of them.
//!
//! Everything is made by the test and goes with it, also when it panics. Where namespaces or nftables cannot be had,
//! the test says `SKIPPED name: reason` and passes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Far above what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The server's addresses.
pub(crate) const SERVER: &str = "10.123.0.2";
pub(crate) const SERVER_V6: &str = "fd53::2";

/// Two namespaces with a cable between them, and a server in the second.
pub(crate) struct Net {
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Net {
    /// None, and said so, where this machine has no such thing.
    pub(crate) fn new(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Err(reason) = possible() {
            eprintln!("SKIPPED {test}: {reason}");
            return None;
        }
        let number = NEXT.fetch_add(1, Relaxed);
        let name = |side| format!("squall-{side}-{}-{number}", std::process::id());
        let (client, server) = (name("client"), name("server"));
        // From here on its drop takes everything away again.
        let mut net = Self { client, server, port: 0, directory: tempfile::tempdir().unwrap() };
        for namespace in [&net.client, &net.server] {
            ip(&["netns", "add", namespace]).unwrap();
            ip(&["-n", namespace, "link", "set", "lo", "up"]).unwrap();
        }
        cable(&net.client, "10.123.0.1/24", "fd53::1/64", &net.server, "10.123.0.2/24", "fd53::2/64");
        net.port = net.serve();
        Some(net)
    }

    /// Listens on all addresses of the server's namespace. Each client is told its port, as the server sees it, and
    /// then hears its own bytes.
    fn serve(&self) -> u16 {
        let listener = inside(&self.server, || TcpListener::bind("[::]:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let port = stream.peer_addr().unwrap().port();
                    let _ = writeln!(stream, "{port}");
                    let mut reader = stream.try_clone().unwrap();
                    // A client that is gone is no failure.
                    let _ = std::io::copy(&mut reader, &mut stream);
                });
            }
        });
        port
    }

    /// Starts an agent on the client's side; it is ready when this returns.
    pub(crate) fn agent(&self, arguments: &[&str]) -> Agent {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let ready = self.directory.path().join(format!("ready-{number}"));
        let log = self.directory.path().join(format!("log-{number}"));
        let child = Command::new("ip")
            .args(["netns", "exec", &self.client, env!("CARGO_BIN_EXE_squall-agent"), "intercept"])
            .args(["--listen", "127.0.0.1:0", "--drain", "5s", "--ready-file"])
            .arg(&ready)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut agent = Agent { child, namespace: self.client.clone(), api: ([127, 0, 0, 1], 0).into() };
        let bound: Value = wait_for(|| {
            if let Some(status) = agent.child.try_wait().unwrap() {
                panic!("the agent ended: {status}: {}", std::fs::read_to_string(&log).unwrap());
            }
            serde_json::from_str(&std::fs::read_to_string(&ready).ok()?).ok()
        });
        agent.api = bound["api"].as_str().unwrap().parse().unwrap();
        agent
    }

    /// An agent that intercepts the server's IPv4 address.
    pub(crate) fn intercepting(&self) -> Agent {
        self.agent(&["--to", &format!("web={SERVER}:{}", self.port)])
    }

    /// What a client on the client's side sees of the server.
    pub(crate) fn visit(&self, host: &str) -> Visit {
        Visit::from(&self.client, format!("{}:{}", bracketed(host), self.port).parse().unwrap())
    }

    /// Whether a client reaches the server itself.
    pub(crate) fn is_direct(&self) -> bool {
        self.visit(SERVER).is_direct
    }

    /// The tables of agents on the client's side.
    pub(crate) fn tables(&self) -> Vec<String> {
        let listed = run(&["ip", "netns", "exec", &self.client, "nft", "list", "tables", "inet"]).unwrap();
        listed.lines().filter_map(|line| line.strip_prefix("table inet squall_")).map(str::to_owned).collect()
    }

    /// Whether anything is redirected on the client's side.
    pub(crate) fn redirects(&self) -> bool {
        run(&["ip", "netns", "exec", &self.client, "nft", "list", "ruleset"]).unwrap().contains("redirect")
    }

    /// Waits until no agent intercepts anything.
    pub(crate) fn until_free(&self) {
        wait_for(|| self.tables().is_empty().then_some(()));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.server] {
            // One that was never made is gone already.
            let _ = ip(&["netns", "del", namespace]);
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Why such tests cannot be done here.
fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it takes root to make network namespaces".into());
    }
    let probe = format!("squall-probe-{}-{:?}", std::process::id(), std::thread::current().id());
    let probe = probe.replace(['(', ')'], "");
    ip(&["netns", "add", &probe]).map_err(|error| format!("no network namespaces: {error}"))?;
    let script = "table inet probe { chain output { type nat hook output priority 0; ip daddr 10.0.0.1 tcp dport 1 \
                  redirect to :2; }; }";
    let outcome = run(&["ip", "netns", "exec", &probe, "nft", script]);
    ip(&["netns", "del", &probe]).unwrap();
    outcome.map(drop).map_err(|error| format!("no nftables: {error}"))
}

/// Connects two namespaces.
pub(crate) fn cable(one: &str, one_v4: &str, one_v6: &str, other: &str, other_v4: &str, other_v6: &str) {
    // Named after the other end, for one namespace may have several.
    let name = |namespace: &str| {
        let hash = namespace.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        format!("v{hash:x}")
    };
    let (to_other, to_one) = (name(other), name(one));
    ip(&["link", "add", &to_other, "netns", one, "type", "veth", "peer", "name", &to_one, "netns", other]).unwrap();
    for (namespace, link, v4, v6) in [(one, &to_other, one_v4, one_v6), (other, &to_one, other_v4, other_v6)] {
        ip(&["-n", namespace, "address", "add", v4, "dev", link]).unwrap();
        ip(&["-n", namespace, "address", "add", v6, "dev", link, "nodad"]).unwrap();
        ip(&["-n", namespace, "link", "set", link, "up"]).unwrap();
    }
}

pub(crate) fn ip(arguments: &[&str]) -> Result<String, String> {
    run(&[&["ip"], arguments].concat())
}

/// Runs a command to its end.
pub(crate) fn run(command: &[&str]) -> Result<String, String> {
    let output =
        Command::new(command[0]).args(&command[1..]).output().map_err(|error| format!("{}: {error}", command[0]))?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Does something in a network namespace, on a thread of its own.
pub(crate) fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        entered.join().unwrap()
    })
}

/// What a client saw.
pub(crate) struct Visit {
    /// How long until the server's first bytes were there.
    pub(crate) took: Duration,
    /// Whether the server saw the client's own port.
    pub(crate) is_direct: bool,
    /// The connection, open still.
    pub(crate) stream: BufReader<TcpStream>,
}

impl Visit {
    /// From this namespace to that address.
    pub(crate) fn from(namespace: &str, server: SocketAddr) -> Self {
        inside(namespace, || Self::to(server))
    }

    /// From where this thread is.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let start = Instant::now();
        let stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let own = stream.local_addr().unwrap().port();
        let mut stream = BufReader::new(stream);
        let mut seen = String::new();
        stream.read_line(&mut seen).unwrap();
        Self { took: start.elapsed(), is_direct: seen.trim_end() == own.to_string(), stream }
    }

    /// Says something and hears it.
    pub(crate) fn echoes(&mut self) {
        self.stream.get_mut().write_all(b"again").unwrap();
        let mut answer = [0; 5];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"again");
    }
}

/// An agent's process. `ip netns exec` becomes the agent, so the process id is its own.
pub(crate) struct Agent {
    child: Child,
    namespace: String,
    api: SocketAddr,
}

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls the API, which does as it is told, and answers what it says.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Calls the API, and answers its status and what it says.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.api,
            body.len()
        );
        let answer = inside(&self.namespace, || {
            let mut stream = TcpStream::connect(self.api).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    /// How many connections a proxy has taken.
    pub(crate) fn connections(&self, proxy: &str) -> u64 {
        self.call("GET", &format!("/v1/proxies/{proxy}"), &Value::Null)["counters"]["connections"].as_u64().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(|| self.child.try_wait().unwrap())
    }

    /// Its watchdog's process id.
    pub(crate) fn watchdog(&self) -> u32 {
        let parent = format!("PPid:\t{}", self.pid());
        let is_it = |pid: &u32| {
            let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("status").lines().any(|line| line == parent) && read("cmdline").contains("intercept-watchdog")
        };
        wait_for(|| {
            let all =
                std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            all.filter_map(|name| name.parse().ok()).find(is_it)
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        // Of other processes: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is the first of a session. Asked of /proc, because a session whose first process is outside of this
/// PID namespace, as the agent's may be in a container, has no number here.
pub(crate) fn leads_a_session(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in brackets, may hold anything; then come state, parent, group and session.
    let session = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(3));
    session.is_some_and(|session| session == pid.to_string())
}
