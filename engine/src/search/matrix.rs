//! Every proxy against a set of faults, under the steady state of one file: which runs that takes, and each one's file.
//! Pure.
//!
//! Neighbours: `squall matrix` runs the cells, `rewrite` puts a cell's method into the file, `report::matrix` draws it.
//! Invariant: a cell stays within the file's blast radius; what that forbids is shown as forbidden and never run.

use super::{
    cell::CellEnd,
    rewrite::{self, RewriteError},
};
use crate::{diagnostic::Diagnostics, experiment::BlastRadius};
use serde::Serialize;
use serde_json::Value;
use squall_wire::{FaultSpec, Protocol, ProxyName};
use std::time::Duration;

/// A fault of the set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// Its column.
    pub name: String,
    /// What is injected, as far as the matrix does not choose it.
    pub spec: FaultSpec,
}

/// The set when none is asked for: one for each way in which a network fails that a service has to survive. Late, throttled,
/// silent, refusing, resetting, babbling, one byte at a time; and what only requests or datagrams know.
const DEFAULT: [&str; 12] = [
    "{latency: {delay: 1s, jitter: 100ms}}",
    "{bandwidth: {rate: 2KB/s}}",
    "{blackhole: {}}",
    "{refuse: {}}",
    "{reset: {after: 0s}}",
    "{garbage: {style: http_noise}}",
    "{drip: {bytes: 1, every: 1s}}",
    "{slow_accept: {delay: 2s}}",
    "{http_status: {status: 503}}",
    "{loss: {}}",
    "{duplicate: {}}",
    "{reorder: {}}",
];

impl Fault {
    /// A fault as it stands in a file: a kind with its parameters, or `fault:` with what else `inject:` may say of it.
    ///
    /// # Errors
    /// Every mistake in it, with its place.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let spec = crate::inline::fault("the fault", text)?;
        let chosen =
            [("name", spec.name.is_some()), ("lease", spec.lease.is_some()), ("expires_in", spec.expires_in.is_some())];
        if let Some((key, _)) = chosen.into_iter().find(|(_, is_there)| *is_there) {
            return Err(Diagnostics::whole_file("the fault", format!("`{key}` is what the matrix chooses"), None));
        }
        Ok(Self { name: spec.fault.name().to_owned(), spec })
    }

    /// The set that is meant when none is: those of it that run on one of these protocols.
    #[must_use]
    pub fn defaults(protocols: &[Protocol]) -> Vec<Self> {
        let runs = |fault: &Self| protocols.iter().any(|protocol| fault.spec.fault.protocols().contains(protocol));
        DEFAULT.iter().filter_map(|text| Self::parse(text).ok()).filter(runs).collect()
    }

    /// Its kind and parameters, as JSON, which is YAML.
    #[must_use]
    pub fn shown(&self) -> String {
        let percent = if self.spec.percent.is_all() { String::new() } else { format!(" at {} %", self.spec.percent) };
        format!("{}{percent}", serde_json::json!(self.spec.fault).to_string().replace('"', "").replace(':', ": "))
    }
}

/// Gives each its own column: the same kind twice is told apart by its parameters.
pub fn name_apart(faults: &mut [Fault]) {
    let kinds: Vec<String> = faults.iter().map(|fault| fault.name.clone()).collect();
    for fault in faults {
        if kinds.iter().filter(|kind| **kind == fault.name).count() > 1 {
            fault.name = fault.shown();
        }
    }
}

/// A proxy of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its agent.
    pub agent: String,
    /// The proxy.
    pub proxy: ProxyName,
    /// What it speaks.
    pub protocol: Protocol,
}

/// What becomes of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is run.
    Open,
    /// The blast radius does not name the proxy.
    OutOfReach,
    /// The fault does not run on what the proxy speaks.
    OtherProtocol,
    /// It was run.
    Ended(CellEnd),
}

/// A proxy and a fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Which of the targets.
    pub target: usize,
    /// Which of the faults.
    pub fault: usize,
    /// What becomes of it.
    pub fate: Fate,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Matrix {
    /// 1.
    pub format: u32,
    /// The experiment's name.
    pub experiment: String,
    /// Its hypothesis.
    pub hypothesis: String,
    /// Where.
    pub environment: String,
    /// How long each fault stays, in seconds.
    pub seconds: f64,
    /// The rows.
    pub targets: Vec<Target>,
    /// The columns.
    pub faults: Vec<Fault>,
    /// Row by row.
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// A table with nothing run yet.
    #[must_use]
    pub fn new(
        (experiment, hypothesis, environment): (&str, &str, &str),
        lasting: Duration,
        targets: Vec<Target>,
        faults: Vec<Fault>,
        reach: &BlastRadius,
    ) -> Self {
        let fate = |target: &Target, fault: &Fault| {
            if !reach.proxies.contains(&target.proxy) {
                Fate::OutOfReach
            } else if !fault.spec.fault.protocols().contains(&target.protocol) {
                Fate::OtherProtocol
            } else {
                Fate::Open
            }
        };
        let cells = (0..targets.len()).flat_map(|target| (0..faults.len()).map(move |fault| (target, fault)));
        let cells =
            cells.map(|(target, fault)| Cell { target, fault, fate: fate(&targets[target], &faults[fault]) }).collect();
        let (experiment, hypothesis, environment) = (experiment.into(), hypothesis.trim().into(), environment.into());
        Self { format: 1, experiment, hypothesis, environment, seconds: lasting.as_secs_f64(), targets, faults, cells }
    }

    /// The cells that are to be run.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        (0..self.cells.len()).filter(|index| self.cells[*index].fate == Fate::Open).collect()
    }

    /// What a cell is, for people.
    #[must_use]
    pub fn title(&self, cell: &Cell) -> String {
        format!("{} on {}", self.faults[cell.fault].name, self.row(cell.target))
    }

    /// The name of a row: the proxy, and its agent where there are several.
    #[must_use]
    pub fn row(&self, target: usize) -> String {
        let Target { agent, proxy, .. } = &self.targets[target];
        let several = self.targets.iter().any(|other| other.agent != *agent);
        if several { format!("{agent}/{proxy}") } else { proxy.to_string() }
    }

    /// How every cell ended that was run.
    pub fn ends(&self) -> impl Iterator<Item = (&Cell, &CellEnd)> {
        self.cells.iter().filter_map(|cell| match &cell.fate {
            Fate::Ended(end) => Some((cell, end)),
            _ => None,
        })
    }

    /// The file of a cell: the experiment with this cell's fault for its method, and a name of its own, so that no run of
    /// it is taken for one of the experiment itself.
    ///
    /// # Errors
    /// When the file's sections cannot be told apart.
    pub fn file(&self, cell: &Cell, text: &str, reach: &BlastRadius) -> Result<String, RewriteError> {
        let (target, fault) = (&self.targets[cell.target], &self.faults[cell.fault]);
        // What the file allows at most.
        let percent = if fault.spec.percent > reach.percent { reach.percent } else { fault.spec.percent };
        let mut inject = serde_json::json!(FaultSpec { percent, ..fault.spec.clone() });
        inject["agent"] = target.agent.clone().into();
        inject["proxy"] = target.proxy.to_string().into();
        let lasting = squall_wire::Span::from(Duration::from_secs_f64(self.seconds));
        // JSON is YAML, and quotes what needs it.
        let method = format!(
            "method: # by squall matrix, in place of the file's own\n  - name: {}\n    inject: {}\n    for: {lasting}",
            Value::String(self.title(cell)),
            inject,
        );
        let name = format!("name: {}", self.name(cell));
        rewrite::replace(&rewrite::replace(text, "method", &method)?, "name", &name)
    }

    /// `payment-slow-matrix-latency-payment`, in the form that names have.
    fn name(&self, cell: &Cell) -> String {
        let (kind, proxy) = (self.faults[cell.fault].spec.fault.name(), self.targets[cell.target].proxy.as_str());
        let whole = format!("{}-matrix-{kind}-{proxy}", self.experiment).to_lowercase();
        let fits: String = whole.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
        fits.trim_end_matches('-').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{Fate, Fault, Matrix, Target, name_apart};
    use crate::experiment::BlastRadius;
    use squall_wire::{Percent, Protocol};
    use std::time::Duration;

    fn reach(proxies: &[&str]) -> BlastRadius {
        let proxies = proxies.iter().map(|name| name.parse().unwrap()).collect();
        BlastRadius {
            proxies,
            percent: Percent::new(50.0).unwrap(),
            agents_percent: Percent::ALL,
            duration: Duration::from_secs(60),
        }
    }

    fn target(proxy: &str, protocol: Protocol) -> Target {
        Target { agent: "main".into(), proxy: proxy.parse().unwrap(), protocol }
    }

    fn matrix(faults: Vec<Fault>) -> Matrix {
        let targets =
            vec![target("payment", Protocol::Tcp), target("dns", Protocol::Udp), target("other", Protocol::Tcp)];
        let about = ("slow", "It holds.\n", "sandbox");
        Matrix::new(about, Duration::from_secs(10), targets, faults, &reach(&["payment", "dns"]))
    }

    #[test]
    fn every_default_fault_is_one_and_runs_on_some_protocol() {
        let all = Fault::defaults(&[Protocol::Tcp, Protocol::Http, Protocol::Udp]);
        assert_eq!(all.len(), super::DEFAULT.len());
        let tcp: Vec<_> = Fault::defaults(&[Protocol::Tcp]).into_iter().map(|fault| fault.name).collect();
        assert_eq!(tcp, ["latency", "bandwidth", "blackhole", "refuse", "reset", "garbage", "drip", "slow_accept"]);
    }

    #[test]
    fn the_blast_radius_and_the_protocol_say_which_cells_are_run() {
        let matrix = matrix(Fault::defaults(&[Protocol::Tcp, Protocol::Udp]));
        let fates = |row: usize| matrix.cells.iter().filter(move |cell| cell.target == row).map(|cell| &cell.fate);
        assert_eq!(fates(0).filter(|fate| **fate == Fate::Open).count(), 8);
        assert!(fates(1).any(|fate| *fate == Fate::OtherProtocol) && fates(1).any(|fate| *fate == Fate::Open));
        assert!(fates(2).all(|fate| *fate == Fate::OutOfReach));
    }

    #[test]
    fn a_cell_is_a_file_that_says_what_is_run() {
        let faults = vec![
            Fault::parse("{latency: {delay: 1s}}").unwrap(),
            Fault::parse("{fault: {reset: {after: 0s}}, percent: 30}").unwrap(),
        ];
        let matrix = matrix(faults);
        let text = "version: 1\nname: slow # so called\nmethod:\n  - wait: 1s\nblast_radius: {}\n";
        insta::assert_snapshot!(matrix.file(&matrix.cells[0], text, &reach(&["payment"])).unwrap());
        assert!(matrix.file(&matrix.cells[1], text, &reach(&["payment"])).unwrap().contains("\"percent\":30,"));
    }

    #[test]
    fn the_same_kind_twice_has_two_columns() {
        let mut faults = vec![
            Fault::parse("{latency: {delay: 1s}}").unwrap(),
            Fault::parse("{latency: {delay: 2s}}").unwrap(),
            Fault::parse("{refuse: {}}").unwrap(),
        ];
        name_apart(&mut faults);
        let names: Vec<_> = faults.into_iter().map(|fault| fault.name).collect();
        assert_eq!(names[2], "refuse");
        assert!(names[0].contains("1s") && names[1].contains("2s"), "{names:?}");
    }

    #[test]
    fn what_is_no_fault_is_told_with_what_would_be_one() {
        for (text, part) in [
            ("{latncy: {}}", "did you mean `latency`?"),
            ("{fault: {refuse: {}}, proxy: a}", "proxy"),
            ("{fault: {refuse: {}}, name: a}", "the matrix chooses"),
        ] {
            let told = Fault::parse(text).unwrap_err().render(text, false);
            assert!(told.contains(part), "{told}");
        }
    }
}
