//! Requests that are wrong: each gets the one shape of error, says what is wrong and where, and changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, answer, echo};
use reqwest::Method;
use serde_json::{Value, json};

/// Sends a body as it is.
async fn send(agent: &Running, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    answer(agent.request(method, path).body(body)).await
}

/// All that could have been changed.
async fn everything(agent: &Running) -> [Value; 2] {
    let (proxies, leases) = (agent.get("/v1/proxies").await.1, agent.get("/v1/leases").await.1);
    [proxies, leases]
}

#[tokio::test]
async fn a_wrong_body_is_told_with_its_field_and_the_nearest_word_and_changes_nothing() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let before = everything(&agent).await;
    let faults = "/v1/proxies/db/faults";
    let latency = "fault.latency";
    for (path, body, field, said) in [
        ("/v1/proxies", r#"{"name": "a", "upstrem": "b:1"}"#, "upstrem", "did you mean `upstream`?"),
        ("/v1/proxies", r#"{"name": "a b", "upstream": "b:1"}"#, "name", "not a proxy name"),
        ("/v1/proxies", r#"{"name": "a", "upstream": "b"}"#, "upstream", "no port"),
        ("/v1/proxies", r#"{"name": "a", "upstream": "http://b:80"}"#, "upstream", "HOST:PORT, without a scheme"),
        ("/v1/proxies", r#"{"name": "a", "upstream": "b:1", "listen": "nope"}"#, "listen", "no port"),
        ("/v1/proxies", r#"{"name": "a"}"#, "", "missing field `upstream`"),
        ("/v1/proxies", r#"{"name": "a", "upstream": 5}"#, "upstream", "expected a string"),
        ("/v1/proxies", r#"{"name": "a", "upstream": "b:"#, "", "EOF while parsing a string at line 1 column 29"),
        ("/v1/proxies", r#"{"name": "a", "upstream": "b:1"} x"#, "", "trailing"),
        ("/v1/proxies", "", "", "the body is empty"),
        ("/v1/proxies", "[]", "", "invalid"),
        ("/v1/proxies", "\u{0}", "", "expected value"),
        (faults, r#"{"fault": {"latncy": {"delay": "1s"}}}"#, "fault", "did you mean `latency`?"),
        (
            faults,
            r#"{"fault": {"latency": {"delay": "1s", "jiter": "1s"}}}"#,
            "fault.latency.jiter",
            "did you mean `jitter`?",
        ),
        (faults, r#"{"fault": {"blackhole": null}}"#, "fault.blackhole", "write `{}`"),
        (faults, r#"{"fault": {"latency": {"delay": 0}}}"#, "fault.latency.delay", "such as `800ms`"),
        (faults, r#"{"fault": {"bandwidth": {"rate": "0.4B/s"}}}"#, "fault.bandwidth.rate", "less than a byte"),
        (faults, r#"{"fault": {"latency": {"delay": 800}}}"#, "fault.latency.delay", "write `800ms`"),
        (faults, r#"{"fault": {"latency": {"delay": "-5s"}}}"#, "fault.latency.delay", "not a duration"),
        (faults, r#"{"fault": {"latency": {}}}"#, latency, "missing field `delay`"),
        (faults, r#"{"fault": {"bandwidth": {"rate": "-1MB/s"}}}"#, "fault.bandwidth.rate", "not a rate"),
        (faults, r#"{"fault": {"reset": {}}, "percent": 101}"#, "percent", "from 0 to 100"),
        (faults, r#"{"fault": {"reset": {}}, "precent": 5}"#, "precent", "did you mean `percent`?"),
        (faults, r#"{"fault": {"reset": {}}, "where": {"client": ["10.0.0.0/99"]}}"#, "where.client", "not a network"),
        (faults, r#"{"fault": {"refuse": {}}, "fault": {"reset": {}}}"#, "fault", "`fault` stands there twice"),
        (faults, r#"{"fault": {"reset": {}}, "percent": 1, "percent": 100}"#, "percent", "twice"),
        (faults, r#"{"fault": {"latency": {"delay": "1s", "delay": "1s"}}}"#, "fault.latency.delay", "twice"),
        (faults, r#"{"fault": {"reset": {}, "reset": {}}}"#, "fault.reset", "twice"),
        ("/v1/proxies", r#"{"name": "a", "upstream": "b:1", "\u006eame": "b"}"#, "name", "twice"),
        ("/v1/leases", r#"{"owner": "a", "ttl": "1s", "ttl": "5m", "proxies": ["db"]}"#, "ttl", "twice"),
        ("/v1/leases", r#"{"owner": "a", "ttl": "1", "proxies": ["db"]}"#, "ttl", "no unit"),
        ("/v1/leases", r#"{"owner": "a", "ttl": "1s", "proxies": ["db", "a/b"]}"#, "proxies[1]", "not a proxy name"),
    ] {
        let (status, error) = send(&agent, Method::POST, path, body).await;
        let detail: squall_wire::ErrorBody = serde_json::from_value(error.clone()).unwrap();
        assert_eq!(status, 400, "{body}: {error}");
        assert_eq!(detail.error.field.as_deref().unwrap_or(""), field, "{body}: {error}");
        let words = format!("{} {}", detail.error.message, detail.error.hint.unwrap_or_default());
        assert!(words.contains(said), "{body}: {error}");
    }
    assert_eq!(everything(&agent).await, before);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_and_not_kept() {
    let agent = Running::new().await;
    let before = everything(&agent).await;
    let large = format!(r#"{{"name": "a", "upstream": "b:1", "listen": "{}"}}"#, "x".repeat(10 << 20));
    let (status, error) = send(&agent, Method::POST, "/v1/proxies", large.clone()).await;
    assert_eq!((status, &error["error"]["code"]), (413, &json!("too_large")));
    // Without a length in the head: it is noticed on the way.
    let pieces =
        large.into_bytes().chunks(65536).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let (status, error) = send(&agent, Method::POST, "/v1/proxies", stream).await;
    assert_eq!((status, &error["error"]["code"]), (413, &json!("too_large")));
    assert_eq!(everything(&agent).await, before);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_in_the_same_shape() {
    let agent = Running::new().await;
    let (status, error) = agent.get("/v1/proxes").await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")));
    assert_eq!(error["error"]["hint"], json!("did you mean `/v1/proxies`?"));
    let response = agent.request(Method::PATCH, "/v1/leases").send().await.unwrap();
    assert_eq!(response.status(), 405);
    let allow = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let error: squall_wire::ErrorBody = response.json().await.unwrap();
    assert_eq!(error.error.code, squall_wire::ErrorCode::MethodNotAllowed);
    for path in ["/v1/proxies/a%20b", "/v1/proxies/%FF", "/v1/proxies/..%2f", "/v1/leases/-"] {
        let (status, error) = agent.get(path).await;
        assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_request")), "{path} {error}");
    }
}

#[tokio::test]
async fn json_is_json_whatever_its_content_type_says() {
    let agent = Running::new().await;
    let request = agent.request(Method::POST, "/v1/proxies").header("content-type", "text/plain");
    assert_eq!(answer(request.body(r#"{"name": "a", "upstream": "b:1"}"#)).await.0, 201);
}

#[tokio::test]
async fn what_a_page_in_a_browser_could_forge_is_refused_and_changes_nothing() {
    let agent = Running::new().await;
    let spec = json!({"name": "a", "upstream": "b:1"});
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("host", "evil.example"),
        ("host", "rebound.evil.example:8474"),
    ] {
        let request = agent.request(Method::POST, "/v1/proxies").header(header, value).json(&spec);
        let (status, error) = answer(request).await;
        assert_eq!((status, &error["error"]["code"]), (403, &json!("forbidden")), "{header}: {value}");
    }
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));
    let request = agent.request(Method::POST, "/v1/proxies").header("host", "localhost:1").json(&spec);
    assert_eq!(answer(request).await.0, 201);
}

#[tokio::test]
async fn a_lease_header_that_is_no_id_is_refused() {
    let agent = Running::new().await;
    let request = agent.request(Method::POST, "/v1/proxies").header("X-Squall-Lease", "a b");
    let (status, error) = answer(request.json(&json!({"name": "a", "upstream": "b:1"}))).await;
    assert_eq!((status, &error["error"]["field"]), (400, &json!("X-Squall-Lease")));
}
