//! `squall validate` and `squall plan`: everything about a file short of running it.

use super::Outcome;
use crate::{
    cli::{Common, Format, Plan, Validate},
    connect::{self, Scene},
    exit::{Code, Failure},
    output,
    sandbox::Sandbox,
};
use comfy_table::{Table, presets};
use squall_engine::{
    experiment::{Experiment, Step},
    run::plan::{self, PlanError},
};
use squall_wire::Span;

/// Checks every file and tells every mistake of all of them.
pub fn validate(args: &Validate, common: &Common) -> Outcome {
    let mut mistakes = Vec::new();
    for file in &args.files {
        let scene = Scene::choose(&args.environment, file)?;
        match connect::load(file, &args.environment, &scene, &scene.variables()) {
            Ok(_) if common.output == Format::Text => output::result(&format!("{}: valid", file.display())),
            Ok(_) => {}
            Err(Failure { code: Code::Invalid, message, .. }) => mistakes.push(message),
            Err(other) => return Err(other),
        }
    }
    if !mistakes.is_empty() {
        return Err(Failure::mistakes(Code::Invalid, mistakes.join("\n")));
    }
    if common.output == Format::Json {
        output::json(&serde_json::json!({"valid": true, "files": args.files}));
    }
    Ok(0)
}

/// Shows what a run would do, having checked it against the real agents.
pub async fn plan(args: &Plan, common: &Common) -> Outcome {
    let scene = Scene::choose(&args.environment, &args.file)?;
    connect::load(&args.file, &args.environment, &scene, &scene.variables())?;
    let sandbox = match &scene {
        Scene::Sandbox { without } => Some(Sandbox::start(without).await?),
        Scene::Environment(_) => None,
    };
    let outcome = plan_on(args, common, &scene, sandbox.as_ref()).await;
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    outcome
}

async fn plan_on(args: &Plan, common: &Common, scene: &Scene, sandbox: Option<&Sandbox>) -> Outcome {
    let variables = sandbox.map_or_else(|| scene.variables(), Sandbox::variables);
    let targets = sandbox.map_or_else(|| scene.targets(), |sandbox| vec![sandbox.target()]);
    let experiment = connect::load(&args.file, &args.environment, scene, &variables)?;
    let plan = plan::plan(&experiment, &targets).await.map_err(|error| match error {
        PlanError::Refused(refusal) => Failure::refused(refusal.to_string()),
        PlanError::Failed(message) => Failure::failed(message),
    })?;
    let rows = rows(&experiment);
    let agents: Vec<_> = plan.agents.values().map(|agent| format!("{:?}", agent.client.target())).collect();
    match common.output {
        Format::Json => output::json(&serde_json::json!({
            "experiment": experiment.name, "environment": scene.name(), "agents": agents,
            "longest_seconds": plan.duration.as_secs_f64(),
            "injections": rows.iter().map(|row| serde_json::json!({
                "from_seconds": row.from, "for_seconds": row.lasting, "step": row.step, "proxy": row.proxy, "fault": row.fault,
            })).collect::<Vec<_>>(),
        })),
        Format::Text => output::result(&shown(&experiment, scene.name(), &agents, plan.duration, &rows)),
    }
    Ok(0)
}

struct Row {
    from: f64,
    lasting: f64,
    step: String,
    proxy: String,
    fault: squall_wire::FaultSpec,
}

/// Every injection with the time after which it is due, since the start of the run.
fn rows(experiment: &Experiment) -> Vec<Row> {
    let mut from = experiment.baseline;
    let mut rows = Vec::new();
    for step in &experiment.method {
        rows.extend(step.injections().into_iter().map(|inject| Row {
            from: from.as_secs_f64(),
            lasting: inject.lasting.as_secs_f64(),
            step: inject.name.clone(),
            proxy: inject.proxy.to_string(),
            fault: inject.fault.clone(),
        }));
        from += Step::duration(step);
    }
    rows
}

fn shown(
    experiment: &Experiment,
    environment: &str,
    agents: &[String],
    longest: std::time::Duration,
    rows: &[Row],
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["  from", "for", "proxy", "fault", "percent", "step"]);
    for row in rows {
        table.add_row([
            format!("  {:.0}s", row.from),
            format!("{:.0}s", row.lasting),
            row.proxy.clone(),
            row.fault.fault.name().to_owned(),
            format!("{} %", row.fault.percent),
            row.step.clone(),
        ]);
    }
    let radius = &experiment.blast_radius;
    let proxies: Vec<_> = radius.proxies.iter().map(|proxy| proxy.as_str()).collect();
    format!(
        "{}\n{}\n\nenvironment    {environment}\nagents         {}\nblast radius   {} at most {} % for {}\nlongest        {}\n\n{table}\n\nnothing was touched",
        experiment.name,
        experiment.hypothesis.trim(),
        agents.join(", "),
        proxies.join(", "),
        radius.percent,
        Span::from(radius.duration),
        Span::from(longest),
    )
}
