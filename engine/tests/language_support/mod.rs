//! Loads texts as experiments for the language's tests, with values at hand instead of files and a process's environment.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use squall_engine::{
    diagnostic::Diagnostics,
    experiment::{Experiment, Secrets},
    load::{Inputs, load},
};
use std::{collections::BTreeMap, path::Path};

/// The whole experiment of the documentation.
pub const EXAMPLE: &str = include_str!("payment-slow.yaml");

/// A small experiment that is right, without `method` and `blast_radius`.
pub const HEAD: &str = "\
version: 1
name: small
hypothesis: it holds
traffic: {rate: 10/s, requests: [{name: home, get: http://127.0.0.1:1/}]}
steady_state: [{probe: traffic, success_ratio: '>= 99%'}]
";
/// What `HEAD` lacks.
pub const TAIL: &str = "\
method: [{inject: {proxy: payment, fault: {latency: {delay: 1s}}}, for: 5s}]
blast_radius: {proxies: [payment], duration: 1m}
";

pub struct Loader {
    pub set: BTreeMap<String, String>,
    pub environment: BTreeMap<String, String>,
    pub secrets: Secrets,
    pub env: BTreeMap<String, String>,
    pub base_dir: std::path::PathBuf,
}

impl Loader {
    pub fn new() -> Self {
        let environment = BTreeMap::from([("shop".to_owned(), "http://127.0.0.1:8080".to_owned())]);
        let empty = BTreeMap::new();
        let base_dir = Path::new(".").to_owned();
        Self { set: empty.clone(), environment, secrets: Secrets::default(), env: empty, base_dir }
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.set.insert(name.into(), value.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn load(&self, text: &str) -> Result<Experiment, Diagnostics> {
        load(&Inputs {
            path: "x.yaml",
            text,
            set: &self.set,
            environment: &self.environment,
            secrets: &self.secrets,
            env_var: &|name| self.env.get(name).cloned(),
            base_dir: &self.base_dir,
        })
    }

    /// What is told of a text that is wrong.
    pub fn told(&self, text: &str) -> String {
        let diagnostics = self.load(text).expect_err("it should be refused");
        diagnostics.render(text, false)
    }
}

/// What is told of a text that is wrong.
pub fn told(text: &str) -> String {
    Loader::new().told(text)
}

/// A text that is right.
pub fn loaded(text: &str) -> Experiment {
    Loader::new().load(text).unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(text, false)))
}

/// `HEAD` and `TAIL` with one line more.
pub fn small(more: &str) -> String {
    format!("{HEAD}{TAIL}{more}\n")
}

/// The small experiment with a part of it changed.
pub fn changed(from: &str, to: &str) -> String {
    let text = small("");
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}
