//! `http_headers` and `http_body`: messages that are changed on their way, and stay well-formed unless told otherwise.

use crate::common::{PATIENCE, Rig, expect_silence};
use crate::http_support::{Client, Reader, chunked, echo_site, get, ok, site};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

#[tokio::test]
async fn headers_of_responses_are_set_and_taken_away_and_the_rest_stays() {
    let rig = site(|_| "HTTP/1.1 200 OK\r\netag: 1\r\nX-A: 1\r\nETag: 2\r\nContent-Length:  2\r\n\r\nok".into()).await;
    let fault =
        rig.fault(r#"{"fault": {"http_headers": {"remove": ["ETag"], "set": {"x-a": "9", "New": "n"}}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(format!("{}{}", get("/"), get("/"))).await;
    for _ in 0..2 {
        let expected = "HTTP/1.1 200 OK\r\nx-a: 9\r\nContent-Length:  2\r\nNew: n\r\n\r\n";
        assert_eq!(client.response().await.head, expected);
    }
    assert_eq!(fault.hits(), Some(2));
    rig.heal(&fault).await;
    assert!(client.get("/").await.head.contains("etag: 1"));
}

#[tokio::test]
async fn headers_of_requests_are_changed_before_the_upstream_sees_them() {
    let rig = site(|request| ok(&request.head)).await;
    let fault = rig
        .fault(r#"{"fault": {"http_headers": {"on": "request", "remove": ["Cookie"], "set": {"Host": "other"}}}}"#)
        .await;
    let mut client = Client::of(&rig).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nCookie: b\r\nA: c\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "GET / HTTP/1.1\r\nHost: other\r\nA: c\r\n\r\n");
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn a_response_that_is_told_to_be_the_last_one_is() {
    let rig = echo_site().await;
    for (connection, earlier) in [("x, Close", 0), ("close", 2)] {
        let fault = rig
            .fault(&format!(
                r#"{{"fault": {{"http_headers": {{"set": {{"Connection": "{connection}"}}}}}}, "where": {{"path": "/last"}}}}"#
            ))
            .await;
        let mut client = Client::of(&rig).await;
        for _ in 0..earlier {
            assert_eq!(client.get("/first").await.text(), "GET /first");
        }
        client.send(get("/last")).await;
        assert_eq!(client.response().await.text(), "GET /last");
        assert!(client.ends().await, "in order");
        rig.heal(&fault).await;
        assert_eq!((fault.hits(), rig.proxy.counters().request_errors), (Some(1), 0));
    }
}

#[tokio::test]
async fn a_head_that_would_not_change_is_no_hit() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"http_headers": {"remove": ["ETag"]}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.get("/").await;
    assert_eq!((fault.units(), fault.hits()), (1, Some(0)));
}

#[tokio::test]
async fn a_body_is_replaced_and_its_length_follows() {
    let rig = site(|request| match request.line() {
        "GET /chunked HTTP/1.1" => chunked("some text"),
        "GET /zipped HTTP/1.1" => "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nzip".into(),
        "GET /empty HTTP/1.1" => ok(""),
        _ => ok("some text"),
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"http_body": {"replace": "<html>", "content_type": "text/html"}}}"#).await;
    let mut client = Client::of(&rig).await;
    let paths = ["/plain", "/chunked", "/zipped", "/empty", "/plain"];
    client.send(paths.map(get).concat()).await;
    for path in paths {
        let response = client.response().await;
        assert_eq!((response.header("content-length"), response.text()), (Some("6"), "<html>"), "{path}");
        assert_eq!(response.header("content-type"), Some("text/html"), "{path}");
        let gone = ["content-encoding", "transfer-encoding", "trailer"].map(|name| response.header(name));
        assert_eq!(gone, [None; 3], "{path}");
    }
    assert_eq!(fault.hits(), Some(5));
}

#[tokio::test]
async fn a_body_is_cut_and_the_connection_goes_on() {
    let rig = site(|request| match request.line() {
        "GET /chunked HTTP/1.1" => chunked("0123456789"),
        "GET /short HTTP/1.1" => chunked("01"),
        _ => ok("0123456789"),
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"http_body": {"truncate": "7B"}}}"#).await;
    let mut client = Client::of(&rig).await;
    for (path, length, text) in [
        ("/a", Some("7"), "0123456"),
        ("/chunked", None, "0123456"),
        ("/short", None, "01"),
        ("/a", Some("7"), "0123456"),
    ] {
        let response = client.get(path).await;
        assert_eq!((response.header("content-length"), response.text()), (length, text), "{path}");
    }
    assert_eq!((fault.units(), fault.hits()), (4, Some(3)), "the short one was not cut");
}

#[tokio::test]
async fn a_body_grows_by_blanks_however_it_is_framed() {
    let rig = site(|request| match request.line() {
        "GET /chunked HTTP/1.1" => chunked("abc"),
        "GET /old HTTP/1.1" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc".into(),
        _ => ok("abc"),
    })
    .await;
    rig.fault(r#"{"fault": {"http_body": {"oversize": "300KiB"}}}"#).await;
    let mut client = Client::of(&rig).await;
    for path in ["/plain", "/chunked", "/plain"] {
        let response = client.get(path).await;
        assert_eq!((response.text().trim_end(), response.body.len()), ("abc", 3 + 300 * 1024), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_grows_and_is_cut_too() {
    let old = |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await.unwrap();
    };
    for (fault, text) in [
        (r#"{"oversize": "5B"}"#, "until the end     "),
        (r#"{"truncate": "5B"}"#, "until"),
        (r#"{"replace": "new"}"#, "new"),
    ] {
        let rig = Rig::http("", old).await;
        rig.fault(&format!(r#"{{"fault": {{"http_body": {fault}}}}}"#)).await;
        let mut client = Client::of(&rig).await;
        assert_eq!(client.get("/").await.text(), text, "{fault}");
        assert!(client.ends().await);
    }
}

#[tokio::test]
async fn a_hanging_body_never_comes_until_the_fault_goes() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"http_body": {"hang": true}}, "count": 1}"#).await;
    for (path, end) in [("/plain", "GET /plain"), ("/chunked", "0\r\nX-Sum: 7\r\n\r\n")] {
        let mut client = Client::of(&rig).await;
        let fault = if path == "/plain" {
            std::sync::Arc::clone(&fault)
        } else {
            rig.fault(r#"{"fault": {"http_body": {"hang": true}}, "count": 1}"#).await
        };
        client.send(get(path)).await;
        let head = client.reader.message(true).await.unwrap();
        assert_eq!(head.status(), 200);
        expect_silence(&mut client.reader.stream, Duration::from_millis(150)).await;
        rig.heal(&fault).await;
        let mut body = String::new();
        while !body.ends_with(end) {
            let mut piece = [0; 256];
            let read = timeout(PATIENCE, client.reader.stream.read(&mut piece)).await.unwrap().unwrap();
            assert!(read > 0, "the body comes whole: {body:?}");
            body.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        assert_eq!(fault.hits(), Some(1));
    }
}

#[tokio::test]
async fn a_wrong_length_is_told_and_the_connection_closes_behind_it() {
    for (fault, length, body) in [
        (r#"{"truncate": "4B", "mismatch": true}"#, "10", "0123"),
        (r#"{"replace": "xy", "mismatch": true}"#, "10", "xy"),
        (r#"{"oversize": "3B", "mismatch": true}"#, "10", "0123456789   "),
    ] {
        let rig = site(|_| ok("0123456789")).await;
        let fault = rig.fault(&format!(r#"{{"fault": {{"http_body": {fault}}}}}"#)).await;
        let mut client = Client::of(&rig).await;
        client.send(get("/")).await;
        let head = client.reader.message(true).await.unwrap();
        let mut got = String::new();
        timeout(PATIENCE, client.reader.stream.read_to_string(&mut got)).await.unwrap().unwrap();
        assert_eq!((head.header("content-length"), got.as_str()), (Some(length), body));
        assert_eq!(fault.hits(), Some(1));
    }
    let rig = site(|_| chunked("0123456789")).await;
    rig.fault(r#"{"fault": {"http_body": {"truncate": "7B", "mismatch": true}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/")).await;
    assert_eq!(client.reader.message(false).await, None, "the last chunk never comes");
}

#[tokio::test]
async fn messages_without_a_body_stay_as_they_are() {
    let rig = site(|request| match request.line() {
        "HEAD / HTTP/1.1" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".into(),
        "GET /none HTTP/1.1" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n".into(),
        _ => ok("old"),
    })
    .await;
    for fault in [r#"{"replace": "new"}"#, r#"{"oversize": "1MB"}"#, r#"{"truncate": "1B"}"#, r#"{"hang": true}"#] {
        let fault = rig.fault(&format!(r#"{{"fault": {{"http_body": {fault}}}, "where": {{"path": "/*"}}}}"#)).await;
        let mut client = Client::of(&rig).await;
        for request in ["HEAD / HTTP/1.1\r\n\r\n".to_owned(), get("/none")] {
            client.send(&request).await;
            let head = client.reader.message(true).await.unwrap();
            assert_eq!(head.header("content-length"), Some("100"), "{request}");
        }
        assert_eq!((fault.units(), fault.hits()), (2, Some(0)));
        rig.heal(&fault).await;
    }
}

#[tokio::test]
async fn bodies_of_requests_are_changed_before_the_upstream_sees_them() {
    for (fault, seen) in [
        (r#"{"replace": "new", "on": "request"}"#, "3:new"),
        (r#"{"truncate": "2B", "on": "request"}"#, "2:ab"),
        (r#"{"oversize": "2B", "on": "request"}"#, "6:abcd  "),
    ] {
        let rig =
            site(|request| ok(&format!("{}:{}", request.header("content-length").unwrap_or("-"), request.text())))
                .await;
        let fault = rig.fault(&format!(r#"{{"fault": {{"http_body": {fault}}}}}"#)).await;
        let mut client = Client::of(&rig).await;
        client.send("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd").await;
        assert_eq!(client.response().await.text(), seen);
        assert_eq!(client.get("/without").await.text(), "-:", "a GET has none to change");
        assert_eq!((fault.units(), fault.hits()), (2, Some(1)));
        client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n").await;
        let text = client.response().await.text().to_owned();
        assert_eq!(text.split_once(':').unwrap().1, seen.split_once(':').unwrap().1);
    }
}

#[tokio::test]
async fn a_response_whose_change_has_begun_is_ended_well_when_the_fault_goes() {
    // A server that sends the second half of a body when it is told to.
    for (fault, head, parts, expected) in [
        (r#"{"replace": "new"}"#, "Content-Length: 10", ["01234", "56789"], "new"),
        (r#"{"truncate": "3B"}"#, "Content-Length: 10", ["01234", "56789"], "012"),
        (
            r#"{"truncate": "8B"}"#,
            "Transfer-Encoding: chunked",
            ["5\r\n01234\r\n", "5\r\n56789\r\n0\r\n\r\n"],
            "0123456789",
        ),
        (
            r#"{"oversize": "9MB"}"#,
            "Transfer-Encoding: chunked",
            ["5\r\n01234\r\n", "5\r\n56789\r\n0\r\n\r\n"],
            "0123456789",
        ),
    ] {
        let more = std::sync::Arc::new(tokio::sync::Notify::new());
        let told = std::sync::Arc::clone(&more);
        let rig = Rig::http("", move |stream: TcpStream| {
            let told = std::sync::Arc::clone(&told);
            async move {
                let (reader, mut writer) = stream.into_split();
                let mut reader = Reader::new(reader);
                reader.message(false).await.unwrap();
                writer.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{}", parts[0]).as_bytes()).await.unwrap();
                told.notified().await;
                writer.write_all(parts[1].as_bytes()).await.unwrap();
                reader.message(false).await.unwrap();
                writer.write_all(ok("next").as_bytes()).await.unwrap();
            }
        })
        .await;
        let fault = rig.fault(&format!(r#"{{"fault": {{"http_body": {fault}}}}}"#)).await;
        let mut client = Client::of(&rig).await;
        client.send(get("/")).await;
        rig.until(|counters| counters.bytes_downstream > 30).await;
        rig.heal(&fault).await;
        more.notify_one();
        assert_eq!(client.response().await.text(), expected);
        assert_eq!(client.get("/next").await.text(), "next", "{fault:?}");
    }
}

#[tokio::test]
async fn what_can_no_longer_come_whole_is_reset_when_the_fault_goes() {
    let rig = site(|_| ok("abc")).await;
    let fault = rig.fault(r#"{"fault": {"http_body": {"oversize": "1GiB"}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(get("/")).await;
    assert_eq!(client.reader.message(true).await.unwrap().header("content-length"), Some("1073741827"));
    rig.heal(&fault).await;
    crate::common::expect_reset(&mut client.reader.stream).await;
}

#[tokio::test]
async fn a_head_as_full_as_it_may_be_is_changed_like_any_other() {
    let rig = site(|request| {
        let (framing, body) = match request.line() {
            "GET /chunked HTTP/1.1" => ("Transfer-Encoding: chunked", "5\r\n01234\r\n0\r\n\r\n"),
            _ => ("Content-Length: 5", "01234"),
        };
        format!("HTTP/1.1 200 OK\r\n{}{framing}\r\n\r\n{body}", "A: b\r\n".repeat(127))
    })
    .await;
    for (fault, body) in [
        (r#"{"http_body": {"replace": "REPLACED", "content_type": "a/b"}}"#, "REPLACED"),
        (r#"{"http_body": {"truncate": "2B", "content_type": "a/b"}}"#, "01"),
        (r#"{"http_body": {"oversize": "3B", "content_type": "a/b"}}"#, "01234   "),
        (r#"{"http_headers": {"set": {"Content-Type": "a/b", "New": "n"}}}"#, "01234"),
    ] {
        let fault = rig.fault(&format!(r#"{{"fault": {fault}}}"#)).await;
        let mut client = Client::of(&rig).await;
        for path in ["/plain", "/chunked", "/plain"] {
            let response = client.get(path).await;
            assert_eq!((response.text(), response.header("content-type")), (body, Some("a/b")), "{path} {fault:?}");
        }
        assert_eq!(fault.hits(), Some(3));
        rig.heal(&fault).await;
    }
}
