//! Requests made up from `/openapi.json`, for every operation that it describes: whatever is asked, the agent answers
//! in time, with a status that is described and no mistake of its own, and goes on.
//!
//! `tests/api/run` does the same from outside, with schemathesis.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, client, echo};
use crate::described::{Made, requests};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// For each operation.
const CASES: u32 = 40;

async fn ask(agent: &Running, http: &reqwest::Client, made: &Made) -> (u16, Value) {
    let url = format!("http://{}{}", agent.addr, made.path);
    let mut request = http.request(Method::from_bytes(made.method.as_bytes()).unwrap(), url);
    for (name, value) in &made.headers {
        request = request.header(name, value.as_bytes());
    }
    if let Some(body) = &made.body {
        request = request.header("content-type", "application/json").body(body.clone());
    }
    let response = request.timeout(LONG).send().await.expect("an answer in time");
    let status = response.status().as_u16();
    // A stream of events has no end.
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        return (status, Value::Null);
    }
    let text = response.text().await.expect("the answer's body in time");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// What is wrong with an answer.
fn verdict(document: &Value, path: &str, method: &str, status: u16, body: &Value) -> Result<(), String> {
    if document["paths"][path][method]["responses"].get(status.to_string()).is_none() {
        return Err(format!("{status} is not described: {body}"));
    }
    // 501: this machine cannot do it. 503: the places of those who follow the events are taken.
    if status >= 500 && status != 501 && !(status == 503 && path == "/v1/events") {
        return Err(format!("a mistake of the agent's: {status} {body}"));
    }
    let told = body["error"]["code"].is_string() && body["error"]["message"].as_str().is_some_and(|m| !m.is_empty());
    if status >= 400 && !told { Err(format!("{status} says nothing: {body}")) } else { Ok(()) }
}

#[test]
fn whatever_is_asked_is_answered_as_described() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (agent, http) = runtime.block_on(async {
        let agent = Running::new().await;
        agent.proxy("db", echo(b'a').await).await;
        agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}})).await;
        (agent, client())
    });
    let document = Arc::new(runtime.block_on(agent.get("/openapi.json")).1);
    let (mut done, mut refused) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
            let outcome = TestRunner::new(config).run(&requests(&document, path, method), |made| {
                let (status, body) = runtime.block_on(ask(&agent, &http, &made));
                verdict(&document, path, method, status, &body).map_err(TestCaseError::fail)
            });
            if let Err(error) = outcome {
                panic!("{method} {path}: {error}");
            }
            // One as it should be, so that not everything is refused for its form.
            let (status, _) = runtime.block_on(agent.get("/v1/proxies/db"));
            *(if status == 200 { &mut done } else { &mut refused }) += 1;
            runtime.block_on(async {
                if status == 404 {
                    agent.proxy("db", echo(b'a').await).await;
                }
            });
        }
    }
    assert!(done > 0 && done + refused >= 22, "{done} {refused}");
    let (status, info) = runtime.block_on(agent.get("/v1/agent"));
    assert_eq!(status, 200, "{info}");
    runtime.block_on(agent.stop());
}

#[test]
fn each_example_of_the_description_does_what_it_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let agent = Running::new().await;
        let document = agent.get("/openapi.json").await.1;
        let example = |path: &str, method: &str| {
            document["paths"][path][method]["requestBody"]["content"]["application/json"]["example"].clone()
        };
        let faults = "/v1/proxies/{proxy}/faults";
        assert_eq!(agent.post("/v1/proxies", example("/v1/proxies", "post")).await.0, 201);
        assert_eq!(agent.post("/v1/proxies/db/faults", example(faults, "post")).await.0, 201);
        let patch = example("/v1/proxies/{proxy}/faults/{fault}", "patch");
        assert_eq!(agent.patch("/v1/proxies/db/faults/slow", patch).await.0, 200);
        assert_eq!(agent.delete("/v1/faults").await.0, 200);
        let (status, lease) = agent.post("/v1/leases", example("/v1/leases", "post")).await;
        assert_eq!(status, 201);
        let renew = format!("/v1/leases/{}", lease["id"].as_str().unwrap());
        assert_eq!(agent.put(&renew, example("/v1/leases/{lease}", "put")).await.0, 200);
        assert_eq!(agent.delete(&renew).await.0, 200);
        assert_eq!(agent.put("/v1/proxies/db", example("/v1/proxies/{proxy}", "put")).await.0, 200);
        assert_eq!(agent.patch("/v1/proxies/db", example("/v1/proxies/{proxy}", "patch")).await.0, 200);
    });
}
