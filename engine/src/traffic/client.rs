//! Sends one request of the load and says how it went.
//!
//! Neighbours: `traffic` decides when and for how long, `template` made the texts.
//! Invariant: the answer is read to its end, so that its time is the whole and its connection can be used again.

use crate::{
    experiment::{Expect, RequestPlan},
    fetch,
    template::Context,
};
use reqwest::{Client, Method};

/// A longer answer is a failed request: a load is not for downloads.
const LONGEST: usize = 8 * 1024 * 1024;

/// A request with its texts evaluated.
#[derive(Debug)]
pub(super) struct Rendered {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Rendered {
    pub(super) fn new(plan: &RequestPlan, context: &mut Context) -> Self {
        Self {
            method: plan.method.clone(),
            url: plan.url.render(context),
            headers: plan.headers.iter().map(|(name, value)| (name.clone(), value.render(context))).collect(),
            body: plan.body.as_ref().map(|body| body.render(context)),
        }
    }
}

/// How a request went. `unmet` is why it does not count as a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    pub(super) unmet: Option<String>,
}

impl Answer {
    pub(super) fn none(why: impl Into<String>) -> Self {
        Self { status: None, unmet: Some(why.into()) }
    }
}

/// Sends it. Has no time limit of its own.
pub(super) async fn send(client: &Client, request: Rendered, expect: &Expect) -> Answer {
    let Ok(method) = request.method.parse::<Method>() else {
        return Answer::none(format!("`{}` is not an HTTP method", request.method));
    };
    let mut builder = client.request(method, &request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    if let Some(body) = request.body {
        builder = builder.body(body);
    }
    let response = match builder.send().await {
        Ok(response) => response,
        Err(error) => return Answer::none(fetch::cause(&error)),
    };
    let status = response.status().as_u16();
    let unmet = match fetch::body(response, LONGEST).await {
        Ok(body) => unmet(expect, status, &body),
        Err(error) => Some(error.to_string()),
    };
    Answer { status: Some(status), unmet }
}

/// Why the answer is not what was expected.
fn unmet(expect: &Expect, status: u16, body: &[u8]) -> Option<String> {
    let expected = if expect.status.is_empty() { status < 400 } else { expect.status.contains(&status) };
    if !expected {
        return Some(format!("answered {status}"));
    }
    let wanted = expect.body_contains.as_deref().filter(|wanted| !contains(body, wanted.as_bytes()))?;
    Some(fetch::shortened(&format!("the answer does not contain {wanted:?}")))
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::unmet;
    use crate::experiment::Expect;

    #[test]
    fn success_is_what_was_expected() {
        let expect = |status: &[u16], text: Option<&str>| Expect {
            status: status.to_vec(),
            body_contains: text.map(str::to_owned),
        };
        assert_eq!(unmet(&expect(&[], None), 302, b""), None);
        assert_eq!(unmet(&expect(&[], None), 404, b""), Some("answered 404".into()));
        assert_eq!(unmet(&expect(&[201, 409], None), 409, b""), None);
        assert_eq!(unmet(&expect(&[201], None), 200, b""), Some("answered 200".into()));
        assert_eq!(unmet(&expect(&[], Some("sold")), 200, b"it is sold."), None);
        assert_eq!(unmet(&expect(&[], Some("sold")), 200, b"sol"), Some("the answer does not contain \"sold\"".into()));
    }
}
