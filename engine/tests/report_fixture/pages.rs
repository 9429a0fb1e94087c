//! Pages that are not of one run, made as `squall limit`, `matrix` and `compare` make theirs: what each sort of block
//! looks like is tried on them.

use super::{record, rows, series};
use squall_engine::{
    experiment::When,
    record::Outcome,
    report::page::{
        Axis, Band, Block, Cell, Curve, Headline, HeatCell, HeatMap, Limit, Page, Plot, Point, Table, Tone,
    },
    sample::Metric,
    verdict::Verdict,
};
use std::time::Duration;

const PLACE: &str = "sandbox · 21 November 2026, 08:14:07 UTC";

fn delay(seconds: f64) -> String {
    format!("{} ms", (seconds * 1e3).round())
}

pub(crate) fn limit() -> Page {
    let tried =
        [(0.05, 0.11), (0.4, 0.49), (0.8, 0.92), (1.2, 1.31), (1.35, 1.48), (1.4, 1.57), (2.0, 2.2), (5.0, 5.4)];
    let points = tried.map(|(x, y)| Point {
        x,
        y: Some(y),
        tone: Some(if y < 1.5 { Tone::Good } else { Tone::Bad }),
        note: if y < 1.5 { "held".into() } else { "deviated".into() },
    });
    let across = Axis::Log { title: "delay of payment".into(), shown: delay };
    let plot = Plot::new("p99", "each point is a run", Metric::P99, across)
        .curve(Curve::new("traffic.checkout p99", points.to_vec()))
        .limit(Limit { value: 1.5, text: "p99 < 1500ms".into(), aborts: false })
        .band(Band { from: 0.05, to: 1.35, label: "held".into(), tone: Some(Tone::Good) })
        .mark(1.35, "the largest that held");
    let table = tried.iter().fold(
        Table::new("Every value that was tried, in its order.", &["delay", "Verdict", "p99", "Run"]),
        |table, (x, y)| {
            let (tone, word) = if *y < 1.5 { (Tone::Good, "held") } else { (Tone::Bad, "deviated") };
            let cells = [Cell::new(delay(*x)), Cell::new(word).tone(tone), Cell::new(Metric::P99.shown(*y))];
            table.row([&cells[..], &[Cell::new("0197a3c2").link("payment-slow-0197a3c2.html").code()]].concat())
        },
    );
    Page::new("payment-slow", Headline::new("held up to 1350 ms", "the largest delay at which it held", Tone::Good))
        .place(PLACE)
        .hypothesis("When the payment provider answers late, customers still buy.")
        .reason("`delay=1350ms` held, `delay=1400ms` deviated: traffic.checkout p99 was 1570 ms")
        .section("The curve", vec![Block::charts("traffic.checkout", &[plot])])
        .section("The runs", vec![table.into()])
}

pub(crate) fn matrix() -> Page {
    let faults = ["latency 500ms", "blackhole", "reset", "bandwidth 20KB/s", "garbage", "drip", "slow_accept"];
    let proxies = ["payment", "recommendations", "reviews", "inventory", "search"];
    let map = HeatMap::new(
        "What holds when each fault is set on each proxy, one at a time.",
        "Proxy",
        faults.map(str::to_owned).to_vec(),
    );
    let map = proxies.iter().enumerate().fold(map, |map, (row, proxy)| {
        let cell = |column: usize| match (row * 7 + column * 5) % 11 {
            0 => HeatCell::new(Tone::Bad, "deviated").figure("p99 2310 ms").strength(0.9).title("p99 was 2310 ms"),
            3 => HeatCell::new(Tone::Bad, "aborted").figure("success 61 %").strength(1.0),
            4 => HeatCell::empty("this fault does not run on this proxy"),
            7 => HeatCell::new(Tone::Unsure, "inconclusive").figure("hit nothing"),
            near => {
                HeatCell::new(Tone::Good, "held").figure("p99 212 ms").strength(near as f64 / 11.0).link("run.html")
            }
        };
        map.row(*proxy, (0..faults.len()).map(cell).collect())
    });
    Page::new("payment-slow", Headline::new("20 of 31 held", "every proxy by every fault", Tone::Bad).exit_code(5))
        .place(PLACE)
        .tile("20 of 31", "held", "4 deviated, 4 aborted, 3 inconclusive")
        .tile("5", "proxies", "")
        .tile("7", "faults", "")
        .tile("11:20 min", "duration", "of all runs together")
        .section("What holds", vec![map.into()])
}

pub(crate) fn compare() -> Page {
    let stretch = Duration::from_secs(1);
    let first = series();
    let mut second = series();
    for sample in &mut second[1].samples {
        sample.took = sample.took.mul_f64(1.4);
    }
    let plot = |title: &str, metric: Metric, index: usize| {
        Plot::new(title, "each point is 1s of samples", metric, Axis::Time)
            .curve(Curve::over_time("now", metric, &second[index].samples, stretch))
            .curve(Curve::over_time("before", metric, &first[index].samples, stretch))
            .limit(Limit {
                value: if metric == Metric::P99 { 1.5 } else { 0.99 },
                text: "promised".into(),
                aborts: false,
            })
            .band(Band { from: 8.067, to: 20.071, label: "latency · payment".into(), tone: None })
    };
    let charts = Block::charts(
        "traffic.checkout",
        &[plot("p99", Metric::P99, 1), plot("Success ratio", Metric::SuccessRatio, 1)],
    );
    let during = rows().into_iter().filter(|row| row.when == When::During);
    let table = during.fold(
        Table::new("Both runs during the faults.", &["Probe", "Metric", "Before", "Now", "Change"]),
        |table, row| {
            let bad = row.outcome == Outcome::Broken;
            table.row(vec![
                Cell::new(row.probe),
                Cell::new(row.metric.word()),
                Cell::new(row.shown.clone()),
                Cell::new(row.shown).note("841 samples"),
                Cell::new("+40 %").tone(if bad { Tone::Bad } else { Tone::Good }),
            ])
        },
    );
    Page::new("payment-slow", Headline::new("worse", "two runs of the same experiment", Tone::Bad))
        .place(PLACE)
        .section("Differences", vec![table.into()])
        .section("Over each other", vec![charts, Block::text("Times are since each run started.")])
        .section("The file", vec![Block::listing("experiments/payment-slow.yaml", &record().start.source.text)])
}

pub(crate) fn verdicts() -> impl Iterator<Item = Headline> {
    Verdict::ALL.into_iter().map(Headline::of)
}
