//! Carries out what a `run` step or its `undo` is: a program or a request, once, within its time.
//!
//! Neighbours: `steps` and `undo` call it, `squall recover` through `undo`; programs run as those of probes do.
//! Invariant: of an action that is given up no process stays, and no request is sent twice.

use crate::{
    experiment::{Action, CommandPlan, CommandRead, Late, RunExpect},
    fetch,
    probe::CommandProbe,
};
use std::{path::Path, time::Duration};

/// A longer output is a failure: nobody could use it whole.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// How an action ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// The exit code, or the status.
    pub code: Option<i32>,
    /// What it put out, without the line break at its end.
    pub output: String,
    /// Why it counts as failed, if it does.
    pub failed: Option<String>,
}

impl Done {
    fn failed(why: impl Into<String>) -> Self {
        Self { failed: Some(why.into()), ..Self::default() }
    }
}

/// Carries it out. `output` knows what earlier steps put out.
///
/// # Panics
/// Without a TLS provider installed for the process, which `main` does first.
pub async fn perform(
    action: &Action,
    expect: &RunExpect,
    timeout: Duration,
    output: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Done {
    let acting = async {
        match action {
            Action::Command { command, env, directory } => program(command, env, directory, expect, output).await,
            Action::Http { method, url, headers, body } => {
                request(method, url, headers, body.as_ref(), expect, output).await
            }
        }
    };
    match tokio::time::timeout(timeout, acting).await {
        Ok(Ok(done)) => contains(done, expect),
        Ok(Err(why)) => Done::failed(why),
        Err(_) => Done::failed(format!("it took longer than {}", squall_wire::Span::from(timeout))),
    }
}

fn contains(mut done: Done, expect: &RunExpect) -> Done {
    if let Some(wanted) = &expect.contains
        && done.failed.is_none()
        && !done.output.contains(wanted.as_str())
    {
        done.failed = Some(format!("its output does not contain `{wanted}`"));
    }
    done
}

type Known<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

fn all(texts: &[(String, Late)], output: Known<'_>) -> Result<Vec<(String, String)>, String> {
    texts.iter().map(|(name, text)| Ok((name.clone(), text.filled(output)?))).collect()
}

async fn program(
    command: &[Late],
    env: &[(String, Late)],
    directory: &Path,
    expect: &RunExpect,
    output: Known<'_>,
) -> Result<Done, String> {
    let words: Vec<String> = command.iter().map(|text| text.filled(output)).collect::<Result<_, _>>()?;
    let (program, arguments) = words.split_first().ok_or("no program is named")?;
    let plan = CommandPlan {
        program: program.clone(),
        arguments: arguments.to_vec(),
        env: all(env, output)?,
        directory: directory.to_owned(),
        read: CommandRead::ExitCode,
    };
    let (said, complaint, status) = CommandProbe::new(&plan).end().await?;
    let code = status.code();
    let succeeded = match code {
        Some(code) if expect.codes.is_empty() => code == 0,
        Some(code) => expect.codes.iter().any(|expected| i32::from(*expected) == code),
        None => false,
    };
    let last_line = complaint.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim()));
    let ended = code.map_or_else(|| status.to_string(), |code| format!("exit code {code}"));
    let failed = (!succeeded).then(|| format!("{ended}{}", last_line.unwrap_or_default()));
    Ok(Done { code, output: said.trim_end_matches(['\n', '\r']).to_owned(), failed })
}

async fn request(
    method: &str,
    url: &Late,
    headers: &[(String, Late)],
    body: Option<&Late>,
    expect: &RunExpect,
    output: Known<'_>,
) -> Result<Done, String> {
    let url: reqwest::Url = url.filled(output)?.parse().map_err(|error| format!("its URL is none: {error}"))?;
    let method: reqwest::Method = method.parse().map_err(|_| format!("`{method}` is not an HTTP method"))?;
    let mut request = fetch::client(0).map_err(|error| error.to_string())?.request(method, url);
    for (name, value) in all(headers, output)? {
        let value = reqwest::header::HeaderValue::from_str(&value)
            .map_err(|_| format!("the value of header `{name}` cannot be sent"))?;
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(body.filled(output)?);
    }
    let response = request.send().await.map_err(|error| fetch::cause(&error))?;
    let status = response.status().as_u16();
    let body = fetch::body(response, LONGEST_OUTPUT).await.map_err(|error| error.to_string())?;
    let succeeded = if expect.codes.is_empty() { status < 400 } else { expect.codes.contains(&status) };
    let failed = (!succeeded).then(|| format!("status {status}"));
    Ok(Done { code: Some(status.into()), output: String::from_utf8_lossy(&body).trim_end().to_owned(), failed })
}
