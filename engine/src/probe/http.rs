//! Reads an HTTP answer: its status, its time to the last byte, and what a JSON path finds in it.
//!
//! Every answer is a reading, whatever its status; only a body that does not have what the path asks for is none.
//! Neighbours: `probe` calls it on the clock.

use super::{Seen, Unread};
use crate::fetch;
use reqwest::{
    Client, Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use serde_json_path::JsonPath;

/// A longer body is a failed reading.
const LONGEST: usize = 1024 * 1024;

pub(super) struct HttpProbe {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    path: Option<JsonPath>,
}

impl HttpProbe {
    pub(super) fn new(
        client: Client,
        url: &str,
        method: &str,
        headers: &[(String, String)],
        path: Option<JsonPath>,
    ) -> Result<Self, Unread> {
        let url = url.parse().map_err(|error| Unread::new(format!("its URL is none: {error}")))?;
        let method = method.parse().map_err(|_| Unread::new(format!("`{method}` is not an HTTP method")))?;
        let headers = headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
        Ok(Self { client, method, url, headers, path })
    }

    pub(super) async fn read(&self) -> Result<Seen, Unread> {
        let request = self.client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        let response = request.send().await.map_err(fetch::FetchError::from)?;
        let status = Some(response.status().as_u16());
        let unread = |why: String| Unread { status, why };
        let body = fetch::body(response, LONGEST).await.map_err(|error| unread(error.to_string()))?;
        match &self.path {
            None => Ok(Seen { status, ..Seen::default() }),
            Some(path) => {
                let (value, text) = find(path, &body).map_err(unread)?;
                Ok(Seen { status, value, text: Some(text), ..Seen::default() })
            }
        }
    }
}

pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Unread> {
    let named = name.parse().map_err(|_| Unread::new(format!("`{name}` is not a header's name")))?;
    // The value may be a secret, and is not shown.
    let value = value.parse().map_err(|_| Unread::new(format!("the value of header `{name}` cannot be sent")))?;
    Ok((named, value))
}

/// What the path finds first: its value if it is a number, and its text.
fn find(path: &JsonPath, body: &[u8]) -> Result<(Option<f64>, String), String> {
    let json: Value = serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let found = path.query(&json).first().ok_or_else(|| format!("nothing in the answer at `{path}`"))?;
    let text = if let Value::String(text) = found { text.clone() } else { found.to_string() };
    Ok((found.as_f64(), text))
}

#[cfg(test)]
mod tests {
    use super::find;
    use serde_json_path::JsonPath;

    #[test]
    fn a_path_gives_a_text_and_a_number_if_it_is_one() {
        let body = br#"{"state":"ok","load":1.5,"up":true,"list":[{"n":3},{"n":4}]}"#;
        let found = |path: &str| find(&JsonPath::parse(path).unwrap(), body);
        assert_eq!(found("$.state"), Ok((None, "ok".into())));
        assert_eq!(found("$.load"), Ok((Some(1.5), "1.5".into())));
        assert_eq!(found("$.up"), Ok((None, "true".into())));
        assert_eq!(found("$.list[*].n"), Ok((Some(3.0), "3".into())));
        assert_eq!(found("$.list[1]"), Ok((None, r#"{"n":4}"#.into())));
        assert_eq!(found("$.nothing"), Err("nothing in the answer at `$.nothing`".into()));
    }

    #[test]
    fn an_answer_that_is_not_json_is_none() {
        let error = find(&JsonPath::parse("$.a").unwrap(), b"<html>").unwrap_err();
        assert!(error.starts_with("the answer is not JSON: "), "{error}");
    }
}
