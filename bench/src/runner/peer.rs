//! A program that does something once and ends: what it says, within a time.
//!
//! Neighbours: `startup` times such calls, `load` asks wrk and oha, `build` asks Cargo.
//! Invariant: the program is gone when this returns, and one that fails says why.

use crate::error::{BenchError, Tried};
use std::{
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often it is looked whether a program has ended.
const PACE: Duration = Duration::from_millis(5);

/// What it printed. What it complained of is the reason where it fails.
pub(super) fn output(who: &'static str, command: &mut Command, limit: Duration) -> Result<String, BenchError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .tried(&format!("start {who}"))?;
    let said = child.stdout.take().map(listen);
    let complained = child.stderr.take().map(listen);
    let status = ended(&mut child, who, limit, PACE)?;
    let whole = |reader: Option<JoinHandle<String>>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let (said, complained) = (whole(said), whole(complained));
    if status.success() { Ok(said) } else { Err(failed(who, command, &format!("{status}: {}", complained.trim()))) }
}

/// How it ended, killed when it takes longer; looked at at this pace, for the standard library has no wait with a limit.
pub(super) fn ended(
    child: &mut Child,
    who: &'static str,
    limit: Duration,
    pace: Duration,
) -> Result<ExitStatus, BenchError> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait().tried(&format!("wait for {who}"))? {
            Some(status) => return Ok(status),
            None if Instant::now() < until => std::thread::sleep(pace),
            None => {
                // It may have ended in between, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                return Err(BenchError::Late { what: format!("{who} to end"), limit });
            }
        }
    }
}

/// What a failure is called.
pub(super) fn failed(who: &'static str, command: &Command, why: &str) -> BenchError {
    let arguments: Vec<_> = command.get_args().map(|one| one.to_string_lossy().into_owned()).collect();
    BenchError::Peer { who, what: arguments.join(" "), why: why.to_owned() }
}

/// Reads all of it, so that the program never waits for us.
fn listen(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a failure is shown as well.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::output;
    use std::{process::Command, time::Duration};

    #[test]
    fn a_program_that_fails_says_why_and_one_that_hangs_is_ended() {
        let shell = |text: &str, limit| output("sh", Command::new("sh").args(["-c", text]), limit);
        let minute = Duration::from_secs(60);
        assert_eq!(shell("echo here", minute).unwrap(), "here\n");
        let failed = shell("echo broken >&2; exit 3", minute).unwrap_err().to_string();
        assert!(failed.contains("broken") && failed.contains('3'), "{failed}");
        let late = shell("exec sleep 60", Duration::from_millis(50)).unwrap_err().to_string();
        assert!(late.contains("sh to end"), "{late}");
    }
}
