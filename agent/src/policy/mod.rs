//! What this agent will never do, whoever asks: the `policy:` of its configuration.
//!
//! ```yaml
//! policy:
//!   upstreams: {allowed: [10.0.0.0/8, "*.staging.internal"], never: [10.9.0.0/16, "*prod*"]}
//!   listen: {allowed: [127.0.0.0/8]}
//!   tls_files: /etc/squall/tls
//!   kinds: [latency, bandwidth, reset]
//!   max_percent: 50
//!   max_fault_duration: 10m
//!   require_lease: true
//!   protected: [ledger]
//! ```
//! Neighbours: `registry` asks before it changes anything, `socket::dial` before it connects; `upstreams` has the rules
//! for addresses. Invariant: pure, and nothing changes it while the agent runs. Each refusal names its rule.

mod places;
mod upstreams;

pub use places::Listen;
pub use upstreams::{Forbidden, Upstreams};

use crate::{config::Mistake, registry::Refusal};
use serde::Deserialize;
use squall_wire::{FaultKind, LeaseId, Percent, PolicyInfo, ProxyName, ProxySpec, Span, nearest::nearest};
use std::{net::SocketAddr, path::PathBuf};

/// The rules. What is absent allows everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Where proxies may lead.
    pub upstreams: Upstreams,
    /// Where proxies may listen.
    pub listen: Listen,
    /// The directory from which alone files for TLS are read that the API names.
    pub tls_files: Option<PathBuf>,
    /// The kinds of fault that may be set.
    pub kinds: Option<Vec<String>>,
    /// The largest share of a fault.
    pub max_percent: Option<Percent>,
    /// The longest that a fault may live.
    pub max_fault_duration: Option<Span>,
    /// Faults live under leases only, and proxies are shut and moved under them only; none is deleted. Toxiproxy's clients
    /// know no leases, so what they would change is closed to them.
    pub require_lease: bool,
    /// Proxies that get no faults, and that the API does not change.
    pub protected: Vec<ProxyName>,
}

impl Policy {
    /// What makes no sense in it, with the field.
    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        let known: Vec<&str> = FaultKind::CATALOGUE.iter().map(|kind| kind.name).collect();
        let unknown = |(index, kind): (usize, &String)| {
            let meant = nearest(kind, known.iter().copied()).map(|word| format!(": did you mean `{word}`?"));
            let message = format!("there is no fault `{kind}`{}", meant.unwrap_or_default());
            Mistake::new(format!("policy.kinds[{index}]"), message)
        };
        let kinds = self.kinds.iter().flatten().enumerate();
        let mut found: Vec<_> = kinds.filter(|(_, kind)| !known.contains(&kind.as_str())).map(unknown).collect();
        if self.tls_files.as_ref().is_some_and(|directory| !directory.is_dir()) {
            let message = "is no directory on this machine: write the path of one".to_owned();
            found.push(Mistake::new("policy.tls_files", message));
        }
        if self.max_fault_duration.is_some_and(|span| span.is_zero()) {
            let message = "must be longer than `0s`: write a duration such as `10m`".to_owned();
            found.push(Mistake::new("policy.max_fault_duration", message));
        }
        found
    }

    /// As the API shows it.
    pub(crate) fn info(&self) -> PolicyInfo {
        PolicyInfo {
            upstreams: self.upstreams.info(),
            listen: self.listen.told(),
            tls_files: self.tls_files.as_ref().map(|directory| directory.display().to_string()),
            kinds: self.kinds.clone(),
            max_percent: self.max_percent,
            max_fault_duration: self.max_fault_duration,
            require_lease: self.require_lease,
            protected: self.protected.clone(),
        }
    }

    /// May a proxy be made as this, listening there? Looks at the disk.
    pub(crate) fn allow_making(&self, spec: &ProxySpec, bind: SocketAddr) -> Result<(), Refusal> {
        self.listen.check(bind)?;
        self.tls_files.as_deref().map_or(Ok(()), |directory| places::check_files(directory, spec))
    }

    /// May this fault be on this proxy, under this lease or none?
    pub(crate) fn allow_fault(
        &self,
        proxy: &ProxyName,
        kind: &FaultKind,
        percent: Percent,
        lease: Option<&LeaseId>,
    ) -> Result<(), Refusal> {
        self.refusals(proxy, kind, percent, lease).next().map_or(Ok(()), Err)
    }

    /// Each rule that such a fault would break.
    pub(crate) fn refusals(
        &self,
        proxy: &ProxyName,
        kind: &FaultKind,
        percent: Percent,
        lease: Option<&LeaseId>,
    ) -> impl Iterator<Item = Refusal> {
        let touching = self.allow_touching(proxy).err();
        let lease = (self.require_lease && lease.is_none()).then(|| {
            let message = "this agent sets faults under a lease only: take one with POST /v1/leases".to_owned();
            refusal("policy.require_lease", "lease", message)
        });
        let others = self.kinds.as_ref().filter(|kinds| !kinds.iter().any(|known| known == kind.name()));
        let kind = others.map(|kinds| {
            let message = format!("this agent sets no `{}`, only {}", kind.name(), kinds.join(", "));
            refusal("policy.kinds", "fault", message)
        });
        let percent = self.max_percent.filter(|most| percent.get() > most.get()).map(|most| {
            let message = format!("a fault of {percent} % is more than the {most} % that this agent allows");
            refusal("policy.max_percent", "percent", message)
        });
        [touching, lease, kind, percent].into_iter().flatten()
    }

    /// May a proxy be shut, moved or led elsewhere under this lease, or under none?
    pub(crate) fn allow_change(&self, lease: Option<&LeaseId>) -> Result<(), Refusal> {
        if self.require_lease && lease.is_none() {
            let message = "this agent lets proxies be shut and moved under a lease only: take one with POST \
                           /v1/leases, and name it in X-Squall-Lease";
            return Err(refusal("policy.require_lease", "lease", message.to_owned()));
        }
        Ok(())
    }

    /// May a proxy be deleted? No lease could bring it back.
    pub(crate) fn allow_deleting(&self) -> Result<(), Refusal> {
        if self.require_lease {
            let message = "this agent lets proxies be hurt under a lease only, and none could bring a deleted one back";
            return Err(refusal("policy.require_lease", "lease", message.to_owned()));
        }
        Ok(())
    }

    /// May this proxy be hurt or changed?
    pub(crate) fn allow_touching(&self, proxy: &ProxyName) -> Result<(), Refusal> {
        if !self.protected.contains(proxy) {
            return Ok(());
        }
        Err(refusal("policy.protected", "proxy", format!("proxy `{proxy}` is protected on this agent")))
    }
}

impl From<Forbidden> for Refusal {
    fn from(forbidden: Forbidden) -> Self {
        refusal(forbidden.rule(), "upstream", forbidden.to_string())
    }
}

fn refusal(rule: &'static str, field: &'static str, message: String) -> Refusal {
    Refusal::Policy { rule, field, message }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use squall_wire::{FaultSpec, LeaseId};

    fn policy(yaml: &str) -> Policy {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn refused(policy: &Policy, proxy: &str, fault: &str, lease: Option<&str>) -> Option<String> {
        let spec: FaultSpec = serde_json::from_str(fault).unwrap();
        let lease: Option<LeaseId> = lease.map(|id| id.parse().unwrap());
        let outcome = policy.allow_fault(&proxy.parse().unwrap(), &spec.fault, spec.percent, lease.as_ref());
        outcome.err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn each_rule_refuses_what_it_is_for_and_names_itself() {
        const RESET: &str = r#"{"fault": {"reset": {}}, "percent": 50}"#;
        let all = policy("");
        assert_eq!(refused(&all, "db", RESET, None), None);
        let cases = [
            ("kinds: [latency]", "db", None, "policy.kinds"),
            ("max_percent: 49.9", "db", None, "policy.max_percent"),
            ("require_lease: true", "db", None, "policy.require_lease"),
            ("protected: [db]", "db", Some("l1"), "policy.protected"),
        ];
        for (yaml, proxy, lease, rule) in cases {
            let told = refused(&policy(yaml), proxy, RESET, lease).expect(yaml);
            assert!(told.starts_with(rule), "{told}");
        }
        let passes = "{kinds: [latency, reset], max_percent: 50, require_lease: true, protected: [other]}";
        assert_eq!(refused(&policy(passes), "db", RESET, Some("l1")), None);
        assert!(refused(&policy("kinds: []"), "db", RESET, None).is_some(), "an empty list allows none");
    }

    #[test]
    fn a_kind_that_is_none_is_a_mistake_with_the_nearest_one() {
        let found = policy("{kinds: [latency, badnwidth], max_fault_duration: 0s}").mistakes();
        let told: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "policy.kinds[1]: there is no fault `badnwidth`: did you mean `bandwidth`?",
                "policy.max_fault_duration: must be longer than `0s`: write a duration such as `10m`"
            ]
        );
    }

    #[test]
    fn a_rule_that_is_not_known_is_never_ignored() {
        assert!(serde_saphyr::from_str::<Policy>("max_precent: 5").is_err());
        assert!(serde_saphyr::from_str::<Policy>("upstreams: {alowed: []}").is_err());
    }
}
