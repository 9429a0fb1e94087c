//! How quickly a program starts, does what it can do without a network, and ends: what a person waits for at each call.
//!
//! The programs take turns, so that a machine that gets busy is busy for all. Invariant: a call that fails is no figure.

use super::{Budget, Row, Sizes, peer, table::Table};
use crate::{
    error::{BenchError, Tried},
    peers,
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What `squall` promises for both calls, in milliseconds, for the median.
const MOST: f64 = 20.0;

/// The file that is checked.
const EXPERIMENT: &str = "experiments/payment-slow.yaml";

/// The same for Chaos Toolkit, which does not know ours.
const CHAOS_EXPERIMENT: &str = r#"{
  "version": "1.0.0", "title": "payment slow", "description": "the payment provider answers late",
  "steady-state-hypothesis": {"title": "customers buy", "probes": [{"type": "probe", "name": "ready", "tolerance": 200,
    "provider": {"type": "http", "url": "http://127.0.0.1:1/health/ready", "timeout": 1}}]},
  "method": [{"type": "action", "name": "wait", "provider": {"type": "process", "path": "true"}}], "rollbacks": []
}"#;

/// Bounds a call.
const CALL: Duration = Duration::from_secs(30);

/// Bounds the installation of a peer.
const INSTALL: Duration = Duration::from_secs(300);

struct Call {
    figure: &'static str,
    who: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    took: Vec<f64>,
    promise: Option<(f64, f64)>,
}

pub(super) fn measure(
    squall: &Path,
    chaos: Option<&Path>,
    sizes: &Sizes,
    budget: &Budget,
    table: &mut Table,
) -> Result<(), BenchError> {
    let directory = tempfile::tempdir().tried("make a directory")?;
    let call = |figure, who, program: &Path, arguments: &[&str], promise| Call {
        figure,
        who,
        program: program.to_owned(),
        arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
        took: Vec::new(),
        promise,
    };
    let experiment = repository()?.join(EXPERIMENT).display().to_string();
    let mut calls = vec![
        call("start: --help", "squall", squall, &["--help"], Some((0.5, MOST))),
        call("start: validate a file", "squall", squall, &["validate", &experiment], Some((0.5, MOST))),
    ];
    match peers::find("python3") {
        Some(python) => {
            calls.push(call(
                "start: python3 -c 'import argparse'",
                "python3",
                &python,
                &["-c", "import argparse"],
                None,
            ));
            let chaos = match chaos {
                Some(path) => Ok(path.to_owned()),
                None if sizes.quick => Err("a quick run installs nothing: --chaos PATH".to_owned()),
                None => install(&python, directory.path()),
            };
            match chaos {
                Ok(chaos) => {
                    let file = directory.path().join("experiment.json");
                    std::fs::write(&file, CHAOS_EXPERIMENT).tried("write an experiment")?;
                    let file = file.display().to_string();
                    calls.push(call("start: --help", "chaos", &chaos, &["--help"], None));
                    let arguments = ["--no-version-check", "validate", &file];
                    calls.push(call("start: validate a file", "chaos", &chaos, &arguments, None));
                }
                Err(why) => table.leave_out(format!("chaos ({why})")),
            }
        }
        None => table.leave_out("python3 and chaos (python3 is not installed)".to_owned()),
    }
    // Once for the page cache.
    for turn in 0..=sizes.starts {
        // The first few make a figure, however long they take.
        if turn > 3 && !budget.goes_on(turn - 1, sizes.starts) {
            break;
        }
        for call in &mut calls {
            let took = call.once(directory.path())?;
            if turn > 0 {
                call.took.push(took);
            }
        }
    }
    for call in calls {
        let Call { figure, who, took, promise, .. } = call;
        table.add(Row { figure: figure.into(), who: who.into(), unit: "ms", values: took, promise })?;
    }
    Ok(())
}

impl Call {
    fn once(&self, directory: &Path) -> Result<f64, BenchError> {
        let mut command = Command::new(&self.program);
        // Where nothing is: no configuration of a person's is read, and a log goes with the directory.
        command.args(&self.arguments).current_dir(directory).env("HOME", directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().tried(&format!("start {}", self.who))?;
        // Looked at so often that the figure is a tenth of a millisecond too high at most.
        let status = peer::ended(&mut child, self.who, CALL, Duration::from_micros(100))?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            return Err(peer::failed(self.who, &command, &format!("it ended: {status}")));
        }
        Ok(took)
    }
}

/// Where this repository is: it is built here.
pub(super) fn repository() -> Result<PathBuf, BenchError> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    ours.filter(|path| path.join(EXPERIMENT).is_file()).ok_or_else(|| BenchError::Missing(EXPERIMENT.to_owned()))
}

/// Chaos Toolkit from PyPI, in an environment of its own.
fn install(python: &Path, directory: &Path) -> Result<PathBuf, String> {
    let home = directory.join("venv");
    let run = |program: &Path, arguments: &[&str]| -> Result<(), String> {
        let mut command = Command::new(program);
        command.args(arguments);
        let ended = peer::output("python3", &mut command, INSTALL).map(drop);
        ended.map_err(|error| error.to_string())
    };
    let venv = home.display().to_string();
    run(python, &["-m", "venv", &venv])?;
    run(&home.join("bin/pip"), &["install", "--quiet", "--disable-pip-version-check", "chaostoolkit"])?;
    Ok(home.join("bin/chaos"))
}
