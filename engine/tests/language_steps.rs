//! The steps that are no plain faults, the choice of agents and time windows, as they are read: what is right becomes
//! what it means, and every mistake has its place and what to write.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod language_support;

use insta::assert_snapshot;
use language_support::{HEAD, Loader, loaded, told};
use squall_engine::{
    experiment::{Action, Answer, OnFailure, Rounds, Step, When},
    window::may_run,
};
use std::time::Duration;

/// A small experiment with this method.
fn method(steps: &str) -> String {
    format!("{HEAD}blast_radius: {{proxies: [payment], percent: 50, duration: 10m}}\nmethod:\n{steps}")
}

#[test]
fn a_ramp_has_levels_of_the_fault_from_one_end_to_the_other() {
    let ramp = |text: &str| match &loaded(&method(&format!("  - ramp: {{{text}}}"))).method[0] {
        Step::Ramp(ramp) => ramp.clone(),
        other => panic!("{other:?}"),
    };
    let latency = "inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, hold: 2s";
    let found = ramp(&format!("{latency}, vary: delay, to: 1s, factor: 4, expect: '>= 200ms'"));
    let shown: Vec<_> = found.levels.iter().map(|level| level.shown.as_str()).collect();
    assert_eq!(shown, ["50ms", "200ms", "800ms", "1s"]);
    let last = serde_json::to_value(&found.inject.as_ref().unwrap().fault.fault).unwrap();
    assert_eq!(last["latency"]["delay"], "1s");
    // Each level is held, and waits for the load's time-out at most.
    assert_eq!(found.duration(), Duration::from_secs(4 * (2 + 5)));
    assert!(found.expect.unwrap().is_time);

    let found = ramp(&format!("{latency}, vary: percent, from: 10, to: 50, steps: 3"));
    assert_eq!(found.levels.iter().map(|level| level.value).collect::<Vec<_>>(), [10.0, 30.0, 50.0]);
    let down = ramp(
        "inject: {proxy: payment, percent: 50, fault: {bandwidth: {rate: 1MB/s}}}, hold: 2s, vary: rate, to: 10KB/s, factor: 10",
    );
    assert_eq!(
        down.levels.iter().map(|level| level.shown.as_str()).collect::<Vec<_>>(),
        ["1MB/s", "100KB/s", "10KB/s"]
    );
    let traffic = ramp("vary: traffic.rate, to: 100/s, steps: 2, hold: 2s");
    assert!(traffic.inject.is_none());
    assert_eq!(traffic.levels[1].value, 100.0);
}

#[test]
fn what_is_wrong_with_a_ramp_is_told() {
    let steps = "
  - ramp: {vary: dealy, inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, to: 1s, steps: 3, hold: 1s}
  - ramp: {vary: delay, inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, to: 1MB, steps: 3, hold: 1s}
  - ramp: {vary: percent, inject: {proxy: payment, percent: 10, fault: {latency: {delay: 50ms}}}, to: 80, steps: 3, hold: 1s}
  - ramp: {vary: delay, inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, to: 1s, steps: 3, factor: 2, hold: 1s}
  - ramp: {vary: delay, inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, to: 50ms, steps: 3, hold: 1s}
  - ramp: {vary: delay, inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, to: 1s, factor: 1, hold: 1s}
  - ramp: {vary: delay, inject: {proxy: payment, percent: 50, fault: {latency: {delay: 50ms}}}, to: 1s, steps: 3, hold: 1s, expect: fast}
  - ramp: {vary: delay, to: 1s}
  - ramp: {vary: traffic.rate, inject: {proxy: payment, fault: {reset: {}}}, to: 9/s, steps: 2, hold: 1s}
    for: 5s
";
    assert_snapshot!(told(&method(steps)));
}

#[test]
fn a_surge_is_another_load_for_a_while_and_needs_no_proxy() {
    let text = format!(
        "{HEAD}blast_radius: {{duration: 1m}}\nmethod:\n  - surge: {{rate: 600/s}}\n    for: 20s\n  - {{surge: {{rate: 30/m}}, for: 5s, name: lull}}\n"
    );
    let experiment = loaded(&text);
    let [Step::Surge(surge), Step::Surge(lull)] = experiment.method.as_slice() else { panic!() };
    assert_eq!((surge.name.as_str(), surge.rate, surge.lasting), ("surge of 600/s", 600.0, Duration::from_secs(20)));
    assert_eq!((lull.name.as_str(), lull.rate), ("lull", 0.5));
    assert!(experiment.blast_radius.proxies.is_empty());
    let with_fault =
        text.replace("  - {surge", "  - {inject: {proxy: payment, fault: {reset: {}}}, for: 1s}\n  - {surge");
    assert!(told(&with_fault).contains("`proxies` is missing here"));
}

#[test]
fn what_is_wrong_with_surges_and_setups_is_told() {
    let steps = "
  - surge: {rate: 600/s}
  - {surge: {}, for: 1s}
  - {surge: {rate: 0/s}, for: 1s}
  - {surge: {rate: 50/s}, for: 1s}
  - {surge: {rate: 600, lasting: 1s}, for: 1s}
  - wait: 1s
    for: 1s
  - parallel:
      - {surge: {rate: 600/s}, for: 1s, name: one}
      - {repeat: {times: 2, steps: [{surge: {rate: 700/s}, for: 1s}]}, name: other}
";
    let setup = "setup:
  - {inject: {proxy: payment, fault: {reset: {}}}, for: 1s}
  - run: {command: [./seed.sh, '${steps.later.output}']}
  - {name: later, run: {command: [./later.sh]}}
";
    assert_snapshot!(told(&format!("{setup}{}", method(steps))));
    let without = method("  - {surge: {rate: 600/s}, for: 1s}\n").replace("traffic:", "x-traffic:");
    assert!(told(&without).contains("there is no load that could surge"), "{}", told(&without));
    assert!(told(&format!("setup: []\n{}", method("  - wait: 1s\n"))).contains("the setup is empty"));
}

#[test]
fn what_is_set_up_can_be_used_in_the_method() {
    let steps = "  - {name: use, run: {command: [./use.sh, '${steps.seed.output}']}}\n";
    let undo = "{command: [./unseed.sh, '${steps.seed.output}']}";
    let setup = format!("setup:\n  - {{name: seed, run: {{command: [./seed.sh], undo: {undo}}}}}\n  - wait: 1s\n");
    let text = format!("{setup}{}", method(steps));
    let experiment = loaded(&text);
    assert_eq!(experiment.setup.iter().map(Step::name).collect::<Vec<_>>(), ["seed", "wait 1s"]);
    assert_eq!(experiment.method.len(), 1);
}

#[test]
fn programs_and_requests_are_read_with_the_outputs_that_they_use() {
    let steps = "
  - name: login
    run: {http: {url: 'http://127.0.0.1:1/login', json: {user: chaos}}, expect: {status: [200, 201]}, secret: true}
  - name: flag
    run:
      command: [./flag.sh, '${steps.login.output:$.token}']
      env: {MODE: on}
      timeout: 5s
      on_failure: continue
      undo: {command: [./flag.sh, --off, '${steps.flag.output}'], timeout: 10s}
  - pause: {question: 'Is ${steps.flag.output} on?', timeout: 1m, default: continue}
";
    let experiment = loaded(&method(steps));
    let Step::Run(login) = &experiment.method[0] else { panic!() };
    let Action::Http { method: verb, body: Some(body), headers, .. } = &login.action else { panic!() };
    assert_eq!((verb.as_str(), body.shown().as_str()), ("POST", r#"{"user":"chaos"}"#));
    assert_eq!(headers[0].0, "content-type");
    assert!(login.secret && login.expect.codes == [200, 201]);
    let Step::Run(flag) = &experiment.method[1] else { panic!() };
    assert_eq!((flag.timeout, flag.on_failure), (Duration::from_secs(5), OnFailure::Continue));
    let Action::Command { command, .. } = &flag.action else { panic!() };
    let known = |step: &str| (step == "login").then(|| r#"{"token": "t-1"}"#.to_owned());
    assert_eq!(command[1].filled(known).unwrap(), "t-1");
    assert_eq!(flag.undo.as_ref().unwrap().action.texts()[2].shown(), "${steps.flag.output}");
    let Step::Pause(pause) = &experiment.method[2] else { panic!() };
    assert_eq!((pause.question.shown().as_str(), pause.default), ("Is ${steps.flag.output} on?", Answer::Continue));
}

#[test]
fn outputs_in_json_are_values_or_parts_of_texts() {
    let steps = "
  - name: order
    run: {command: [echo]}
  - run: {http: {url: 'http://127.0.0.1:1/${steps.order.output:$.id}', json: {id: '${steps.order.output:$.id}', note: 'say ${steps.order.output:$.name}', all: [1, true]}}}
";
    let experiment = loaded(&method(steps));
    let Step::Run(run) = &experiment.method[1] else { panic!() };
    let Action::Http { url, body: Some(body), .. } = &run.action else { panic!() };
    let known = |_: &str| Some(r#"{"id": 7, "name": "a \"b\""}"#.to_owned());
    assert_eq!(url.filled(known).unwrap(), "http://127.0.0.1:1/7");
    assert_eq!(body.filled(known).unwrap(), r#"{"id":7,"note":"say a \"b\"","all":[1,true]}"#);
}

#[test]
fn what_is_wrong_with_programs_and_requests_is_told() {
    let steps = "
  - name: one
    run: {command: [echo, '${steps.two.output}'], expect: {status: 200}}
  - name: two
    run: {command: [echo, '${steps.oen.output}'], http: {url: 'http://127.0.0.1:1/'}}
  - run: {}
  - run: {http: {url: shop, method: FETCH}, env: {A: b}}
  - run: {command: [echo, '${steps.one.output:$[}']}
  - run: {command: [echo, '${steps.one.status}'], timeout: 2h}
  - parallel:
      - {name: left, run: {command: [echo]}}
      - {name: right, run: {command: [echo, '${steps.left.output}']}}
  - wait: '${steps.one.output}'
";
    assert_snapshot!(told(&method(steps)));
}

#[test]
fn checks_questions_and_rounds_are_read() {
    let steps = "
  - repeat:
      times: 3
      steps:
        - {inject: {proxy: payment, percent: 50, fault: {latency: {delay: 1s}}}, for: 2s}
        - {wait: 1s}
  - check: {over: 5s, when: after, on_failure: stop}
  - repeat: {for: 10s, steps: [{wait: 3s}]}
";
    let experiment = loaded(&method(steps));
    let Step::Repeat(repeat) = &experiment.method[0] else { panic!() };
    assert_eq!((repeat.rounds, repeat.duration()), (Rounds::Times(3), Duration::from_secs(9)));
    let Step::Check(check) = &experiment.method[1] else { panic!() };
    assert_eq!((check.when, check.on_failure), (When::After, OnFailure::Stop));
    assert_eq!(experiment.method[2].duration(), Duration::from_secs(13));
}

#[test]
fn what_is_wrong_with_checks_questions_and_rounds_is_told() {
    let steps = "
  - check: {}
  - pause: {question: '', timeout: 0s}
  - repeat: {times: 3, for: 5s, steps: [{wait: 1s}]}
  - repeat: {times: 0, steps: []}
  - repeat: {for: 5s, steps: [{check: {over: 1s}}, {run: {command: [x], timeout: 1ms}}]}
  - repeat: {times: 900, steps: [{wait: 1s}]}
    wait: 5s
  - repaet: {}
";
    assert_snapshot!(told(&method(steps)));
    let long = method(
        "  - repeat: {times: 1000, steps: [{inject: {proxy: payment, percent: 50, fault: {latency: {delay: 1s}}}, for: 1s}]}",
    );
    assert_snapshot!("rounds_count", told(&long));
    let never = long.replace("success_ratio: '>= 99%'}", "success_ratio: '>= 99%', when: [before]}");
    let never = never.replace("times: 1000, steps: [", "times: 2, steps: [{check: {over: 1s}}, ");
    assert_snapshot!("no_row_for_a_check", told(&never));
}

#[test]
fn agents_are_chosen_by_labels_and_share_within_the_blast_radius() {
    let some = "inject: {agents: {labels: {zone: a}, percent: 50}, proxy: payment, percent: 50, fault: {latency: {delay: 1s}}}\n    for: 2s";
    let experiment = loaded(&method(&format!("  - {some}")));
    let chosen = experiment.method[0].injections()[0].agents.clone().unwrap();
    assert_eq!((chosen.labels["zone"].as_str(), chosen.percent.get()), ("a", 50.0));
    let both = some.replace("agents:", "agent: eu, agents:").replace("percent: 50}", "percent: 0}");
    assert_snapshot!(told(&method(&format!("  - {both}"))));
}

#[test]
fn windows_are_days_and_times_in_a_zone() {
    let text = |windows: &str| {
        method(&format!(
            "  - {{inject: {{proxy: payment, percent: 50, fault: {{reset: {{}}}}}}, for: 2s}}\nwindows: {windows}"
        ))
    };
    let experiment = loaded(&text(
        "[{days: mon-fri, from: '22:00', to: '04:00', zone: Europe/Berlin}, {days: 'sat, sun', zone: UTC}]",
    ));
    let at = |time: &str| may_run(&experiment.windows, time.parse().unwrap(), Duration::from_secs(60));
    assert_eq!(at("2026-11-25T23:30:00Z"), Ok(()));
    assert!(at("2026-11-25T12:00:00Z").unwrap_err().contains("mon-fri 22:00–04:00 Europe/Berlin or sat, sun"));
    assert_eq!(at("2026-11-28T12:00:00Z"), Ok(()));
    let wrong = "
  - {days: mon-fry, from: '9:00', to: '25:00', zone: Europe/Berln}
  - {from: '09:00', to: '09:00', zone: UTC}
  - {days: mon}
  - {day: mon, zone: UTC}
";
    assert_snapshot!(told(&text(wrong)));
    assert_snapshot!("no_window", told(&text("[]")));
    assert!(Loader::new().load(&text("[{zone: UTC}]")).is_ok());
}

#[test]
fn a_method_that_touches_no_proxy_needs_none_in_its_blast_radius() {
    let with = |radius: &str, steps: &str| format!("{HEAD}blast_radius: {{{radius}duration: 10m}}\nmethod:\n{steps}");
    let request = "  - run: {http: {url: 'http://127.0.0.1:1/'}}\n";
    for radius in ["", "proxies: [], "] {
        assert!(loaded(&with(radius, request)).blast_radius.proxies.is_empty());
    }
    let fault = "  - {inject: {proxy: payment, fault: {reset: {}}}, for: 1s}\n";
    assert!(told(&with("proxies: [], ", fault)).contains("the blast radius holds no proxy"));
    assert!(told(&with("", fault)).contains("`proxies` is missing here"));
}
