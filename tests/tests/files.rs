//! Bad files: a clear message that points at the place, exit 3, and nothing is touched.

use squall_tests::{World, printed, refused};

#[test]
fn every_mistake_is_told_at_once() {
    let world = World::start();
    let changes =
        [("hypothesis:", "hypotesis:"), ("delay: 100ms", "delay: 100"), ("p99: \"< 900ms\"", "p98: \"< 900ms\"")];
    let file = world.experiment("bad.yaml", &changes);
    refused(&world, &file, &["hypotesis", "`100` has no unit", "p98", "mistakes"]);
}

#[test]
fn a_value_over_its_maximum_is_refused_from_the_command_line_too() {
    let world = World::start();
    let file = world.experiment(
        "bad.yaml",
        &[
            ("traffic:\n", "variables: {delay: {default: 100ms, max: 1s}}\ntraffic:\n"),
            ("delay: 100ms", "delay: \"${delay}\""),
        ],
    );
    let output = world.run_command(&file).args(["--set", "delay=2s"]).output().unwrap();
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("delay") && text.contains("1s"), "{text}");
}

#[test]
fn an_alias_bomb_is_refused_at_once() {
    let world = World::start();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let names = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{names}]\n");
    }
    let started = std::time::Instant::now();
    refused(&world, &world.write("bomb.yaml", &bomb), &["bomb.yaml"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_proxy_outside_the_blast_radius_is_refused() {
    let world = World::start();
    let file = world.experiment("bad.yaml", &[("proxies: [web]", "proxies: [db]")]);
    refused(&world, &file, &["blast_radius", "web"]);
}

#[test]
fn a_secret_reaches_no_output_no_journal_and_no_report() {
    let world = World::start();
    let file = world.experiment(
        "secret.yaml",
        &[(
            "get: \"${web}/\"}",
            "get: \"${web}/\", headers: {Authorization: \"Bearer ${env:SHOP_TOKEN}\", Bad: \"${file:token.txt}\"}}",
        )],
    );
    world.write("token.txt", "in-a-file-5e1f");
    let output = world.run_command(&file).env("SHOP_TOKEN", "hunter2-hunter2").args(["-v", "-v"]).output().unwrap();
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let show = world.squall().args(["report", "last", "--format", "json"]).output().unwrap();
    assert!(show.status.success(), "{}", printed(&show));
    let html: Vec<_> =
        std::fs::read_dir(world.path("squall-runs")).unwrap().flatten().map(|entry| entry.path()).collect();
    let journal = std::fs::read(world.path("journal.db")).unwrap();
    let wal = std::fs::read(world.path("journal.db-wal")).unwrap_or_default();
    let everything = [text.into_bytes(), show.stdout, std::fs::read(&html[0]).unwrap(), journal, wal].concat();
    for secret in ["hunter2-hunter2", "in-a-file-5e1f"] {
        let found = everything.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} was written somewhere");
    }
}
