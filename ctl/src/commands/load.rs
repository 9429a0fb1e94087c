//! `squall load`: the load generator alone, and with `--find-limit` the rate at which a service breaks.
//!
//! Open-loop as in an experiment: requests are due on schedule whether or not earlier ones have come back, and their times
//! count from there. Neighbours: `squall_engine::traffic` sends, `search::surge` says what a rate came to and which to try
//! next. Invariant: whatever is sent ends with the command, and never exceeds `--max-rate`.

use super::Outcome;
use crate::{
    cli::{Common, Format, Load as Args},
    connect::{self, Scene},
    exit::Failure,
    output,
    results::{writable, write},
    sandbox::Sandbox,
    signals,
};
use comfy_table::{Table, presets};
use squall_engine::{
    experiment::TrafficPlan,
    recorder::Recorder,
    run::stop::{Stop, StopReason},
    sample::Metric,
    search::{
        cell::Sense,
        limit::Try,
        surge::{Bounds, Level, SAFE_SHARE, Surge},
    },
    stats::measure,
    traffic::{self, Punctuality},
};
use std::{io::Write as _, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long without `--for`, and at each rate with `--find-limit`.
const LASTING: Duration = Duration::from_secs(10);
const LASTING_EACH: Duration = Duration::from_secs(5);
/// Answers are waited for as long as their time-out, but no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rates, so that what one left behind is not the next one's fault.
const BREATH: Duration = Duration::from_secs(1);
/// How often it is looked whether the first request is sent.
const READY_PACE: Duration = Duration::from_millis(1);
/// A rate at which squall was late itself is tried again so often: whatever kept the machine busy may be over.
const AGAIN: usize = 2;
/// How often the live line is drawn.
const PACE: Duration = Duration::from_millis(500);

/// Sends the load, or searches for the rate that breaks the service.
pub async fn load(args: &Args, common: &Common) -> Outcome {
    if let Some(path) = &args.json {
        writable(path)?;
    }
    let (scene, file, text) = what(args)?;
    let file = Path::new(&file);
    // Every mistake is told before the sandbox is started.
    traffic_of(file, &text, args, &scene, &scene.variables())?;
    let sandbox = match &scene {
        Scene::Sandbox(wanted) if args.file.is_some() => {
            output::progress("starting the sandbox; it shares this machine and this process with the load");
            Some(Sandbox::start(wanted).await?)
        }
        _ => None,
    };
    let variables = sandbox.as_ref().map_or_else(|| scene.variables(), Sandbox::variables);
    let outcome = match traffic_of(file, &text, args, &scene, &variables) {
        Ok(plan) => send(args, common, &plan).await,
        Err(failure) => Err(failure),
    };
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    outcome
}

async fn send(args: &Args, common: &Common, plan: &TrafficPlan) -> Outcome {
    let stop = Stop::default();
    let listening =
        signals::listen(stop.clone()).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
    let (value, code) = if args.find_limit {
        find_limit(args, common, plan, &stop).await
    } else {
        once(args, common, plan, &stop).await
    };
    listening.abort();
    let code = match stop.reason() {
        Some(StopReason::Signal(signal)) => signal.exit_code(),
        _ => code,
    };
    if common.output == Format::Json {
        output::json(&value);
    }
    if let Some(path) = &args.json {
        write(path, &format!("{value:#}\n"))?;
    }
    Ok(code)
}

/// One rate for a while.
async fn once(args: &Args, common: &Common, plan: &TrafficPlan, stop: &Stop) -> (serde_json::Value, u8) {
    let bounds = Bounds { errors: args.max_errors.unwrap_or(1.0), p99: args.p99.map(Duration::from) };
    let lasting = args.lasting.map_or(LASTING, Duration::from);
    let level = level(plan, lasting, args.seed, stop).await;
    let (sense, why) = level.judged(&bounds);
    if common.output == Format::Text {
        tell_level(&level);
        if !why.is_empty() {
            output::result(&why);
        }
    }
    // Where no bound was named, nothing was judged, and late is only said.
    let judged = args.max_errors.is_some() || args.p99.is_some() || level.requests == 0;
    let code = if judged { code(sense) } else { 0 };
    (serde_json::json!({"format": 1, "level": level, "outcome": sense, "reason": why}), code)
}

const fn code(sense: Sense) -> u8 {
    match sense {
        Sense::Held => 0,
        Sense::Broke => 1,
        Sense::Unknown => 9,
    }
}

/// Rate after rate until the breaking point is known.
async fn find_limit(args: &Args, common: &Common, plan: &TrafficPlan, stop: &Stop) -> (serde_json::Value, u8) {
    let p99 = args.p99.map_or(Duration::from_millis(500), Duration::from);
    let bounds = Bounds { errors: args.max_errors.unwrap_or(0.01), p99: Some(p99) };
    let surge = Surge { start: plan.rate, most: args.max_rate, precision: args.precision };
    let lasting = args.lasting.map_or(LASTING_EACH, Duration::from);
    let (mut tries, mut levels, mut last) = (Vec::new(), Vec::new(), String::new());
    while let Some(rate) = surge.next(&tries) {
        let at_rate = TrafficPlan { rate, ..plan.clone() };
        let (mut level, mut again) = (level(&at_rate, lasting, args.seed, stop).await, 0);
        while level.own_limit(&bounds).is_some() && again < AGAIN && stop.wait(BREATH).await {
            again += 1;
            level = self::level(&at_rate, lasting, args.seed, stop).await;
        }
        if stop.is_stopped() {
            break;
        }
        let (sense, why) = level.judged(&bounds);
        output::progress(&output::coloured_marks(&rate_line(&level, sense, &why)));
        tries.push(Try { value: rate, sense });
        levels.push(serde_json::json!({"level": level, "outcome": sense, "reason": why}));
        last = why;
        if !stop.wait(BREATH).await {
            break;
        }
    }
    let (held, broken) = surge.around(&tries);
    let own = tries.last().is_some_and(|last| last.sense == Sense::Unknown);
    let safe = broken.map(|broken| broken * SAFE_SHARE);
    if common.output == Format::Text {
        tell_limit(&surge, held, broken, own.then_some(last.as_str()));
    }
    let value = serde_json::json!({
        "format": 1, "holds": held, "breaks": broken, "seventy_percent": safe, "generator_limited": own, "levels": levels,
    });
    let code = match held {
        _ if own => code(Sense::Unknown),
        Some(_) => 0,
        None => 1,
    };
    (value, code)
}

fn rate_line(level: &Level, sense: Sense, why: &str) -> String {
    let sign = match sense {
        Sense::Held => "✓",
        Sense::Broke => "✕",
        Sense::Unknown => "?",
    };
    let [p50, p99] = [Metric::P50, Metric::P99].map(|metric| time(level, metric));
    let rate = Metric::Rate.shown(level.rate);
    let failed = Metric::ErrorRatio.shown(level.error_ratio);
    format!(" {sign} {rate:>10}  p50 {p50:>9}  p99 {p99:>9}  {failed:>7} failed  {why}")
}

fn tell_limit(surge: &Surge, held: Option<f64>, broken: Option<f64>, own: Option<&str>) {
    let shown = |rate: f64| Metric::Rate.shown(rate);
    if let Some(why) = own {
        output::result(why);
    }
    match (held, broken) {
        (held, Some(broken)) => {
            let held = held.map_or_else(|| "no rate that was tried".to_owned(), shown);
            output::result(&format!("holds           {held}"));
            output::result(&format!("breaking point  {}", shown(broken)));
            output::result(&format!("70 % of it      {}", shown(broken * SAFE_SHARE)));
        }
        (Some(held), None) if own.is_none() && held >= surge.most => {
            output::result(&format!("holds at {}, which is --max-rate: no breaking point was found", shown(held)));
        }
        (Some(held), None) => output::result(&format!("holds           {} at least", shown(held))),
        (None, None) => output::result("no rate was learnt about"),
    }
}

fn time(level: &Level, metric: Metric) -> String {
    level.time(metric).map_or_else(|| "–".to_owned(), |time| metric.shown(time))
}

fn tell_level(level: &Level) {
    let Level { rate, seconds, requests, goodput, error_ratio, errors, late_p99, waited, .. } = level;
    let [rate, goodput] = [*rate, *goodput].map(|rate| Metric::Rate.shown(rate));
    output::result(&format!("{requests} requests in {seconds:.1} s: {rate} asked for, {goodput} succeeded"));
    output::result(&format!("{} failed", Metric::ErrorRatio.shown(*error_ratio)));
    errors.iter().for_each(|(why, count)| output::result(&format!("  {count} × {why}")));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let metrics = [Metric::P50, Metric::P90, Metric::P95, Metric::P99, Metric::P999, Metric::Max, Metric::Mean];
    table.set_header(metrics.map(Metric::word));
    table.add_row(metrics.map(|metric| time(level, metric)));
    output::result(&table.to_string());
    let late = Metric::P99.shown(*late_p99);
    output::result(&format!(
        "{waited} waited for a free client; squall itself sent 99 in 100 within {late} of their time"
    ));
}

/// Sends the load at its rate for so long, or until it is stopped, and waits for the last answers.
async fn level(plan: &TrafficPlan, lasting: Duration, seed: Option<u64>, stop: &Stop) -> Level {
    let recorder = Recorder::new(plan.requests.iter().map(|request| format!("traffic.{}", request.name)));
    let (end, punctuality) = (CancellationToken::new(), Arc::<Punctuality>::default());
    let patience = plan.timeout.min(PATIENCE);
    let seed = seed.unwrap_or_else(crate::trial::made_up_seed);
    let sending = traffic::run_watched(
        plan.clone(),
        seed,
        Arc::clone(&recorder),
        end.clone(),
        Arc::clone(&punctuality),
        patience,
    );
    let sending = tokio::spawn(sending);
    // The first request's time is the beginning: what goes before is squall getting ready.
    let ready = tokio::time::Instant::now();
    while punctuality.due() == 0 && ready.elapsed() < PATIENCE && stop.wait(READY_PACE).await {}
    let started = tokio::time::Instant::now();
    while started.elapsed() < lasting && !stop.is_stopped() {
        stop.wait(PACE.min(lasting.saturating_sub(started.elapsed()))).await;
        live(plan.rate, started.elapsed(), lasting, &recorder);
    }
    let took = started.elapsed();
    end.cancel();
    if let Err(error) = sending.await {
        tracing::error!(%error, "the load ended early");
    }
    clear_live();
    let samples = recorder.window_by_start("traffic", &(Duration::ZERO..Duration::MAX));
    Level::of(plan.rate, took, samples, &punctuality, patience)
}

/// The last two seconds on one line, drawn over and over; nowhere else than on a terminal.
fn live(rate: f64, at: Duration, lasting: Duration, recorder: &Recorder) {
    if !output::is_terminal() {
        return;
    }
    let window = recorder.now().saturating_sub(Duration::from_secs(2))..recorder.now();
    let samples = recorder.window_by_done("traffic", &window);
    let shown = |metric: Metric| measure(metric, &samples, Duration::from_secs(2)).map(|value| metric.shown(value));
    let [ok, p50, p99] =
        [Metric::SuccessRatio, Metric::P50, Metric::P99].map(|m| shown(m).unwrap_or_else(|| "–".into()));
    let (at, lasting, rate) = (at.as_secs_f64(), lasting.as_secs_f64(), Metric::Rate.shown(rate));
    let line = format!("{at:.0} of {lasting:.0} s  {rate}  {ok} succeed  p50 {p50}  p99 {p99}");
    let _ = write!(anstream::stderr(), "\r{line:<78}");
    let _ = anstream::stderr().flush();
}

fn clear_live() {
    if output::is_terminal() {
        let _ = write!(anstream::stderr(), "\r{:78}\r", "");
    }
}

/// Where the load is described: a file, or a text made of the flags.
fn what(args: &Args) -> Result<(Scene, String, String), Failure> {
    match &args.file {
        Some(file) => {
            let scene = Scene::choose(&args.environment, file)?;
            Ok((scene, file.display().to_string(), connect::read(file)?))
        }
        None => Ok((Scene::choose(&args.environment, Path::new("."))?, "the load".to_owned(), described(args)?)),
    }
}

/// An experiment with this traffic and nothing else, so that a load from flags is checked as one from a file is.
fn described(args: &Args) -> Result<String, Failure> {
    let mut headers = serde_json::Map::new();
    for header in &args.header {
        let Some((name, value)) = header.split_once(':') else {
            return Err(Failure::usage(format!("`{header}` is no header: write one such as 'Accept: text/html'")));
        };
        headers.insert(name.trim().to_owned(), value.trim().into());
    }
    let request = |(number, url): (usize, &String)| {
        let mut request =
            serde_json::json!({"name": format!("url{}", number + 1), &args.method: url, "headers": headers});
        if let Some(body) = &args.body {
            request["body"] = body.as_str().into();
        }
        if let Some(status) = args.expect {
            request["expect"] = serde_json::json!({"status": status});
        }
        request
    };
    let requests: Vec<_> = args.url.iter().enumerate().map(request).collect();
    let document = serde_json::json!({
        "version": 1, "name": "load", "hypothesis": "a load alone",
        "traffic": {"rate": "50/s", "requests": requests},
        "steady_state": [{"probe": "traffic", "success_ratio": ">= 0%"}],
        "method": [{"inject": {"proxy": "none", "fault": {"refuse": {}}}, "for": "1s"}],
        "blast_radius": {"proxies": ["none"], "duration": "1m"},
    });
    Ok(document.to_string())
}

/// The load of the file, with what was typed laid over it.
fn traffic_of(
    file: &Path,
    text: &str,
    args: &Args,
    scene: &Scene,
    variables: &std::collections::BTreeMap<String, String>,
) -> Result<TrafficPlan, Failure> {
    let experiment = connect::load_text(file, text, &args.environment, scene, variables)?;
    let Some(mut plan) = experiment.traffic else {
        return Err(Failure::invalid(format!("{} has no `traffic`: name another file, or --url", file.display())));
    };
    plan.rate = args.rate.unwrap_or(plan.rate);
    if let Some(clients) = args.clients {
        if !(1..=10_000).contains(&clients) {
            return Err(Failure::usage(format!("{clients} clients cannot be: from 1 to 10000")));
        }
        plan.clients = usize::try_from(clients).unwrap_or(plan.clients);
    }
    plan.timeout = args.timeout.map_or(plan.timeout, Duration::from);
    if plan.rate > args.max_rate {
        let [rate, most] = [plan.rate, args.max_rate].map(|rate| Metric::Rate.shown(rate));
        return Err(Failure::usage(format!("{rate} is over --max-rate, which is {most}")));
    }
    Ok(plan)
}
