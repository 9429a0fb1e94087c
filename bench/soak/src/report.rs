//! What is told: progress and findings on standard error, the table on standard output, everything in a JSON file.
//!
//! Invariant: nothing that was found is left out, and an output that nobody reads ends nothing.

use crate::{Cli, checkpoint::Outcome, error::SoakError};
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde_json::json;
use std::io::Write;

/// A line of progress.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The whole result.
pub(crate) fn write(cli: &Cli, seed: u64, outcome: &Outcome) -> Result<(), SoakError> {
    let all = json!({
        "at": jiff::Timestamp::now().to_string(),
        "seed": seed,
        "lasting": cli.lasting.to_string(),
        "clients": cli.clients,
        "pause": cli.pause.to_string(),
        "protocols": cli.protocols.iter().map(|protocol| protocol.name()).collect::<Vec<_>>(),
        "outcome": outcome,
    });
    let text = serde_json::to_string_pretty(&all).map_err(|e| SoakError::new("write the result", e))?;
    std::fs::write(&cli.json, text + "\n").map_err(|e| SoakError::new(format!("write {}", cli.json.display()), e))?;
    let _ = writeln!(std::io::stdout(), "{}\n\n{}", exchanges(outcome), left(outcome));
    tell(&format!("everything is in {}", cli.json.display()));
    Ok(())
}

fn exchanges(outcome: &Outcome) -> Table {
    let mut table = table(["protocol", "whole", "cut by faults", "changed by faults", "wrong", "MB sent"]);
    for (protocol, row) in &outcome.counts.exchanges {
        let megabytes = row.bytes / 1_000_000;
        let cells = [row.whole, row.cut, row.changed, row.wrong, megabytes].map(|number| number.to_string());
        table.add_row(std::iter::once((*protocol).to_owned()).chain(cells));
    }
    table
}

fn left(outcome: &Outcome) -> Table {
    let mut table =
        table(["at", "connections", "faults", "tasks", "held bytes", "descriptors", "allocated", "resident"]);
    let kib = |kib: u64| format!("{kib} KiB");
    let mut row = |at: String, held: &crate::agent::Held, memory: [String; 2]| {
        let cells = [held.connections, held.faults, held.tasks, held.bytes, held.descriptors].map(|n| n.to_string());
        table.add_row(std::iter::once(at).chain(cells).chain(memory));
    };
    row("before".into(), &outcome.before, [const { String::new() }; 2]);
    for look in &outcome.looks {
        let memory = [look.heap.map(|heap| kib(heap.kib)).unwrap_or_default(), kib(look.resident_kib)];
        row(format!("{} s", look.seconds), &look.held, memory);
    }
    table
}

fn table<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(titles);
    table
}
