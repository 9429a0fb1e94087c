//! Results go to stdout, progress and errors to stderr; colour only where it is wanted, and a closed pipe is no panic.

use crate::cli::{Color, Common, Format};
use parking_lot::Mutex;
use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
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
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour_on_stderr()).with_writer(|| Progress).init();
    FOR_PROGRAMS.store(common.output == Format::Json, Ordering::Relaxed);
}

/// A line of a result. Who reads it may have gone: that is no failure of ours.
pub fn result(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// A line of what goes on until nobody reads it any more.
///
/// # Errors
/// When it cannot be written; [`io::ErrorKind::BrokenPipe`]: the reader has gone.
pub fn stream(text: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{text}")
}

/// Returns when the reader of stdout has gone; never where it is a file or a terminal.
pub async fn unread() {
    // A write would tell, but there may be nothing to write for long.
    while !has_lost_its_reader() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// So often it is looked whether somebody still reads what goes on.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn has_lost_its_reader() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = io::stdout();
    // Asked for nothing, the kernel tells of errors: of a pipe that nobody reads, or of a socket that is closed.
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let looked = poll(&mut asked, Some(&rustix::event::Timespec::default()));
    looked.is_ok() && asked[0].revents().contains(PollFlags::ERR)
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
    let _ = writeln!(Progress, "{text}");
}

/// Whether results are for programs.
static FOR_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// What waits for a screen to go; none: there is no screen.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Held back at most; what comes later is lost to the terminal, though not to the journal.
const MOST_HELD: usize = 1 << 20;

/// Stderr, unless a screen is drawn on it: then it waits until that is gone.
struct Progress;

impl io::Write for Progress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *HELD.lock() {
            Some(held) => {
                let room = MOST_HELD.saturating_sub(held.len()).min(bytes.len());
                held.extend_from_slice(&bytes[..room]);
                Ok(bytes.len())
            }
            None => anstream::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// From now on progress waits: a screen is drawn.
pub fn hold() {
    HELD.lock().get_or_insert_default();
}

/// What has waited is printed.
pub fn release() {
    if let Some(held) = HELD.lock().take() {
        let _ = anstream::stderr().write_all(&held);
    }
}

/// Whether results are for programs.
pub fn is_for_programs() -> bool {
    FOR_PROGRAMS.load(Ordering::Relaxed)
}

/// A failure.
pub fn error(message: &str) {
    use anstyle::{AnsiColor, Style};
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(Progress, "{red}error{red:#}: {message}");
}

/// Whether stderr is a terminal of any kind.
pub fn is_stderr_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}

/// Whether stderr is a terminal that can be drawn on.
pub fn is_terminal() -> bool {
    is_stderr_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
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
