//! Results go to stdout, progress and errors to stderr; colour only where it is wanted, and a closed pipe is no panic.

use crate::cli::{Color, Common};
use std::io::Write as _;
use tracing_subscriber::EnvFilter;

/// Settles colour and logs, once.
pub fn init(common: &Common) {
    let choice = match common.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    let level = match common.verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("SQUALL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour_on_stderr()).with_writer(std::io::stderr).init();
}

/// A line of a result. Who reads it may have gone: that is no failure of ours.
pub fn result(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// A result for programs.
pub fn json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => result(&text),
        Err(error) => self::error(&format!("failed to write the result as JSON: {error}")),
    }
}

/// A line of progress.
pub fn progress(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// A failure.
pub fn error(message: &str) {
    use anstyle::{AnsiColor, Style};
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(anstream::stderr(), "{red}error{red:#}: {message}");
}

/// Whether stderr is a terminal that can be drawn on.
pub fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Whether colour is wanted on stderr.
pub fn colour_on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// The plain summary with its marks in colour; on a pipe the colours are taken out again.
pub fn coloured_marks(text: &str) -> String {
    use anstyle::{AnsiColor, Style};
    let paint = |word: &str, colour: AnsiColor| {
        let style = Style::new().bold().fg_color(Some(colour.into()));
        format!("{style}{word}{style:#}")
    };
    let marks = [("✓", AnsiColor::Green), ("✕", AnsiColor::Red), ("?", AnsiColor::Yellow)];
    let colour = |line: &str| {
        marks.iter().fold(line.to_owned(), |line, (mark, colour)| {
            line.replace(&format!(" {mark} "), &format!(" {} ", paint(mark, *colour)))
        })
    };
    text.lines().map(colour).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::coloured_marks;

    #[test]
    fn each_mark_of_the_summary_has_its_colour() {
        for mark in ["✓", "✕", "?"] {
            let text = coloured_marks(&format!("p99  {mark} 12 ms  end"));
            assert!(text.contains('\u{1b}') && text.contains(mark), "{text:?}");
        }
        assert_eq!(coloured_marks("no mark"), "no mark");
    }
}
