//! What other agents accept and should not, over their API. The table of all such cases is in `fault/peer_cases.rs`.

use crate::api_support::{Running, echo};
use serde_json::{Value, json};

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_nothing_is_changed() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let before = agent.get("/v1/proxies/db").await.1["faults"].clone();
    for fault in [
        json!({"bandwidth": {"rate": "-1KB/s"}}),
        json!({"drip": {"bytes": "0B"}}),
        json!({"drip": {"bytes": "10B", "size_jitter": "11B"}}),
        json!({"latency": {"delay": "-1s"}}),
    ] {
        let (status, error) = agent.post("/v1/proxies/db/faults", json!({"fault": fault})).await;
        assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_request")), "{fault}: {error}");
    }
    for (kind, attributes) in [
        ("bandwidth", json!({"rate": -1})),
        ("slicer", json!({"average_size": 0})),
        ("slicer", json!({"average_size": 10, "size_variation": 20})),
        ("latency", json!({"latency": -5})),
    ] {
        let toxic = json!({"name": "t", "type": kind, "attributes": attributes});
        let (status, error) = agent.post("/proxies/db/toxics", toxic).await;
        assert_eq!(status, 400, "{kind} {attributes}: {error}");
    }
    assert_eq!(agent.get("/v1/proxies/db").await.1["faults"], before);
    assert_eq!(agent.get("/health/live").await.0, 200);
}

#[tokio::test]
async fn a_share_out_of_range_is_refused_and_toxiproxys_is_clamped() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    for wrong in [
        json!({"fault": {"reset": {}}, "percent": 500}),
        json!({"fault": {"reset": {}}, "percent": -1}),
        json!({"fault": {"latency": {"delya": "1ms"}}}),
    ] {
        assert_eq!(agent.post("/v1/proxies/db/faults", wrong.clone()).await.0, 400, "{wrong}");
    }
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1["faults"], json!([]));
    for (toxicity, percent) in [(5.0, 100.0), (-1.0, 0.0)] {
        let toxic =
            json!({"name": "t", "type": "latency", "toxicity": toxicity, "attributes": {"latency": 1, "latncy": 2}});
        let (status, shown) = agent.post("/proxies/db/toxics", toxic).await;
        assert_eq!((status, shown["toxicity"].as_f64()), (200, Some(toxicity)), "{shown}");
        let fault: Value = agent.get("/v1/proxies/db/faults").await.1["faults"][0].clone();
        assert_eq!(fault["percent"].as_f64(), Some(percent), "{fault}");
        assert_eq!(agent.delete("/proxies/db/toxics/t").await.0, 204);
    }
}
