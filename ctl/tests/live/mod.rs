//! The live view in a real terminal: tmux has it, types, and says what is on the screen.

use super::{squall, stderr};
use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A cold start of the sandbox on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(90);

const SOURCE: &str = r#"
version: 1
name: live
hypothesis: The reviews may drip, and pages do not wait for them.
traffic:
  rate: 40/s
  requests:
    - {name: browse, get: "${shop}/products/7"}
probes:
  ready: {http: {url: "${shop}/health/ready"}, every: 500ms}
steady_state:
  - {probe: traffic.browse, success_ratio: ">= 50%", p99: "< 30s"}
  - {probe: ready, status: 200}
method:
  - {name: first, inject: {proxy: reviews, fault: {latency: {delay: 1ms}}}, for: 3s}
  - {name: second, inject: {proxy: reviews, fault: {latency: {delay: 2ms}}}, for: 300s}
blast_radius: {proxies: [reviews], percent: 100, duration: 10m}
abort_when:
  - {probe: traffic, success_ratio: "< 1%", for: 60s}
baseline: 2s
recovery: {within: 10s, hold: 1s}
"#;

/// A tmux server of its own, with one window of 100 by 30 in which a shell runs; gone when dropped.
struct Terminal {
    socket: String,
    directory: tempfile::TempDir,
}

impl Terminal {
    /// None where there is no tmux, which is told.
    fn open(test: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("SKIPPED {test}: there is no tmux");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("live.yaml"), SOURCE).unwrap();
        let socket = directory.path().join("tmux").display().to_string();
        let terminal = Self { socket, directory };
        let home = terminal.directory.path().display().to_string();
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
            "-c",
            &home,
            "env -u CI -u NO_COLOR -u SQUALL_ENV -u SQUALL_JOURNAL PS1='ready> ' sh",
        ]);
        terminal.until("ready>");
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(arguments).output().unwrap();
        assert!(output.status.success(), "tmux {arguments:?}: {}", stderr(&output));
        output
    }

    /// Types this; names such as `Enter` and `C-c` are keys.
    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap()
    }

    /// Waits until that is on the screen, and gives all of it.
    fn until(&self, wanted: &str) -> String {
        self.until_seen(wanted, |screen| screen.contains(wanted))
    }

    fn until_seen(&self, what: &str, seen: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if seen(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: not on the screen\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The journal's word on the last run, events and all.
    fn journal(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_squall"))
            .args(["report", "last", "--format", "json", "--journal", "squall-runs/journal.db"])
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        Path::new(self.directory.path()).join(path).exists()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What runs in it gets SIGHUP: squall heals and ends.
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

#[test]
fn a_person_pauses_notes_stops_continues_and_aborts_in_a_real_terminal() {
    let test = "a_person_pauses_notes_stops_continues_and_aborts_in_a_real_terminal";
    let Some(terminal) = Terminal::open(test) else { return };
    let squall = env!("CARGO_BIN_EXE_squall");
    terminal.line("stty -a > before");
    terminal.line(&format!("{squall} run live.yaml"));
    // The screen may be looked at while it is being drawn.
    let parts = [
        "▶ baseline",
        " squall ",
        "live · sandbox",
        "Steady state",
        "traffic.browse",
        "Faults",
        "Distance from abort",
        "Events",
        "q quit",
    ];
    terminal.until_seen("the whole screen", |screen| parts.iter().all(|part| screen.contains(part)));
    // Before the second step it waits, once it is asked to.
    terminal.keys(&["p"]);
    terminal.until("⏸ pauses at the next step");
    terminal.until("⏸ paused");
    terminal.keys(&["n"]);
    terminal.until("Enter writes it");
    terminal.line("the pager is quiet");
    terminal.until("the pager is quiet");
    // Another size is drawn at once.
    terminal.tmux(&["resize-window", "-x", "130", "-y", "40"]);
    // The screen may be looked at while it is being drawn.
    terminal.until_seen("130 columns", |screen| {
        screen.lines().any(|line| line.chars().count() > 120) && screen.contains("Distance from abort")
    });
    terminal.keys(&["?"]);
    terminal.until("out of it");
    terminal.keys(&["x"]);
    terminal.until_seen("the screen without help", |screen| !screen.contains("out of it"));
    terminal.keys(&["p"]);
    terminal.until_seen("the second fault, with its hits", |screen| {
        screen.contains("step: second") && screen.contains("▼ reviews latency") && !screen.contains("? hits")
    });
    // Stopped by Ctrl-Z, the shell has its terminal; continued, the screen is there again.
    terminal.keys(&["C-z"]);
    terminal.until("Stopped");
    terminal.line("fg");
    terminal.until("▶ method");
    terminal.keys(&["a"]);
    terminal.until("Abort the run?");
    terminal.keys(&["y"]);
    terminal.until("INTERRUPTED");
    terminal.until("journal  ");
    terminal.line("echo code=$?; stty -a > after; touch done");
    terminal.until("code=130");
    terminal.until_seen("the terminal as it was", |_| terminal.has("done"));
    let setting = |name: &str| std::fs::read_to_string(terminal.directory.path().join(name)).unwrap();
    // All but the size, which has changed meanwhile.
    let modes =
        |text: String| text.split_once("line =").map(|(_, modes)| modes.to_owned()).expect("stty names the line");
    assert_eq!(modes(setting("before")), modes(setting("after")));
    let journal = terminal.journal();
    for text in [
        "paused by a person before the step",
        "the pager is quiet",
        "goes on after a pause",
        "a person aborted the run",
    ] {
        assert!(journal.contains(text), "{text}");
    }
}

#[test]
fn a_terminal_is_restored_when_the_run_is_told_to_end() {
    let Some(terminal) = Terminal::open("a_terminal_is_restored_when_the_run_is_told_to_end") else { return };
    let squall = env!("CARGO_BIN_EXE_squall");
    terminal.line(&format!("sh -c 'echo $$ > pid; exec {squall} run live.yaml'"));
    terminal.until("▶ baseline");
    let pid = std::fs::read_to_string(terminal.directory.path().join("pid")).unwrap();
    let send = |signal: &str| assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    // Stopped from elsewhere, the shell has its terminal as it was; continued, the screen is there again.
    send("-TSTP");
    let stopped = terminal.until("Stopped");
    assert!(!stopped.contains("Steady state"), "the screen is gone\n{stopped}");
    terminal.line("echo ty''ped");
    terminal.until("typed");
    terminal.line("fg");
    terminal.until("Steady state");
    send("-TERM");
    // What happened stands on the terminal, and the screen is gone.
    terminal.until_seen("the end, without the screen", |screen| {
        screen.contains("stopped by SIGTERM") && screen.contains("journal  ") && !screen.contains("Steady state")
    });
    terminal.line("echo code=$?");
    terminal.until("code=143");
}

#[test]
fn where_there_is_no_terminal_there_are_lines_and_a_screen_cannot_be_had() {
    let output = squall(&["run", "nowhere.yaml", "--live", "always"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(!stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
}
