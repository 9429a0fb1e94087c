//! Environments: what a right file gives, and what is told of wrong ones.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use insta::assert_snapshot;
use squall_engine::{
    diagnostic::Diagnostics,
    environment::{Environment, load},
};
use std::path::Path;

fn read(text: &str) -> Result<Environment, Diagnostics> {
    let env_var = |name: &str| (name == "TOKEN").then(|| "s3cr3t-token".to_owned());
    load("environments/staging.yaml", text, &env_var, Path::new("."))
}

const WHOLE: &str = r#"
agents:
  eu: {url: "http://10.0.0.5:8474", token: "${env:TOKEN}", labels: {region: eu, rack: 7}}
  us: {url: "${scheme}://10.0.0.6:8474"}
variables:
  scheme: https
  shop: "${scheme}://shop.example"
  login: "user:${env:TOKEN}"
proxies:
  - {agent: eu, name: payment, upstream: "payment:443"}
  - {agent: us, name: payment, listen: "[::1]:7001", upstream: "10.1.1.1:443"}
shop: {without: [circuit-breaker]}
"#;

#[test]
fn a_whole_environment_loads() {
    let environment = read(WHOLE).unwrap_or_else(|told| panic!("{}", told.render(WHOLE, false)));
    assert_eq!((environment.name.as_str(), environment.sandbox), ("staging", false));
    assert_eq!(environment.agents["us"].url, "https://10.0.0.6:8474");
    assert_eq!(environment.agents["eu"].token.as_ref().unwrap().reveal(), "s3cr3t-token");
    assert_eq!(environment.agents["eu"].labels["rack"], "7");
    assert_eq!(environment.variables["shop"], "https://shop.example");
    assert_eq!(environment.proxies[0].spec.listen, "127.0.0.1:0");
    assert_eq!(environment.shop.without, ["circuit-breaker"]);
}

#[test]
fn its_secrets_are_known_and_not_shown() {
    let environment = read(WHOLE).unwrap();
    assert!(!format!("{environment:?}").replace("\"login\": \"user:s3cr3t-token\"", "").contains("s3cr3t"));
    assert_eq!(environment.secrets.redact("user:s3cr3t-token and s3cr3t-token"), "*** and ***");
    let plain = read("agents: {a: {url: 'http://h/', token: written-out}}").unwrap();
    assert_eq!(plain.secrets.redact("a written-out token"), "a *** token");
}

#[test]
fn an_agent_without_a_token_gets_the_one_of_the_variable_and_it_is_a_secret() {
    let env_var = |name: &str| (name == "SQUALL_TOKEN").then(|| "t0ken-of-all".to_owned());
    let text = "agents: {a: {url: 'http://h/'}, b: {url: 'http://h/', token: its-own}}";
    let environment = load("world.yaml", text, &env_var, Path::new(".")).unwrap();
    let token = |name: &str| environment.agents[name].token.as_ref().unwrap().reveal().to_owned();
    assert_eq!((token("a").as_str(), token("b").as_str()), ("t0ken-of-all", "its-own"));
    assert_eq!(environment.secrets.redact("t0ken-of-all"), "***");
}

#[test]
fn a_sandbox_is_an_environment() {
    let environment = read("name: here\nsandbox: true\nshop: {without: [retry]}\n").unwrap();
    assert!(environment.sandbox && environment.agents.is_empty());
    assert_eq!(environment.name, "here");
}

#[test]
fn every_mistake_is_told() {
    let text = r#"
agent: {}
agents:
  eu: {url: "10.0.0.5:8474", token: "a b", lables: {region: eu}}
  us: {url: "http://10.0.0.6:8474", token: "${env:NOBODY}"}
  no: {}
variables: {shop: {default: x}, other: "${shp}"}
proxies:
  - {agent: ue, name: payment, upstream: "payment"}
  - {name: a, upstream: "h:1"}
  - {agent: eu, name: "b/c", upstream: "h:1"}
  - {agent: eu, name: d, upstream: "h:1"}
  - {agent: eu, name: d, upstream: "h:99999", listen: "::1:80"}
  - {agent: eu, name: e}
shop: {without: retry}
sandbox: true
"#;
    assert_snapshot!(read(text).unwrap_err().render(text, false));
}
