//! Faults in time and faults of bytes, on an `http` proxy: each hits the requests that it hits, and no others.

use crate::common::{PATIENCE, Rig, expect_reset, expect_silence};
use crate::http_support::{Client, Reader, chunked, echo_site, get, ok, site};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test]
async fn the_head_of_a_response_is_late_and_all_of_it_with_it_request_by_request() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"http_latency": {"delay": "300ms"}}, "where": {"path": "/slow*"}}"#).await;
    let mut client = Client::of(&rig).await;
    for path in ["/fast", "/slow", "/fast", "/slow/chunked"] {
        let start = Instant::now();
        assert_eq!(client.get(path).await.text(), format!("GET {path}"));
        assert_eq!(start.elapsed() >= MS(300), path.starts_with("/slow"), "{path}: {:?}", start.elapsed());
    }
    assert_eq!((fault.units(), fault.hits()), (2, Some(2)));
    // Pipelined, each is late from when it came, so all of them together are late once.
    let start = Instant::now();
    client.send(get("/slow").repeat(10)).await;
    for _ in 0..10 {
        client.response().await;
    }
    let took = start.elapsed();
    assert!(took >= MS(300) && took < MS(1500), "{took:?}");
}

#[tokio::test]
async fn a_request_whose_client_is_gone_reaches_the_upstream_as_late_as_any() {
    for kind in [r#"{"http_latency": {"delay": "300ms", "at": "request"}}"#, r#"{"latency": {"delay": "300ms"}}"#] {
        for after in [MS(0), MS(100)] {
            let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
            let rig = Rig::http("", move |stream: TcpStream| {
                let told = told.clone();
                async move {
                    let mut reader = Reader::new(stream);
                    while let Some(request) = reader.message(false).await {
                        told.send(request.text().to_owned()).unwrap();
                    }
                }
            })
            .await;
            let fault = rig.fault(&format!(r#"{{"fault": {kind}, "direction": "upstream"}}"#)).await;
            let mut client = rig.connect().await;
            let start = Instant::now();
            client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await.unwrap();
            tokio::time::sleep(after).await;
            client.set_zero_linger().unwrap();
            drop(client);
            assert_eq!(timeout(PATIENCE, seen.recv()).await.unwrap().unwrap(), "body", "{kind} {after:?}");
            assert!(start.elapsed() >= MS(300), "{kind}: {:?}", start.elapsed());
            assert_eq!(fault.hits(), Some(1), "{kind}");
            rig.until(|counters| counters.open_connections == 0).await;
        }
    }
}

#[tokio::test]
async fn a_request_reaches_the_upstream_late() {
    let rig = Rig::http("", |stream: TcpStream| async move {
        let (reader, mut writer) = stream.into_split();
        let mut reader = Reader::new(reader);
        let start = Instant::now();
        while let Some(request) = reader.message(false).await {
            let answer = ok(&format!("{} {}", request.text(), start.elapsed().as_millis()));
            writer.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"http_latency": {"delay": "300ms", "at": "request"}}, "count": 1}"#).await;
    let mut client = Client::of(&rig).await;
    client.send("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody").await;
    let text = client.response().await.text().to_owned();
    let late: u64 = text.strip_prefix("body ").unwrap().parse().unwrap();
    assert!(late >= 250, "{late} ms after the connection");
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn a_head_comes_in_time_and_its_body_late_until_the_fault_goes() {
    for path in ["/plain", "/chunked"] {
        let rig = echo_site().await;
        let fault = rig.fault(r#"{"fault": {"http_latency": {"delay": "10m", "at": "body"}}}"#).await;
        let mut client = Client::of(&rig).await;
        client.send("HEAD /head HTTP/1.1\r\nHost: s\r\n\r\n").await;
        client.reader.message(true).await.unwrap();
        assert_eq!(fault.hits(), Some(0), "it has no body");
        client.send(get(path)).await;
        let head = client.reader.message(true).await.unwrap();
        assert_eq!(head.status(), 200);
        expect_silence(&mut client.reader.stream, MS(150)).await;
        assert_eq!(fault.hits(), Some(1));
        rig.heal(&fault).await;
        let mut piece = [0; 5];
        timeout(PATIENCE, client.reader.stream.read_exact(&mut piece)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_latency_that_is_changed_or_goes_wakes_the_exchange_that_waits() {
    let rig = echo_site().await;
    for fault in [
        r#"{"fault": {"http_latency": {"delay": "10m"}}}"#,
        r#"{"fault": {"http_latency": {"delay": "10m", "at": "request"}}}"#,
        r#"{"fault": {"latency": {"delay": "10m"}}}"#,
        r#"{"fault": {"latency": {"delay": "10m"}}, "direction": "upstream"}"#,
        r#"{"fault": {"bandwidth": {"rate": "0B/s"}}}"#,
        r#"{"fault": {"unread": {}}}"#,
        r#"{"fault": {"unread": {}}, "direction": "upstream"}"#,
        r#"{"fault": {"drip": {"every": "10m"}}}"#,
        r#"{"fault": {"stall": {"every": "20m", "for": "10m"}}}"#,
    ] {
        let fault = rig.fault(fault).await;
        let mut client = Client::of(&rig).await;
        client.send(get("/a")).await;
        // The exchange of the client before may be under way still.
        rig.until(|_| fault.hits() >= Some(1)).await;
        assert!(timeout(MS(100), client.reader.message(false)).await.is_err(), "{fault:?}");
        rig.heal(&fault).await;
        drop(client);
    }
    let fault = rig.fault(r#"{"fault": {"http_latency": {"delay": "10m"}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/changed")).await;
    rig.until(|_| fault.hits() == Some(1)).await;
    rig.change(&fault, r#"{"http_latency": {"delay": "1ms"}}"#).await;
    assert_eq!(client.response().await.text(), "GET /changed");
    rig.change(&fault, r#"{"http_latency": {"delay": "10m"}}"#).await;
    client.send(get("/healed")).await;
    rig.until(|_| fault.hits() == Some(2)).await;
    rig.heal(&fault).await;
    assert_eq!(client.response().await.text(), "GET /healed");
}

#[tokio::test]
async fn held_requests_and_responses_come_whole_when_their_fault_goes() {
    let rig = echo_site().await;
    for fault in [
        r#"{"fault": {"latency": {"delay": "10m"}}}"#,
        r#"{"fault": {"latency": {"delay": "10m"}}, "direction": "upstream"}"#,
        r#"{"fault": {"bandwidth": {"rate": "0B/s"}}, "direction": "both"}"#,
        r#"{"fault": {"unread": {}}}"#,
        r#"{"fault": {"unread": {}}, "direction": "upstream"}"#,
        r#"{"fault": {"drip": {"every": "10m"}}, "direction": "upstream"}"#,
    ] {
        let fault = rig.fault(fault).await;
        let mut client = Client::of(&rig).await;
        client.send(get("/a").repeat(3)).await;
        rig.until(|_| fault.hits() >= Some(1)).await;
        rig.heal(&fault).await;
        for _ in 0..3 {
            assert_eq!(client.response().await.text(), "GET /a", "{fault:?}");
        }
    }
}

#[tokio::test]
async fn the_requests_of_a_connection_share_its_bandwidth() {
    let rig = site(|_| ok(&"x".repeat(20_000))).await;
    let fault = rig.fault(r#"{"fault": {"bandwidth": {"rate": "100KB/s"}}}"#).await;
    let mut client = Client::of(&rig).await;
    let start = Instant::now();
    client.send(get("/").repeat(5)).await;
    for _ in 0..5 {
        client.response().await;
    }
    // 100 KB; what is saved up is 8 ms worth once, and not once a request.
    assert!(start.elapsed() >= MS(950), "{:?}", start.elapsed());
    assert_eq!(fault.hits(), Some(5));
}

#[tokio::test]
async fn a_response_is_cut_or_reset_within_its_own_bytes_and_those_before_it_arrive_whole() {
    let response = ok(&"x".repeat(1000));
    let head = response.len() - 1000;
    for (fault, reset) in
        [(r#"{"truncate": {"bytes": "500B"}}"#, false), (r#"{"reset": {"after_bytes": "500B"}}"#, true)]
    {
        let response = response.clone();
        let rig = site(move |_| response.clone()).await;
        let fault = rig.fault(&format!(r#"{{"fault": {fault}, "skip": 2, "count": 1}}"#)).await;
        let mut client = Client::of(&rig).await;
        client.send(get("/").repeat(4)).await;
        for _ in 0..2 {
            assert_eq!(client.response().await.body.len(), 1000);
        }
        client.reader.message(true).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, client.reader.stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!((rest.len() + head, ended.is_err()), (500, reset));
        assert_eq!(fault.hits(), Some(1));
    }
}

#[tokio::test]
async fn a_request_is_reset_at_once_after_a_time_or_not_at_all_if_it_is_over_by_then() {
    let rig = echo_site().await;
    let at_once = rig.fault(r#"{"fault": {"reset": {}}, "where": {"path": "/at-once"}}"#).await;
    let later = rig.fault(r#"{"fault": {"reset": {"after": "200ms"}}, "where": {"path": "/later"}}"#).await;
    let mut client = Client::of(&rig).await;
    assert_eq!(client.get("/later").await.text(), "GET /later");
    tokio::time::sleep(MS(400)).await;
    assert_eq!(client.get("/later").await.text(), "GET /later", "the one before was over in time");
    assert_eq!((later.units(), later.hits()), (2, Some(0)));
    client.send(format!("{}{}{}", get("/a"), get("/b"), get("/at-once"))).await;
    assert_eq!(client.response().await.text(), "GET /a");
    assert_eq!(client.response().await.text(), "GET /b");
    expect_reset(&mut client.reader.stream).await;
    assert_eq!(at_once.hits(), Some(1));
    let hang = rig.fault(r#"{"fault": {"http_body": {"hang": true}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/later")).await;
    client.reader.message(true).await.unwrap();
    expect_reset(&mut client.reader.stream).await;
    assert_eq!((later.hits(), hang.hits()), (Some(1), Some(1)));
}

#[tokio::test]
async fn a_blackhole_swallows_one_response_and_the_connection_is_reset_when_it_goes() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"blackhole": {}}, "where": {"path": "/lost"}}"#).await;
    let mut client = Client::of(&rig).await;
    assert_eq!(client.get("/a").await.text(), "GET /a");
    client.send(format!("{}{}", get("/lost"), get("/b"))).await;
    expect_silence(&mut client.reader.stream, MS(200)).await;
    assert_eq!((fault.units(), fault.hits()), (1, Some(1)));
    rig.heal(&fault).await;
    expect_reset(&mut client.reader.stream).await;
    let fault = rig.fault(r#"{"fault": {"blackhole": {"close_after": "100ms"}}, "direction": "upstream"}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/never")).await;
    assert!(client.ends().await);
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn a_request_is_answered_with_garbage_and_its_neighbours_are_not() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"garbage": {"style": "html"}}, "skip": 2}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/a").repeat(3)).await;
    for _ in 0..2 {
        assert_eq!(client.response().await.text(), "GET /a");
    }
    let page = client.response().await;
    assert!(page.text().contains("<html>"), "{page:?}");
    assert!(client.ends().await);
    assert_eq!(fault.hits(), Some(1));
    assert_eq!(rig.proxy.counters().request_errors, 1);
}

#[tokio::test]
async fn bytes_are_corrupted_in_the_messages_that_are_hit_only() {
    let rig = site(|_| ok(&"x".repeat(4000))).await;
    let fault = rig.fault(r#"{"fault": {"corrupt": {"rate": 0.01}}, "where": {"path": "/hit"}, "seed": 4}"#).await;
    let mut client = Client::of(&rig).await;
    assert!(client.get("/spared").await.text().bytes().all(|byte| byte == b'x'));
    client.send(get("/hit")).await;
    let mut got = vec![0; ok(&"x".repeat(4000)).len()];
    timeout(PATIENCE, client.reader.stream.read_exact(&mut got)).await.unwrap().unwrap();
    let wrong = got.iter().zip(ok(&"x".repeat(4000)).as_bytes()).filter(|(got, sent)| got != sent).count();
    assert!((10..100).contains(&wrong), "{wrong}");
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn the_end_of_a_connection_is_late_behind_a_request_that_is_hit() {
    let rig = Rig::http("", |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(chunked("whole").as_bytes()).await.unwrap();
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"slow_close": {"delay": "1500ms"}}}"#).await;
    let mut client = Client::of(&rig).await;
    let start = Instant::now();
    assert_eq!(client.get("/").await.text(), "whole");
    assert!(start.elapsed() < MS(1500), "the response itself is not late");
    assert!(client.ends().await);
    assert!(start.elapsed() >= MS(1500), "{:?}", start.elapsed());
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn drops_of_a_response_come_one_by_one() {
    let rig = site(|_| ok("x")).await;
    rig.fault(r#"{"fault": {"drip": {"bytes": 10, "every": "20ms"}}, "count": 1}"#).await;
    let mut client = Client::of(&rig).await;
    let start = Instant::now();
    client.get("/").await;
    let pieces = (ok("x").len() as u64).div_ceil(10);
    assert!(start.elapsed() >= MS(20) * (pieces as u32 - 1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_response_that_is_not_read_makes_its_upstream_wait() {
    let written = Arc::new(Notify::new());
    let told = Arc::clone(&written);
    let rig = Rig::http("", move |mut stream: TcpStream| {
        let told = Arc::clone(&told);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let body = "x".repeat(64 << 20);
            stream.write_all(ok(&body).as_bytes()).await.unwrap();
            told.notify_one();
            let _ = stream.read(&mut [0; 1]).await;
        }
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"unread": {}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/")).await;
    rig.until(|_| fault.hits() == Some(1)).await;
    assert!(timeout(MS(300), written.notified()).await.is_err(), "nobody reads 64 MiB");
    assert_eq!(rig.proxy.received()[1], 0);
    rig.heal(&fault).await;
    assert_eq!(client.response().await.body.len(), 64 << 20);
}

#[tokio::test]
async fn a_late_100_continue_is_none_of_a_late_head() {
    let rig = Rig::http("", |stream: TcpStream| async move {
        let (reader, mut writer) = stream.into_split();
        let mut reader = Reader::new(reader);
        reader.message(true).await.unwrap();
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 2];
        reader.stream.read_exact(&mut body).await.unwrap();
        writer.write_all(ok("done").as_bytes()).await.unwrap();
        reader.message(true).await;
    })
    .await;
    rig.fault(r#"{"fault": {"http_latency": {"delay": "1500ms"}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send("PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await;
    let start = Instant::now();
    assert_eq!(client.response().await.status(), 100);
    assert!(start.elapsed() < MS(1500));
    client.send("ab").await;
    assert_eq!(client.response().await.text(), "done");
    assert!(start.elapsed() >= MS(1500));
}
