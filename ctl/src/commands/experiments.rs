//! `squall validate` and `squall plan`: everything about a file short of running it.

use super::{Outcome, planned};
use crate::{
    cli::{Common, Format, Plan, Validate},
    connect::{self, Scene},
    exit::{Code, Failure},
    output,
    sandbox::Sandbox,
    trial,
};
use squall_engine::run::plan::{self, Inputs, PlanError};

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
        Scene::Sandbox(wanted) => Some(Sandbox::start(wanted).await?),
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
    let seed = args.seed.unwrap_or_else(trial::made_up_seed);
    let inputs = Inputs { experiment: &experiment, agents: &targets, proxies: &scene.proxies(), seed };
    let plan = plan::plan(inputs).await.map_err(|error| match error {
        PlanError::Refused(refusal) => Failure::refused(refusal.to_string()),
        PlanError::Failed(message) => Failure::failed(message),
    })?;
    match common.output {
        Format::Json => output::json(&planned::json(&experiment, scene.name(), &plan)),
        Format::Text => output::result(&planned::text(&experiment, scene.name(), &plan)),
    }
    Ok(0)
}
