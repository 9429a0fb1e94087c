//! `squall matrix FILE`: every proxy of the environment against a set of faults, under the file's steady state.
//!
//! Each cell is a run of a file of its own, in which the cell's fault stands for the method: baseline, fault, recovery,
//! verdict, journal and report as ever. Neighbours: `ablation` is `--without-each`; `squall_engine::search::matrix` says
//! which cells there are; `tries` runs them.
//! Invariant: every cell is checked before the first is run, and the file's blast radius binds.

use super::{Outcome, ablation};
use crate::{
    cli::{Common, Format, Matrix as Args, RunChoice},
    connect::{self, Scene},
    exit::{Code, Failure},
    output,
    results::{writable, write},
    sandbox::Sandbox,
    trial,
    tries::{self, Tries},
};
use futures::{StreamExt as _, stream};
use squall_engine::{
    agent_client::{AgentClient, AgentTarget},
    environment::ProxyEntry,
    experiment::Experiment,
    report::{self, case::heavier},
    search::matrix::{Fate, Fault, Matrix, Target, name_apart},
};
use squall_wire::Protocol;
use std::path::Path;

/// Runs the matrix that was asked for.
pub async fn matrix(args: &Args, common: &Common) -> Outcome {
    if args.without_each {
        return ablation::ablation(args, common).await;
    }
    let [file] = args.files.as_slice() else {
        return Err(Failure::usage(
            "one experiment file, whose steady state must hold; several go with --without-each only",
        ));
    };
    trial::ask(file, &args.choice)?;
    let scene = Scene::choose(&args.choice.environment, file)?;
    let experiment = connect::load(file, &args.choice.environment, &scene, &scene.variables())?;
    let html = args.html.clone().unwrap_or_else(|| args.choice.report.join(format!("matrix-{}.html", experiment.name)));
    for path in [Some(&html), args.markdown.as_ref(), args.json.as_ref()].into_iter().flatten() {
        writable(path)?;
    }
    let targets = targets(args, &scene).await?;
    let faults = faults(args, &targets)?;
    let about = (experiment.name.as_str(), experiment.hypothesis.as_str(), scene.name());
    let mut matrix = Matrix::new(about, args.lasting.get(), targets, faults, &experiment.blast_radius);
    let files = checked_files(&matrix, &experiment, file, args, &scene)?;
    let ended = run(args, file, &mut matrix, &files).await?;
    show(&matrix, common);
    let worst = matrix.ends().map(|(_, end)| end.exit_code).chain(ended).fold(0, heavier);
    let page = report::matrix::html(&matrix, worst).map_err(|e| Failure::failed(e.to_string()))?;
    write(&html, &page)?;
    output::progress(&format!("heat map  {}", html.display()));
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", as_json(&matrix, worst)))?;
    }
    if let Some(path) = &args.markdown {
        let before = std::fs::read_to_string(path).ok();
        write(path, &report::ablation::into_file(before.as_deref(), &report::matrix::grid(&matrix).markdown()))?;
    }
    if common.output == Format::Json {
        output::json(&as_json(&matrix, worst));
    }
    Ok(worst)
}

/// The proxies of the environment, those that were asked for.
async fn targets(args: &Args, scene: &Scene) -> Result<Vec<Target>, Failure> {
    let found = match scene {
        Scene::Sandbox(wanted) => {
            let sandbox = Sandbox::start(wanted).await?;
            let found = proxies(vec![sandbox.target()]).await;
            sandbox.stop().await;
            found?
        }
        Scene::Environment(_) => {
            let agents = scene.targets();
            let only = agents.first().map(|agent| agent.name.clone()).unwrap_or_default();
            let mut found = proxies(agents).await?;
            // Those that are not there yet are made by each run, under its lease.
            for ProxyEntry { agent, spec } in scene.proxies() {
                let agent = agent.unwrap_or_else(|| only.clone());
                if !found.iter().any(|target| target.agent == agent && target.proxy == spec.name) {
                    found.push(Target { agent, proxy: spec.name, protocol: spec.protocol });
                }
            }
            found
        }
    };
    let known = || found.iter().map(|target| target.proxy.to_string()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = args.proxy.iter().find(|name| !found.iter().any(|target| target.proxy.as_str() == **name)) {
        let place = scene.name();
        return Err(Failure::usage(format!("there is no proxy `{unknown}` in {place}: it has {}", known())));
    }
    let asked = |target: &Target| args.proxy.is_empty() || args.proxy.iter().any(|name| *name == target.proxy.as_str());
    Ok(found.into_iter().filter(asked).collect())
}

async fn proxies(agents: Vec<AgentTarget>) -> Result<Vec<Target>, Failure> {
    let mut found = Vec::new();
    for agent in agents {
        let name = agent.name.clone();
        let proxies = AgentClient::new(agent)?.proxies().await?;
        found.extend(proxies.into_iter().map(|proxy| Target {
            agent: name.clone(),
            proxy: proxy.name,
            protocol: proxy.protocol,
        }));
    }
    Ok(found)
}

fn faults(args: &Args, targets: &[Target]) -> Result<Vec<Fault>, Failure> {
    let protocols: Vec<Protocol> = targets.iter().map(|target| target.protocol).collect();
    if args.fault.is_empty() {
        return Ok(Fault::defaults(&protocols));
    }
    let parsed = |text: &String| {
        Fault::parse(text)
            .map_err(|mistakes| Failure::mistakes(Code::Usage, mistakes.render(text, output::colour_on_stderr())))
    };
    let mut faults = args.fault.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    name_apart(&mut faults);
    Ok(faults)
}

/// The file of every cell that is run, each checked as any file is.
fn checked_files(
    matrix: &Matrix,
    experiment: &Experiment,
    file: &Path,
    args: &Args,
    scene: &Scene,
) -> Result<Vec<(usize, String)>, Failure> {
    let open = matrix.open();
    if open.is_empty() {
        return Err(Failure::usage(format!(
            "there is nothing to run: no fault of the set runs on a proxy that blast_radius.proxies of {} names",
            file.display()
        )));
    }
    let mut files = Vec::new();
    for index in open {
        let text = matrix
            .file(&matrix.cells[index], &experiment.source.text, &experiment.blast_radius)
            .map_err(|e| Failure::invalid(format!("{}: {e}", file.display())))?;
        connect::load_text(file, &text, &args.choice.environment, scene, &scene.variables()).map_err(|failure| {
            let title = matrix.title(&matrix.cells[index]);
            Failure { message: format!("{title} cannot be run under this file:\n{}", failure.message), ..failure }
        })?;
        files.push((index, text));
    }
    Ok(files)
}

/// Runs every open cell. In the sandbox several at a time, where each has one of its own; elsewhere leases would clash.
async fn run(args: &Args, file: &Path, matrix: &mut Matrix, files: &[(usize, String)]) -> Result<Option<u8>, Failure> {
    let tries = Tries::start(args.retries)?;
    let jobs = if is_sandbox(&args.choice, file)? { args.jobs.get() } else { 1 };
    output::progress(&format!("{} runs, {jobs} at a time", files.len()));
    let mut done = 0;
    let titles: Vec<String> = matrix.cells.iter().map(|cell| matrix.title(cell)).collect();
    let mut cells = stream::iter(files)
        .map(|(index, text)| {
            let (tries, title) = (&tries, &titles[*index]);
            async move { Some((*index, tries.run(title, file, &args.choice, Some(text)).await?)) }
        })
        .buffer_unordered(jobs);
    while let Some(cell) = cells.next().await {
        let Some((index, (end, _))) = cell else { continue };
        done += 1;
        tries::tell(&format!("{done}/{}", files.len()), &titles[index], &end);
        matrix.cells[index].fate = Fate::Ended(end);
    }
    drop(cells);
    Ok(tries.ended())
}

fn is_sandbox(choice: &RunChoice, file: &Path) -> Result<bool, Failure> {
    Ok(matches!(Scene::choose(&choice.environment, file)?, Scene::Sandbox(_)))
}

fn show(matrix: &Matrix, common: &Common) {
    if common.output == Format::Text {
        let table = ablation::terminal_table(&report::matrix::grid(matrix));
        output::result(&output::coloured_marks(&table));
    }
}

/// The table with each row and column by its name.
fn as_json(matrix: &Matrix, worst: u8) -> serde_json::Value {
    let cell = |cell: &squall_engine::search::matrix::Cell| {
        let (outcome, end) = match &cell.fate {
            Fate::Open => ("not_run", None),
            Fate::OutOfReach => ("out_of_reach", None),
            Fate::OtherProtocol => ("other_protocol", None),
            Fate::Ended(end) => (end.word(), Some(end)),
        };
        let target = &matrix.targets[cell.target];
        serde_json::json!({
            "agent": target.agent, "proxy": target.proxy, "fault": matrix.faults[cell.fault].name,
            "spec": matrix.faults[cell.fault].spec, "outcome": outcome, "end": end,
        })
    };
    serde_json::json!({
        "format": matrix.format, "experiment": matrix.experiment, "environment": matrix.environment,
        "seconds": matrix.seconds, "exit_code": worst,
        "cells": matrix.cells.iter().map(cell).collect::<Vec<_>>(),
    })
}
