//! `/v1/traffic`: connections that a fault hit are told apart from those that it spared, since a mark.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, connect, echo, ping};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

fn proxy<'a>(traffic: &'a Value, name: &str) -> &'a Value {
    traffic["proxies"].as_array().unwrap().iter().find(|proxy| proxy["proxy"] == name).unwrap()
}

fn millis(span: &Value) -> u128 {
    span.as_str().unwrap().parse::<squall_wire::Span>().unwrap().get().as_millis()
}

/// One connection from its beginning to its end.
async fn visit(addr: SocketAddr) {
    ping(&mut connect(addr).await).await.unwrap();
}

#[tokio::test]
async fn hit_and_spared_are_counted_apart_and_only_the_hit_ones_are_slow() {
    let agent = Running::new().await;
    let addr = agent.proxy("db", echo(b'a').await).await;
    let (_, mark) = agent.get("/v1/traffic").await;
    let slow = json!({"fault": {"latency": {"delay": "300ms"}}, "percent": 50, "seed": 7, "name": "slow"});
    agent.fault("db", slow).await;
    for _ in 0..12 {
        visit(addr).await;
    }
    let path = format!("/v1/traffic?proxy=db&since={}", mark["mark"].as_str().unwrap());
    let traffic = agent.until(&path, |_, traffic| proxy(traffic, "db")["all"]["ended"] == 12).await;
    let (_, fault) = agent.get("/v1/proxies/db/faults/slow").await;
    let [all, hit, spared] = ["all", "hit", "spared"].map(|group| &proxy(&traffic, "db")[group]);
    assert_eq!(hit["ended"], fault["hits"]);
    let (hits, spares) = (hit["ended"].as_u64().unwrap(), spared["ended"].as_u64().unwrap());
    assert!(hits > 0 && spares > 0 && hits + spares == 12, "{traffic}");
    for (group, ended) in [(all, 12), (hit, hits), (spared, spares)] {
        assert_eq!((&group["open"], &group["errors"]), (&json!(0), &json!(0)));
        for timing in ["connect", "first_byte", "duration"] {
            assert_eq!(group[timing]["count"], ended, "{timing} of {traffic}");
        }
    }
    // The fault acts on what comes back; what the client sent had passed before.
    assert_eq!((&all["bytes_upstream"], &all["bytes_downstream"]), (&json!(48), &json!(60)));
    assert_eq!(hit["bytes_downstream"], hits * 5);
    assert!(millis(&hit["first_byte"]["p50"]) >= 300 && millis(&hit["duration"]["p50"]) >= 300, "{hit}");
    assert!(millis(&spared["first_byte"]["p50"]) < 300, "{spared}");
    assert!(hit["first_byte"].get("times").is_none(), "{hit}");
    let (_, whole) = agent.get(&format!("{path}&times=true")).await;
    let whole = proxy(&whole, "db");
    let times =
        |group: &str| -> Vec<[u64; 2]> { serde_json::from_value(whole[group]["first_byte"]["times"].clone()).unwrap() };
    assert!(whole["all"]["first_byte"].get("times").is_none(), "those of both groups are all");
    assert!(times("hit").iter().all(|[micros, _]| *micros >= 300_000), "{whole}");
    assert_eq!(times("hit").iter().map(|[_, count]| count).sum::<u64>(), hits);
    assert_eq!(times("spared").iter().map(|[_, count]| count).sum::<u64>(), spares);
}

/// Answers each request of a connection with 200, or with 500 where the path has it.
async fn site() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = tokio::io::BufReader::new(stream);
                while let Ok(head) = head(&mut stream).await {
                    let status = if head.contains("/broken") { 500 } else { 200 };
                    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

async fn web(agent: &Running) -> SocketAddr {
    let web = json!({"name": "web", "upstream": site().await, "protocol": "http"});
    let (status, info) = agent.post("/v1/proxies", web).await;
    assert_eq!(status, 201, "{info}");
    info["listen"].as_str().unwrap().parse().unwrap()
}

async fn head(stream: &mut tokio::io::BufReader<tokio::net::TcpStream>) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// One request on a connection that stays; the status of its answer.
async fn request(stream: &mut tokio::io::BufReader<tokio::net::TcpStream>, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let head = head(stream).await.unwrap();
    stream.read_exact(&mut [0; 2]).await.unwrap();
    head[9..12].to_owned()
}

#[tokio::test]
async fn on_an_http_proxy_requests_are_counted_hit_and_spared_on_one_connection() {
    let agent = Running::new().await;
    let addr = web(&agent).await;
    let (_, mark) = agent.get("/v1/traffic").await;
    let slow = json!({"fault": {"http_latency": {"delay": "300ms"}}, "percent": 50, "seed": 7, "name": "slow"});
    agent.fault("web", slow).await;
    let mut stream = tokio::io::BufReader::new(connect(addr).await);
    for n in 0..11 {
        assert_eq!(request(&mut stream, &format!("/{n}")).await, "200");
    }
    assert_eq!(request(&mut stream, "/broken").await, "500");
    let path = format!("/v1/traffic?proxy=web&since={}", mark["mark"].as_str().unwrap());
    let (_, traffic) = agent.get(&path).await;
    let (_, fault) = agent.get("/v1/proxies/web/faults/slow").await;
    let [all, hit, spared] = ["all", "hit", "spared"].map(|group| &proxy(&traffic, "web")[group]["requests"]);
    let (hits, spares) = (hit["ended"].as_u64().unwrap(), spared["ended"].as_u64().unwrap());
    assert_eq!(json!(hits), fault["hits"]);
    assert!(hits > 0 && spares > 0 && hits + spares == 12 && all["ended"] == 12, "{traffic}");
    assert_eq!((&all["open"], &all["errors"]), (&json!(0), &json!(1)));
    for (group, ended) in [(all, 12), (hit, hits), (spared, spares)] {
        assert_eq!((&group["first_byte"]["count"], &group["duration"]["count"]), (&json!(ended), &json!(ended)));
    }
    for timing in ["first_byte", "duration"] {
        assert!(millis(&hit[timing]["p50"]) >= 300, "{hit}");
        assert!(millis(&spared[timing]["p50"]) < 300, "{spared}");
    }
    // One connection carried both.
    assert_eq!(proxy(&traffic, "web")["all"]["open"], 1);
    // A proxy that knows no requests says so.
    agent.proxy("db", echo(b'a').await).await;
    assert_eq!(proxy(&agent.get("/v1/traffic").await.1, "db")["all"]["requests"], Value::Null);
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_under_way_and_then_an_error_of_those_hit() {
    let agent = Running::new().await;
    let addr = web(&agent).await;
    let mut stream = tokio::io::BufReader::new(connect(addr).await);
    assert_eq!(request(&mut stream, "/").await, "200");
    agent.fault("web", json!({"fault": {"http_body": {"hang": true}}})).await;
    stream.write_all(b"GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    head(&mut stream).await.unwrap();
    let requests = |traffic: &Value, group: &str| proxy(traffic, "web")[group]["requests"].clone();
    let (_, traffic) = agent.get("/v1/traffic").await;
    assert_eq!((&requests(&traffic, "hit")["open"], &requests(&traffic, "spared")["open"]), (&json!(1), &json!(0)));
    // An end alone is not the client's last word: it may still read.
    stream.get_ref().set_zero_linger().unwrap();
    drop(stream);
    let traffic = agent.until("/v1/traffic", |_, traffic| requests(traffic, "hit")["ended"] == 1).await;
    let (hit, spared) = (requests(&traffic, "hit"), requests(&traffic, "spared"));
    assert_eq!((&hit["errors"], &hit["open"]), (&json!(1), &json!(0)), "{traffic}");
    assert_eq!((&spared["ended"], &spared["errors"]), (&json!(1), &json!(0)), "{traffic}");
}

#[tokio::test]
async fn a_request_on_a_connection_that_a_fault_acts_on_is_none_of_the_control_group() {
    let agent = Running::new().await;
    let addr = web(&agent).await;
    agent.fault("web", json!({"fault": {"slow_accept": {"delay": "50ms"}}})).await;
    let mut stream = tokio::io::BufReader::new(connect(addr).await);
    assert_eq!(request(&mut stream, "/").await, "200");
    let (_, traffic) = agent.get("/v1/traffic").await;
    assert_eq!(proxy(&traffic, "web")["hit"]["requests"]["ended"], 1, "{traffic}");
}

#[tokio::test]
async fn a_mark_leaves_out_what_was_before_and_open_connections_are_seen() {
    let agent = Running::new().await;
    let addr = agent.proxy("db", echo(b'a').await).await;
    agent.proxy("idle", echo(b'b').await).await;
    for _ in 0..3 {
        visit(addr).await;
    }
    let before = agent.until("/v1/traffic", |_, traffic| proxy(traffic, "db")["all"]["ended"] == 3).await;
    let mut open = connect(addr).await;
    ping(&mut open).await.unwrap();
    let path = format!("/v1/traffic?since={}", before["mark"].as_str().unwrap());
    let traffic = agent.get(&path).await.1;
    let spared = &proxy(&traffic, "db")["spared"];
    assert_eq!((&spared["open"], &spared["ended"], &spared["bytes_downstream"]), (&json!(1), &json!(0), &json!(5)));
    assert_eq!((&spared["first_byte"]["count"], &spared["duration"]["p99"]), (&json!(1), &Value::Null));
    assert_eq!(proxy(&traffic, "idle")["all"]["bytes_upstream"], 0);
    // From the moment at which a fault acts on it, the same connection is one of those hit.
    agent.fault("db", json!({"fault": {"latency": {"delay": "1ms"}}})).await;
    ping(&mut open).await.unwrap();
    let traffic = agent.get(&path).await.1;
    let (hit, spared) = (&proxy(&traffic, "db")["hit"], &proxy(&traffic, "db")["spared"]);
    assert_eq!((&hit["open"], &hit["bytes_downstream"]), (&json!(1), &json!(5)), "{traffic}");
    assert_eq!((&spared["open"], &spared["bytes_downstream"]), (&json!(0), &json!(5)), "{traffic}");
    // What Prometheus and the proxy's own counters say is the same.
    let counters = &agent.get("/v1/proxies/db").await.1["counters"];
    assert_eq!((&counters["bytes_downstream"], &counters["bytes_upstream"]), (&json!(25), &json!(20)));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_an_error_of_its_group() {
    let agent = Running::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addr = agent.proxy("gone", nobody).await;
    assert!(ping(&mut connect(addr).await).await.is_err());
    let traffic = agent.until("/v1/traffic?proxy=gone", |_, t| proxy(t, "gone")["spared"]["ended"] == 1).await;
    let spared = &proxy(&traffic, "gone")["spared"];
    assert_eq!((&spared["errors"], &spared["connect"]["count"]), (&json!(1), &json!(0)), "{spared}");
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let agent = Running::new().await;
    agent.proxy("a", echo(b'a').await).await;
    agent.proxy("b", echo(b'b').await).await;
    let of_a = agent.get("/v1/traffic?proxy=a").await.1["mark"].as_str().unwrap().to_owned();
    for (path, status, code) in [
        ("/v1/traffic?since=yesterday".to_owned(), 400, "invalid_request"),
        ("/v1/traffic?since=00000000-1".to_owned(), 410, "gone"),
        ("/v1/traffic?proxy=nobody".to_owned(), 404, "not_found"),
        ("/v1/traffic?proxy=a,,b".to_owned(), 400, "invalid_request"),
        ("/v1/traffic?window=5s".to_owned(), 400, "invalid_request"),
        (format!("/v1/traffic?proxy=b&since={of_a}"), 400, "invalid_request"),
    ] {
        let (answered, body) = agent.get(&path).await;
        assert_eq!((answered, body["error"]["code"].as_str()), (status, Some(code)), "{path}: {body}");
    }
    assert_eq!(agent.get(&format!("/v1/traffic?proxy=a&since={of_a}")).await.0, 200);
    // A proxy that is gone is in no answer; one of its name that is made anew counts from its own beginning.
    let mark = agent.get("/v1/traffic").await.1["mark"].as_str().unwrap().to_owned();
    assert_eq!(agent.delete("/v1/proxies/b").await.0, 204);
    let addr = agent.proxy("b", echo(b'b').await).await;
    tokio::time::timeout(Duration::from_secs(20), visit(addr)).await.unwrap();
    agent.until(&format!("/v1/traffic?since={mark}"), |_, t| proxy(t, "b")["all"]["ended"] == 1).await;
}
