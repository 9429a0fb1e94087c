//! Garbage, as a real HTTP client and a bare socket get it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, expect_reset, expect_silence, read_all};
use std::{
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A sound HTTP server, and how many connections it saw.
async fn http() -> (Rig, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let rig = Rig::serve(move |mut server: TcpStream| {
        counter.fetch_add(1, SeqCst);
        async move {
            let mut buffer = [0; 4096];
            while server.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
                if server.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (rig, seen)
}

fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another test of this process cannot have been first: `Once`.
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
    reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
}

async fn get(rig: &Rig) -> Result<reqwest::Response, reqwest::Error> {
    client().get(format!("http://{}/", rig.proxy.listen_addr())).send().await
}

#[tokio::test]
async fn http_noise_has_a_head_that_parses_and_a_body_that_does_not() {
    for then in ["close", "reset", "hang"] {
        let (rig, seen) = http().await;
        let json = format!(r#"{{"fault": {{"garbage": {{"style": "http_noise", "then": "{then}"}}}}}}"#);
        let fault = rig.fault(&json).await;
        let answer = get(&rig).await.expect("the head parses");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let start = Instant::now();
        let error = answer.bytes().await.expect_err("the body is noise");
        assert!(!error.is_timeout() && start.elapsed() < Duration::from_secs(5), "{then}: {error:?}");
        assert_eq!((fault.hits(), seen.load(SeqCst)), (Some(1), 0), "the upstream was asked");
    }
}

#[tokio::test]
async fn html_is_a_page_where_data_was_expected() {
    let (rig, _) = http().await;
    rig.fault(r#"{"fault": {"garbage": {"style": "html", "bytes": "100KiB"}}}"#).await;
    let answer = get(&rig).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(102_400)));
    let error = answer.json::<serde_json::Value>().await.expect_err("a page is no JSON");
    assert!(error.is_decode(), "{error:?}");
}

#[tokio::test]
async fn an_endless_body_goes_on_until_the_client_has_enough() {
    let (rig, _) = http().await;
    rig.fault(r#"{"fault": {"garbage": {"style": "endless"}}}"#).await;
    let mut answer = get(&rig).await.unwrap();
    let (start, mut got) = (Instant::now(), 0);
    while got < 300_000 {
        got += answer.chunk().await.expect("chunks that parse").expect("no end").len();
    }
    let rate = got as f64 / start.elapsed().as_secs_f64();
    assert!(rate < 4e6, "not paced: {rate}");
    drop(answer);
    rig.until(|counters| counters.open_connections == 0).await;
}

#[tokio::test]
async fn random_garbage_is_no_answer_to_an_http_client() {
    let (rig, _) = http().await;
    rig.fault(r#"{"fault": {"garbage": {"style": "random"}}}"#).await;
    assert!(get(&rig).await.is_err());
}

#[tokio::test]
async fn a_text_comes_to_the_byte_after_the_first_bytes_of_the_client() {
    let (rig, seen) = http().await;
    rig.fault(r#"{"fault": {"garbage": {"style": {"text": "no such thing\r\n"}}}}"#).await;
    let mut client = rig.connect().await;
    expect_silence(&mut client, Duration::from_millis(60)).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(read_all(&mut client).await, b"no such thing\r\n");
    assert_eq!(seen.load(SeqCst), 0);
}

#[tokio::test]
async fn a_banner_comes_unasked_and_can_end_by_reset() {
    let (rig, seen) = http().await;
    rig.fault(r#"{"fault": {"garbage": {"style": "banner", "then": "reset"}}}"#).await;
    let mut client = rig.connect().await;
    assert!(expect_reset(&mut client).await.starts_with(b"SSH-2.0-"));
    assert_eq!(seen.load(SeqCst), 0);
}

#[tokio::test]
async fn garbage_on_a_live_connection_starts_with_the_next_question() {
    let (rig, _) = http().await;
    let mut client = rig.connect().await;
    let mut ask = async |question: &[u8], answer: &mut [u8]| {
        client.write_all(question).await.unwrap();
        timeout(PATIENCE, client.read_exact(answer)).await.unwrap().unwrap();
    };
    let mut sound = [0; 15];
    ask(b"GET / HTTP/1.1\r\n\r\n", &mut sound).await;
    assert_eq!(&sound, b"HTTP/1.1 200 OK");
    // The rest of the first answer.
    let mut rest = [0; 57];
    ask(b"", &mut rest).await;
    assert!(rest.ends_with(b"{}"), "{}", String::from_utf8_lossy(&rest));
    let fault = rig.fault(r#"{"fault": {"garbage": {"style": {"text": "garbage"}, "then": "hang"}}}"#).await;
    let mut garbage = [0; 7];
    ask(b"GET / HTTP/1.1\r\n\r\n", &mut garbage).await;
    assert_eq!(&garbage, b"garbage");
    expect_silence(&mut client, Duration::from_millis(50)).await;
    assert_eq!(rig.heal(&fault).await, Some(1));
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_client_that_had_not_asked_yet_is_connected_when_the_garbage_goes() {
    let (rig, seen) = http().await;
    let fault = rig.fault(r#"{"fault": {"garbage": {"style": "random"}}}"#).await;
    let mut client = rig.connect().await;
    rig.until(|counters| counters.open_connections == 1).await;
    assert_eq!(seen.load(SeqCst), 0);
    assert_eq!(rig.heal(&fault).await, Some(0));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    timeout(PATIENCE, client.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!((&head, seen.load(SeqCst)), (b"HTTP/1.1 200 OK", 1));
}

#[tokio::test]
async fn garbage_whose_count_is_spent_does_not_keep_a_server_that_speaks_first_from_its_clients() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        // A client that resets is none of the server's business.
        let _ = server.write_all(b"220 ready").await;
        let _ = server.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"garbage": {"style": {"text": "no"}}}, "count": 1}"#).await;
    let mut hit = rig.connect().await;
    hit.write_all(b"EHLO").await.unwrap();
    assert_eq!(read_all(&mut hit).await, b"no");
    let mut late = rig.connect().await;
    timeout(PATIENCE, late.read_exact(&mut [0; 9])).await.expect("spared, and so connected").unwrap();
    assert_eq!((fault.hits(), fault.units()), (Some(1), 2));
}
