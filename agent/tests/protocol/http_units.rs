//! On `http` a unit is a request: shares, counts, conditions, and faults that come and go under it.

use crate::common::Rig;
use crate::http_support::{Client, echo_site, get, site};
use std::sync::Arc;

async fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for n in 0..count {
        statuses.push(client.get(&format!("/{n}")).await.status());
    }
    statuses
}

#[tokio::test]
async fn a_share_is_of_requests_the_same_for_the_same_seed_and_more_for_a_larger_one() {
    let runs = |percent: f64, pipelined: bool| async move {
        let rig = echo_site().await;
        let fault = rig
            .fault(&format!(r#"{{"fault": {{"http_status": {{"status": 418}}}}, "percent": {percent}, "seed": 9}}"#))
            .await;
        let mut client = Client::of(&rig).await;
        let hit = if pipelined {
            client.send(get("/").repeat(200)).await;
            let mut hit = Vec::new();
            for _ in 0..200 {
                hit.push(client.response().await.status());
            }
            hit
        } else {
            statuses(&mut client, 200).await
        };
        assert_eq!(fault.units(), 200);
        assert_eq!(fault.hits(), Some(hit.iter().filter(|status| **status == 418).count() as u64));
        assert_eq!(rig.proxy.counters().requests_hit, fault.hits().unwrap());
        hit
    };
    let (some, again, more) = (runs(30.0, false).await, runs(30.0, true).await, runs(60.0, true).await);
    assert_eq!(some, again, "whether one by one or all at once");
    let count = some.iter().filter(|status| **status == 418).count();
    assert!((40..80).contains(&count), "{count}");
    assert!(some.iter().zip(&more).all(|(some, more)| *some == 200 || *more == 418));
}

#[tokio::test]
async fn the_first_are_skipped_and_only_so_many_hit_over_all_connections() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"http_status": {"status": 500}}, "skip": 2, "count": 3}"#).await;
    let (mut one, mut two) = (Client::of(&rig).await, Client::of(&rig).await);
    let mut got = Vec::new();
    for _ in 0..4 {
        got.extend(statuses(&mut one, 1).await);
        got.extend(statuses(&mut two, 1).await);
    }
    assert_eq!(got, [200, 200, 500, 500, 500, 200, 200, 200]);
    assert_eq!((fault.units(), fault.hits()), (8, Some(3)));
}

#[tokio::test]
async fn requests_are_chosen_by_method_path_header_and_query() {
    let rig = echo_site().await;
    for (only, request, hit) in [
        (r#"{"method": ["POST"]}"#, "POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
        (r#"{"method": ["POST"]}"#, "GET /a HTTP/1.1\r\n\r\n", false),
        (r#"{"path": "/orders/*"}"#, "GET /orders/7?x=1 HTTP/1.1\r\n\r\n", true),
        (r#"{"path": "/orders/*"}"#, "GET /payments/7 HTTP/1.1\r\n\r\n", false),
        (r#"{"header": {"x-canary": "blue*"}}"#, "GET / HTTP/1.1\r\nX-Canary: blue-2\r\n\r\n", true),
        (r#"{"header": {"x-canary": "*"}}"#, "GET / HTTP/1.1\r\n\r\n", false),
        (r#"{"query": {"user": "7"}}"#, "GET /?page=1&user=7 HTTP/1.1\r\n\r\n", true),
        (r#"{"query": {"user": "7"}}"#, "GET /?user=70 HTTP/1.1\r\n\r\n", false),
        (r#"{"path": "/", "client": ["10.0.0.0/8"]}"#, "GET / HTTP/1.1\r\n\r\n", false),
        (r#"{"path": "/", "client": ["127.0.0.1"]}"#, "GET / HTTP/1.1\r\n\r\n", true),
    ] {
        let fault = rig.fault(&format!(r#"{{"fault": {{"http_status": {{"status": 500}}}}, "where": {only}}}"#)).await;
        let mut client = Client::of(&rig).await;
        client.send(request).await;
        assert_eq!(client.response().await.status(), if hit { 500 } else { 200 }, "{only} {request}");
        assert_eq!(fault.units(), u64::from(hit), "only requests that match are numbered");
        rig.heal(&fault).await;
    }
}

#[tokio::test]
async fn a_fault_takes_hold_of_an_open_connection_at_its_next_request_and_lets_go_at_once() {
    let rig = echo_site().await;
    let mut client = Client::of(&rig).await;
    assert_eq!(statuses(&mut client, 2).await, [200, 200]);
    let fault = rig.fault(r#"{"fault": {"http_status": {"status": 500}}}"#).await;
    assert_eq!(statuses(&mut client, 2).await, [500, 500]);
    rig.change(&fault, r#"{"http_status": {"status": 503}}"#).await;
    assert_eq!(statuses(&mut client, 1).await, [503]);
    rig.heal(&fault).await;
    assert_eq!(statuses(&mut client, 2).await, [200, 200]);
    assert_eq!((fault.units(), fault.hits()), (3, Some(3)), "those before it are none of its units");
}

#[tokio::test]
async fn a_fault_takes_hold_of_a_response_that_has_not_come() {
    let go = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&go);
    let rig = Rig::http("", move |stream| {
        let told = Arc::clone(&told);
        async move {
            let (reader, mut writer) = stream.into_split();
            let mut reader = crate::http_support::Reader::new(reader);
            reader.message(false).await.unwrap();
            told.notified().await;
            let answer = crate::http_support::ok("late");
            tokio::io::AsyncWriteExt::write_all(&mut writer, answer.as_bytes()).await.unwrap();
            reader.message(false).await;
        }
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send(get("/")).await;
    rig.until(|counters| counters.bytes_upstream > 0).await;
    let fault = rig.fault(r#"{"fault": {"http_headers": {"set": {"X-Late": "yes"}}}}"#).await;
    go.notify_one();
    assert_eq!(client.response().await.header("x-late"), Some("yes"));
    assert_eq!((fault.units(), fault.hits()), (1, Some(1)));
}

#[tokio::test]
async fn several_faults_each_number_and_count_for_themselves() {
    let rig = site(|_| crate::http_support::ok("0123456789")).await;
    let odd = r#"{"fault": {"http_headers": {"set": {"X-Hit": "yes"}}}, "where": {"path": "/odd*"}}"#;
    let (headers, body) =
        (rig.fault(odd).await, rig.fault(r#"{"fault": {"http_body": {"truncate": "5B"}}, "count": 2}"#).await);
    let mut client = Client::of(&rig).await;
    let mut got = Vec::new();
    for path in ["/odd", "/even", "/odd", "/even"] {
        let response = client.get(path).await;
        got.push((response.header("x-hit").is_some(), response.body.len()));
    }
    assert_eq!(got, [(true, 5), (false, 5), (true, 10), (false, 10)]);
    assert_eq!([headers.units(), body.units()], [2, 4]);
    assert_eq!([headers.hits(), body.hits()], [Some(2), Some(2)]);
    assert_eq!(rig.proxy.counters().requests_hit, 3, "a request that two faults hit is one");
}

#[tokio::test]
async fn a_limit_of_connections_counts_connections_and_a_refusal_refuses_them() {
    let rig = echo_site().await;
    let limit = rig.fault(r#"{"fault": {"connection_limit": {"max": 1}}}"#).await;
    let mut first = Client::of(&rig).await;
    assert_eq!(statuses(&mut first, 3).await, [200; 3]);
    let mut second = Client::of(&rig).await;
    assert!(second.ends().await, "turned away in order");
    assert_eq!((limit.units(), limit.hits()), (2, Some(1)));
    rig.heal(&limit).await;
    rig.fault(r#"{"fault": {"connection_limit": {"max": 1, "then": "queue"}}}"#).await;
    let mut waiting = Client::of(&rig).await;
    waiting.send(get("/patient")).await;
    crate::common::expect_silence(&mut waiting.reader.stream, std::time::Duration::from_millis(150)).await;
    drop((first, second));
    assert_eq!(waiting.response().await.text(), "GET /patient");
    let refuse = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    assert!(tokio::net::TcpStream::connect(rig.proxy.listen_addr()).await.is_err());
    assert_eq!(statuses(&mut waiting, 1).await, [200], "open ones go on");
    rig.heal(&refuse).await;
    rig.fault(r#"{"fault": {"flap": {"up": "20ms", "down": "10s"}}}"#).await;
    assert!(!waiting.ends().await, "a flap resets");
}
