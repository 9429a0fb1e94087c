//! Every call of the unmodified `toxiproxy_rust`, against the agent whose address is the first argument.
//!
//! The second is the port of a server that sends back what it gets. Prints one line a check; exits 1 if any failed.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};
use toxiproxy_rust::{
    client::Client,
    proxy::{Proxy, ProxyPack},
};

struct Checks {
    client: Client,
    upstream: String,
}

/// How long from a ping to its echo.
fn ping(proxy: &Proxy) -> io::Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(&proxy.proxy_pack.listen)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"ping")?;
    let mut echo = [0; 4];
    stream.read_exact(&mut echo)?;
    assert_eq!(&echo, b"ping");
    Ok(start.elapsed())
}

impl Checks {
    fn pack(&self, name: &str) -> ProxyPack {
        ProxyPack::new(name.into(), "127.0.0.1:0".into(), self.upstream.clone())
    }

    fn one(&self) -> Proxy {
        self.client.find_proxy("one").unwrap()
    }

    fn is_running_and_version(&self) {
        assert!(self.client.is_running());
        assert_eq!(self.client.version().unwrap(), "{\"version\": \"2.12.0\"}\n");
    }

    fn populate_all_and_find_proxy(&self) {
        let made = self.client.populate(vec![self.pack("one"), self.pack("two")]).unwrap();
        assert_eq!(made.iter().map(|proxy| proxy.proxy_pack.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        let all = self.client.all().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all["two"].proxy_pack.listen, made[1].proxy_pack.listen);
        assert_eq!(self.one().proxy_pack.upstream, self.upstream);
        assert!(self.client.find_proxy("nobody").is_err());
        ping(&self.one()).unwrap();
    }

    fn disable_enable_and_with_down(&self) {
        let one = self.one();
        let refused = || assert_eq!(ping(&one).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        one.disable().unwrap();
        refused();
        one.enable().unwrap();
        ping(&one).unwrap();
        one.with_down(refused).unwrap();
        ping(&one).unwrap();
    }

    fn each_toxic(&self) {
        let one = self.one();
        for stream in ["upstream", "downstream"].map(str::to_owned) {
            one.with_latency(stream.clone(), 10, 1, 1.0)
                .with_bandwidth(stream.clone(), 1000, 0.5)
                .with_slow_close(stream.clone(), 10, 1.0)
                .with_timeout(stream.clone(), 5000, 0.0)
                .with_slicer(stream.clone(), 2, 1, 10, 1.0)
                .with_limit_data(stream, 1000, 0.25);
        }
        let toxics = one.toxics().unwrap();
        assert_eq!(toxics.len(), 12);
        let slicer = toxics.iter().find(|toxic| toxic.name == "slicer_upstream").unwrap();
        assert_eq!((slicer.r#type.as_str(), slicer.stream.as_str(), slicer.toxicity), ("slicer", "upstream", 1.0));
        assert_eq!((slicer.attributes["average_size"], slicer.attributes["size_variation"]), (2, 1));
        let limit = toxics.iter().find(|toxic| toxic.name == "limit_data_downstream").unwrap();
        assert_eq!((limit.toxicity, limit.attributes["bytes"]), (0.25, 1000));
        one.delete_all_toxics().unwrap();
        assert!(one.toxics().unwrap().is_empty());
    }

    fn what_toxics_do_inside_apply(&self) {
        let one = self.one();
        let slow = one.with_latency("downstream".into(), 1000, 0, 1.0);
        slow.apply(|| assert!(ping(&one).unwrap() >= Duration::from_secs(1))).unwrap();
        assert!(one.toxics().unwrap().is_empty(), "apply takes them away");
        assert!(ping(&one).unwrap() < Duration::from_secs(1));
        let cut = one.with_limit_data("downstream".into(), 2, 1.0);
        cut.apply(|| assert!(ping(&one).is_err())).unwrap();
        ping(&one).unwrap();
    }

    fn find_and_reset_proxy_and_reset(&self) {
        let one = self.one();
        one.with_latency("downstream".into(), 5000, 0, 1.0);
        one.disable().unwrap();
        let one = self.client.find_and_reset_proxy("one").unwrap();
        assert!(ping(&one).unwrap() < Duration::from_secs(5));
        one.with_latency("downstream".into(), 5000, 0, 1.0);
        one.disable().unwrap();
        self.client.reset().unwrap();
        assert!(ping(&one).unwrap() < Duration::from_secs(5));
        assert!(one.toxics().unwrap().is_empty());
    }

    fn delete(&self) {
        for proxy in self.client.all().unwrap().values() {
            proxy.delete().unwrap();
        }
        assert!(self.client.all().unwrap().is_empty());
    }
}

fn main() -> ExitCode {
    let [_, agent, port] = std::env::args().collect::<Vec<_>>().try_into().expect("the agent's address and a port");
    let checks = Checks { client: Client::new(agent.as_str()), upstream: format!("127.0.0.1:{port}") };
    let all: [(&str, fn(&Checks)); 7] = [
        ("is_running, version", Checks::is_running_and_version),
        ("populate, all, find_proxy", Checks::populate_all_and_find_proxy),
        ("disable, enable, with_down", Checks::disable_enable_and_with_down),
        ("with_latency and the others, toxics, delete_all_toxics", Checks::each_toxic),
        ("what toxics do inside apply", Checks::what_toxics_do_inside_apply),
        ("find_and_reset_proxy, reset", Checks::find_and_reset_proxy_and_reset),
        ("delete", Checks::delete),
    ];
    let mut failed = false;
    for (name, check) in all {
        // The panic has told what is wrong already.
        if catch_unwind(AssertUnwindSafe(|| check(&checks))).is_ok() {
            println!("  ok      {name}");
        } else {
            println!("  FAILED  {name}");
            failed = true;
        }
    }
    ExitCode::from(u8::from(failed))
}
