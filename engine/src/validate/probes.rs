//! The probes: each reads one thing, in a form that can be read, and never for longer than allowed.

use super::{Check, forms};
use crate::{
    document::{AgentProbeDoc, CommandProbeDoc, CommandReadDoc, HttpProbeDoc, MetricsProbeDoc, ProbeDoc, TcpProbeDoc},
    experiment::{CommandPlan, CommandRead, MetricsRead, ProbeKind, ProbePlan},
    yaml::Spot,
};
use squall_wire::Span;
use std::{collections::BTreeMap, time::Duration};

const DEFAULT_EVERY: Duration = Duration::from_secs(1);
const LONGEST_DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(600);
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const KINDS: [&str; 7] = ["http", "tcp", "metrics", "promql", "sql", "command", "agent"];

impl Check<'_, '_, '_> {
    pub(super) fn probes(&mut self) -> BTreeMap<String, ProbePlan> {
        let mut plans = BTreeMap::new();
        for (name, doc) in self.doc.probes.iter().flatten() {
            let spot = self.root.key("probes").key(name);
            if name == "traffic" {
                self.report.error(spot.key_mark(), "`traffic` is the load's own name: call the probe otherwise");
            } else if !forms::is_series_word(name) {
                let told = self.report.error(spot.key_mark(), format!("`{name}` cannot name a probe"));
                told.expected("letters, digits, `-` and `_`");
            }
            if let Some(plan) = self.probe(doc, spot) {
                plans.insert(name.clone(), plan);
            }
        }
        plans
    }

    fn probe(&mut self, doc: &ProbeDoc, spot: Spot<'_>) -> Option<ProbePlan> {
        let range = SHORTEST..=LONGEST;
        let every =
            self.duration(spot.key("every"), "every", doc.every.map(Span::get), &range).unwrap_or(DEFAULT_EVERY);
        let range = Duration::from_millis(1)..=LONGEST;
        let timeout = self
            .duration(spot.key("timeout"), "timeout", doc.timeout.map(Span::get), &range)
            .unwrap_or_else(|| every.min(LONGEST_DEFAULT_TIMEOUT));
        let written: Vec<&str> = KINDS.into_iter().filter(|kind| spot.node().had(kind)).collect();
        if let [first, second, ..] = written.as_slice() {
            let related = spot.key(first).key_mark();
            let message = format!("a probe reads one thing: `{first}` or `{second}`, not both");
            self.report.error(spot.key(second).key_mark(), message).related(related, "the other is here");
            return None;
        }
        if written.is_empty() && !spot.node().had_nearly(&KINDS) {
            let told = self.report.error(spot.key_mark(), "what the probe reads is missing here");
            told.expected(crate::diagnostic::one_of(&KINDS));
        }
        let kind = self.kind(doc, spot)?;
        Some(ProbePlan { every, timeout, kind })
    }

    /// What is read; one at most is written.
    fn kind(&mut self, doc: &ProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        if let Some(http) = &doc.http {
            self.http(http, spot.key("http"))
        } else if let Some(tcp) = &doc.tcp {
            self.tcp(tcp, spot.key("tcp"))
        } else if let Some(metrics) = &doc.metrics {
            self.metrics(metrics, spot.key("metrics"))
        } else if let Some(promql) = &doc.promql {
            self.promql(promql, spot.key("promql"))
        } else if let Some(sql) = &doc.sql {
            self.sql(sql, spot.key("sql"))
        } else if let Some(command) = &doc.command {
            self.command(command, spot.key("command"))
        } else {
            self.agent(doc.agent.as_ref()?, spot.key("agent"))
        }
    }

    fn agent(&mut self, doc: &AgentProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let AgentProbeDoc { agent, proxy, group, read } = doc.clone();
        if group.is_some() && read.is_whole() {
            let related = spot.key("read").mark();
            let message = "this is read of the whole proxy, and of no group: leave `group` out";
            self.report.error(spot.key("group").key_mark(), message).related(related, "it is read here");
            return None;
        }
        Some(ProbeKind::Agent { agent, proxy, group, read, control: false })
    }

    fn tcp(&mut self, doc: &TcpProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let Some(address) = &doc.address else {
            self.missing(spot, "address", "say where: `address: \"127.0.0.1:5432\"`");
            return None;
        };
        if let Err(message) = forms::address(address) {
            self.report.error(spot.key("address").mark(), message).expected("HOST:PORT, such as `127.0.0.1:5432`");
            return None;
        }
        Some(ProbeKind::Tcp { address: address.clone() })
    }

    fn command(&mut self, doc: &CommandProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let list = spot.key("run");
        let Some(run) = &doc.run else {
            self.missing(spot, "run", "name the program and its arguments: `run: [pg_isready, -q]`");
            return None;
        };
        for (index, text) in run.iter().enumerate() {
            let mark = list.item(index).mark();
            if text.as_str().contains('\0') {
                self.report.error(mark, "a program's argument cannot hold a zero byte");
            } else if index == 0 && text.as_str().trim().is_empty() {
                self.report.error(mark, "the program's name is empty");
            }
        }
        let mut env = Vec::new();
        for (name, value) in doc.env.iter().flatten() {
            if let Err(message) = forms::variable(name, value.as_str()) {
                self.report.error(spot.key("env").key(name).key_mark(), message);
            }
            env.push((name.clone(), value.to_string()));
        }
        let Some((program, arguments)) = run.split_first() else {
            if !list.node().has_lost() {
                let told = self.report.error(list.mark(), "no program is named");
                told.expected("the program and its arguments, such as `[pg_isready, -q]`");
            }
            return None;
        };
        Some(ProbeKind::Command(CommandPlan {
            program: program.to_string(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            env,
            directory: self.directory.to_owned(),
            read: match doc.read {
                None | Some(CommandReadDoc::ExitCode) => CommandRead::ExitCode,
                Some(CommandReadDoc::Number) => CommandRead::Number,
            },
        }))
    }

    fn http(&mut self, doc: &HttpProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let url = self.url(doc.url.as_deref(), spot);
        let method = doc.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            let told = self.report.error(spot.key("method").mark(), format!("`{method}` is no HTTP method"));
            told.nearest(&method, METHODS);
        }
        for (name, value) in doc.headers.iter().flatten() {
            self.header(name, value, spot.key("headers"));
        }
        let body = doc.body.as_deref().map(serde_json_path::JsonPath::parse).transpose();
        if let Err(error) = &body {
            let path = doc.body.as_deref().unwrap_or_default();
            let told = self.report.error(spot.key("body").mark(), format!("`{path}` is not a JSON path: {error}"));
            told.expected("one such as `$.status` or `$.items[0].price`");
        }
        let headers = doc.headers.iter().flatten().map(|(name, value)| (name.clone(), value.to_string())).collect();
        Some(ProbeKind::Http { url: url?, method, headers, body: body.ok()? })
    }

    fn metrics(&mut self, doc: &MetricsProbeDoc, spot: Spot<'_>) -> Option<ProbeKind> {
        let url = self.url(doc.url.as_deref(), spot);
        let selected = match doc.select.as_deref().map(forms::selector) {
            None => {
                self.missing(spot, "select", "name the series: `select: 'http_requests_total{code=\"500\"}'`");
                None
            }
            Some(Ok(selector)) => Some(selector),
            Some(Err(message)) => {
                self.report.error(spot.key("select").mark(), message);
                None
            }
        };
        let read = match (doc.rate.unwrap_or(false), doc.quantile) {
            (true, Some(_)) => {
                let related = spot.key("rate").key_mark();
                let told = self.report.error(spot.key("quantile").key_mark(), "give `rate` or `quantile`, not both");
                told.related(related, "the other is here");
                return None;
            }
            (_, Some(quantile)) if !(0.0..=1.0).contains(&quantile) => {
                let told = self.report.error(spot.key("quantile").mark(), format!("`{quantile}` is no quantile"));
                told.expected("a number from 0 to 1, such as `0.99`");
                return None;
            }
            (_, Some(quantile)) => MetricsRead::Quantile(quantile),
            (true, None) => MetricsRead::Rate,
            (false, None) => MetricsRead::Value,
        };
        Some(ProbeKind::Metrics { url: url?, select: selected?, read })
    }

    pub(super) fn url(&mut self, url: Option<&str>, spot: Spot<'_>) -> Option<String> {
        let Some(url) = url else {
            self.missing(spot, "url", "say where: `url: \"${shop}/health\"`");
            return None;
        };
        if let Err(message) = forms::url(url) {
            self.report.error(spot.key("url").mark(), message);
            return None;
        }
        Some(url.to_owned())
    }
}
