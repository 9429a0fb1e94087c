//! `squall faults`: the catalogue of what can go wrong, and what of it an agent can do on its machine.

use super::Outcome;
use crate::{
    cli::{AgentChoice, Common, Format},
    connect,
    exit::Failure,
    output,
};
use comfy_table::{Table, presets};
use squall_wire::{FaultKind, fault::KindInfo, nearest::nearest};
use std::collections::BTreeMap;

/// The kinds that the agent asked cannot set, and why.
type Unavailable = BTreeMap<String, String>;

/// A kind as programs read it.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    kind: &'a KindInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(kind: &'a KindInfo, unavailable: &'a Unavailable) -> Self {
        Self { kind, unavailable: unavailable.get(kind.name).map(String::as_str) }
    }
}

/// Lists all kinds, or explains one.
pub async fn faults(kind: Option<&str>, agent: &AgentChoice, common: &Common) -> Outcome {
    let kind = kind.map(named).transpose()?;
    let named_one = agent.agent.is_some() || agent.env.is_some();
    let unavailable = if named_one { asked(agent).await? } else { Unavailable::new() };
    match (kind, common.output) {
        (None, Format::Json) => {
            let all: Vec<_> = FaultKind::CATALOGUE.iter().map(|kind| Told::of(kind, &unavailable)).collect();
            output::json(&all);
        }
        (None, Format::Text) => output::result(&list(&unavailable)),
        (Some(kind), Format::Json) => output::json(&Told::of(kind, &unavailable)),
        (Some(kind), Format::Text) => output::result(&explain(kind, &unavailable)),
    }
    Ok(0)
}

fn named(name: &str) -> Result<&'static KindInfo, Failure> {
    FaultKind::CATALOGUE.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let meant = nearest(name, FaultKind::CATALOGUE.iter().map(|kind| kind.name));
        let meant =
            meant.map_or_else(|| "`squall faults` lists them".to_owned(), |name| format!("did you mean `{name}`?"));
        Failure::usage(format!("there is no fault `{name}`: {meant}"))
    })
}

async fn asked(agent: &AgentChoice) -> Result<Unavailable, Failure> {
    let mut unavailable = Unavailable::new();
    for client in connect::agents(agent)? {
        unavailable.extend(client.info().await?.unavailable);
    }
    Ok(unavailable)
}

fn list(unavailable: &Unavailable) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for kind in FaultKind::CATALOGUE {
        table.add_row([kind.name, kind.about]);
    }
    let cannot: String =
        unavailable.iter().map(|(kind, why)| format!("\nthat agent cannot set {kind}: {why}")).collect();
    format!("{table}\n{cannot}\n`squall faults KIND` explains one.")
}

fn explain(kind: &KindInfo, unavailable: &Unavailable) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for parameter in kind.parameters {
        table.add_row([parameter.name, parameter.default, parameter.about]);
    }
    let parameters = if kind.parameters.is_empty() { "  no parameters".to_owned() } else { table.to_string() };
    let cannot = unavailable.get(kind.name).map(|why| format!("\n\nthat agent cannot set it: {why}"));
    let cannot = cannot.unwrap_or_default();
    format!("{}: {}\n\n{parameters}\n\nexample\n  fault: {}{cannot}", kind.name, kind.about, kind.example)
}

#[cfg(test)]
mod tests {
    use super::{FaultKind, Unavailable, explain, list};

    #[test]
    fn what_an_agent_cannot_set_is_told_with_its_reason() {
        let why = "the kernel takes no socket filter: Operation not permitted";
        let unavailable = Unavailable::from([("packet_loss".to_owned(), why.to_owned())]);
        assert!(list(&unavailable).contains(&format!("cannot set packet_loss: {why}")));
        let kind = |name: &str| FaultKind::CATALOGUE.iter().find(|kind| kind.name == name).unwrap();
        assert!(explain(kind("packet_loss"), &unavailable).ends_with(why));
        assert!(!explain(kind("latency"), &unavailable).contains("cannot"));
        assert!(!list(&Unavailable::new()).contains("cannot"));
    }
}
