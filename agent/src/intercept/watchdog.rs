//! The watchdog: this program once more, in a session of its own, which holds one end of a pipe to the agent.
//!
//! ```text
//!  agent ──pipe──▶ watchdog        the pipe closes when the agent dies, however it dies
//!          ◀─"watching"─           only then are there rules
//! ```
//! Neighbours: `mod.rs` starts and dismisses it, `main` runs [`watch`] in it.
//! Invariant: a watchdog ends only when the agent has let it go or the table is gone.

use super::nft;
use std::{
    io::{self, Read, Write},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

/// What it says when it is ready.
const WATCHING: &str = "watching";
/// What the agent says when there is nothing left to do.
const DISMISSED: u8 = b'.';
/// How long it may take to start or to end.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it leaves between two attempts to take the rules away …
const PAUSE: Duration = Duration::from_millis(500);
/// … of which it makes so many when they fail.
const ATTEMPTS: usize = 60;

/// The agent's side.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
    pipe: ChildStdin,
}

impl Watchdog {
    /// Starts it, and returns when it watches.
    pub(super) async fn start(program: &Path, table: &str) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["intercept-watchdog", table])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before it watched");
        let (Some(pipe), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return Err(ended()) };
        let mut line = String::new();
        match timeout(LIMIT, BufReader::new(stdout).read_line(&mut line)).await {
            Ok(Ok(_)) if line.trim_end() == WATCHING => Ok(Self { child, pipe }),
            Ok(Ok(_)) => Err(ended()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not say that it watches")),
        }
    }

    /// Lets it go: at once if nothing is left to do, and otherwise when it has taken the rules away.
    pub(super) async fn dismiss(mut self, nothing_left: bool) {
        if nothing_left {
            // One that died before has nothing to do either.
            let _ = self.pipe.write_all(&[DISMISSED]).await;
        }
        drop(self.pipe);
        match timeout(LIMIT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(outcome) => tracing::warn!(?outcome, "the watchdog ended badly"),
            Err(_) => tracing::warn!("the watchdog goes on trying to take the rules away"),
        }
    }
}

/// Returns when the watchdog has died; never when there is none.
pub(super) async fn died(watchdog: &mut Option<Watchdog>) {
    match watchdog {
        // An error of waiting tells nothing of the child, which is then as good as dead.
        Some(watchdog) => drop(watchdog.child.wait().await),
        None => std::future::pending().await,
    }
}

/// The watchdog's side: runs until the agent lets it go or dies, and takes the table away then.
///
/// # Errors
/// When it cannot watch, or the table cannot be taken away.
pub fn watch(table: &str) -> io::Result<()> {
    // What a terminal sends to the agent's session is none of its business. It leads one already, or else it can.
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    // Heard and not heeded, for an orderly end comes by the pipe: who stops a whole group means the agent first.
    let _deaf: Vec<_> = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{WATCHING}").and_then(|()| stdout.flush())?;
    let mut last_words = Vec::new();
    // This waits for as long as the agent lives. An error means as much as the end: nobody is there any more.
    let _ = io::stdin().take(1).read_to_end(&mut last_words);
    if last_words == [DISMISSED] { Ok(()) } else { runtime.block_on(clean_up(table)) }
}

async fn clean_up(table: &str) -> io::Result<()> {
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        match nft::remove(table).await {
            Ok(()) => {
                // The agent may have died in the middle of laying rules, and its `nft` may be at it still.
                sleep(PAUSE).await;
                return nft::remove(table).await.map_err(io::Error::other);
            }
            Err(error) => failed = Some(error),
        }
        sleep(PAUSE).await;
    }
    Err(failed.map_or_else(|| io::ErrorKind::Other.into(), io::Error::other))
}
