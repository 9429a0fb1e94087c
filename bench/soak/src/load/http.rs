//! A request with a body that comes back in the response, by a real HTTP client.
//!
//! Invariant: an answer counts only when it came to its end as HTTP says; what an error cut is cut.

use super::compared;
use crate::ledger::Ended;
use reqwest::StatusCode;
use std::net::SocketAddr;

/// A client that keeps its connections, or does not.
pub(super) fn client(keeps: bool) -> Option<reqwest::Client> {
    reqwest::Client::builder().pool_max_idle_per_host(usize::from(keeps)).no_proxy().build().ok()
}

pub(super) async fn exchange(client: &reqwest::Client, address: SocketAddr, sent: Vec<u8>) -> Ended {
    let request = client.post(format!("http://{address}/echo")).body(sent.clone());
    let Ok(answer) = request.send().await else { return Ended::Cut };
    let status = answer.status();
    match answer.bytes().await {
        Err(_) => Ended::Cut,
        Ok(got) if status == StatusCode::OK && got.len() < sent.len() => Ended::Other(format!(
            "of {} bytes sent, {} came back, and the answer says that is all",
            sent.len(),
            got.len()
        )),
        Ok(got) if status == StatusCode::OK => compared(&sent, &got),
        Ok(_) => Ended::Other(format!("the answer was {status}")),
    }
}
