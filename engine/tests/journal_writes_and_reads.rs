//! The journal over a real file and a real PostgreSQL: what is written comes back, from one process or two, after a crash or a clean end.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod journal_places;
mod report_fixture;

use journal_places::on_both;
use report_fixture as fixture;
use squall_engine::{
    event::{Event, What},
    experiment::Secrets,
    journal::{Journal, JournalError, JournalPlace, RunFilter},
    record::{RunRecord, RunStart},
    sample::Sample,
    verdict::Verdict,
};
use std::{path::Path, sync::Arc, time::Duration};

async fn write(journal: &Journal, record: &RunRecord) {
    let id = &record.start.id;
    journal.start_run(&record.start).await.unwrap();
    for event in &record.events {
        journal.event(id, event).await.unwrap();
    }
    for some in fixture::mixed(&record.series).chunks(1_700) {
        journal.samples(id, some).await.unwrap();
    }
    if let Some(end) = &record.end {
        journal.end_run(id, end).await.unwrap();
    }
}

fn started(id: &str, experiment: &str, at: &str) -> RunStart {
    RunStart { id: id.into(), experiment: experiment.into(), started_at: at.into(), ..fixture::start() }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/squall.db");
    (directory, path)
}

on_both! {
    a_whole_run_comes_back_as_it_was_written,
    only_runs_without_an_end_are_open,
    a_run_is_found_by_the_beginning_of_its_id_unless_several_begin_so,
    the_history_is_listed_newest_first_and_filtered,
    two_connections_write_at_once_and_nothing_is_lost,
    a_hundred_thousand_samples_are_written_quickly_and_in_order,
    what_belongs_to_no_run_is_refused,
    what_no_database_can_store_is_replaced,
}

async fn a_whole_run_comes_back_as_it_was_written(place: JournalPlace) {
    let mut record = fixture::record();
    let journal = Journal::open(&place).await.unwrap();
    write(&journal, &record).await;
    journal.close().await;

    let journal = Journal::open(&place).await.unwrap();
    let mut loaded = journal.load(&record.start.id).await.unwrap();
    record.series.sort_by(|a, b| a.name.cmp(&b.name));
    loaded.series.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(loaded.start, record.start);
    assert_eq!(loaded.end, record.end);
    assert_eq!(loaded.events, record.events);
    // Without the values: thousands of samples in a message help nobody.
    assert!(loaded.series == record.series, "the samples differ");
    assert_eq!(journal.load("last").await.unwrap().start, record.start);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("file");
    std::fs::write(&taken, "no directory").unwrap();
    let under_a_file = Journal::open(&taken.join("squall.db")).await.unwrap_err();
    assert!(matches!(under_a_file, JournalError::Directory { .. }), "{under_a_file}");

    let a_directory = Journal::open(directory.path()).await.unwrap_err();
    assert!(matches!(a_directory, JournalError::Unwritable { .. }), "{a_directory}");
    assert!(a_directory.to_string().contains("choose a journal where you may write"), "{a_directory}");

    let no_files_here = Journal::open(Path::new("/proc/squall.db")).await.unwrap_err();
    assert!(matches!(no_files_here, JournalError::Unwritable { .. }), "{no_files_here}");
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let text = "these are my notes, and they are not a database. ".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_journal_of_a_newer_squall_is_refused() {
    let (_directory, path) = file();
    Journal::open(&path).await.unwrap().close().await;
    let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&path)).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, X'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::Newer { version: 9999, .. }), "{error}");
}

#[tokio::test]
async fn what_was_written_survives_a_crash_without_close() {
    let (_directory, path) = file();
    let journal = Journal::open(&path).await.unwrap();
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    let events = fixture::events();
    let intent = events.iter().position(|event| matches!(event.what, What::Intent { .. })).unwrap();
    for event in &events[..=intent] {
        journal.event(&start.id, event).await.unwrap();
    }
    // What a crash leaves: the files as they are at this moment, copied while the journal is open and never closed.
    let after = tempfile::tempdir().unwrap();
    for end in ["", "-wal"] {
        let name = format!("squall.db{end}");
        std::fs::copy(path.with_file_name(&name), after.path().join(&name)).unwrap();
    }
    drop(journal);

    let reopened = Journal::open(&after.path().join("squall.db")).await.unwrap();
    let open = reopened.open_runs().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].start, start);
    assert_eq!(open[0].end, None);
    assert_eq!(open[0].events, events[..=intent]);
}

async fn only_runs_without_an_end_are_open(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    write(&journal, &fixture::record()).await;
    let died = RunRecord {
        start: started("0197b000-dead-7000-8000-000000000000", "dead", "2026-11-21T09:00:00Z"),
        end: None,
        ..fixture::record()
    };
    write(&journal, &died).await;
    let open = journal.open_runs().await.unwrap();
    assert_eq!(open, [RunRecord { series: vec![], ..died.clone() }]);

    journal.end_run(&died.start.id, &fixture::end()).await.unwrap();
    assert_eq!(journal.open_runs().await.unwrap(), []);
    let again = journal.end_run(&died.start.id, &fixture::end()).await.unwrap_err();
    assert!(matches!(again, JournalError::AlreadyEnded { .. }), "{again}");
    let never = journal.end_run("0000", &fixture::end()).await.unwrap_err();
    assert!(matches!(never, JournalError::NotFound { .. }), "{never}");
}

async fn a_run_is_found_by_the_beginning_of_its_id_unless_several_begin_so(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    for (id, at) in
        [("abc1", "2026-11-21T08:00:00Z"), ("abc2", "2026-11-21T09:00:00Z"), ("abc", "2026-11-21T07:00:00Z")]
    {
        journal.start_run(&started(id, "x", at)).await.unwrap();
    }
    assert_eq!(journal.load("abc1").await.unwrap().start.id, "abc1");
    assert_eq!(journal.load("ABC2").await.unwrap().start.id, "abc2");
    assert_eq!(journal.load("abc").await.unwrap().start.id, "abc", "a whole id is never ambiguous");
    assert_eq!(journal.load("last").await.unwrap().start.id, "abc2");
    let error = journal.load("ab").await.unwrap_err();
    assert!(matches!(&error, JournalError::Ambiguous { candidates, .. } if candidates.len() == 3), "{error}");
    for nothing in ["", "abd", "%", "a_c1"] {
        let error = journal.load(nothing).await.unwrap_err();
        assert!(matches!(error, JournalError::NotFound { .. }), "{nothing}: {error}");
    }
}

async fn the_history_is_listed_newest_first_and_filtered(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    for (id, experiment, at) in [
        ("a", "slow", "2026-11-21T08:00:00Z"),
        ("b", "slow", "2026-11-21T12:00:00+02:00"),
        ("c", "gone", "2026-11-21T09:00:00Z"),
    ] {
        journal.start_run(&started(id, experiment, at)).await.unwrap();
    }
    journal.end_run("a", &fixture::end()).await.unwrap();
    let ids = |filter: RunFilter| {
        let journal = journal.clone();
        async move { journal.runs(&filter).await.unwrap().into_iter().map(|run| run.id).collect::<String>() }
    };
    assert_eq!(ids(RunFilter::default()).await, "bca");
    assert_eq!(ids(RunFilter { limit: 2, ..RunFilter::default() }).await, "bc");
    assert_eq!(ids(RunFilter { experiment: Some("slow".into()), ..RunFilter::default() }).await, "ba");
    assert_eq!(ids(RunFilter { verdict: Some(Verdict::Deviated), ..RunFilter::default() }).await, "a");
    assert_eq!(ids(RunFilter { verdict: Some(Verdict::Held), ..RunFilter::default() }).await, "");
    let ended = journal.runs(&RunFilter { verdict: Some(Verdict::Deviated), ..RunFilter::default() }).await.unwrap();
    assert_eq!(ended[0].took, Some(fixture::end().took));
    assert_eq!(ended[0].exit_code, Some(1));
    assert_eq!(ended[0].reason, fixture::end().reasons.first().cloned());
}

async fn two_connections_write_at_once_and_nothing_is_lost(place: JournalPlace) {
    // Both make the file: neither may find it half made.
    let (one, two) = tokio::join!(Journal::open(&place), Journal::open(&place));
    let mut writers = tokio::task::JoinSet::new();
    for (id, journal) in [("one", one.unwrap()), ("two", two.unwrap())] {
        writers.spawn(async move {
            journal.start_run(&started(id, id, "2026-11-21T08:00:00Z")).await.unwrap();
            for number in 0..60u64 {
                let at = Duration::from_millis(number);
                journal.event(id, &Event { at, what: What::Note { text: format!("{id} {number}") } }).await.unwrap();
                let sample = Sample { at, took: at, ok: true, status: None, value: Some(1.5), text: None };
                journal.samples(id, &vec![(Arc::from("probe"), sample); 20]).await.unwrap();
            }
            journal.close().await;
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let journal = Journal::open(&place).await.unwrap();
    for id in ["one", "two"] {
        let run = journal.load(id).await.unwrap();
        let notes: Vec<_> = (0..60).map(|number| What::Note { text: format!("{id} {number}") }).collect();
        assert_eq!(run.events.into_iter().map(|event| event.what).collect::<Vec<_>>(), notes);
        assert_eq!(run.series[0].samples.len(), 1_200);
    }
}

async fn a_hundred_thousand_samples_are_written_quickly_and_in_order(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    let text: Arc<str> = "503 Service Unavailable".into();
    let samples: Vec<_> = (0..100_000u64)
        .map(|number| {
            let at = Duration::from_micros(number * 100);
            let sample = Sample { at, took: at, ok: true, status: Some(200), value: None, text: Some(text.clone()) };
            (Arc::from(if number % 5 == 0 { "traffic.a" } else { "traffic.b" }), sample)
        })
        .collect();
    let began = std::time::Instant::now();
    for second in samples.chunks(2_000) {
        journal.samples(&start.id, second).await.unwrap();
    }
    let took = began.elapsed();
    eprintln!("100 000 samples in {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let run = journal.load("last").await.unwrap();
    let counts: Vec<_> = run.series.iter().map(|series| (&*series.name, series.samples.len())).collect();
    assert_eq!(counts, [("traffic.a", 20_000), ("traffic.b", 80_000)]);
    assert!(run.series.iter().all(|series| series.samples.is_sorted_by_key(|sample| sample.at)));
}

#[tokio::test]
async fn no_secret_reaches_the_file() {
    const SECRET: &str = "hunter2-\"quoted\"";
    let (directory, path) = file();
    let mut secrets = Secrets::default();
    secrets.add(SECRET);
    let journal = Journal::open(&path).await.unwrap().with_secrets(secrets);

    let mut start = fixture::start();
    start.source.text = format!("token: {SECRET}");
    start.variables.insert("token".into(), SECRET.into());
    start.hypothesis = format!("the {SECRET} is safe");
    start.agents[0].url = format!("http://user:{SECRET}@127.0.0.1");
    journal.start_run(&start).await.unwrap();
    let message = format!("answered {SECRET}");
    let garbage = fixture::spec(&serde_json::json!({"garbage": {"style": {"text": SECRET}}}).to_string());
    let (step, agent) = (message.clone(), message.clone());
    for what in [
        What::Failed { message: message.clone() },
        What::Note { text: message.clone() },
        What::Breach { condition: message.clone(), measured: message.clone() },
        What::HealFailed { agent: message.clone(), cause: message.clone(), remedy: message.clone() },
        What::Intent { step, agent, proxy: "payment".parse().unwrap(), fault: garbage },
        What::Verdict { verdict: Verdict::Error, reasons: vec![message.clone()] },
    ] {
        journal.event(&start.id, &Event { at: Duration::ZERO, what }).await.unwrap();
    }
    let mut sample = fixture::series()[0].samples[0].clone();
    sample.text = Some(message.as_str().into());
    journal.samples(&start.id, &[("probe".into(), sample)]).await.unwrap();
    let mut end = fixture::end();
    end.reasons = vec![message.clone()];
    end.rows[0].shown = message.clone();
    end.aborts[0].condition = message.clone();
    end.faults[0].shown = message;
    journal.end_run(&start.id, &end).await.unwrap();

    let run = journal.load("last").await.unwrap();
    assert_eq!(run.start.source.text, "token: ***");
    assert_eq!(run.start.variables["token"], "***");
    assert_eq!(run.series[0].samples[0].text.as_deref(), Some("answered ***"));
    assert_eq!(run.end.unwrap().reasons, ["answered ***"]);
    for file in std::fs::read_dir(directory.path().join("deep/er")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    }
}

async fn what_belongs_to_no_run_is_refused(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    let note = Event { at: Duration::ZERO, what: What::Note { text: "hello".into() } };
    assert!(matches!(journal.event("nobody", &note).await, Err(JournalError::Write { .. })));
    let sample = fixture::series()[0].samples[0].clone();
    assert!(matches!(journal.samples("nobody", &[("probe".into(), sample)]).await, Err(JournalError::Write { .. })));
    let start = RunStart { started_at: "yesterday".into(), ..fixture::start() };
    assert!(matches!(journal.start_run(&start).await, Err(JournalError::StartTime { .. })));
    journal.start_run(&fixture::start()).await.unwrap();
    assert!(matches!(journal.start_run(&fixture::start()).await, Err(JournalError::Write { .. })), "the id is taken");
}

#[tokio::test]
async fn the_kind_of_every_event_is_the_word_of_its_json() {
    let (_directory, path) = file();
    let journal = Journal::open(&path).await.unwrap();
    write(&journal, &fixture::record()).await;
    let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT kind, body FROM events").fetch_all(&pool).await.unwrap();
    assert_eq!(rows.len(), fixture::events().len());
    for (kind, body) in rows {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(body["what"].get(&kind).is_some(), "{kind}: {body}");
    }
}

async fn what_no_database_can_store_is_replaced(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    journal.start_run(&RunStart { experiment: "a\0b".into(), ..fixture::start() }).await.unwrap();
    let id = &fixture::start().id;
    journal.event(id, &Event { at: Duration::ZERO, what: What::Note { text: "a\0b".into() } }).await.unwrap();
    let sample = |value: f64, text: &str| Sample {
        at: Duration::ZERO,
        took: Duration::ZERO,
        ok: true,
        status: None,
        value: Some(value),
        text: Some(text.into()),
    };
    let samples = [("probe".into(), sample(f64::NAN, "a\0b")), ("probe".into(), sample(0.1 + 0.2, ""))];
    journal.samples(id, &samples).await.unwrap();
    let run = journal.load(id).await.unwrap();
    assert_eq!(run.events[0].what, What::Note { text: "a\0b".into() });
    let [nan, exact] = &run.series[0].samples[..] else { panic!("{:?}", run.series) };
    assert_eq!((nan.value, nan.text.as_deref()), (None, Some("a\u{fffd}b")));
    assert_eq!(exact.value, Some(0.1 + 0.2));
}

#[tokio::test]
async fn a_database_that_is_no_journal_or_not_there_is_refused_with_what_to_do() {
    let Some(place) = journal_places::database("a_database_that_is_no_journal") else { return };
    let JournalPlace::Postgres(_) = &place else { panic!("{place}") };
    let pool = sqlx::PgPool::connect(&place.to_string()).await.unwrap();
    sqlx::query("CREATE TABLE runs (distance BIGINT)").execute(&pool).await.unwrap();
    let error = Journal::open(&place).await.unwrap_err();
    assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
    let left: (Option<String>,) = sqlx::query_as("SELECT to_regclass('series')::text").fetch_one(&pool).await.unwrap();
    assert_eq!(left.0, None, "left as it was");

    let nowhere = place.to_string().rsplit_once('/').unwrap().0.replace("squall@", "squall:hunter2@") + "/nowhere";
    let error = Journal::open(JournalPlace::from(&*nowhere)).await.unwrap_err().to_string();
    assert!(error.contains("database \"nowhere\" does not exist") && !error.contains("hunter2"), "{error}");
    let refused = "postgres://squall:hunter2@127.0.0.1:1/journal";
    let error = Journal::open(JournalPlace::from(refused)).await.unwrap_err().to_string();
    assert!(error.contains("onnection refused") && !error.contains("hunter2"), "{error}");
    let no_tls = format!("{place}?sslmode=require");
    let error = Journal::open(JournalPlace::from(&*no_tls)).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("tls"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_only_read_and_write_can_use_a_journal_that_is_there() {
    let Some(place) = journal_places::database("a_user_who_may_only_read_and_write") else { return };
    Journal::open(&place).await.unwrap().close().await;
    let pool = sqlx::PgPool::connect(&place.to_string()).await.unwrap();
    let role = place.to_string().rsplit_once('/').unwrap().1.replace("journal", "writer");
    for sql in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    let as_writer = JournalPlace::from(&*place.to_string().replace("squall@", &format!("{role}@")));
    write(&Journal::open(&as_writer).await.unwrap(), &fixture::record()).await;
}
