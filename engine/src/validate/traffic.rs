//! The load: rates and weights that are some, URLs and templates that are such, names that are unique.

use super::{Check, forms};
use crate::{
    document::{ExpectDoc, OneOrMore, RequestDoc, Text, TrafficDoc},
    experiment::{Expect, RequestPlan, TrafficPlan},
    template::Template,
    yaml::{Mark, Spot},
};
use squall_wire::Span;
use std::{collections::BTreeMap, time::Duration};

const DEFAULT_CLIENTS: u64 = 64;
const MOST_CLIENTS: u64 = 10_000;
pub(super) const FASTEST: f64 = 100_000.0;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

impl Check<'_, '_, '_> {
    pub(super) fn traffic(&mut self) -> Option<TrafficPlan> {
        let doc = self.doc.traffic.as_ref()?;
        let spot = self.root.key("traffic");
        let rate = self.rate(doc, spot);
        let clients = doc.clients.unwrap_or(DEFAULT_CLIENTS);
        if !(1..=MOST_CLIENTS).contains(&clients) {
            let told = self.report.error(spot.key("clients").mark(), format!("{clients} clients cannot be"));
            told.expected(format!("from 1 to {MOST_CLIENTS}"));
        }
        let range = Duration::from_millis(1)..=Duration::from_secs(600);
        let given = doc.timeout.map(Span::get);
        let timeout = self.duration(spot.key("timeout"), "timeout", given, &range).unwrap_or(DEFAULT_TIMEOUT);
        let requests = self.requests(doc, spot);
        Some(TrafficPlan { rate, clients: clients as usize, timeout, requests })
    }

    fn rate(&mut self, doc: &TrafficDoc, spot: Spot<'_>) -> f64 {
        let Some(rate) = doc.rate else {
            self.missing(spot, "rate", "write so many requests a second: `rate: 200/s`");
            return 0.0;
        };
        let rate = rate.per_second();
        if !(rate > 0.0 && rate <= FASTEST) {
            let told = self.report.error(spot.key("rate").mark(), format!("a rate of {rate}/s cannot be"));
            told.expected(format!("more than 0/s, at most {FASTEST}/s"));
        }
        rate
    }

    fn requests(&mut self, doc: &TrafficDoc, spot: Spot<'_>) -> Vec<RequestPlan> {
        let list = spot.key("requests");
        let Some(requests) = &doc.requests else {
            self.missing(spot, "requests", "write at least one: `requests: [{name: home, get: \"${shop}/\"}]`");
            return Vec::new();
        };
        if requests.is_empty() && !list.node().has_lost() {
            self.report.error(list.mark(), "the load has no requests");
        }
        let mut names: BTreeMap<&str, Mark> = BTreeMap::new();
        let mut plans = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let spot = list.item(index);
            let mark = spot.key("name").mark();
            if let Some(name) = &request.name
                && let Some(first) = names.insert(name, mark)
            {
                self.report.error(mark, format!("two requests are named `{name}`")).related(first, "the first is here");
            }
            plans.extend(self.request(request, spot));
        }
        plans
    }

    fn request(&mut self, doc: &RequestDoc, spot: Spot<'_>) -> Option<RequestPlan> {
        match &doc.name {
            None => self.missing(spot, "name", "name it: its series is `traffic.NAME`"),
            Some(name) if !forms::is_series_word(name) => {
                let told = self.report.error(spot.key("name").mark(), format!("`{name}` cannot name a request"));
                told.expected("letters, digits, `-` and `_`");
            }
            Some(_) => {}
        }
        let weight = doc.weight.unwrap_or(1);
        if weight == 0 {
            let told = self.report.error(spot.key("weight").mark(), "a weight of 0 is never chosen");
            told.expected("1 or more, or leave the request out");
        }
        let target = self.target(doc, spot);
        let mut headers = self.header_templates(doc.headers.as_ref(), spot.key("headers"));
        let body = self.body(doc, spot, &mut headers);
        let expect = self.expect(doc.expect.as_ref(), spot.key("expect"));
        let (method, url) = target?;
        Some(RequestPlan { name: doc.name.clone()?, weight, method: method.to_owned(), url, headers, body, expect })
    }

    fn target(&mut self, doc: &RequestDoc, spot: Spot<'_>) -> Option<(&'static str, Template)> {
        let written: Vec<_> = doc.targets().into_iter().filter(|(_, key, _)| spot.node().had(key)).collect();
        let (method, key, url) = match written.as_slice() {
            [one] => *one,
            [] => {
                if !spot.node().had_nearly(&["get", "post", "put", "patch", "delete", "head"]) {
                    let told = self.report.error(spot.key_mark(), "the URL is missing here");
                    told.expected("one of `get`, `post`, `put`, `patch`, `delete` and `head`");
                }
                return None;
            }
            [(_, first, _), (_, second, _), ..] => {
                let message = format!("a request has one URL: `{first}` or `{second}`, not both");
                let related = spot.key(first).key_mark();
                self.report.error(spot.key(second).key_mark(), message).related(related, "the other is here");
                return None;
            }
        };
        let url = url?;
        let mark = spot.key(key).mark();
        let template = self.template(url, spot.key(key))?;
        if let Err(message) = forms::template_url(url) {
            self.report.error(mark, message);
        }
        Some((method, template))
    }

    fn header_templates(
        &mut self,
        headers: Option<&BTreeMap<String, Text>>,
        spot: Spot<'_>,
    ) -> Vec<(String, Template)> {
        let mut found = Vec::new();
        for (name, value) in headers.into_iter().flatten() {
            self.header(name, value, spot);
            if let Some(template) = self.template(value.as_str(), spot.key(name)) {
                found.push((name.clone(), template));
            }
        }
        found
    }

    pub(super) fn header(&mut self, name: &str, value: &Text, headers: Spot<'_>) {
        if let Err(message) = forms::header(name, value.as_str()) {
            self.report.error(headers.key(name).key_mark(), message);
        }
    }

    fn body(&mut self, doc: &RequestDoc, spot: Spot<'_>, headers: &mut Vec<(String, Template)>) -> Option<Template> {
        if doc.json.is_some() && doc.body.is_some() {
            let related = spot.key("json").key_mark();
            let told = self.report.error(spot.key("body").key_mark(), "a request has one body: `json` or `body`");
            told.related(related, "the other is here");
            return None;
        }
        let Some(json) = &doc.json else {
            return doc.body.as_ref().and_then(|text| self.template(text.as_str(), spot.key("body")));
        };
        let template = self.template(&json_text(json), spot.key("json"))?;
        let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && let Ok(json) = Template::parse("application/json") {
            headers.push(("content-type".into(), json));
        }
        Some(template)
    }

    fn expect(&mut self, doc: Option<&ExpectDoc>, spot: Spot<'_>) -> Expect {
        let doc = doc.cloned().unwrap_or_default();
        let status = doc.status.map_or_else(Vec::new, |OneOrMore(status)| status);
        for wrong in status.iter().filter(|status| !(100..=599).contains(*status)) {
            let told = self.report.error(spot.key("status").mark(), format!("`{wrong}` is not an HTTP status"));
            told.expected("from 100 to 599");
        }
        Expect { status, body_contains: doc.body_contains.map(|text| text.as_str().to_owned()) }
    }

    fn template(&mut self, text: &str, spot: Spot<'_>) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                let mark = self.inside(spot, text, error.offset());
                self.report.error(mark, error.to_string());
                None
            }
        }
    }

    /// The place so many bytes into a scalar that stands in the file as it reads; else the whole scalar.
    pub(super) fn inside(&self, spot: Spot<'_>, text: &str, offset: usize) -> Mark {
        let mark = spot.mark();
        let source = self.report.text().get(mark.start..mark.end).unwrap_or_default();
        let Some(start) = [0, 1].into_iter().find(|quote| source.get(*quote..source.len() - quote) == Some(text))
        else {
            return mark;
        };
        let rest = text.get(offset..).unwrap_or_default();
        let length = rest.find(char::is_whitespace).unwrap_or(rest.len()).max(1);
        let from = (mark.start + start + offset).min(mark.end);
        Mark { start: from, end: (from + length).min(mark.end.max(from)), secret: mark.secret }
    }
}

/// The body as JSON in which templates stand where they were written. A text that is nothing but a number to come,
/// such as `"{{ random(1, 500) }}"`, loses its quotes, for a number is what is meant.
fn json_text(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), json_text(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(json_text).collect::<Vec<_>>().join(",")),
        Value::String(text) if Template::parse(text).is_ok_and(|template| template.is_number()) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::json_text;

    #[test]
    fn a_number_to_come_stands_without_quotes_and_everything_else_is_json() {
        let body =
            serde_json::json!({"product": "{{ random(1, 500) }}", "note": "n {{ counter() }}", "ids": [1, "a\"b"]});
        insta::assert_snapshot!(json_text(&body), @r#"{"product":{{ random(1, 500) }},"note":"n {{ counter() }}","ids":[1,"a\"b"]}"#);
    }
}
