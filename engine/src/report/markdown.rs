//! Cases as Markdown: a table of all of them, then the promises and faults of each that is not held. Pure.
//!
//! Made to be appended to what is there (GitHub's job summary, a merge request's note). Neighbours: `case`, `table`.
//! Invariant: whatever was measured or answered stands as text, in its cell.

use super::{
    case::{Case, Ending},
    hits, moment, table,
};
use crate::record::{FaultRecord, RowResult, RunEnd};

/// All of it, ending with an empty line.
#[must_use]
pub fn render(cases: &[Case]) -> String {
    let held = cases.iter().filter(|case| case.is_held()).count();
    let mut page = format!("## Squall: {held} of {} held\n\n", cases.len());
    page.push_str("| | experiment | verdict | took | why |\n| --- | --- | --- | ---: | --- |\n");
    for case in cases {
        let (mark, why) = if case.is_held() { ("✅", String::new()) } else { ("❌", text(&case.reason())) };
        let took = case.took().map_or_else(|| "–".to_owned(), moment);
        page.push_str(&format!("| {mark} | {} | `{}` | {took} | {why} |\n", text(case.name()), case.word()));
    }
    page.push('\n');
    for case in cases.iter().filter(|case| !case.is_held()) {
        details(&mut page, case);
    }
    page
}

fn details(page: &mut String, case: &Case) {
    let mut body = String::new();
    match &case.ending {
        Ending::Ran { record, report, regressions } => {
            body.push_str(&format!("> {}\n\n", text(&record.start.hypothesis)));
            regressions.iter().for_each(|told| body.push_str(&format!("- {}\n", text(told))));
            if let Some(end) = &record.end {
                conclusion(&mut body, end);
            }
            body.push_str(&format!("run `{}` on {}", record.start.id, text(&record.start.environment)));
            body.push_str(&report.as_ref().map(|path| format!(", report {}", text(path))).unwrap_or_default());
            body.push('\n');
        }
        Ending::Prevented { mistakes, .. } if !mistakes.is_empty() => {
            mistakes.iter().for_each(|mistake| body.push_str(&format!("- {}\n", text(&mistake.to_string()))));
        }
        Ending::Prevented { message, .. } => body.push_str(&format!("{}\n", text(message))),
        Ending::NotRun => return,
    }
    // Markdown is not read inside the tag.
    let (name, word) = (html(case.name()), case.word().replace('_', " "));
    page.push_str(&format!("<details><summary>{name}: {word}</summary>\n\n{body}\n</details>\n\n"));
}

fn conclusion(body: &mut String, end: &RunEnd) {
    end.reasons.iter().for_each(|reason| body.push_str(&format!("- {}\n", text(reason))));
    let lines = table::lines(&end.rows);
    if !lines.is_empty() {
        body.push_str("\n| probe | metric | tolerance | before | during | after |\n");
        body.push_str("| --- | --- | --- | --- | --- | --- |\n");
    }
    for line in lines {
        let [before, during, after] = line.cells.map(cell);
        let (probe, tolerance) = (text(line.probe), text(line.tolerance));
        body.push_str(&format!("| {probe} | {} | {tolerance} | {before} | {during} | {after} |\n", line.metric));
    }
    if !end.faults.is_empty() {
        body.push_str("\n| fault | from | to | hits |\n| --- | ---: | ---: | ---: |\n");
    }
    for FaultRecord { agent, proxy, name, from, to, hits: count, .. } in &end.faults {
        let to = to.map_or_else(|| "**not confirmed gone**".to_owned(), moment);
        let fault = text(&format!("{agent}/{proxy} {name}"));
        body.push_str(&format!("| {fault} | {} | {to} | {} |\n", moment(*from), hits(*count)));
    }
    body.push('\n');
}

fn cell(row: Option<&RowResult>) -> String {
    row.map_or_else(|| "–".to_owned(), |row| format!("{} {}", table::mark(row.outcome), text(&row.shown)))
}

/// With every sign that HTML would read taken literally.
fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// On one line, with every sign that Markdown or HTML would read taken literally.
pub(super) fn text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match letter {
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '&' => plain.push_str("&amp;"),
            // An entity, and no backslash: inside a table cell some readers see the bar before the backslash.
            '|' => plain.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' | '@' => plain.extend(['\\', letter]),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn hostile_text_stays_text_in_its_cell() {
        assert_eq!(text("a | b\n<script>"), "a &#124; b &lt;script&gt;");
        assert_eq!(text("![x](y) @all `c` _d_"), r"\!\[x\](y) \@all \`c\` \_d\_");
        assert_eq!(text("\u{1b}[31mred"), r"\[31mred");
    }
}
