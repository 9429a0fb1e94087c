//! `/v1/events`: a client that follows the agent, comes back, filters, is too late, or is one too many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, connect, echo, ping};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

/// A stream of events, read one by one.
struct Stream {
    response: reqwest::Response,
    read: String,
}

#[derive(Debug)]
struct Told {
    id: String,
    kind: String,
    data: Value,
}

impl Stream {
    async fn open(agent: &Running, path: &str, last: Option<&str>) -> Self {
        let mut request = agent.request(Method::GET, path).timeout(LONG * 3);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// The next event; None at the end of the stream.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                if !field("data").is_empty() {
                    let data = serde_json::from_str(&field("data")).unwrap();
                    return Some(Told { id: field("id"), kind: field("event"), data });
                }
            }
            let chunk = timeout(LONG, self.response.chunk()).await.expect("an event must come").ok()??;
            self.read += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn kinds(&mut self, count: usize) -> Vec<String> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(self.next().await.expect("an event").kind);
        }
        kinds
    }
}

#[tokio::test]
async fn who_follows_gets_each_change_and_who_comes_back_what_came_meanwhile() {
    let agent = Running::new().await;
    let mut stream = Stream::open(&agent, "/v1/events", None).await;
    agent.proxy("db", echo(b'a').await).await;
    let first = stream.next().await.unwrap();
    assert_eq!(
        (first.kind.as_str(), &first.data["kind"], &first.data["proxy"]),
        ("proxy_created", &json!("proxy_created"), &json!("db"))
    );
    drop(stream);
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}})).await;
    agent.delete("/v1/faults").await;
    let mut back = Stream::open(&agent, "/v1/events", Some(&first.id)).await;
    assert_eq!(back.kinds(2).await, ["fault_set", "fault_healed"]);
    // An event of another life of the agent: what happened meanwhile nobody knows, and this life is told whole.
    let mut stranger = Stream::open(&agent, "/v1/events", Some("ffffffff-7")).await;
    let lost = stranger.next().await.unwrap();
    assert_eq!((lost.kind.as_str(), &lost.data["missed"]), ("lost", &Value::Null));
    assert_eq!(stranger.kinds(3).await, ["proxy_created", "fault_set", "fault_healed"]);
    agent.stop().await;
    assert!(back.next().await.is_none(), "the stream ends with the agent");
}

#[tokio::test]
async fn hits_and_ends_are_summed_up() {
    let agent = Running::new().await;
    let addr = agent.proxy("db", echo(b'a').await).await;
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}})).await;
    let mut stream = Stream::open(&agent, "/v1/events?kind=fault_hit,connections_ended", None).await;
    for _ in 0..5 {
        ping(&mut connect(addr).await).await.unwrap();
    }
    let (mut hits, mut ended) = (0, 0);
    while hits < 5 || ended < 5 {
        let told = stream.next().await.unwrap();
        let count = told.data["count"].as_u64().unwrap();
        match told.kind.as_str() {
            "fault_hit" => (hits += count, assert_eq!(told.data["fault"], "slow")).0,
            "connections_ended" => ended += count,
            other => panic!("{other} was not asked for"),
        }
    }
    assert_eq!((hits, ended), (5, 5), "each is told once");
}

#[tokio::test]
async fn a_filter_lets_through_what_it_names() {
    let agent = Running::new().await;
    let mut of_b = Stream::open(&agent, "/v1/events?proxy=b&kind=proxy_created,proxy_removed", None).await;
    agent.proxy("a", echo(b'a').await).await;
    agent.proxy("b", echo(b'b').await).await;
    agent.fault("b", json!({"fault": {"refuse": {}}})).await;
    agent.delete("/v1/proxies/b").await;
    assert_eq!(of_b.kinds(2).await, ["proxy_created", "proxy_removed"]);
    for path in ["/v1/events?kind=nonsense", "/v1/events?proxy=-", "/v1/events?since=1"] {
        assert_eq!(agent.get(path).await.0, 400, "{path}");
    }
    let wrong = agent.request(Method::GET, "/v1/events").header("Last-Event-ID", "17").send().await.unwrap();
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_how_many_are_lost() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let mut stream = Stream::open(&agent, "/v1/events", Some("00000000-0")).await;
    stream.next().await.unwrap();
    let first = stream.next().await.unwrap();
    let lease = agent.lease("ann", "1m", &["db"]).await;
    let http = reqwest::Client::new();
    for _ in 0..1100 {
        let url = format!("http://{}/v1/leases/{lease}", agent.addr);
        assert!(http.put(url).timeout(LONG).send().await.unwrap().status().is_success());
    }
    // 1101 changes came since, of which the last 1024 are kept.
    let mut late = Stream::open(&agent, "/v1/events", Some(&first.id)).await;
    let lost = late.next().await.unwrap();
    assert_eq!((lost.kind.as_str(), &lost.data["missed"]), ("lost", &json!(77)));
    assert_eq!(late.next().await.unwrap().data["id"], 79);
}

#[tokio::test]
async fn there_are_so_many_places_and_the_api_goes_on() {
    let agent = Running::new().await;
    let mut all = Vec::new();
    for _ in 0..squall_agent::events::MAX_SUBSCRIBERS {
        all.push(Stream::open(&agent, "/v1/events", None).await);
    }
    let (status, body) = agent.get("/v1/events").await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("unavailable")), "{body}");
    assert_eq!(agent.get("/v1/agent").await.0, 200);
    all.pop();
    // The place is free when the agent has seen that the client is gone, which is with the next that it writes.
    agent.proxy("db", echo(b'a').await).await;
    agent.until("/health/live", |_, _| true).await;
    let start = std::time::Instant::now();
    while agent.request(Method::GET, "/v1/events").send().await.unwrap().status() != 200 {
        assert!(start.elapsed() < LONG, "the place must become free");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
