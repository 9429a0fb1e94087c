//! The measurements of the shop, in the order in which they run. What is compared takes turns.

use super::{
    Scale,
    customers::{Answer, Customer, crowd, get, per_second, post},
    outcome::{Claim, Outcomes},
    site::{Site, Stage},
};
use crate::{error::BenchError, stats};
use squall_shop::{DatabaseConfig, DatabaseUrl, Pattern, ShopConfig};
use std::{
    io::Write as _,
    time::{Duration, Instant},
};

pub(super) async fn all(site: &Site, scale: Scale) -> Result<Outcomes, BenchError> {
    let mut outcomes = Outcomes::default();
    tell("the sales report");
    reports(site, scale, &mut outcomes).await?;
    tell("events, on SQLite");
    events(site.file("events.sqlite").into(), "SQLite", scale, &mut outcomes).await?;
    match &site.postgres {
        Ok(server) => {
            tell("events, on PostgreSQL");
            let url = server.url.parse::<DatabaseUrl>().map_err(|error| BenchError::Peer {
                who: "PostgreSQL",
                what: "be addressed".to_owned(),
                why: error.to_string(),
            })?;
            events(url, "PostgreSQL", scale, &mut outcomes).await?;
        }
        Err(why) => outcomes.left_out.push(format!("PostgreSQL ({why})")),
    }
    tell("a page whole and degraded");
    degraded(scale, &mut outcomes).await?;
    tell("shedding");
    shedding(scale, &mut outcomes).await?;
    tell("every pattern on against all off");
    patterns(scale, &mut outcomes).await?;
    Ok(outcomes)
}

fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "shop: {what}");
}

fn without(patterns: &[Pattern]) -> ShopConfig {
    ShopConfig { without: patterns.iter().copied().collect(), ..ShopConfig::default() }
}

fn with_database(mut config: ShopConfig, url: DatabaseUrl) -> ShopConfig {
    config.storage.database = DatabaseConfig { url: Some(url), ..DatabaseConfig::default() };
    config
}

fn length(scale: Scale) -> Duration {
    Duration::from_secs_f64(scale.seconds)
}

fn milliseconds(answers: &[Answer], quantile: f64) -> f64 {
    let mut times: Vec<f64> = answers.iter().map(|answer| answer.took.as_secs_f64() * 1e3).collect();
    stats::quantile(&mut times, quantile).unwrap_or(f64::NAN)
}

/// The report of sales of every product, sequential, in a pipeline, and with more and more calls at a time.
async fn reports(site: &Site, scale: Scale, outcomes: &mut Outcomes) -> Result<(), BenchError> {
    const WORKERS: [usize; 6] = [1, 2, 3, 4, 8, 16];
    let database = || DatabaseUrl::from(site.file("reports.sqlite"));
    let stage = Stage::open(with_database(ShopConfig::default(), database()), Some(Duration::ZERO)).await?;
    let mut customer = Customer::connect(stage.shop).await?;
    for n in 0..scale.orders {
        let body = format!("{{\"product\":{}}}", n % 500 + 1);
        customer.ask(post("/orders", Some(&format!("key-{n}")), body)).await?;
    }
    drop(customer);
    stage.close().await;
    let report = async |workers: Option<usize>| {
        let mut config = match workers {
            Some(_) => ShopConfig::default(),
            None => without(&[Pattern::Pipeline, Pattern::FanOut]),
        };
        config.storage.report.budget = Duration::from_secs(60);
        config.storage.report.workers = workers.unwrap_or(1);
        let stage = Stage::open(with_database(config, database()), None).await?;
        let mut customer = Customer::connect(stage.shop).await?;
        let answer = customer.ask(get("/reports/sales")).await?;
        drop(customer);
        stage.close().await;
        Ok::<_, BenchError>(answer.took.as_secs_f64() * 1e3)
    };
    let (mut sequential, mut by_workers) = (Vec::new(), vec![Vec::new(); WORKERS.len()]);
    for _ in 0..scale.rounds {
        sequential.push(report(None).await?);
        for (workers, rounds) in WORKERS.into_iter().zip(&mut by_workers) {
            rounds.push(report(Some(workers)).await?);
        }
    }
    let times = |rounds: &[f64], base: &[f64]| base.iter().zip(rounds).map(|(base, round)| base / round).collect();
    let (one, three, sixteen) = (&by_workers[0], &by_workers[2], &by_workers[5]);
    let pipeline: Vec<f64> = times(three, &sequential);
    let fan_out: Vec<f64> = times(sixteen, one);
    for (workers, rounds) in WORKERS.into_iter().zip(&by_workers) {
        let name = format!("sales report, pipeline, {workers} calls at a time");
        outcomes.add(format!("report.workers_{workers}"), name, "ms", Claim::None, rounds.clone());
    }
    outcomes.add("report.sequential", "sales report, sequential", "ms", Claim::None, sequential.clone());
    outcomes.add(
        "report.pipeline",
        "pipeline of three workers against sequential",
        "times",
        Claim::AtLeast(3.0),
        pipeline,
    );
    outcomes.add(
        "report.fan_out",
        "sixteen calls at a time against one",
        "times",
        Claim::AtLeast(16.0 * 0.75),
        fan_out,
    );
    Ok(())
}

/// What would turn customers away where it is the writing that is measured.
const OPEN_DOOR: [Pattern; 2] = [Pattern::LoadShedding, Pattern::AdaptiveConcurrency];

/// Events a second, in batches and one by one.
async fn events(url: DatabaseUrl, on: &str, scale: Scale, outcomes: &mut Outcomes) -> Result<(), BenchError> {
    let rate = async |patterns: &[Pattern]| {
        let stage = Stage::open(with_database(without(patterns), url.clone()), None).await?;
        let ask = |nth| post("/events", None, format!("{{\"kind\":\"view\",\"product\":{nth}}}"));
        let answers = crowd(stage.shop, 100, length(scale), ask).await?;
        stage.close().await;
        per_second(&answers, length(scale), "take events")
    };
    let (mut batched, mut single) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        batched.push(rate(&OPEN_DOOR).await?);
        single.push(rate(&[&OPEN_DOOR[..], &[Pattern::MicroBatching]].concat()).await?);
    }
    let gain = batched.iter().zip(&single).map(|(batched, single)| batched / single).collect();
    outcomes.add(format!("events.batched.{on}"), format!("events in batches, {on}"), "1/s", Claim::None, batched);
    outcomes.add(format!("events.single.{on}"), format!("events one by one, {on}"), "1/s", Claim::None, single);
    outcomes.add(
        format!("events.gain.{on}"),
        format!("batched against single, {on}"),
        "times",
        Claim::AtLeast(8.0),
        gain,
    );
    Ok(())
}

/// A product page with parts that take 130 to 200 ms, whole, and left out at once because their breakers are open.
async fn degraded(scale: Scale, outcomes: &mut Outcomes) -> Result<(), BenchError> {
    let page = |nth: u64| get(&format!("/products/{}", nth % 500 + 1));
    let ask = async |config: ShopConfig| {
        let stage = Stage::open(config, Some(Duration::from_millis(130))).await?;
        // What opens the breakers, where they are to open, is not counted.
        crowd(stage.shop, 8, Duration::from_millis(500), page).await?;
        let answers = crowd(stage.shop, 8, length(scale), page).await?;
        stage.close().await;
        per_second(&answers, length(scale), "show pages")?;
        Ok::<_, BenchError>(milliseconds(&answers, 0.5))
    };
    let (mut whole, mut left_out) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let mut patient = without(&[Pattern::FailoverCache]);
        patient.front.optional_share = Duration::from_secs(1);
        whole.push(ask(patient).await?);
        let mut impatient = without(&[Pattern::FailoverCache]);
        impatient.front.optional_share = Duration::from_millis(100);
        impatient.breaker.open_for = Duration::from_secs(60);
        left_out.push(ask(impatient).await?);
    }
    outcomes.add("page.whole", "product page, whole, with slow parts, p50", "ms", Claim::None, whole);
    outcomes.add("page.degraded", "product page, degraded, p50", "ms", Claim::AtMost(20.0), left_out);
    Ok(())
}

/// How soon a request over the limit is told so, while the shop is overloaded.
async fn shedding(scale: Scale, outcomes: &mut Outcomes) -> Result<(), BenchError> {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let mut config = ShopConfig::default();
        config.front.request_slots = 4;
        // Shorter than the line of customers, so that there is always one too many.
        config.front.shedding.queue = 2;
        let stage = Stage::open(config, Some(Duration::from_millis(20))).await?;
        let page = |nth: u64| get(&format!("/products/{}", nth % 500 + 1));
        let (answers, _busy) =
            tokio::try_join!(paced(stage.shop, length(scale)), crowd(stage.shop, 8, length(scale), page),)?;
        stage.close().await;
        let shed: Vec<Answer> = answers.into_iter().filter(|answer| answer.status == 503).collect();
        p50.push(milliseconds(&shed, 0.5));
        p99.push(milliseconds(&shed, 0.99));
    }
    outcomes.add("shed.p50", "time to a 503 while overloaded, p50", "ms", Claim::None, p50);
    outcomes.add("shed.p99", "time to a 503 while overloaded, p99", "ms", Claim::AtMost(1.0), p99);
    Ok(())
}

/// One customer who asks every two milliseconds, so that it measures the shop and not its own queue.
async fn paced(shop: std::net::SocketAddr, length: Duration) -> Result<Vec<Answer>, BenchError> {
    let mut customer = Customer::connect(shop).await?;
    let (begun, mut answers) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        answers.push(customer.ask(get("/products/7")).await?);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(answers)
}

/// What all patterns together cost a product page.
async fn patterns(scale: Scale, outcomes: &mut Outcomes) -> Result<(), BenchError> {
    let rate = async |patterns: &[Pattern]| {
        let stage = Stage::open(without(patterns), Some(Duration::ZERO)).await?;
        let page = |nth: u64| get(&format!("/products/{}", nth % 500 + 1));
        let answers = crowd(stage.shop, 16, length(scale), page).await?;
        stage.close().await;
        per_second(&answers, length(scale), "show pages")
    };
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        on.push(rate(&[]).await?);
        off.push(rate(&Pattern::ALL).await?);
    }
    let cost = on.iter().zip(&off).map(|(on, off)| (1.0 - on / off) * 100.0).collect();
    outcomes.add("patterns.on", "product pages, every pattern on", "1/s", Claim::None, on);
    outcomes.add("patterns.off", "product pages, every pattern off", "1/s", Claim::None, off);
    outcomes.add("patterns.cost", "what the patterns cost", "%", Claim::AtMost(10.0), cost);
    Ok(())
}
