//! Reads what a program says: its exit code, or a number that it prints.
//!
//! ```text
//! spawn (own process group, no shell, few variables) ─▶ read both outputs to their ends ─▶ wait ─▶ Seen
//!          └── dropped before the end (time-out, stop, too much output): SIGKILL to the whole group
//! ```
//!
//! A program that leaves something in the background which keeps its output open has not ended: it times out.
//! Neighbours: `probe` calls it on the clock (and `run::action` for `run` steps), limits its time and takes secrets out
//! of its texts. Invariant: of a reading that was given up, no process of the group stays.

use super::{Seen, Unread};
use crate::{
    experiment::{CommandPlan, CommandRead},
    fetch::plain_cause,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{path::PathBuf, process::ExitStatus, process::Stdio};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// A number is short, and everything else on stdout is not used: more is a failed reading.
const LONGEST: u64 = 64 * 1024;
/// So much of stderr is kept for its last line; what comes after it is read and dropped, so that nobody waits for us.
const COMPLAINT: u64 = 4 * 1024;
/// The variables that a program finds, besides those that the probe gives it.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

pub(crate) struct CommandProbe {
    plan: CommandPlan,
    program: PathBuf,
}

impl CommandProbe {
    pub(crate) fn new(plan: &CommandPlan) -> Self {
        let mut plan = plan.clone();
        // Of a file that was named without a directory.
        if plan.directory.as_os_str().is_empty() {
            plan.directory = PathBuf::from(".");
        }
        let mut program = PathBuf::from(&plan.program);
        // Relative to the file; a bare name is looked for along PATH. If the working directory is gone, the path stays
        // as it is, and starting the program says what is wrong.
        if plan.program.contains('/') {
            program = plan.directory.join(program);
            program = std::path::absolute(&program).unwrap_or(program);
        }
        Self { plan, program }
    }

    pub(super) async fn read(&self) -> Result<Seen, Unread> {
        let (said, complaint, status) = self.end().await.map_err(Unread::new)?;
        self.seen(&said, &complaint, status)
    }

    /// Runs it to its end: what it printed, the beginning of what it complained of, and how it ended.
    pub(crate) async fn end(&self) -> Result<(String, String, ExitStatus), String> {
        let mut running = Running::start(self.command()).map_err(|error| {
            let cause = plain_cause(&error.to_string()).to_owned();
            format!("failed to start `{}`: {cause}", self.plan.program)
        })?;
        running.end().await
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.plan.arguments).current_dir(&self.plan.directory).env_clear();
        command.envs(PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        command.envs(self.plan.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    fn seen(&self, said: &str, complaint: &str, status: ExitStatus) -> Result<Seen, Unread> {
        let because = |what: String| match complaint.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{what}: {}", line.trim()),
            None => what,
        };
        // None: ended by a signal, which `ExitStatus` shows.
        let Some(code) = status.code() else { return Err(Unread::new(because(status.to_string()))) };
        match self.plan.read {
            CommandRead::ExitCode => {
                let failed = (code != 0).then(|| because(format!("exit code {code}")));
                Ok(Seen { value: Some(code.into()), failed, ..Seen::default() })
            }
            CommandRead::Number if code != 0 => Err(Unread::new(because(format!("exit code {code}")))),
            CommandRead::Number => match said.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Seen { value: Some(number), ..Seen::default() }),
                _ if said.trim().is_empty() => Err(Unread::new("it printed nothing, not a number")),
                _ => Err(Unread::new(format!("it printed `{}`, which is not a number", said.trim()))),
            },
        }
    }
}

/// A program under way, whose whole group dies with this value unless it has been waited for.
struct Running {
    child: Child,
    /// The group, until the program has been waited for: then its id may become somebody else's.
    group: Option<Pid>,
}

impl Running {
    fn start(mut command: Command) -> std::io::Result<Self> {
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group })
    }

    /// Both outputs, and how it ended. The error says what went wrong.
    async fn end(&mut self) -> Result<(String, String, ExitStatus), String> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        // The outputs first: as long as the program has not been waited for, its group's id is taken.
        let (said, complaint) = tokio::try_join!(whole(stdout), beginning(stderr))?;
        let status = self.child.wait().await.map_err(|error| format!("failed to wait for it: {error}"))?;
        self.group = None;
        Ok((said, complaint, status))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "a command's process group was gone already");
        }
    }
}

/// Everything that is printed, unless it is too much.
async fn whole(output: Option<impl AsyncRead + Unpin>) -> Result<String, String> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        output
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| format!("failed to read it: {error}"))?;
    }
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it printed more than {} KiB", LONGEST / 1024));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first of what is printed; the rest is read and dropped.
async fn beginning(output: Option<impl AsyncRead + Unpin>) -> Result<String, String> {
    let mut bytes = Vec::new();
    if let Some(mut output) = output {
        let failed = |error: std::io::Error| format!("failed to read it: {error}");
        (&mut output).take(COMPLAINT).read_to_end(&mut bytes).await.map_err(failed)?;
        tokio::io::copy(&mut output, &mut tokio::io::sink()).await.map_err(failed)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
