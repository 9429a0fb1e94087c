//! The ways in which an integration point fails, as M. Nygard lists them in *Release It!* ("Test Harnesses"): each has
//! a fault, and each is seen here from a real client's side, as a plain socket (errno, elapsed time, bytes) and as an
//! HTTP client, through a real agent process. Then it is healed, and the client is served as before.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use reqwest::Method;
use rustix::io::Errno;
use serde_json::{Value, json};
use squall_tests::{WebClient, World};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What an impatient client waits.
const LIMIT: Duration = Duration::from_millis(800);

/// What nothing here takes on a busy machine, unless it waits for something that does not come.
const SOON: Duration = Duration::from_millis(600);

/// Far above all of it.
const PATIENCE: Duration = Duration::from_secs(20);

const ECONNREFUSED: i32 = Errno::CONNREFUSED.raw_os_error();
const ECONNRESET: i32 = Errno::CONNRESET.raw_os_error();
const ETIMEDOUT: i32 = Errno::TIMEDOUT.raw_os_error();

/// A web server that answers `ok`, and a proxy before it.
struct Scene {
    world: World,
    api: WebClient,
    /// As the agent's API has it.
    proxy: String,
    /// As clients reach it.
    address: SocketAddr,
    url: String,
}

/// How an attempt of an HTTP client went.
type Attempt = (Result<(u16, Vec<u8>), reqwest::Error>, Duration);

impl Scene {
    /// The proxy passes a stream of bytes.
    fn new() -> Self {
        let world = World::start();
        let address = world.proxy_url.trim_start_matches("http://").parse().unwrap();
        Self::of(world, "web", address)
    }

    /// The proxy knows HTTP.
    fn http() -> Self {
        let world = World::start();
        let spec = json!({"name": "http", "upstream": world.web.address(), "protocol": "http"});
        let url = format!("{}/v1/proxies", world.agent_url);
        let (status, made) = WebClient::new(PATIENCE).call(Method::POST, &url, &spec);
        assert_eq!(status, 201, "{made}");
        Self::of(world, "http", made["listen"].as_str().unwrap().parse().unwrap())
    }

    fn of(world: World, proxy: &str, address: SocketAddr) -> Self {
        let proxy = format!("{}/v1/proxies/{proxy}", world.agent_url);
        let scene = Self { world, api: WebClient::new(PATIENCE), proxy, address, url: format!("http://{address}/") };
        scene.is_served();
        scene
    }

    /// Sets the fault; answers why this machine cannot, if it cannot.
    fn try_fault(&self, fault: Value) -> Result<(), String> {
        let (status, answer) = self.api.call(Method::POST, &format!("{}/faults", self.proxy), &fault);
        let why = || answer["error"]["message"].as_str().unwrap().to_owned();
        match status {
            201 => Ok(()),
            501 => Err(why()),
            _ => panic!("{status} {answer}"),
        }
    }

    fn fault(&self, fault: Value) {
        self.try_fault(fault).unwrap();
    }

    /// Takes the fault away: the integration point is well again, and nothing is left behind.
    fn heal(&self) {
        let url = format!("{}/v1/faults", self.world.agent_url);
        assert_eq!(self.api.call(Method::DELETE, &url, &Value::Null).0, 200);
        self.is_served();
    }

    fn is_served(&self) {
        let (answer, _) = WebClient::new(PATIENCE).get(&self.url);
        assert_eq!(answer.unwrap(), (200, b"ok".to_vec()));
        let (answer, _) = ask(&mut self.connect());
        assert!(String::from_utf8(answer.unwrap()).unwrap().ends_with("ok"));
    }

    /// A plain socket that waits for nothing longer than `LIMIT`, connected.
    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// An HTTP client that waits for nothing longer than `LIMIT`.
    fn get(&self) -> Attempt {
        WebClient::new(LIMIT).get(&self.url)
    }

    /// Bytes that reached the server, and connections that came.
    fn passed(&self) -> (u64, u64) {
        let (status, info) = self.api.call(Method::GET, &self.proxy, &Value::Null);
        assert_eq!(status, 200, "{info}");
        let counter = |name: &str| info["counters"][name].as_u64().unwrap();
        (counter("bytes_upstream"), counter("connections"))
    }
}

/// Asks by hand, and reads to the end; and how long that took.
fn ask(socket: &mut TcpStream) -> (std::io::Result<Vec<u8>>, Duration) {
    let since = Instant::now();
    let mut answer = Vec::new();
    let outcome = socket
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
        .and_then(|()| socket.read_to_end(&mut answer));
    (outcome.map(|_| answer), since.elapsed())
}

/// Nothing came for as long as the client waited (`EAGAIN`, as its own limit shows), neither byte nor end.
fn is_silence(outcome: &std::io::Result<Vec<u8>>, took: Duration) {
    assert_eq!(outcome.as_ref().unwrap_err().kind(), ErrorKind::WouldBlock, "{outcome:?}");
    assert!(took >= LIMIT - MS(50), "{took:?}");
}

/// The HTTP client gave up by its own limit.
fn is_given_up((outcome, took): &Attempt) {
    let error = outcome.as_ref().unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(*took >= LIMIT - MS(50) && *took < LIMIT + PATIENCE / 4, "{took:?}");
}

/// The errno at the bottom of an HTTP client's error.
fn errno(error: &reqwest::Error) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        found = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error).or(found);
        cause = error.source();
    }
    found
}

/// Says that a row was not tried, whatever captures the test's output.
fn skipped(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {reason}\n");
    for mut sink in [Box::new(std::io::stderr()) as Box<dyn Write>, Box::new(std::io::stdout())] {
        sink.write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn the_remote_end_refuses_the_connection() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"refuse": {}}}));
    let since = Instant::now();
    let error = TcpStream::connect(scene.address).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ECONNREFUSED));
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let (outcome, took) = scene.get();
    let error = outcome.unwrap_err();
    assert!(error.is_connect() && errno(&error) == Some(ECONNREFUSED) && took < SOON, "{took:?} {error:?}");
    scene.heal();
}

#[test]
fn the_remote_end_leaves_it_in_a_listen_queue_until_the_caller_times_out() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"slow_accept": {"delay": "forever", "one_at_a_time": true, "backlog": 1}}}));
    let before = scene.passed();
    // The first ones are in the queue: connected, as far as they know, and not served.
    let mut queued = Vec::new();
    let (error, took) = loop {
        let since = Instant::now();
        match TcpStream::connect_timeout(&scene.address, LIMIT) {
            Ok(socket) => queued.push(socket),
            Err(error) => break (error, since.elapsed()),
        }
        assert!(queued.len() < 16, "the queue never fills");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(took >= LIMIT - MS(50), "{took:?}");
    let mut first = queued.remove(0);
    first.set_read_timeout(Some(LIMIT)).unwrap();
    let (outcome, took) = ask(&mut first);
    is_silence(&outcome, took);
    let (outcome, took) = scene.get();
    let error = outcome.unwrap_err();
    assert!(error.is_connect() && error.is_timeout() && took >= LIMIT / 2, "{took:?} {error:?}");
    assert_eq!(scene.passed(), before, "nobody was taken in");
    scene.heal();
}

#[test]
fn the_remote_end_replies_to_the_syn_and_never_sends_data() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"blackhole": {}}, "direction": "both"}));
    let before = scene.passed();
    let since = Instant::now();
    let mut socket = scene.connect();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let (outcome, took) = ask(&mut socket);
    is_silence(&outcome, took);
    is_given_up(&scene.get());
    assert_eq!(scene.passed().0, before.0, "the server has heard nothing");
    scene.heal();
}

#[test]
fn the_remote_end_sends_nothing_but_reset() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"reset": {}}}));
    // The RST may be there before the connect is looked at.
    let error = match TcpStream::connect_timeout(&scene.address, PATIENCE) {
        Ok(mut socket) => {
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            let since = Instant::now();
            let error = socket.read(&mut [0; 16]).unwrap_err();
            assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
            error
        }
        Err(error) => error,
    };
    assert_eq!(error.raw_os_error(), Some(ECONNRESET));
    let (outcome, took) = scene.get();
    let error = outcome.unwrap_err();
    assert!(errno(&error) == Some(ECONNRESET) && took < SOON, "{took:?} {error:?}");
    scene.heal();
}

#[test]
fn the_remote_end_reports_a_full_receive_window_and_never_drains() {
    const LARGE: usize = 64 << 20;
    let scene = Scene::new();
    scene.fault(json!({"fault": {"unread": {}}, "direction": "upstream"}));
    let before = scene.passed();
    let mut socket = scene.connect();
    let (mut sent, piece) = (0, vec![b'x'; 1 << 16]);
    let (error, took) = loop {
        let since = Instant::now();
        match socket.write(&piece) {
            Ok(bytes) => sent += bytes,
            Err(error) => break (error, since.elapsed()),
        }
        assert!(sent < LARGE, "the window never fills");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(took >= LIMIT - MS(50) && sent > 0, "{took:?}, {sent} bytes");
    let client = WebClient::new(LIMIT);
    is_given_up(&client.send(Method::POST, &scene.url, Some(vec![b'x'; LARGE])));
    assert_eq!(scene.passed().0, before.0, "the server has heard nothing");
    scene.heal();
}

#[test]
fn the_remote_end_is_connected_and_never_sends_a_byte() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"blackhole": {}}, "direction": "downstream"}));
    let before = scene.passed();
    let (outcome, took) = ask(&mut scene.connect());
    is_silence(&outcome, took);
    is_given_up(&scene.get());
    assert!(scene.passed().0 > before.0, "the server has heard the question");
    scene.heal();
}

/// What a client sees of a network that delays: all answers are right, and some are late.
fn is_slow_at_times(scene: &Scene, late: Duration, name: &str) {
    let client = WebClient::new(PATIENCE);
    let since = Instant::now();
    let (mut answers, mut worst) = (0, Duration::ZERO);
    while worst < late {
        assert!(since.elapsed() < PATIENCE, "{name}: none of {answers} answers was late, the slowest {worst:?}");
        let (answer, lasted) = client.get(&scene.url);
        assert_eq!(answer.unwrap(), (200, b"ok".to_vec()), "{name}: no byte is lost");
        let (answer, by_hand) = ask(&mut patient(scene));
        assert!(String::from_utf8(answer.unwrap()).unwrap().ends_with("ok"), "{name}: no byte is lost");
        worst = worst.max(lasted).max(by_hand);
        answers += 2;
    }
}

fn patient(scene: &Scene) -> TcpStream {
    let socket = scene.connect();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn the_remote_end_is_connected_and_lost_packets_delay() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"stall": {"every": "600ms", "for": "400ms"}}}));
    is_slow_at_times(&scene, MS(250), "stall");
    scene.heal();
    match scene.try_fault(json!({"fault": {"packet_loss": {"loss": 25}}, "direction": "both"})) {
        // The kernel sends again after 200 ms at the earliest.
        Ok(()) => is_slow_at_times(&scene, MS(190), "packet_loss"),
        Err(why) => return skipped("the_remote_end_is_connected_and_lost_packets_delay", &why),
    }
    scene.heal();
}

#[test]
fn the_remote_end_never_acknowledges_a_packet() {
    const UNACKNOWLEDGED: Duration = Duration::from_secs(1);
    let scene = Scene::new();
    let mut socket = patient(&scene);
    let keep_alive = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    socket.write_all(keep_alive).unwrap();
    let mut answer = [0; 1024];
    assert!(socket.read(&mut answer).unwrap() > 0, "served while it is well");
    let client = WebClient::new(LIMIT);
    client.get(&scene.url).0.unwrap();
    if let Err(why) = scene.try_fault(json!({"fault": {"packet_loss": {"loss": 100}}, "direction": "both"})) {
        return skipped("the_remote_end_never_acknowledges_a_packet", &why);
    }
    // The kernel itself gives up when nothing is acknowledged for so long.
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED)).unwrap();
    socket.set_read_timeout(Some(MS(100))).unwrap();
    let since = Instant::now();
    let error = loop {
        // Asked again and again: the first may still have been on its way when the fault took hold.
        match socket.write_all(keep_alive).and_then(|()| socket.read(&mut answer)) {
            Ok(bytes) => assert!(bytes > 0, "an end in order"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => break error,
        }
        assert!(since.elapsed() < PATIENCE, "acknowledged all the while");
    };
    assert_eq!(error.raw_os_error(), Some(ETIMEDOUT), "{error}");
    assert!(since.elapsed() >= UNACKNOWLEDGED - MS(50), "{:?}", since.elapsed());
    is_given_up(&client.get(&scene.url));
    scene.heal();
}

#[test]
fn the_remote_end_sends_one_byte_every_thirty_seconds() {
    let scene = Scene::new();
    // Thirty times faster than in the book.
    scene.fault(json!({"fault": {"drip": {"bytes": 1, "every": "1s"}}}));
    let mut socket = patient(&scene);
    socket.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").unwrap();
    let mut piece = [0; 64];
    assert_eq!(socket.read(&mut piece).unwrap(), 1);
    let since = Instant::now();
    assert_eq!((socket.read(&mut piece).unwrap(), socket.read(&mut piece).unwrap()), (1, 1));
    let took = since.elapsed();
    assert!(took >= MS(1900) && took < MS(4000), "{took:?}");
    // Bytes come, and so no limit between two bytes helps: only one on the whole.
    is_given_up(&scene.get());
    scene.heal();
}

#[test]
fn the_remote_end_sends_html_where_data_was_expected() {
    let scene = Scene::new();
    scene.fault(json!({"fault": {"garbage": {"style": "html"}}}));
    let before = scene.passed();
    let (answer, took) = ask(&mut scene.connect());
    let answer = String::from_utf8(answer.unwrap()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("content-type: text/html"), "{head}");
    assert!(body.contains("<html") && took < SOON, "{took:?} {body}");
    // It all looks well, until somebody reads it.
    let (status, body) = scene.get().0.unwrap();
    assert_eq!(status, 200);
    let parsed = serde_json::from_slice::<Value>(&body).unwrap_err();
    assert!(parsed.is_syntax(), "{parsed}");
    assert_eq!(scene.passed().0, before.0, "the server was not asked");
    scene.heal();
}

#[test]
fn the_remote_end_sends_response_headers_and_never_the_body() {
    let scene = Scene::http();
    scene.fault(json!({"fault": {"http_body": {"hang": true}}}));
    let mut socket = scene.connect();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").unwrap();
    let mut head = Vec::new();
    let error = socket.read_to_end(&mut head).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 2\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "not a byte of the body: {head}");
    // The status is there, and looks well; only the body is waited for.
    is_given_up(&scene.get());
    scene.heal();
}

#[test]
fn the_remote_end_sends_megabytes_where_kilobytes_were_expected() {
    const SURPLUS: usize = 50_000_000;
    let scene = Scene::http();
    scene.fault(json!({"fault": {"http_body": {"oversize": "50MB"}}}));
    let mut socket = patient(&scene);
    let answer = ask(&mut socket).0.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(head.contains(&format!("content-length: {}\r\n", SURPLUS + 2)), "{head}");
    assert_eq!(answer.len() - end, SURPLUS + 2);
    assert!(answer[end..].starts_with(b"ok"));
    let (status, body) = WebClient::new(PATIENCE).get(&scene.url).0.unwrap();
    assert_eq!((status, body.len()), (200, SURPLUS + 2));
    scene.heal();
}

#[test]
fn the_remote_end_refuses_all_credentials() {
    let scene = Scene::http();
    scene.fault(json!({"fault": {"http_unauthorized": {}}}));
    let before = scene.passed();
    let mut socket = scene.connect();
    let asked = "GET / HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Bearer right\r\nConnection: close\r\n\r\n";
    socket.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 401") && answer.contains("\r\nwww-authenticate: "), "{answer}");
    let with_credentials = scene.url.replace("http://", "http://customer:secret@");
    for url in [&scene.url, &with_credentials] {
        assert_eq!(WebClient::new(LIMIT).get(url).0.unwrap().0, 401);
    }
    assert_eq!(scene.passed().0, before.0, "the server was not asked");
    scene.heal();
}
