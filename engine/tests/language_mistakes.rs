//! What is told of wrong files: every mistake at once, each with its place, the right form and the nearest word.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod language_support;

use insta::assert_snapshot;
use language_support::{EXAMPLE, Loader, changed, small, told};
use squall_engine::load::decode;

#[test]
fn ten_different_mistakes_are_told_at_once() {
    let text = EXAMPLE
        .replace("name: payment-slow", "name: Payment Slow")
        .replace("tags:", "tgas:")
        .replace("rate: 200/s", "rate: 200")
        .replace("random(1, 500)", "randm(1, 500)")
        .replace("every: 500ms", "every: 1ms")
        .replace("probe: ready, status: 200", "probe: raedy, status: 200")
        .replace("p99: \"< 1500ms\"", "p99: \"< 1500\"")
        .replace("{latency: {delay: \"${delay}\"", "{latncy: {delay: \"${dely}\"")
        .replace("percent: 30", "percent: 130")
        .replace("proxy: recommendations", "proxy: recomendations")
        .replace("duration: 2m", "duration: 10s")
        .replace("baseline: 10s", "baseline: 10");
    assert_snapshot!(told(&text));
}

#[test]
fn a_misspelt_key_at_the_top_names_its_neighbour() {
    assert_snapshot!(told(&changed("steady_state:", "steady-state-hypotesis:")));
    assert_snapshot!(told(&small("rollback: [{wait: 5s}]")));
}

#[test]
fn unresolved_variables_are_told_where_they_stand() {
    assert_snapshot!(told(&changed("get: http://127.0.0.1:1/", "get: \"${shp}/a/${nobody}\"")));
}

#[test]
fn a_value_over_its_maximum_is_refused_wherever_it_comes_from() {
    let text =
        small("variables:\n  d: {default: 4s, max: 3s}\n  e: {default: 10, min: 20}\n  f: {default: fast, max: 1MB/s}");
    assert_snapshot!("maximum_in_the_file", told(&text));
    let text = small("variables: {d: {default: 1s, max: 3s}}");
    assert_snapshot!("maximum_by_set", Loader::new().set("d", "5s").told(&text));
    let mut loader = Loader::new();
    loader.environment.insert("d".into(), "1h".into());
    assert_snapshot!("maximum_by_environment", loader.told(&text));
}

#[test]
fn an_unknown_set_names_its_neighbour() {
    assert_snapshot!(Loader::new().set("dealy", "1s").told(&small("variables: {delay: {default: 1s}}")));
}

#[test]
fn variables_that_refer_to_each_other_in_a_circle_or_to_nothing_are_refused() {
    assert_snapshot!(told(&small(
        "variables:\n  a: {default: \"${b}\"}\n  b: {default: \"x${a}\"}\n  c: {}\n  d: {default: \"${\"}\n  e: 5"
    )));
}

#[test]
fn secrets_that_cannot_be_read_are_told_and_those_that_can_are_not_shown() {
    let text = small("owner: '${env:NOBODY}'\ntags: ['${file:no-such-file}', '${exec:ls}']");
    assert_snapshot!("secrets_missing", told(&text));
    let loader = Loader::new().env("TOKEN", "s3cr3t-value");
    let text = small(
        "baseline: '${env:TOKEN}'\nprobes: {a: {http: {url: 'x${env:TOKEN}'}, every: '${env:TOKEN}'}}\nlease: 'a${env:TOKEN}'",
    );
    let told = loader.told(&text);
    assert!(!told.contains("s3cr3t"), "{told}");
    assert_snapshot!("secrets_wrong", told);
}

#[test]
fn files_that_are_no_experiments_get_a_plain_message() {
    let bomb = format!(
        "a: &a [x, x, x, x, x, x, x, x, x]\n{}",
        ('b'..='i')
            .map(|c| format!("{c}: &{c} [{}]\n", format!("*{}, ", (c as u8 - 1) as char).repeat(9)))
            .collect::<String>()
    );
    let cases = [
        ("empty", String::new()),
        ("comments only", "# nothing\n".into()),
        ("nothing", "~\n".into()),
        ("a list", "- version: 1\n- name: x\n".into()),
        ("a word", "hello\n".into()),
        ("json cut off", "{\"version\": 1, \"name\": ".into()),
        ("a tab", "version: 1\nprobes:\n\tready: 5\n".into()),
        ("unbalanced", "tags: [a, b\nname: x\n".into()),
        ("a quote", "name: \"x\nversion: 1\n".into()),
        ("indentation", "version: 1\n  name: x\n".into()),
        ("unquoted template", "a: {{ uuid() }}\n".into()),
        ("unquoted variable", "a: {get: ${shop}/x}\n".into()),
        ("two documents", "version: 1\n---\nversion: 1\n".into()),
        ("twice", "version: 1\nname: a\nname: b\n".into()),
        ("a tag", "version: !!int 1\nname: !exec ls\n".into()),
        ("an alias", "a: *nothing\n".into()),
        ("its own alias", "a: &a [*a]\n".into()),
        ("a bomb", bomb),
        ("deep", format!("a: {}", "[".repeat(500))),
        ("binary", "\u{1}\u{0}\u{2}ELF".into()),
        ("large", "a".repeat(10 << 20)),
    ];
    let mut all = String::new();
    for (name, text) in cases {
        let started = std::time::Instant::now();
        let diagnostics = Loader::new().load(&text).expect_err(name);
        assert!(started.elapsed().as_secs() < 5, "{name} took {:?}", started.elapsed());
        let shown = if name == "twice" { diagnostics.mistakes[0].to_string() } else { diagnostics.to_string() };
        all.push_str(&format!("=== {name}\n{shown}\n"));
    }
    assert_snapshot!(all);
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    let message = |bytes: &[u8]| decode("x.yaml", bytes).expect_err("not UTF-8").to_string();
    assert_snapshot!(format!(
        "{}\n{}\n{}",
        message(b"name: a\nowner: J\xf6rg\n"),
        message(b"\xff\xfen\0a\0"),
        message(b"\x7fELF\x00\xff\x01")
    ));
    assert_eq!(decode("x.yaml", "name: ä".as_bytes()), Ok("name: ä"));
    assert!(decode("x.yaml", b"\xff").unwrap_err().render("", false).contains("x.yaml:1:1"));
}

#[test]
fn every_section_that_is_missing_is_told_with_what_to_write() {
    assert_snapshot!("nothing_but_a_version", told("version: 1\n"));
    assert_snapshot!("no_blast_radius", told(&changed("blast_radius: {proxies: [payment], duration: 1m}\n", "")));
    assert_snapshot!(
        "empty_sections",
        told("version: 2\nname: x\nhypothesis: ' '\nmethod: []\nsteady_state: []\nblast_radius: {}\n")
    );
}

#[test]
fn the_load_is_checked() {
    assert_snapshot!(told(&changed(
        "traffic: {rate: 10/s, requests: [{name: home, get: http://127.0.0.1:1/}]}",
        "traffic:
  rate: 0/s
  clients: 0
  timeout: 1h
  requests:
    - {name: home, get: /relative}
    - {name: home, get: http://h/, post: http://h/}
    - {name: 'a b', weight: 0}
    - {put: 'ftp://h/', json: {a: 1}, body: x, headers: {'bad name': x}}
    - {name: e, get: 'http://h/{{ rand() }}', expect: {status: [200, 999], body: x}}
    - {name: f, get: 5, expect: {status: ok}}"
    )));
}

#[test]
fn probes_are_checked() {
    assert_snapshot!(told(&small(
        "probes:
  traffic: {http: {url: 'http://h/'}}
  a: {}
  b: {http: {url: 'http://h/'}, metrics: {url: 'http://h/', select: up}}
  c: {http: {method: GTE, body: 'status'}}
  d: {metrics: {url: 'http://h/', select: 'up{', rate: true}, every: 1ms}
  e: {metrics: {url: 'http://h/', select: 'up', rate: true, quantile: 0.9}}
  f: {metrics: {url: 'http://h/', quantile: 99}}
  g: {agent: {proxy: payment, read: conections}}
  h: {agent: {proxy: 'a b', read: error_rate}, timeout: 5}
  s: {agent: {proxy: payment, group: hit, read: connections_hit}}
  t: {agent: {proxy: payment, group: spare, read: first_byte_p99}}
  i: {tpc: {address: x}}
  j: {metrics: {url: 'http://h/', select: 'up', rate: yes}}
  k: {tcp: {}}
  l: {tcp: {address: 'http://db:5432'}}
  m: {tcp: {address: db}, command: {run: [x]}}
  n: {command: {}}
  o: {command: {run: []}}
  p: {command: {run: pg_isready}}
  q: {command: {run: ['', -q], read: exit, env: {'A=B': c}}}
  r: {command: {run: [a, [b]], shell: true}}"
    )));
}

#[test]
fn rows_are_checked() {
    assert_snapshot!(told(&changed(
        "steady_state: [{probe: traffic, success_ratio: '>= 99%'}]",
        "probes: {ready: {http: {url: 'http://h/'}}, gauge: {metrics: {url: 'http://h/', select: up}}, port: {tcp: {address: 'h:1'}}, job: {command: {run: [x]}}}
steady_state:
  - {probe: traffic.hone, success_ratio: '>= 99%'}
  - {probe: traffic}
  - {success_ratio: '>= 99%'}
  - {probe: traffic, value: 5, body: x}
  - {probe: ready, value: 5, rate: 5}
  - {probe: gauge, status: 200}
  - {probe: port, value: 0}
  - {probe: job, status: 200}
  - {probe: traffic, p99: '< 5 parsecs and > 1ms', p95: '> 1ms und < 5ms'}
  - {probe: traffic, p99: within 20% of baseline, when: [before]}
  - {probe: traffic, p99: < 1s, when: [befor, after], min_samples: 0}
  - {probe: traffic, p99: < 1s, when: []}
abort_when:
  - {probe: traffic, success_ratio: '< 90%'}
  - {probe: traffic, for: 2s}
  - {probe_silent: 5s, probe: traffic}
  - {probe: raedy, status: '!= 200', for: 0s}"
    )));
}

#[test]
fn probes_of_stores_are_checked_and_a_password_is_never_told() {
    let told = told(&small(
        "probes:
  a: {promql: {}}
  b: {promql: {url: 'http://h:9090/api/v1', query: up}}
  c: {promql: {url: 'h:9090', query: ' ', headers: {Authorization: x}, token: y}}
  d: {sql: {}}
  e: {sql: {url: 'mysql://u:hunter22@h/db', query: select 1}}
  f: {sql: {url: 'postgres:///db', query: select 1}}
  g: {sql: {url: 'sqlite::memory:', query: select 1}}
  h: {sql: {url: 'postgres://u:hunter33@h/db?password=hunter44', query: '', querry: x}}
  i: {sql: {url: 'postgres://u:p@h:port/db', query: select 1}}",
    ));
    assert!(!told.contains("hunter") && !told.contains(":p@"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn windows_and_control_groups_of_rows_are_checked() {
    assert_snapshot!(told(&changed(
        "steady_state: [{probe: traffic, success_ratio: '>= 99%'}]",
        "probes: {ready: {http: {url: 'http://h/'}}, proxy: {agent: {proxy: payment, read: first_byte_p99}}, hit: {agent: {proxy: payment, group: hit, read: error_ratio}}}
steady_state:
  - {probe: traffic, burn_rate: '< 14.4', objective: 100%, windows: [5s, 30s]}
  - {probe: traffic, burn_rate: '< 14.4', objective: 101%, windows: [5s]}
  - {probe: traffic, burn_rate: within 20% of baseline}
  - {probe: traffic, burn_rate: '< 5ms', objective: 0%, windows: [30s, 30s], for: 2s}
  - {probe: traffic, success_ratio: '>= 99%', objective: 99%}
  - {probe: traffic, p99: no worse than control}
  - {probe: ready, error_ratio: no worse than control}
  - {probe: hit, p99: no worse than control}
  - {probe: proxy, p99: no worse than control, when: [after], for: 2s}
  - {probe: proxy, p99: no worse than control or within 20% of baseline}
  - {probe: proxy, max: no worse than control, mean: no worse than control, value: no worse than control}
  - {probe: proxy, p99: no worse then control, p90: no worse than control by five, error_ratio: no worse than control by 5ms}
  - {probe: proxy, p50: no worse than control or no worse than control by 5%}
  - {probe: traffic, p99: '< 1s', for: 20s}
abort_when:
  - {probe: traffic, burn_rate: '> 14.4', objective: 99.9%}
  - {probe: proxy, p99: no worse than control, for: 2s}"
    )));
}

#[test]
fn rows_of_traffic_need_traffic() {
    assert_snapshot!(told(&changed("traffic: {rate: 10/s, requests: [{name: home, get: http://127.0.0.1:1/}]}\n", "")));
}

#[test]
fn the_method_is_checked() {
    assert_snapshot!(told(&changed(
        "method: [{inject: {proxy: payment, fault: {latency: {delay: 1s}}}, for: 5s}]\nblast_radius: {proxies: [payment], duration: 1m}",
        "method:
  - {name: one, inject: {proxy: payment, fault: {latency: {delay: 1s}}}}
  - {name: one, wait: 5s, for: 5s}
  - {wait: 5s, inject: {proxy: payment, fault: {reset: {}}}, for: 1s}
  - {name: nothing}
  - {inject: {proxy: paymnet, fault: {reset: {}}}, for: 5s}
  - {inject: {proxy: payment, fault: {stall: {every: 1s, for: 2s}}, direction: up}, for: 5s}
  - {inject: {proxy: payment, fault: {stall: {every: 1s, for: 2s}}, seed: 9007199254740993}, for: 5s}
  - {inject: {proxy: payment, fault: {refuse: {}}, percent: 40, where: {client: [10.0.0.0/99]}}, for: 5s}
  - {inject: {proxy: payment, fault: refuse}, for: 5s}
  - {inject: {proxy: payment, fault: {latency: {}}}, for: 5s}
  - {inject: {proxy: payment, fault: {latency: {delay: 800, jiter: 1s}, reset: {}}}, for: 5s}
  - {inject: {proxy: payment, fault: {latency: {delay: 800, jiter: 1s}}}, for: 5s}
  - {parallel: []}
  - parallel:
      - {inject: {proxy: payment, name: a, percent: 50, fault: {reset: {}}}, for: 5m}
      - {inject: {proxy: payment, name: a, percent: 50, fault: {reset: {}}}, for: 5s}
      - {inject: {fault: {reset: {}}}, for: soon}
blast_radius: {proxies: [payment], percent: 50, duration: 1m}"
    )));
}

#[test]
fn times_of_the_run_are_checked() {
    assert_snapshot!(told(&small("baseline: 10ms\nlease: 1h\nrecovery: {within: 2s, hold: 3s, wihtin: 5s}")));
}

#[test]
fn a_method_that_only_waits_is_refused() {
    let text =
        changed("method: [{inject: {proxy: payment, fault: {latency: {delay: 1s}}}, for: 5s}]", "method: [{wait: 5s}]");
    assert_snapshot!(told(&text));
}

#[test]
fn colours_are_given_when_asked_for_and_only_then() {
    let text = small("owner: [x]");
    let diagnostics = Loader::new().load(&text).unwrap_err();
    assert!(diagnostics.render(&text, true).contains("\u{1b}["));
    assert!(!diagnostics.render(&text, false).contains('\u{1b}'));
}

#[test]
fn diagnostics_are_json_for_programs() {
    let diagnostics = Loader::new().load(&small("ownr: x\nowner: a\nowner: b")).unwrap_err();
    assert_snapshot!(serde_json::to_string_pretty(&diagnostics).unwrap());
}

#[test]
fn a_thousand_mistakes_are_counted_and_the_first_are_shown() {
    let text = small(&format!("tags: [{}]", "[x], ".repeat(1000)));
    let diagnostics = Loader::new().load(&text).unwrap_err();
    assert_eq!(diagnostics.mistakes.len(), 100);
    assert!(diagnostics.count().contains("the first 100 are shown"), "{}", diagnostics.count());
}
