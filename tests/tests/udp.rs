//! A proxy for datagrams from the command line to the verdict.

#![expect(clippy::unwrap_used, reason = "a test that cannot start must fail loudly")]

use squall_tests::{World, get, printed};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

const EXPERIMENT: &str = r#"version: 1
name: lossy
hypothesis: Names are resolved although datagrams are lost.
probes:
  answers: {agent: {proxy: dns, read: downstream_datagram_rate}, every: 200ms}
steady_state:
  - {probe: answers, value: "> 0"}
method:
  - name: answers are lost
    inject: {proxy: dns, fault: FAULT, percent: 50, seed: 3}
    for: 2s
blast_radius: {proxies: [dns], percent: 100, duration: 2m}
baseline: 1s
recovery: {within: 5s, hold: 1s}
lease: 2s
"#;

/// A server that echoes datagrams, and a client that goes on asking through the proxy; both until they are dropped.
struct Chatter {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Chatter {
    fn echo() -> (Self, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut chatter = Self { stop: Arc::default(), threads: Vec::new() };
        chatter.until_stopped(socket, |socket| {
            let mut buffer = [0; 64];
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..length], from).unwrap();
            }
        });
        (chatter, address)
    }

    fn ask(&mut self, proxy: SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(proxy).unwrap();
        self.until_stopped(socket, |socket| {
            socket.send(b"question").unwrap();
            // An answer that is lost is asked for again.
            let _ = socket.recv(&mut [0; 64]);
        });
    }

    fn until_stopped(&mut self, socket: UdpSocket, step: impl Fn(&UdpSocket) + Send + 'static) {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                step(&socket);
            }
        }));
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has told so already.
            let _ = thread.join();
        }
    }
}

fn make_proxy(world: &World, upstream: SocketAddr) -> SocketAddr {
    let mut command = world.squall();
    command.args(["proxy", "set", "dns", "--protocol", "udp", "--upstream", &upstream.to_string()]);
    let output = command.env("SQUALL_AGENT", &world.agent_url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("udp://127.0.0.1:"), "{}", printed(&output));
    let proxy = get(&format!("{}/v1/proxies/dns", world.agent_url)).unwrap();
    proxy["listen"].as_str().unwrap().parse().unwrap()
}

#[test]
fn an_experiment_loses_datagrams_of_a_proxy_and_holds() {
    let world = World::start();
    let (mut chatter, upstream) = Chatter::echo();
    chatter.ask(make_proxy(&world, upstream));
    let file = world.write("lossy.yaml", &EXPERIMENT.replace("FAULT", "{loss: {}}"));
    let output = world.run(&file);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let proxy = get(&format!("{}/v1/proxies/dns", world.agent_url)).unwrap();
    let (asked, answered) = (&proxy["counters"]["datagrams_upstream"], &proxy["counters"]["datagrams_downstream"]);
    assert!(asked.as_u64() > answered.as_u64() && proxy["faults"].as_array().is_some_and(Vec::is_empty), "{proxy}");

    let file = world
        .write("lossy.yaml", &EXPERIMENT.replace("FAULT", "{blackhole: {}}").replace("percent: 50", "percent: 100"));
    let output = world.run(&file);
    assert_eq!(output.status.code(), Some(1), "nothing is answered: {}", printed(&output));
}

#[test]
fn a_fault_that_datagrams_do_not_know_is_refused_before_anything_is_touched() {
    let world = World::start();
    let (_chatter, upstream) = Chatter::echo();
    make_proxy(&world, upstream);
    let file = world.write("lossy.yaml", &EXPERIMENT.replace("FAULT", "{reset: {}}"));
    let output = world.squall().arg("plan").arg(&file).arg("--env").arg(world.path("world.yaml")).output().unwrap();
    let text = printed(&output);
    assert_ne!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("`reset` runs on `tcp` and `http` proxies, and this one is `udp`"), "{text}");
}
