//! Asks a Prometheus server by its HTTP API: one instant query, one number.
//!
//! Everything that speaks `/api/v1/query` is asked alike. What the server warns of (a part of the data could not be read, a
//! rate of something that is no counter) stands in the sample's text, beside its value.
//! Neighbours: `probe` calls it on the clock. Invariant: an answer of no element, of several, or of no number is a failed
//! reading; none of them is taken for 0.

use super::{Seen, Unread, http::header};
use crate::{experiment::PromqlPlan, fetch};
use reqwest::{Client, Url, header::HeaderMap};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// An answer of one number is some hundred bytes; a longer one has many elements.
const LONGEST: usize = 4 * 1024 * 1024;
/// Elements of a vector that is too long which are named.
const NAMED: usize = 2;

pub(super) struct PromqlProbe {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// The envelope of every answer of the API.
#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

impl PromqlProbe {
    pub(super) fn new(client: Client, plan: &PromqlPlan, timeout: Duration) -> Result<Self, Unread> {
        let wrong = |error| Unread::new(format!("its URL is none: {error}"));
        let mut url: Url = format!("{}/api/v1/query", plan.url.trim_end_matches('/')).parse().map_err(wrong)?;
        // The server gives up when we do.
        let patience = format!("{}ms", timeout.as_millis().max(1));
        url.query_pairs_mut().append_pair("query", &plan.query).append_pair("timeout", &patience);
        let headers = plan.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
        Ok(Self { client, url, headers })
    }

    pub(super) async fn read(&self) -> Result<Seen, Unread> {
        let request = self.client.get(self.url.clone()).headers(self.headers.clone());
        let response = request.send().await.map_err(fetch::FetchError::from)?;
        let code = response.status();
        let status = Some(code.as_u16());
        let unread = |why: String| Unread { status, why };
        let body = fetch::body(response, LONGEST).await.map_err(|error| unread(error.to_string()))?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
            return Err(unread(format!("the server answered {code}, and not as a Prometheus server does")));
        };
        let (value, text) = number(answer).map_err(unread)?;
        Ok(Seen { status, value: Some(value), text, failed: None })
    }
}

/// The one number of an answer, and what the server warns of.
fn number(answer: Answer) -> Result<(f64, Option<String>), String> {
    let Answer { status, data, error, warnings, infos } = answer;
    let data = match data {
        Some(data) if status == "success" => data,
        _ => return Err(format!("the server refused the query: {}", error.unwrap_or(status))),
    };
    let warnings: Vec<String> = warnings.into_iter().chain(infos).collect();
    let warned = (!warnings.is_empty()).then(|| format!("the server warns: {}", warnings.join("; ")));
    let with_warning = |why: String| warned.as_ref().map_or(why.clone(), |warned| format!("{why} ({warned})"));
    let sample = match (data.result_type.as_str(), &data.result) {
        ("scalar", sample) => sample,
        ("vector", Value::Array(elements)) => match elements.as_slice() {
            [] => return Err(with_warning("the query found nothing: no series matches it now".to_owned())),
            [only] => only.get("value").ok_or("the answer's element has no value: histograms are not read")?,
            several => return Err(with_warning(too_many(several))),
        },
        (kind, _) => {
            return Err(format!(
                "the query gives a {kind}, not one number: make it a scalar or a vector of one element"
            ));
        }
    };
    let text = sample.get(1).and_then(Value::as_str).ok_or("the answer has no value where one belongs")?;
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((value, warned)),
        _ => Err(with_warning(format!("the query gives {text}, which is not a number to go by"))),
    }
}

fn too_many(elements: &[Value]) -> String {
    let labels = |element: &Value| element.get("metric").map(Value::to_string).unwrap_or_default();
    let named: Vec<String> = elements.iter().take(NAMED).map(labels).collect();
    let more = if elements.len() > NAMED { ", …" } else { "" };
    let count = elements.len();
    format!(
        "the query gives {count} elements, not one: put `sum(…)` or `max(…)` around it ({}{more})",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{Answer, number};
    use serde_json::json;

    fn read(answer: serde_json::Value) -> Result<(f64, Option<String>), String> {
        number(serde_json::from_value::<Answer>(answer).unwrap())
    }

    fn vector(result: &serde_json::Value) -> Result<(f64, Option<String>), String> {
        read(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
    }

    #[test]
    fn a_scalar_and_a_vector_of_one_are_a_number() {
        let scalar = json!({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "42.5"]}});
        assert_eq!(read(scalar), Ok((42.5, None)));
        assert_eq!(vector(&json!([{"metric": {}, "value": [1.5, "-0.25"]}])), Ok((-0.25, None)));
    }

    #[test]
    fn nothing_several_and_no_number_are_told_apart() {
        let told = |result| vector(&result).unwrap_err();
        assert_eq!(told(json!([])), "the query found nothing: no series matches it now");
        let element = |code: &str| json!({"metric": {"code": code}, "value": [1, "1"]});
        assert_eq!(
            told(json!([element("200"), element("500"), element("503")])),
            "the query gives 3 elements, not one: put `sum(…)` or `max(…)` around it ({\"code\":\"200\"}, {\"code\":\"500\"}, …)"
        );
        for text in ["NaN", "+Inf"] {
            let why = told(json!([{"metric": {}, "value": [1, text]}]));
            assert_eq!(why, format!("the query gives {text}, which is not a number to go by"));
        }
        let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": []}});
        assert!(read(matrix).unwrap_err().starts_with("the query gives a matrix, not one number"));
        assert!(told(json!([{"metric": {}, "histogram": [1, {}]}])).contains("histograms are not read"));
    }

    #[test]
    fn warnings_stand_beside_the_value_and_errors_in_its_place() {
        let warned = json!({"status": "success", "warnings": ["remote read failed"], "infos": ["not a counter"],
            "data": {"resultType": "scalar", "result": [1, "2"]}});
        assert_eq!(read(warned), Ok((2.0, Some("the server warns: remote read failed; not a counter".into()))));
        let wrong = json!({"status": "error", "errorType": "bad_data", "error": "1:1: parse error"});
        assert_eq!(read(wrong), Err("the server refused the query: 1:1: parse error".into()));
    }
}
