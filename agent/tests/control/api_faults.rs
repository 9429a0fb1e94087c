//! Faults over real HTTP: set, changed, removed, run out; limits that hold; and everything healed at once.

use crate::api_support::{LONG, Running, config, connect, echo, ping};
use serde_json::json;
use squall_agent::AgentConfig;
use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};

#[tokio::test]
async fn a_fault_is_set_shown_changed_and_removed() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let info = agent.fault("db", json!({"fault": {"latency": {"delay": "5ms"}}, "percent": 10, "seed": 7})).await;
    let shown: squall_wire::FaultInfo = serde_json::from_value(info).unwrap();
    assert_eq!((shown.name.as_str(), shown.seed, shown.hits, shown.percent.get()), ("latency-1", 7, Some(0), 10.0));
    let left = shown.expires_in.get();
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500), "the agent's own limit: {left:?}");

    let path = "/v1/proxies/db/faults/latency-1";
    let patch = json!({"fault": {"latency": {"delay": "9ms"}}, "percent": 20, "expires_in": "1m"});
    let (status, changed) = agent.patch(path, patch).await;
    assert_eq!((status, &changed["fault"]["latency"]["delay"], &changed["percent"]), (200, &json!("9ms"), &json!(20)));
    assert_eq!(agent.get(path).await.1["seed"], json!(7));
    let removed = json!({"removed": [{"proxy": "db", "fault": "latency-1", "hits": 0}], "restored": []});
    assert_eq!(agent.delete(path).await, (200, removed));
    assert_eq!(agent.get(path).await.0, 404);
    assert_eq!(agent.delete(path).await.0, 404);
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
}

#[tokio::test]
async fn names_and_seeds_are_made_up_when_absent() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let latency = || json!({"fault": {"latency": {"delay": "1ms"}}});
    let one = agent.fault("db", latency()).await;
    let two = agent.fault("db", latency()).await;
    assert_eq!((&one["name"], &two["name"]), (&json!("latency-1"), &json!("latency-2")));
    for seed in [&one["seed"], &two["seed"]] {
        assert!(seed.as_u64().unwrap() < 1 << 53);
    }
    assert_ne!(one["seed"], two["seed"]);
    agent.delete("/v1/proxies/db/faults/latency-1").await;
    assert_eq!(agent.fault("db", latency()).await["name"], json!("latency-1"), "a free name is used again");
    let taken = json!({"name": "latency-2", "fault": {"reset": {}}});
    let (status, error) = agent.post("/v1/proxies/db/faults", taken).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")));
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_with_every_reason_and_the_first_field() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    let (status, error) =
        agent.post("/v1/proxies/db/faults", json!({"fault": {"refuse": {}}, "percent": 50, "count": 0})).await;
    assert_eq!((status, &error["error"]["field"]), (400, &json!("count")));
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("count: a count of 0") && message.contains("percent: `refuse`"), "{message}");
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}

#[tokio::test]
async fn a_patch_that_makes_no_sense_changes_nothing() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    agent.fault("db", json!({"name": "f", "fault": {"stall": {"every": "5s", "for": "1s"}}})).await;
    let path = "/v1/proxies/db/faults/f";
    for (patch, field) in [
        (json!({"fault": {"reset": {}}}), "fault"),
        (json!({"fault": {"stall": {"every": "1s", "for": "2s"}}, "percent": 5}), "fault.stall.for"),
        (json!({"percent": 5, "expires_in": "0s"}), "expires_in"),
    ] {
        let (status, error) = agent.patch(path, patch).await;
        assert_eq!((status, &error["error"]["field"]), (400, &json!(field)), "{error}");
    }
    let (_, info) = agent.get(path).await;
    assert_eq!((&info["fault"]["stall"]["for"], &info["percent"]), (&json!("1s"), &json!(100)));
    let (status, error) = agent.patch("/v1/proxies/db/faults/g", json!({})).await;
    assert_eq!((status, &error["error"]["hint"]), (404, &json!("did you mean `f`?")));
}

#[tokio::test]
async fn a_fault_runs_out_by_itself_and_its_waiters_are_released() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    let start = Instant::now();
    agent.fault("db", json!({"fault": {"latency": {"delay": "10m"}}, "expires_in": "400ms"})).await;
    let mut held = connect(listen).await;
    assert_eq!(ping(&mut held).await.unwrap(), b"aping");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(400), "the fault ended early, after {took:?}");
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
}

#[tokio::test]
async fn no_fault_outlives_the_agents_limit_however_often_it_is_changed() {
    let limit = Duration::from_secs(2);
    let agent = Running::with(AgentConfig { max_fault_duration: limit, ..config() }).await;
    agent.proxy("db", echo(b'a').await).await;
    let start = Instant::now();
    let too_long = json!({"fault": {"unread": {}}, "expires_in": "2001ms"});
    let (status, error) = agent.post("/v1/proxies/db/faults", too_long).await;
    assert_eq!(
        (status, &error["error"]["code"], &error["error"]["field"]),
        (403, &json!("forbidden"), &json!("expires_in"))
    );
    assert!(error["error"]["message"].as_str().unwrap().contains("max_fault_duration"), "{error}");
    agent.fault("db", json!({"fault": {"unread": {}}})).await;
    let set = Instant::now();
    let path = "/v1/proxies/db/faults/unread-1";
    let (status, _) = agent.patch(path, json!({"expires_in": "2s"})).await;
    assert_eq!(status, 403, "two seconds more would be more than two seconds in all");
    agent.until(path, |status, _| status == 404).await;
    assert!(start.elapsed() >= limit);
    assert!(set.elapsed() < limit + Duration::from_secs(3), "it took {:?}", set.elapsed());
}

#[tokio::test]
async fn to_heal_everything_takes_no_query_that_would_narrow_it_down() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    agent.post("/v1/proxies/db/faults", json!({"fault": {"latency": {"delay": "1ms"}}})).await;
    let (status, told) = agent.delete("/v1/faults?proxy=other").await;
    assert_eq!((status, &told["error"]["code"]), (400, &json!("invalid_request")), "{told}");
    assert_eq!(agent.delete("/v1/faults").await.1["removed"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_takes_a_lease_says_so_on_one_line() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let request = json!({"owner": "ann\r\nhalted by root", "ttl": "1m", "proxies": ["db"]});
    let (status, told) = agent.post("/v1/leases", request).await;
    assert_eq!((status, &told["error"]["field"]), (400, &json!("owner")), "{told}");
}

#[tokio::test]
async fn everything_is_healed_at_once_and_the_hits_are_told() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    agent.proxy("web", echo(b'b').await).await;
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "10m"}}})).await;
    agent.fault("web", json!({"name": "shut", "fault": {"refuse": {}}})).await;
    let mut held = connect(listen).await;
    held.write_all(b"ping").await.unwrap();
    agent.until("/v1/proxies/db/faults/slow", |_, fault| fault["hits"] == 1).await;

    let (status, healed) = agent.delete("/v1/faults").await;
    assert_eq!(status, 200);
    let expected = json!({"removed": [
        {"proxy": "db", "fault": "slow", "hits": 1},
        {"proxy": "web", "fault": "shut", "hits": null},
    ], "restored": []});
    assert_eq!(healed, expected);
    let mut answer = [0; 5];
    timeout(LONG, held.read_exact(&mut answer)).await.expect("the held answer is released").unwrap();
    assert_eq!(agent.delete("/v1/faults").await, (200, json!({"removed": [], "restored": []})));
}

#[tokio::test]
async fn a_refused_proxy_takes_connections_again_when_its_removal_is_answered() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    for _ in 0..5 {
        agent.fault("db", json!({"fault": {"refuse": {}}})).await;
        assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(agent.delete("/v1/proxies/db/faults/refuse-1").await.0, 200);
        assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    }
}

#[tokio::test]
async fn a_proxy_takes_a_bounded_number_of_faults() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    for _ in 0..100 {
        agent.fault("db", json!({"fault": {"slow_close": {"delay": "1s"}}})).await;
    }
    let (status, error) = agent.post("/v1/proxies/db/faults", json!({"fault": {"slow_close": {"delay": "1s"}}})).await;
    assert_eq!((status, &error["error"]["code"]), (403, &json!("forbidden")));
}

#[tokio::test]
async fn a_heal_that_fails_is_told_and_tried_again_until_it_works() {
    let agent = Running::new().await;
    let spec = json!({"name": "db", "upstream": echo(b'a').await, "enabled": false});
    let listen: SocketAddr = agent.post("/v1/proxies", spec).await.1["listen"].as_str().unwrap().parse().unwrap();
    agent.fault("db", json!({"fault": {"refuse": {}}})).await;
    assert_eq!(agent.patch("/v1/proxies/db", json!({"enabled": true})).await.0, 200);
    // Another program takes the address, on which nobody ever listened.
    let squatter = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    squatter.set_reuse_address(true).unwrap();
    squatter.bind(&listen.into()).unwrap();
    squatter.listen(1).unwrap();

    let path = "/v1/proxies/db/faults/refuse-1";
    let (status, error) = agent.delete(path).await;
    assert_eq!((status, &error["error"]["code"]), (500, &json!("internal")), "{error}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("failed to heal db/refuse-1") && message.contains("failed to listen"), "{message}");
    assert_eq!(agent.get(path).await.1["expires_in"], json!("0s"), "what is not healed is shown");
    drop(squatter);
    agent.until(path, |status, _| status == 404).await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_kernel_drops_is_set_like_any_fault_and_counted_by_nobody() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let about = agent.get("/v1/agent").await.1;
    let kinds: Vec<String> = serde_json::from_value(about["faults"].clone()).unwrap();
    assert!(kinds.iter().any(|kind| kind == "packet_loss"), "{about}");
    assert_eq!(about["unavailable"], json!({}));
    let fault = json!({"fault": {"packet_loss": {"loss": 5}}, "percent": 50, "direction": "upstream"});
    assert_eq!(agent.fault("db", fault).await["hits"], json!(null));

    let path = "/v1/proxies/db/faults/packet_loss-1";
    let (status, _) = agent.patch(path, json!({"fault": {"packet_loss": {"loss": 7}}})).await;
    assert_eq!(status, 200);
    let (status, refused) = agent.patch(path, json!({"fault": {"packet_loss": {"loss": 7, "syn_only": true}}})).await;
    assert_eq!((status, &refused["error"]["field"]), (400, &json!("percent")), "{refused}");
    let removed = json!({"removed": [{"proxy": "db", "fault": "packet_loss-1", "hits": null}], "restored": []});
    assert_eq!(agent.delete(path).await, (200, removed));
}
