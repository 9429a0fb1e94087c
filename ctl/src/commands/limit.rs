//! `squall limit`: the largest value of a variable at which the hypothesis still holds, by halving.
//!
//! Every try is a whole run with `--set`, with its entry in the journal and its page.
//! Neighbours: `squall_engine::search::{limit, course}` say what to try next and what it amounts to; `tries` runs it.
//! Invariant: both edges are valid values of the file before anything is run.

use super::Outcome;
use crate::{
    cli::{Common, Format, Limit as Args, RunChoice},
    connect::{self, Scene},
    exit::Failure,
    output,
    results::{writable, write},
    trial,
    tries::{self, Tries},
};
use comfy_table::{Table, presets};
use squall_engine::{
    report::{self, case::heavier},
    search::{
        course::Course,
        limit::{Bad, Question},
        rewrite,
        scale::Vary,
    },
};
use std::path::{Path, PathBuf};

/// Searches, shows the curve, and tells the limit.
pub async fn limit(args: &Args, common: &Common) -> Outcome {
    let Vary { name, scale } = &args.vary;
    if args.choice.environment.set.iter().any(|(set, _)| set == name) {
        return Err(Failure::usage(format!("`{name}` is varied, so it cannot be set as well")));
    }
    let least = args.at_least.as_ref().map(|value| value_of(value, &args.vary)).transpose()?;
    let scene = Scene::choose(&args.choice.environment, &args.file)?;
    let at = |value: f64| with(&args.choice, name, &scale.shown(value));
    connect::load(&args.file, &at(scale.low).environment, &scene, &scene.variables())?;
    trial::ask(&args.file, &at(scale.high))?;
    let experiment = connect::load(&args.file, &at(scale.high).environment, &scene, &scene.variables())?;
    // A name of its own, so that no run of it is taken for one of the experiment itself.
    let own: String = format!("{}-limit", experiment.name).chars().take(64).collect();
    let text = rewrite::replace(&experiment.source.text, "name", &format!("name: {own}"))
        .map_err(|e| Failure::invalid(format!("{}: {e}", args.file.display())))?;
    let (html, question) = (page_path(args, &experiment.name), question(args));
    for path in [Some(&html), args.json.as_ref()].into_iter().flatten() {
        writable(path)?;
    }
    let about = (experiment.name.as_str(), experiment.hypothesis.as_str(), scene.name());
    let mut course = Course::new(about, name, question);
    let ended = search(args, &text, &mut course).await?;
    let code = ended.map_or_else(|| conclude(&course, least), |code| heavier(code, course.exit_code()));
    let page = report::limit::html(&course, code).map_err(|e| Failure::failed(e.to_string()))?;
    write(&html, &page)?;
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", as_json(&course, code)))?;
    }
    match common.output {
        Format::Json => output::json(&as_json(&course, code)),
        Format::Text => tell(&course, &html),
    }
    Ok(code)
}

const fn question(args: &Args) -> Question {
    let Args { steps, precision, scan, no_confirm, .. } = args;
    Question { scale: args.vary.scale, steps: *steps, precision: *precision, scan: *scan, confirm: !*no_confirm }
}

fn page_path(args: &Args, experiment: &str) -> PathBuf {
    let file = format!("limit-{experiment}-{}.html", args.vary.name);
    args.html.clone().unwrap_or_else(|| args.choice.report.join(file))
}

/// Makes the tries, one after the other, until the question is answered or one teaches nothing. The code of what ended it early.
async fn search(args: &Args, text: &str, course: &mut Course) -> Result<Option<u8>, Failure> {
    let tries = Tries::start(args.retries)?;
    while let Some(value) = course.next() {
        let (shown, number) = (course.question.scale.shown(value), course.tries.len() + 1);
        let choice = with(&args.choice, &args.vary.name, &shown);
        let label = course.setting(value);
        let Some((end, record)) = tries.run(&label, &args.file, &choice, Some(text)).await else { break };
        let rows = record.and_then(|record| record.end).map(|end| end.rows).unwrap_or_default();
        tries::tell(&number.to_string(), &label, &end);
        course.put(value, end, &rows);
    }
    let ended = tries.ended();
    if ended.is_some() {
        output::progress("the search is not finished: what is told of it is what was found so far");
    }
    Ok(ended)
}

fn with(choice: &RunChoice, name: &str, value: &str) -> RunChoice {
    let mut choice = choice.clone();
    choice.environment.set.push((name.to_owned(), value.to_owned()));
    choice
}

/// A value in the unit of the range.
fn value_of(value: &str, vary: &Vary) -> Result<f64, Failure> {
    vary.scale.parse(value).map_err(Failure::usage)
}

/// The exit code: the course's own, or 1 when it holds less far than was asked for.
fn conclude(course: &Course, least: Option<f64>) -> u8 {
    let answer = course.answer();
    let short = least.zip(answer.last_safe).is_some_and(|(least, safe)| match answer.bad {
        Bad::Large => safe < least,
        Bad::Small => safe > least,
    });
    if short { course.exit_code().max(1) } else { course.exit_code() }
}

fn tell(course: &Course, html: &Path) {
    let mut lines = report::limit::table(course).into_iter();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(lines.next().unwrap_or_default());
    lines.for_each(|line| {
        table.add_row(line);
    });
    output::result(&output::coloured_marks(&table.to_string()));
    let answer = course.answer();
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| course.setting(value));
    output::result(&format!("\n{} {}", course.experiment, course.sentence()));
    output::result(&format!("last safe     {}", shown(answer.last_safe)));
    output::result(&format!("first broken  {}", shown(answer.first_broken)));
    answer.oddities.iter().for_each(|oddity| output::result(&format!("note          {oddity}")));
    output::result(&format!("curve         {}", html.display()));
}

fn as_json(course: &Course, code: u8) -> serde_json::Value {
    let answer = course.answer();
    let shown = |value: Option<f64>| value.map(|value| course.question.scale.shown(value));
    let mut value = serde_json::json!(course);
    if let Some(object) = value.as_object_mut() {
        object.insert("exit_code".into(), code.into());
        object.insert("sentence".into(), course.sentence().into());
        object.insert("last_safe".into(), shown(answer.last_safe).into());
        object.insert("first_broken".into(), shown(answer.first_broken).into());
        object.insert("answer".into(), serde_json::json!(answer));
        object.insert("unit".into(), serde_json::json!(course.question.scale.unit));
    }
    value
}
