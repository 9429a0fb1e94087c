//! Probes that ask something that keeps figures: a Prometheus server, a database.
//!
//! Neighbours: `probes` calls these. Invariant: no message shows the URL of a database, which may hold a password.

use super::{Check, forms};
use crate::{
    document::{PromqlProbeDoc, SqlProbeDoc, Text},
    experiment::{ProbeKind, PromqlPlan, SqlPlan},
    yaml::Spot,
};

impl Check<'_, '_, '_> {
    pub(super) fn promql(&mut self, doc: &PromqlProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let url = self.url(doc.url.as_deref(), spot);
        let query = self.query(doc.query.as_ref(), spot, "say what is asked: `query: 'sum(rate(errors_total[30s]))'`");
        let mut headers = Vec::new();
        for (name, value) in doc.headers.iter().flatten() {
            self.header(name, value, spot.key("headers"));
            headers.push((name.clone(), value.to_string()));
        }
        if let Some(token) = &doc.token {
            let written = doc.headers.iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            if let Some((name, _)) = written {
                let related = spot.key("headers").key(name).key_mark();
                let message = "give a `token` or an `Authorization` header, not both";
                self.report.error(spot.key("token").key_mark(), message).related(related, "the other is here");
            }
            if let Err(message) = forms::header("token", token.as_str()) {
                self.report.error(spot.key("token").mark(), message);
            }
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        let (url, query) = (url?, query?);
        if url.contains("/api/v1") {
            let told = self.report.error(spot.key("url").mark(), "the URL goes up to what stands before `/api/v1`");
            told.expected("the server, such as `http://prometheus:9090`");
            return None;
        }
        Some(ProbeKind::Promql(PromqlPlan { url: url.trim_end_matches('/').to_owned(), query, headers }))
    }

    pub(super) fn sql(&mut self, doc: &SqlProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let query = self.query(doc.query.as_ref(), spot, "say what is asked: `query: select count(*) from orders`");
        let Some(url) = &doc.url else {
            self.missing(
                spot,
                "url",
                "say where: `url: \"postgres://user@127.0.0.1/shop\"` or `url: \"sqlite:shop.db\"`",
            );
            return None;
        };
        if let Err(why) = crate::probe::sql_url(url.as_str()) {
            let told =
                self.report.error(spot.key("url").mark(), format!("this is no database that can be asked: {why}"));
            told.expected("`postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:PATH`");
            return None;
        }
        let directory = self.directory.to_owned();
        Some(ProbeKind::Sql(SqlPlan { url: url.to_string(), query: query?, directory }))
    }

    fn query(&mut self, query: Option<&Text>, spot: Spot<'_>, help: &str) -> Option<String> {
        match query.map(|text| text.as_str().trim()) {
            None => self.missing(spot, "query", help),
            Some("") => {
                self.report.error(spot.key("query").mark(), "the query is empty").help(help);
            }
            Some(text) => return Some(text.to_owned()),
        }
        None
    }
}
