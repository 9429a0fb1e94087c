//! An `http` proxy without faults: what it passes, byte for byte, and what it refuses.

use crate::common::{PATIENCE, Rig, read_all};
use crate::http_support::{Client, Reader, chunked, echo_site, get, ok, site, site_with};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

#[tokio::test]
async fn requests_go_one_by_one_or_all_at_once_over_one_connection_of_their_own() {
    let rig = echo_site().await;
    let mut client = Client::of(&rig).await;
    for n in 0..3 {
        assert_eq!(client.get(&format!("/{n}")).await.text(), format!("GET /{n}"));
    }
    let many: String = (0..100).map(|n| get(&format!("/many/{n}"))).collect();
    client.send(many).await;
    for n in 0..100 {
        assert_eq!(client.response().await.text(), format!("GET /many/{n}"));
    }
    let counters = rig.proxy.counters();
    assert_eq!((counters.connections, counters.requests, counters.request_errors), (1, 103, 0));
    assert_eq!((counters.requests_hit, counters.connections_hit, counters.connection_errors), (0, 0, 0));
}

#[tokio::test]
async fn chunks_extensions_trailers_and_odd_but_right_heads_pass_as_they_came() {
    let answer = "HTTP/1.1  200 Fine\r\nx-a:1\r\nX-A:   2  \r\nTransfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nabcd\r\n0\r\nT: t\r\n\r\n"
        .replace("1.1  200", "1.1 200");
    let sent = "POST /a?b=c&d HTTP/1.1\r\nhost:shop\r\nTransfer-Encoding: chunked\r\nX:\t\r\n\r\n3\r\nabc\r\n00;e\r\nZ: z\r\n\r\n";
    let (saw, says) = (Arc::new(parking(Vec::new())), answer.clone());
    let seen = Arc::clone(&saw);
    let rig = site(move |request| {
        seen.lock().unwrap().push(format!("{}{}", request.head, String::from_utf8_lossy(&request.raw)));
        says.clone()
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send(sent).await;
    let got = client.response().await;
    assert_eq!(format!("{}{}", got.head, String::from_utf8_lossy(&got.raw)), answer);
    assert_eq!(*saw.lock().unwrap(), [sent]);
}

fn parking<T>(value: T) -> std::sync::Mutex<T> {
    std::sync::Mutex::new(value)
}

#[tokio::test]
async fn a_response_to_head_has_no_body_whatever_its_length_says() {
    let rig = echo_site().await;
    let mut client = Client::of(&rig).await;
    client.send(format!("HEAD /long HTTP/1.1\r\nHost: shop\r\n\r\n{}", get("/next"))).await;
    let head = client.reader.message(true).await.unwrap();
    assert_eq!(head.header("content-length"), Some("10"));
    assert_eq!(client.response().await.text(), "GET /next");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_from_the_upstream() {
    let rig = Rig::http("", |mut stream: TcpStream| async move {
        let mut buffer = vec![0; 4096];
        let mut got = String::new();
        while !got.ends_with("\r\n\r\n") {
            let read = stream.read(&mut buffer).await.unwrap();
            got.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await.unwrap();
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(ok(std::str::from_utf8(&body).unwrap()).as_bytes()).await.unwrap();
        let _ = stream.read(&mut buffer).await;
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send("PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 100);
    assert_eq!(client.response().await.status(), 103);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "hello");
}

#[tokio::test]
async fn an_upgrade_and_a_connect_become_tunnels_for_any_bytes_both_ways() {
    for (request, answer) in [
        (
            "GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        ("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n", "HTTP/1.1 200 Connected\r\n\r\n"),
    ] {
        let rig = Rig::http("", move |stream: TcpStream| async move {
            let (reader, mut writer) = stream.into_split();
            let mut reader = Reader::new(reader);
            assert_eq!(reader.message(true).await.unwrap().head, request);
            writer.write_all(answer.as_bytes()).await.unwrap();
            let _ = tokio::io::copy(&mut reader.stream, &mut writer).await;
        })
        .await;
        let mut client = Client::of(&rig).await;
        // The first bytes of the new protocol come before the answer.
        client.send(request).await;
        client.send(b"\x00\xffGET not HTTP\r\n").await;
        assert_eq!(client.reader.message(true).await.unwrap().head, answer);
        let mut got = [0; 16];
        timeout(PATIENCE, client.reader.stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(&got[..], b"\x00\xffGET not HTTP\r\n");
        let large = vec![7; 1 << 20];
        let (sent, got) = tokio::join!(
            async {
                client.writer.write_all(&large).await.unwrap();
                client.writer.shutdown().await.unwrap();
            },
            read_all(&mut client.reader.stream)
        );
        let () = sent;
        assert!(got == large);
        assert_eq!(rig.proxy.counters().request_errors, 0);
    }
}

#[tokio::test]
async fn an_upgrade_behind_another_request_waits_for_its_own_answer() {
    let rig = Rig::http("", |stream: TcpStream| async move {
        let (reader, mut writer) = stream.into_split();
        let mut reader = Reader::new(reader);
        reader.message(false).await.unwrap();
        reader.message(false).await.unwrap();
        writer.write_all(ok("first").as_bytes()).await.unwrap();
        // What the client has sent behind its request for another protocol is nobody's request.
        let early = timeout(Duration::from_millis(200), reader.stream.read_u8()).await;
        assert!(early.is_err(), "{early:?}");
        writer.write_all(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy(&mut reader.stream, &mut writer).await;
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send(get("/a")).await;
    client.send("GET /b HTTP/1.1\r\nHost: s\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n\x01\x02").await;
    assert_eq!(client.response().await.text(), "first");
    assert_eq!(client.reader.message(true).await.unwrap().status(), 101);
    let mut echoed = [0; 2];
    timeout(PATIENCE, client.reader.stream.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed, [1, 2]);
}

#[tokio::test]
async fn an_upgrade_that_is_declined_leaves_the_connection_to_http() {
    let rig = echo_site().await;
    let mut client = Client::of(&rig).await;
    client.send("GET /a HTTP/1.1\r\nHost: s\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").await;
    client.send(get("/b")).await;
    assert_eq!(client.response().await.text(), "GET /a");
    assert_eq!(client.response().await.text(), "GET /b");
}

#[tokio::test]
async fn old_responses_end_with_their_connection_and_old_clients_may_keep_theirs() {
    let rig = Rig::http("", |stream: TcpStream| async move {
        let (reader, mut writer) = stream.into_split();
        let mut reader = Reader::new(reader);
        assert_eq!(reader.message(false).await.unwrap().line(), "GET /a HTTP/1.0");
        writer.write_all(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na").await.unwrap();
        reader.message(false).await.unwrap();
        writer.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil ").await.unwrap();
        writer.write_all(b"the end").await.unwrap();
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "a");
    client.send("GET /b HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "until the end");
    drop(client);
    rig.until(|counters| counters.open_connections == 0).await;
    assert_eq!(rig.proxy.counters().request_errors, 0);
}

#[tokio::test]
async fn what_is_no_http_is_refused_in_its_turn_and_the_connection_closes() {
    let rig = echo_site().await;
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("\x16\x03\x01\x02\x00\x01", 400),
        ("GET / HTTP/3.0\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: zip, chunked\r\n\r\n", 501),
    ] {
        let mut client = Client::of(&rig).await;
        client.send(format!("{}{bad}", get("/before"))).await;
        assert_eq!(client.response().await.text(), "GET /before", "{bad:?}");
        let refusal = client.response().await;
        assert_eq!((refusal.status(), refusal.header("connection")), (status, Some("close")), "{bad:?}");
        assert!(client.ends().await, "{bad:?}");
    }
    let mut client = Client::of(&rig).await;
    client.send(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(70_000))).await;
    assert_eq!(client.response().await.status(), 431);
    assert_eq!(rig.proxy.counters().request_errors, 6);
}

#[tokio::test]
async fn a_chunked_request_that_breaks_in_its_middle_is_refused() {
    let rig = echo_site().await;
    let mut client = Client::of(&rig).await;
    client.send("POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnope\r\n").await;
    assert_eq!(client.response().await.status(), 400);
    assert!(client.ends().await);
}

#[tokio::test]
async fn a_response_that_is_no_http_is_502_and_one_that_breaks_later_is_cut() {
    let rig = site(|request| match request.line() {
        "GET /no HTTP/1.1" => "SSH-2.0-OpenSSH\r\n\r\n".into(),
        "GET /chunks HTTP/1.1" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n".into(),
        _ => ok("fine"),
    })
    .await;
    let mut client = Client::of(&rig).await;
    assert_eq!(client.get("/").await.text(), "fine");
    assert_eq!(client.get("/no").await.status(), 502);
    assert!(client.ends().await);
    let mut client = Client::of(&rig).await;
    client.send(get("/chunks")).await;
    assert_eq!(client.reader.message(false).await, None, "the body has no end");
    assert_eq!(rig.proxy.counters().request_errors, 2);
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_is_seen_as_it_is() {
    let rig = Rig::http("", |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send(get("/")).await;
    assert!(client.ends().await, "in order");
    drop(client);
    rig.until(|counters| counters.open_connections == 0).await;
    assert_eq!(rig.proxy.counters().request_errors, 1);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_reset_as_on_tcp() {
    let mut rig = Rig::http("", |_| async {}).await;
    rig.proxy.set_upstream(crate::common::free_address().to_string());
    let mut client = Client::of(&rig).await;
    assert!(!client.ends().await, "a reset");
    rig.until(|counters| counters.connection_errors == 1).await;
    rig.server = rig.proxy.listen_addr();
}

#[tokio::test]
async fn the_host_header_becomes_the_upstreams_where_that_is_asked_for() {
    let rig = site_with(r#", "host": "upstream""#, |request| ok(&request.head)).await;
    let mut client = Client::of(&rig).await;
    client.send("GET / HTTP/1.1\r\nA: b\r\nhost: shop\r\nC: d\r\n\r\n").await;
    let expected = format!("GET / HTTP/1.1\r\nA: b\r\nHost: {}\r\nC: d\r\n\r\n", rig.server);
    assert_eq!(client.response().await.text(), expected);
}

#[tokio::test]
async fn a_body_larger_than_any_buffer_is_streamed_and_waits_for_a_slow_reader() {
    const SIZE: usize = 64 << 20;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let rig = Rig::http("", move |mut stream: TcpStream| {
        let counter = Arc::clone(&counter);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..SIZE / piece.len() {
                stream.write_all(&piece).await.unwrap();
                counter.fetch_add(piece.len() as u64, Relaxed);
            }
            let _ = stream.read(&mut [0; 1]).await;
        }
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send(get("/large")).await;
    // What nobody reads stops at the sockets' buffers and one queue of ours.
    let mut before = u64::MAX;
    while sent.load(Relaxed) != before || before == 0 {
        before = sent.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before < (SIZE as u64) / 2, "{before} bytes were taken from the upstream");
    let response = client.response().await;
    assert_eq!(response.body.len(), SIZE);
}

#[tokio::test]
async fn the_end_of_either_side_is_passed_on() {
    let rig = Rig::http("", |stream: TcpStream| async move {
        let (reader, mut writer) = stream.into_split();
        let mut reader = Reader::new(reader);
        let request = reader.message(false).await.unwrap();
        // Only behind the end does it answer.
        assert!(reader.message(false).await.is_none());
        writer.write_all(chunked(request.line()).as_bytes()).await.unwrap();
    })
    .await;
    let mut client = Client::of(&rig).await;
    client.send(get("/")).await;
    client.writer.shutdown().await.unwrap();
    assert_eq!(client.response().await.text(), "GET / HTTP/1.1");
    assert!(client.ends().await);
    rig.until(|counters| counters.open_connections == 0).await;
}
