//! `squall faults`: the catalogue of what can go wrong.

use super::Outcome;
use crate::{
    cli::{Common, Format},
    exit::Failure,
    output,
};
use comfy_table::{Table, presets};
use squall_wire::{FaultKind, fault::KindInfo, nearest::nearest};

/// Lists all kinds, or explains one.
pub fn faults(kind: Option<&str>, common: &Common) -> Outcome {
    let Some(name) = kind else {
        match common.output {
            Format::Json => output::json(&FaultKind::CATALOGUE),
            Format::Text => output::result(&list()),
        }
        return Ok(0);
    };
    let Some(kind) = FaultKind::CATALOGUE.iter().find(|kind| kind.name == name) else {
        let meant = nearest(name, FaultKind::CATALOGUE.iter().map(|kind| kind.name));
        let meant =
            meant.map_or_else(|| "`squall faults` lists them".to_owned(), |name| format!("did you mean `{name}`?"));
        return Err(Failure::usage(format!("there is no fault `{name}`: {meant}")));
    };
    match common.output {
        Format::Json => output::json(kind),
        Format::Text => output::result(&explain(kind)),
    }
    Ok(0)
}

fn list() -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for kind in FaultKind::CATALOGUE {
        table.add_row([kind.name, kind.about]);
    }
    format!("{table}\n\n`squall faults KIND` explains one.")
}

fn explain(kind: &KindInfo) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for parameter in kind.parameters {
        table.add_row([parameter.name, parameter.default, parameter.about]);
    }
    let parameters = if kind.parameters.is_empty() { "  no parameters".to_owned() } else { table.to_string() };
    format!("{}: {}\n\n{parameters}\n\nexample\n  fault: {}", kind.name, kind.about, kind.example)
}
