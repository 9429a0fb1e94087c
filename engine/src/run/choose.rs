//! Which agents a step touches: the one that it names, the only one, or those with its labels, and of them so many.
//! Pure.
//!
//! A share is rounded down, so that never more is touched than is written; none at all is a refusal. Agents are ranked
//! by the run's seed and their names: the same seed chooses the same agents, in every step of a run, and a larger share
//! keeps those of a smaller one. Neighbours: `plan` asks, before anything is touched.

use crate::experiment::AgentsChoice;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Labels by agent.
pub type Labels = BTreeMap<String, BTreeMap<String, String>>;

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// The agents, by name.
    pub agents: Vec<String>,
    /// How it came to that; none where a file names the agent, or there is only one.
    pub rule: Option<String>,
}

/// Chooses.
///
/// # Errors
/// Why there is none, which labels there are, or which share would choose one.
pub fn choose(wanted: &AgentsChoice, known: &Labels, seed: u64) -> Result<Choice, String> {
    let has =
        |labels: &BTreeMap<String, String>| wanted.labels.iter().all(|(label, value)| labels.get(label) == Some(value));
    let matching: Vec<&String> = known.iter().filter(|(_, labels)| has(labels)).map(|(name, _)| name).collect();
    let described: Vec<String> = wanted.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let described = described.join(", ");
    if matching.is_empty() {
        return Err(format!("no agent has {described}; {}", there_are(known)));
    }
    let (all, percent) = (matching.len(), wanted.percent);
    // A hundredth of a millionth more, for what floating point takes away: 29 % of 100 are 29.
    let exact = all as f64 * percent.fraction();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of agents")]
    let count = (exact + 1e-8).floor() as usize;
    let with = if described.is_empty() { String::new() } else { format!(" with {described}") };
    let (noun, verb) = if all == 1 { ("agent", "is") } else { ("agents", "are") };
    if count == 0 {
        let least = (100.0 / all as f64 * 100.0).ceil() / 100.0;
        return Err(format!(
            "{percent} % of {all} {noun}{with} {verb} {}, rounded down to none; write {least} or more, or `agent:` with one of {}",
            two_decimals(exact),
            matching.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        ));
    }
    let mut ranked: Vec<(u64, &String)> = matching.into_iter().map(|name| (rank(seed, name), name)).collect();
    ranked.sort();
    let mut agents: Vec<String> = ranked.into_iter().take(count).map(|(_, name)| name.clone()).collect();
    agents.sort();
    let rounded = if (exact - count as f64).abs() < 1e-6 {
        format!("{verb} {count}")
    } else {
        format!("{verb} {}, rounded down to {count}", two_decimals(exact))
    };
    Ok(Choice { agents, rule: Some(format!("{percent} % of {all} {noun}{with} {rounded}; chosen by seed {seed}")) })
}

fn two_decimals(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Which labels there are, and who has them.
fn there_are(known: &Labels) -> String {
    let mut by_label: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (agent, labels) in known {
        for (label, value) in labels {
            by_label.entry(format!("{label}={value}")).or_default().push(agent);
        }
    }
    if by_label.is_empty() {
        let agents: Vec<&str> = known.keys().map(String::as_str).collect();
        return format!(
            "no agent has labels at all (agents: {}): give them some in the environment's file",
            agents.join(", ")
        );
    }
    let all: Vec<String> = by_label.iter().map(|(label, agents)| format!("{label} ({})", agents.join(", "))).collect();
    format!("there are {}", all.join(", "))
}

/// A number that depends on seed and name alone, on every machine: the name by FNV-1a, then the seed's own random
/// stream.
fn rank(seed: u64, name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(hash);
    rng.random()
}

#[cfg(test)]
mod tests {
    use super::{Labels, choose};
    use crate::experiment::AgentsChoice;
    use proptest::prelude::*;
    use squall_wire::Percent;
    use std::collections::BTreeMap;

    fn agents(number: usize) -> Labels {
        let zone =
            |n: usize| BTreeMap::from([("zone".to_owned(), if n.is_multiple_of(2) { "a" } else { "b" }.to_owned())]);
        (0..number).map(|n| (format!("agent-{n:03}"), zone(n))).collect()
    }

    fn wanted(labels: &[(&str, &str)], percent: f64) -> AgentsChoice {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        AgentsChoice { labels, percent: Percent::new(percent).unwrap() }
    }

    #[test]
    fn a_share_is_rounded_down_and_says_so() {
        let choice = choose(&wanted(&[("zone", "a")], 50.0), &agents(6), 7).unwrap();
        assert_eq!(choice.agents.len(), 1);
        insta::assert_snapshot!(choice.rule.unwrap(), @"50 % of 3 agents with zone=a are 1.5, rounded down to 1; chosen by seed 7");
        assert_eq!(choose(&wanted(&[], 29.0), &agents(100), 7).unwrap().agents.len(), 29);
    }

    #[test]
    fn none_is_refused_and_told_what_there_is() {
        insta::assert_snapshot!(choose(&wanted(&[], 20.0), &agents(2), 7).unwrap_err(), @"20 % of 2 agents are 0.4, rounded down to none; write 50 or more, or `agent:` with one of agent-000, agent-001");
        insta::assert_snapshot!(choose(&wanted(&[("zone", "c")], 100.0), &agents(2), 7).unwrap_err(), @"no agent has zone=c; there are zone=a (agent-000), zone=b (agent-001)");
        let bare = Labels::from([("one".to_owned(), BTreeMap::new())]);
        assert!(choose(&wanted(&[("zone", "c")], 100.0), &bare, 7).unwrap_err().contains("no agent has labels at all"));
    }

    proptest! {
        #[test]
        fn the_same_seed_chooses_the_same_and_a_larger_share_keeps_them(seed: u64, number in 2usize..40, less in 50.0f64..100.0) {
            let known = agents(number);
            let some = choose(&wanted(&[], less), &known, seed).unwrap().agents;
            prop_assert_eq!(&some, &choose(&wanted(&[], less), &known, seed).unwrap().agents);
            let more = choose(&wanted(&[], 100.0_f64.min(less + 10.0)), &known, seed).unwrap().agents;
            prop_assert!(some.iter().all(|agent| more.contains(agent)));
        }
    }

    #[test]
    fn seeds_choose_differently() {
        let chosen = |seed| choose(&wanted(&[], 50.0), &agents(20), seed).unwrap().agents;
        assert!((0..20).map(chosen).collect::<std::collections::BTreeSet<_>>().len() > 15);
    }
}
