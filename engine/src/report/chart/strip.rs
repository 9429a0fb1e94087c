//! A strip for what has no height: the statuses or the texts that were read, as stretches of time with their words.
//!
//! Neighbour: `mod` chooses what to draw.

use super::time::{TimeAxis, round};
use crate::{report::moment, sample::Sample};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// Stretches drawn one by one, at most; beyond that, the worst of each moment.
const MOST: usize = 240;

/// Letters of a text that a stretch shows.
const LETTERS: usize = 40;

/// What of a sample a strip shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Status,
    Text,
}

impl Reading {
    const fn title(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::Text => "Text",
        }
    }
}

/// A strip, in percent of its width.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Strip {
    title: String,
    note: String,
    summary: String,
    parts: Vec<Part>,
    /// For the reading under the pointer, as JSON that can stand in a script element.
    data: String,
}

/// A stretch of equal readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Part {
    left: f64,
    width: f64,
    label: String,
    title: String,
    good: bool,
    /// Whether its label has room …
    roomy: bool,
    /// … but not on a small screen.
    tight: bool,
}

/// A reading in a word.
#[derive(Debug, Clone, PartialEq)]
struct Word {
    text: String,
    good: bool,
}

/// What each reading was.
pub(crate) fn strip(of: Reading, samples: &[Sample], axis: TimeAxis) -> Option<Strip> {
    let mut readings: Vec<(Duration, Word)> = samples.iter().map(|sample| (sample.at, word(of, sample))).collect();
    readings.sort_by_key(|(at, _)| *at);
    let mut note = "each stretch is a run of equal readings";
    if readings.chunk_by(|one, other| one.1 == other.1).count() > MOST {
        readings = worst(&readings, axis.bucket());
        note = "the worst reading of each moment";
    }
    let last = readings.last()?.0;
    let stretches: Vec<&[(Duration, Word)]> = readings.chunk_by(|one, other| one.1 == other.1).collect();
    let ends = stretches.iter().skip(1).map(|next| next[0].0).chain([last]);
    let parts: Vec<Part> = stretches.iter().zip(ends).map(|(stretch, end)| part(stretch, end, axis)).collect();
    Some(Strip {
        title: of.title().to_owned(),
        note: note.to_owned(),
        summary: parts.iter().take(12).map(|part| part.title.as_str()).collect::<Vec<_>>().join("; "),
        data: super::for_script(&json!({
            "x": readings.iter().map(|(at, _)| axis.at(*at)).collect::<Vec<_>>(),
            "at": readings.iter().map(|(at, _)| moment(*at)).collect::<Vec<_>>(),
            "series": [{"name": of.title(), "shown": readings.iter().map(|(_, word)| &word.text).collect::<Vec<_>>()}],
        })),
        parts,
    })
}

fn part(stretch: &[(Duration, Word)], end: Duration, axis: TimeAxis) -> Part {
    let (from, Word { text, good }) = &stretch[0];
    let left = axis.at(*from);
    let width = round(axis.at(end) - left).max(0.3);
    let letters = text.chars().count() as f64;
    Part {
        left,
        width,
        label: text.clone(),
        title: format!("{text} from {} to {} ({} readings)", moment(*from), moment(end), stretch.len()),
        good: *good,
        // A letter is about 0.8 percent of a chart at its usual width, and 2.5 percent on a phone.
        roomy: width > letters * 0.8 + 1.0,
        tight: width < letters * 2.5 + 2.0,
    }
}

/// Its status or its text; what else there is where it has none.
fn word(of: Reading, sample: &Sample) -> Word {
    let shortened = |text: &str| text.chars().take(LETTERS).collect::<String>();
    let text = match (sample.status, &sample.text) {
        (_, Some(text)) if of == Reading::Text => shortened(text),
        (Some(status), _) => status.to_string(),
        (None, Some(text)) => shortened(text),
        (None, None) if sample.ok => "ok".to_owned(),
        (None, None) => "failed".to_owned(),
    };
    Word { text, good: sample.ok && sample.status.is_none_or(|status| status < 400) }
}

fn worst(readings: &[(Duration, Word)], width: Duration) -> Vec<(Duration, Word)> {
    let bucket = |at: Duration| (at.as_secs_f64() / width.as_secs_f64()) as u64;
    readings
        .chunk_by(|one, other| bucket(one.0) == bucket(other.0))
        .filter_map(|chunk| chunk.iter().find(|(_, word)| !word.good).or(chunk.first()).cloned())
        .collect()
}
