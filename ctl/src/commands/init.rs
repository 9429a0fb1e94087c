//! `squall init`: looks at an agent and at a service, measures a baseline, and writes a first experiment.
//!
//! What is written has passed `validate` and `plan` before it is written; nothing is injected. Without addresses it looks at
//! the built-in sandbox, and the experiment runs there.
//! Neighbours: `squall_engine::first` asks and makes the text. Invariant: no file is overwritten unless that was asked for.

use super::Outcome;
use crate::{
    cli::{Common, EnvironmentChoice, Format, Init as Args},
    connect::{self, Scene},
    exit::Failure,
    output,
    sandbox::{Sandbox, Wanted},
};
use squall_engine::{
    agent_client::{AgentClient, AgentTarget},
    agent_tls::AgentTls,
    experiment::{Expect, RequestPlan, TrafficPlan},
    first::{
        look, metrics,
        write::{self, CounterSeen, PageSeen, Seen},
    },
    recorder::Recorder,
    run::plan::{Inputs, plan},
    sample::Metric,
    stats::measure,
    template::Template,
    traffic,
};
use squall_wire::ProxyInfo;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// A page of the sandbox's shop that customers ask for.
const SHOP_PAGE: &str = "/products/{{ random(1, 500) }}";
/// Pages that fail more often than this are no baseline.
const LEAST_SUCCESS: f64 = 0.5;

/// What is looked at.
struct Place {
    /// The variable for the service's address.
    variable: &'static str,
    service: String,
    agent: AgentTarget,
    /// The environment that has to be written, and whether there is one.
    environment: Option<(PathBuf, String)>,
}

/// Looks, measures, checks, writes.
pub async fn init(args: &Args, common: &Common) -> Outcome {
    let file = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.yaml", args.name)));
    let sandbox = match args.service {
        None => {
            output::progress("no --service and no --agent: looking at the built-in sandbox");
            Some(Sandbox::start(&Wanted::default()).await?)
        }
        Some(_) => None,
    };
    let outcome = match place(args, &file, sandbox.as_ref()) {
        Ok(place) => look_and_write(args, common, &file, &place).await,
        Err(failure) => Err(failure),
    };
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    outcome
}

fn place(args: &Args, file: &Path, sandbox: Option<&Sandbox>) -> Result<Place, Failure> {
    let variables = sandbox.map(Sandbox::variables).unwrap_or_default();
    let place = match (sandbox, &args.service, &args.agent) {
        (Some(sandbox), _, _) => Place {
            variable: "shop",
            service: variables.get("shop").cloned().unwrap_or_default(),
            agent: sandbox.target(),
            environment: None,
        },
        (None, Some(service), Some(agent)) => {
            let [service, agent] = [service, agent].map(|url| url.trim_end_matches('/').to_owned());
            for url in [&service, &agent] {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    return Err(Failure::usage(format!("`{url}` is no address: write http://HOST:PORT")));
                }
            }
            let path = file.parent().unwrap_or(Path::new("")).join("environments").join(format!("{}.yaml", args.name));
            let text = write::environment(&agent, "service", &service);
            let (name, token, tls) = ("main".to_owned(), connect::token_of_variable(), AgentTls::default());
            let agent = AgentTarget { name, url: agent, token, tls, labels: BTreeMap::new() };
            Place { variable: "service", service, agent, environment: Some((path, text)) }
        }
        _ => return Err(Failure::usage("--service and --agent go together")),
    };
    let written = std::iter::once(file).chain(place.environment.iter().map(|(path, _)| path.as_path()));
    for path in written {
        if path.exists() && !args.force {
            let shown = path.display();
            return Err(Failure::usage(format!(
                "{shown} is there already: --force overwrites it, -o names another file"
            )));
        }
    }
    Ok(place)
}

async fn look_and_write(args: &Args, common: &Common, file: &Path, place: &Place) -> Outcome {
    let agent = AgentClient::new(place.agent.clone())?;
    let before = agent.proxies().await?;
    if before.is_empty() {
        let url = &place.agent.url;
        return Err(Failure::usage(format!(
            "the agent at {url} has no proxy in front of anything: make one by squall proxy set NAME --agent {url} …"
        )));
    }
    let pages = pages(args, place).await?;
    let health = match &args.health {
        Some(path) => Some(path.clone()),
        None => look::first_good(&place.service, &look::HEALTH).await,
    };
    let (metrics_path, counters) = counters(args, place).await?;
    output::progress(&format!("measuring {} requests a second for {}", args.rate, args.lasting));
    let pages = baseline(args, place, pages).await?;
    let counters = growth(place, metrics_path.as_deref(), counters, args.lasting.get()).await;
    let after = agent.proxies().await?;
    let proxy = busiest(&before, &after);
    let others = after.iter().map(|one| one.name.to_string()).filter(|name| *name != proxy.0).collect();
    let seen = Seen {
        name: args.name.clone(),
        variable: place.variable.to_owned(),
        rate: args.rate,
        measured: args.lasting.get(),
        pages,
        health,
        metrics: metrics_path.map(|path| (path, counters)),
        proxy,
        others,
    };
    let text = write::experiment(&seen);
    check(file, &text, place).await?;
    save(file, &text)?;
    if let Some((path, text)) = &place.environment {
        save(path, text)?;
    }
    tell(args, common, file, place, &seen);
    Ok(0)
}

/// The pages to ask for, each of which has answered once.
async fn pages(args: &Args, place: &Place) -> Result<Vec<String>, Failure> {
    let sandbox = place.environment.is_none();
    let paths = match (args.get.as_slice(), sandbox) {
        ([], true) => vec![SHOP_PAGE.to_owned()],
        ([], false) => vec!["/".to_owned()],
        (paths, _) => paths.to_vec(),
    };
    for path in &paths {
        let template = Template::parse(&format!("{}{path}", place.service))
            .map_err(|error| Failure::usage(format!("--get {path}: {error}")))?;
        let url = template.render(&mut squall_engine::template::Context::new(1));
        let told = match look::get(&url).await {
            Ok(answer) if answer.is_good() => continue,
            Ok(answer) => format!("answered {}", answer.status),
            Err(why) => why,
        };
        return Err(Failure::failed(format!(
            "{url}: {told}; name a path that customers ask for, and that answers now, by --get PATH"
        )));
    }
    Ok(paths)
}

async fn counters(args: &Args, place: &Place) -> Result<(Option<String>, Vec<metrics::Counter>), Failure> {
    let path = args.metrics.clone().unwrap_or_else(|| "/metrics".to_owned());
    let answer = look::get(&format!("{}{path}", place.service)).await;
    match answer {
        Ok(answer) if answer.status == 200 && metrics::is_page(&answer.body) => {
            Ok((Some(path), metrics::noteworthy(&answer.body)))
        }
        _ if args.metrics.is_some() => {
            Err(Failure::failed(format!("{}{path} is no page of metrics in the Prometheus format", place.service)))
        }
        _ => Ok((None, Vec::new())),
    }
}

/// How fast each counter grew meanwhile.
async fn growth(
    place: &Place,
    path: Option<&str>,
    before: Vec<metrics::Counter>,
    lasting: Duration,
) -> Vec<CounterSeen> {
    let Some(path) = path else { return Vec::new() };
    let Ok(answer) = look::get(&format!("{}{path}", place.service)).await else { return Vec::new() };
    let after = metrics::noteworthy(&answer.body);
    let seen = |counter: &metrics::Counter| {
        let now = after.iter().find(|other| other.name == counter.name)?.value;
        Some(CounterSeen { name: counter.name.clone(), rate: ((now - counter.value) / lasting.as_secs_f64()).max(0.0) })
    };
    before.iter().filter_map(seen).collect()
}

/// The load of the experiment, without a fault.
async fn baseline(args: &Args, place: &Place, paths: Vec<String>) -> Result<Vec<PageSeen>, Failure> {
    let named: Vec<(String, String)> =
        paths.into_iter().enumerate().map(|(number, path)| (format!("page{}", number + 1), path)).collect();
    let mut requests = Vec::new();
    for (name, path) in &named {
        let url = Template::parse(&format!("{}{path}", place.service)).map_err(|e| Failure::usage(e.to_string()))?;
        let expect = Expect { status: Vec::new(), body_contains: None };
        let (name, method, headers) = (name.clone(), "GET".to_owned(), Vec::new());
        requests.push(RequestPlan { name, weight: 1, method, url, headers, body: None, expect });
    }
    let plan = TrafficPlan { rate: args.rate, clients: 64, timeout: Duration::from_secs(5), requests };
    let recorder = Recorder::new(named.iter().map(|(name, _)| format!("traffic.{name}")));
    let end = CancellationToken::new();
    let sending = tokio::spawn(traffic::run(plan, crate::trial::made_up_seed(), Arc::clone(&recorder), end.clone()));
    tokio::select! {
        () = tokio::time::sleep(args.lasting.get()) => {}
        _ = tokio::signal::ctrl_c() => return Err(Failure::failed("stopped; nothing was written")),
    }
    end.cancel();
    if let Err(error) = sending.await {
        return Err(Failure::failed(format!("the load ended early: {error}")));
    }
    named.into_iter().map(|(name, path)| page_seen(&recorder, args, name, path)).collect()
}

fn page_seen(recorder: &Recorder, args: &Args, name: String, path: String) -> Result<PageSeen, Failure> {
    let samples = recorder.window_by_start(&format!("traffic.{name}"), &(Duration::ZERO..Duration::MAX));
    let of = |metric: Metric| measure(metric, &samples, args.lasting.get());
    let (Some(success), Some(p99)) = (of(Metric::SuccessRatio), of(Metric::P99)) else {
        return Err(Failure::failed(format!("no request for {path} was answered: measure longer, by --for 30s")));
    };
    if success < LEAST_SUCCESS {
        let why = samples.iter().find_map(|sample| sample.text.clone()).unwrap_or_default();
        let share = Metric::SuccessRatio.shown(success);
        return Err(Failure::failed(format!(
            "only {share} of the requests for {path} succeeded ({why}): that is no steady state"
        )));
    }
    Ok(PageSeen { name, path, success, p99, samples: samples.len() })
}

/// The proxy through which most bytes went meanwhile, and a sentence on why it was chosen.
fn busiest(before: &[ProxyInfo], after: &[ProxyInfo]) -> (String, String) {
    let bytes = |proxy: &ProxyInfo| proxy.counters.bytes_upstream + proxy.counters.bytes_downstream;
    let moved = |proxy: &ProxyInfo| {
        let earlier = before.iter().find(|other| other.name == proxy.name).map_or(0, bytes);
        bytes(proxy).saturating_sub(earlier)
    };
    match after.iter().max_by_key(|proxy| moved(proxy)) {
        Some(proxy) if moved(proxy) > 0 => {
            let why = format!("{} bytes of the baseline went through it, more than through any other.", moved(proxy));
            (proxy.name.to_string(), why)
        }
        first => {
            let name = first.map_or_else(String::new, |proxy| proxy.name.to_string());
            let why = "Nothing went through any proxy in the baseline: a fault here would hit nothing. Send what the service \
                       depends on through it.";
            (name, why.to_owned())
        }
    }
}

/// What `squall validate` and `squall plan` do.
async fn check(file: &Path, text: &str, place: &Place) -> Result<(), Failure> {
    let variables: BTreeMap<String, String> = [(place.variable.to_owned(), place.service.clone())].into();
    let choice = EnvironmentChoice { env: None, set: Vec::new(), without: Vec::new() };
    let scene = Scene::Sandbox(Wanted::default());
    let experiment = connect::load_text(file, text, &choice, &scene, &variables)?;
    let inputs = Inputs { experiment: &experiment, agents: std::slice::from_ref(&place.agent), proxies: &[], seed: 1 };
    let planned = plan(inputs).await;
    planned.map(|_| ()).map_err(|error| Failure::failed(format!("what was to be written cannot be run: {error}")))
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("failed to write {}: {e}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

fn tell(args: &Args, common: &Common, file: &Path, place: &Place, seen: &Seen) {
    let environment = place.environment.as_ref().map(|(path, _)| path.display().to_string());
    if common.output == Format::Json {
        output::json(&serde_json::json!({
            "file": file.display().to_string(), "environment": environment, "proxy": seen.proxy.0,
            "health": seen.health, "metrics": seen.metrics.as_ref().map(|(path, _)| path),
        }));
        return;
    }
    output::result(&format!("{} is written", file.display()));
    environment.iter().for_each(|path| output::result(&format!("{path} is written")));
    let env = if environment.is_some() { format!(" --env {}", args.name) } else { String::new() };
    for (command, what) in [("plan", "what it would touch"), ("run", "run it"), ("limit", "how far it holds")] {
        let vary = if command == "limit" { " --vary delay=10ms..1s" } else { "" };
        output::result(&format!("  squall {command} {}{vary}{env}   # {what}", file.display()));
    }
}
