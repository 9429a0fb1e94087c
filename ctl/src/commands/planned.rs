//! A plan as text and as JSON: every step with when, for how long and where, which agents were chosen and by which
//! rule, and what is taken back.
//!
//! Neighbour: `experiments` makes the plan. Invariant: times are the longest that a step takes; rounds of a `repeat`
//! are shown once.

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use squall_engine::{
    experiment::{Experiment, Inject, Ramp, Rounds, Step},
    run::plan::Plan,
    sample::Metric,
};
use squall_wire::Span;
use std::time::Duration;

/// One step of the plan.
struct Row<'a> {
    from: Duration,
    depth: usize,
    step: &'a Step,
}

/// Every step with the time after which it is due at the latest, since the start of the run.
fn rows(experiment: &Experiment) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let set_up = experiment.setup.iter().map(Step::duration).sum::<Duration>();
    in_order(&experiment.setup, Duration::ZERO, 0, &mut rows);
    in_order(&experiment.method, set_up + experiment.baseline, 0, &mut rows);
    rows
}

fn in_order<'a>(steps: &'a [Step], mut from: Duration, depth: usize, rows: &mut Vec<Row<'a>>) {
    for step in steps {
        rows.push(Row { from, depth, step });
        match step {
            Step::Parallel { steps, .. } => {
                steps.iter().for_each(|step| in_order(std::slice::from_ref(step), from, depth + 1, rows))
            }
            other => in_order(other.inner(), from, depth + 1, rows),
        }
        from += step.duration();
    }
}

fn seconds(duration: Duration) -> String {
    let rounded = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    Span::from(rounded).to_string()
}

/// What is done.
fn what(step: &Step) -> String {
    match step {
        Step::Inject(Inject { fault, .. }) => format!("{}, {} %", fault.fault.name(), fault.percent),
        Step::Wait { .. } => "wait".to_owned(),
        Step::Parallel { .. } => "side by side".to_owned(),
        Step::Surge(surge) => format!("load at {}", Metric::Rate.shown(surge.rate)),
        Step::Ramp(ramp) => ramp_in_words(ramp),
        Step::Run(run) => match &run.undo {
            Some(undo) => format!("run {}, taken back by {}", run.action.shown(), undo.action.shown()),
            None => format!("run {}", run.action.shown()),
        },
        Step::Check(check) => format!("check the last {}", seconds(check.over)),
        Step::Pause(pause) => format!("ask: {} ({} without an answer)", pause.question.shown(), pause.default.word()),
        Step::Repeat(repeat) => match repeat.rounds {
            Rounds::Times(times) => format!("{times} times"),
            Rounds::Lasting(lasting) => format!("again and again for {}", seconds(lasting)),
        },
    }
}

fn ramp_in_words(ramp: &Ramp) -> String {
    let fault = ramp.inject.as_ref().map(|inject| format!("{}: ", inject.fault.fault.name())).unwrap_or_default();
    let ends = [ramp.levels.first(), ramp.levels.last()].map(|level| level.map_or("", |level| level.shown.as_str()));
    let settle = if ramp.settle.is_zero() {
        String::new()
    } else {
        format!(", each and up to {} for late answers", seconds(ramp.settle))
    };
    format!(
        "ramp {fault}{} from {} to {}, {} levels of {}{settle}",
        ramp.vary,
        ends[0],
        ends[1],
        ramp.levels.len(),
        seconds(ramp.hold)
    )
}

/// The one fault that the step itself sets.
fn inject(step: &Step) -> Option<&Inject> {
    match step {
        Step::Inject(inject) => Some(inject),
        Step::Ramp(ramp) => ramp.inject.as_ref(),
        _ => None,
    }
}

fn agents<'a>(plan: &'a Plan, step: &Step) -> &'a [String] {
    plan.chosen.get(step.name()).filter(|_| inject(step).is_some()).map_or(&[], |choice| &choice.agents)
}

/// For people.
pub fn text(experiment: &Experiment, environment: &str, plan: &Plan) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["  from", "for", "what", "proxy", "agents", "step"]);
    for row in rows(experiment) {
        table.add_row([
            format!("  {}", seconds(row.from)),
            seconds(row.step.duration()),
            format!("{}{}", "  ".repeat(row.depth), what(row.step)),
            inject(row.step).map_or_else(String::new, |inject| inject.proxy.to_string()),
            agents(plan, row.step).join(", "),
            row.step.name().to_owned(),
        ]);
    }
    let radius = &experiment.blast_radius;
    let proxies: Vec<_> = radius.proxies.iter().map(|proxy| proxy.as_str()).collect();
    let known: Vec<_> = plan.agents.values().map(|agent| format!("{:?}", agent.client.target())).collect();
    let share = if radius.agents_percent.is_all() {
        String::new()
    } else {
        format!(", at most {} % of the agents", radius.agents_percent)
    };
    let windows: Vec<_> = experiment
        .windows
        .iter()
        .map(|windows| format!("\nwindow         {} ({})", windows.shown(), windows.whose))
        .collect();
    format!(
        "{}\n{}\n\nenvironment    {environment}\nagents         {}\nblast radius   {} at most {} % for {}{share}{}\nlongest        {}\n\n{table}\n{}\nnothing was touched",
        experiment.name,
        experiment.hypothesis.trim(),
        known.join(", "),
        if proxies.is_empty() { "no proxy,".to_owned() } else { proxies.join(", ") },
        radius.percent,
        Span::from(radius.duration),
        windows.concat(),
        Span::from(plan.duration),
        choices(plan),
    )
}

/// Which agents were chosen, and how.
fn choices(plan: &Plan) -> String {
    let chosen = plan.chosen.iter().filter_map(|(step, choice)| {
        let rule = choice.rule.as_ref()?;
        Some(format!("\n  {step}: {} ({rule})", choice.agents.join(", ")))
    });
    let chosen: String = chosen.collect();
    if chosen.is_empty() {
        return chosen;
    }
    format!("\nagents chosen; `squall run --seed {}` chooses the same{chosen}\n", plan.seed)
}

/// For programs.
pub fn json(experiment: &Experiment, environment: &str, plan: &Plan) -> Value {
    let rows = rows(experiment);
    let agents_known: Vec<_> = plan.agents.values().map(|agent| format!("{:?}", agent.client.target())).collect();
    let injection = |row: &Row<'_>| {
        let inject = inject(row.step)?;
        Some(json!({
            "from_seconds": row.from.as_secs_f64(), "for_seconds": inject.lasting.as_secs_f64(), "step": inject.name,
            "proxy": inject.proxy, "fault": inject.fault, "agents": agents(plan, row.step),
        }))
    };
    let step = |row: &Row<'_>| {
        json!({
            "from_seconds": row.from.as_secs_f64(), "for_seconds": row.step.duration().as_secs_f64(),
            "step": row.step.name(), "depth": row.depth, "what": what(row.step), "agents": agents(plan, row.step),
        })
    };
    let choice = |(step, choice): (&String, &squall_engine::run::choose::Choice)| {
        choice.rule.as_ref().map(|rule| json!({"step": step, "agents": choice.agents, "rule": rule}))
    };
    json!({
        "experiment": experiment.name, "environment": environment, "agents": agents_known,
        "longest_seconds": plan.duration.as_secs_f64(), "seed": plan.seed,
        "windows": experiment.windows.iter().map(|windows| windows.shown()).collect::<Vec<_>>(),
        "choices": plan.chosen.iter().filter_map(choice).collect::<Vec<_>>(),
        "injections": rows.iter().filter_map(injection).collect::<Vec<_>>(),
        "steps": rows.iter().map(step).collect::<Vec<_>>(),
    })
}
