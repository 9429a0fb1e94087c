//! `squall matrix --without-each`: every experiment with everything on, and with each pattern of the shop switched off.
//!
//! Each cell is a whole run in a sandbox of its own; several may run side by side. What has an answer is kept as it comes,
//! so that a table of hours survives whatever ends it.
//! Neighbours: `trial` runs a cell, `squall_engine::search::ablation` says which are open and what they prove.
//! Invariant: where the results go is known to be writable before the first cell is run.

use super::Outcome;
use crate::{
    cli::{Common, Format, Matrix as Args, RunChoice},
    connect::{self, Scene},
    exit::Failure,
    output,
    results::{writable, write},
    tries::{self, Tries},
};
use comfy_table::{Table, presets};
use futures::{StreamExt as _, stream};
use squall_engine::{
    report::{self, case::heavier, grid::Grid},
    search::{
        ablation::{Ablation, Key, Subject},
        cell::CellEnd,
    },
};
use squall_shop::Pattern;
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Runs the open cells, keeps what comes of them, and shows the table.
pub async fn ablation(args: &Args, common: &Common) -> Outcome {
    refuse_environments(&args.choice)?;
    let patterns = patterns(&args.pattern)?;
    let subjects = subjects(args)?;
    let files: BTreeMap<String, PathBuf> =
        subjects.iter().zip(&args.files).map(|(subject, file)| (subject.name.clone(), file.clone())).collect();
    let mut table = Ablation::new(env!("CARGO_PKG_VERSION"), subjects, patterns, args.own);
    if let Some(kept) = &args.resume {
        take_over(&mut table, kept)?;
    }
    let sinks = Sinks::open(args)?;
    let ended = run_open(args, &files, &mut table).await?;
    show(&table, common);
    sinks.write(args, &table)?;
    conclude(args, &table, ended)
}

/// Runs what is open, so many at a time, and keeps every answer as soon as it is there. The code of what ended it early.
async fn run_open(args: &Args, files: &BTreeMap<String, PathBuf>, table: &mut Ablation) -> Result<Option<u8>, Failure> {
    let tries = Tries::start(args.retries)?;
    let open = table.open();
    let whole = open.len();
    if whole > 0 {
        output::progress(&format!("{whole} runs, {} at a time", args.jobs));
    }
    let (mut done, mut unkept) = (0, None);
    let mut cells = stream::iter(open)
        .map(|key| {
            let tries = &tries;
            async move {
                let end = cell(args, files.get(&key.experiment)?, &key, tries).await?;
                Some((key, end))
            }
        })
        .buffer_unordered(args.jobs.get());
    while let Some(cell) = cells.next().await {
        let Some((key, end)) = cell else { continue };
        done += 1;
        tries::tell(&format!("{done}/{whole}"), &key.to_string(), &end);
        table.put(key, end);
        // Runs that are under way are not dropped for it: each heals first.
        if let Some(Err(failure)) = args.resume.as_ref().map(|kept| keep(table, kept)) {
            tries.end();
            unkept.get_or_insert(failure);
        }
    }
    drop(cells);
    unkept.map_or(Ok(tries.ended()), Err)
}

/// One cell to its end.
async fn cell(args: &Args, file: &Path, key: &Key, tries: &Tries) -> Option<CellEnd> {
    let mut choice = args.choice.clone();
    choice.environment.env = None;
    choice.environment.without = key.without.iter().cloned().collect();
    let (end, _) = tries.run(&key.to_string(), file, &choice, None).await?;
    Some(end)
}

fn show(table: &Ablation, common: &Common) {
    match common.output {
        Format::Json => output::json(&as_json(table)),
        Format::Text => {
            output::result(&output::coloured_marks(&terminal_table(&report::ablation::grid(table))));
            let unnoticed = table.unnoticed();
            // While runs are open, nothing can be said of those patterns.
            if !table.own_only && !unnoticed.is_empty() && table.open().is_empty() {
                output::result(&format!("no experiment here falls without: {}", unnoticed.join(", ")));
            }
        }
    }
}

/// A grid for the terminal.
pub(super) fn terminal_table(grid: &Grid) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(std::iter::once(grid.corner.clone()).chain(grid.columns.iter().cloned()));
    for row in &grid.rows {
        table.add_row(std::iter::once(row.title()).chain(row.slots.iter().map(report::grid::Slot::shown)));
    }
    table.to_string()
}

fn as_json(table: &Ablation) -> serde_json::Value {
    let mut value = serde_json::json!(table);
    if let Some(object) = value.as_object_mut() {
        object.insert("complaints".into(), table.complaints().into());
        object.insert("unnoticed".into(), table.unnoticed().into());
    }
    value
}

/// The exit code: what ended it early, what speaks against it if that was asked, what failed.
fn conclude(args: &Args, table: &Ablation, ended: Option<u8>) -> Outcome {
    if let Some(code) = ended {
        output::progress(&format!("{} of {} runs have no answer yet", table.open().len(), table.keys().len()));
        return Ok(code);
    }
    let complaints = table.complaints();
    complaints.iter().for_each(|complaint| output::progress(complaint));
    if args.check {
        return Ok(u8::from(!complaints.is_empty()));
    }
    let failed = |code: u8| !matches!(code, 0 | 1 | 4 | 5 | 6 | 9);
    Ok(table.cells.iter().map(|cell| cell.end.exit_code).filter(|code| failed(*code)).fold(0, heavier))
}

fn refuse_environments(choice: &RunChoice) -> Result<(), Failure> {
    if choice.environment.env.is_some() || !choice.environment.without.is_empty() {
        return Err(Failure::usage(
            "--without-each switches patterns off in the built-in sandbox: leave --env and --without away",
        ));
    }
    Ok(())
}

/// The patterns that were asked for, or all.
fn patterns(asked: &[String]) -> Result<Vec<String>, Failure> {
    if asked.is_empty() {
        return Ok(Pattern::ALL.iter().map(ToString::to_string).collect());
    }
    let checked = |name: &String| name.parse::<Pattern>().map_err(|e| Failure::usage(e.to_string()));
    asked.iter().map(|name| checked(name).map(|pattern| pattern.to_string())).collect()
}

/// Every file, checked before anything is run.
fn subjects(args: &Args) -> Result<Vec<Subject>, Failure> {
    let every: Vec<String> = Pattern::ALL.iter().map(ToString::to_string).collect();
    let mut subjects: Vec<Subject> = Vec::new();
    for file in &args.files {
        let scene = Scene::choose(&args.choice.environment, file)?;
        let experiment = connect::load(file, &args.choice.environment, &scene, &scene.variables())?;
        if let Some(same) = subjects.iter().find(|subject| subject.name == experiment.name) {
            let (name, one, other) = (&experiment.name, &same.file, file.display());
            return Err(Failure::usage(format!(
                "{one} and {other} are both named `{name}`: the table needs two names"
            )));
        }
        // What is set by --set changes what a run means as much as the text does.
        let set: String = args.choice.environment.set.iter().map(|(name, value)| format!("\n{name}={value}")).collect();
        let text = format!("{}{set}", experiment.source.text);
        subjects.push(Subject::new(&file.display().to_string(), &experiment.name, &text, &experiment.tags, &every));
    }
    Ok(subjects)
}

/// What an earlier, unfinished table knows already.
fn take_over(table: &mut Ablation, kept: &Path) -> Result<(), Failure> {
    let shown = kept.display();
    let text = match std::fs::read_to_string(kept) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::failed(format!("failed to read {shown}: {error}"))),
    };
    let earlier: Ablation = serde_json::from_str(&text)
        .map_err(|e| Failure::invalid(format!("{shown} is not what --resume has written: {e}; name another file")))?;
    let known = table.take_over(&earlier);
    let oldest = table.cells.iter().filter_map(|cell| cell.end.started_at.clone()).min();
    let since = oldest.map_or_else(String::new, |at| format!(", the oldest of {at}"));
    output::progress(&format!("{known} answers are taken over from {shown}{since}"));
    Ok(())
}

/// Replaces the file as a whole, so that it is never half written.
fn keep(table: &Ablation, kept: &Path) -> Result<(), Failure> {
    let failed =
        |e: &dyn std::fmt::Display| Failure::failed(format!("failed to keep results in {}: {e}", kept.display()));
    let directory = kept.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|e| failed(&e))?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|e| failed(&e))?;
    serde_json::to_writer_pretty(&mut file, &as_json(table)).map_err(|e| failed(&e))?;
    file.flush().map_err(|e| failed(&e))?;
    file.persist(kept).map_err(|e| failed(&e))?;
    Ok(())
}

/// Where the results go.
struct Sinks {
    html: PathBuf,
}

impl Sinks {
    /// Proves that every file can be written, and leaves them as they are.
    fn open(args: &Args) -> Result<Self, Failure> {
        let html = args.html.clone().unwrap_or_else(|| args.choice.report.join("matrix.html"));
        for path in
            [Some(&html), args.markdown.as_ref(), args.json.as_ref(), args.resume.as_ref()].into_iter().flatten()
        {
            writable(path)?;
        }
        Ok(Self { html })
    }

    fn write(&self, args: &Args, table: &Ablation) -> Result<(), Failure> {
        let page = report::ablation::html(table).map_err(|e| Failure::failed(e.to_string()))?;
        write(&self.html, &page)?;
        output::progress(&format!("heat map  {}", self.html.display()));
        if let Some(path) = &args.json {
            write(path, &format!("{:#}\n", as_json(table)))?;
        }
        if let Some(path) = &args.markdown {
            let before = std::fs::read_to_string(path).ok();
            write(path, &report::ablation::into_file(before.as_deref(), &report::ablation::markdown(table)))?;
        }
        match &args.resume {
            Some(path) => keep(table, path),
            None => Ok(()),
        }
    }
}
