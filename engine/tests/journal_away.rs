//! A journal that goes away in the middle of a run: what happens waits in a spool, and comes into the journal in order
//! and once, by the same process or a later one.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod journal_places;
mod report_fixture;

use journal_places::Postgres;
use report_fixture as fixture;
use sqlx::{Connection as _, SqliteConnection};
use squall_engine::{
    event::{Event, What},
    journal::{Journal, JournalError, JournalPlace, SpoolChoice},
    record::RunRecord,
    sample::Sample,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn note(number: u64) -> Event {
    Event { at: Duration::from_millis(number), what: What::Note { text: format!("note {number}") } }
}

fn sample(number: u64) -> Sample {
    let at = Duration::from_millis(number);
    Sample { at, took: at, ok: true, status: Some(200), value: Some(0.1), text: None }
}

async fn tell(journal: &Journal, run: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        journal.event(run, &note(number)).await.unwrap();
        journal.samples(run, &vec![("probe".into(), sample(number)); 10]).await.unwrap();
    }
}

/// Every event and every sample once and in order.
fn assert_whole(run: &RunRecord, notes: u64) {
    assert_eq!(run.events, (0..notes).map(note).collect::<Vec<_>>());
    let samples: Vec<_> = (0..notes).flat_map(|number| vec![sample(number); 10]).collect();
    assert!(run.series[0].samples == samples, "{} samples, not {}", run.series[0].samples.len(), samples.len());
}

fn server(test: &str) -> Option<Postgres> {
    Postgres::start().map_err(|why| eprintln!("SKIPPED {test}: {why}")).ok()
}

async fn open(place: &JournalPlace, spools: &Path) -> Journal {
    Journal::open(place).await.unwrap().with_spool(SpoolChoice::within(spools.to_owned()))
}

fn spools(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_comes_back_has_everything_once_and_in_order() {
    let Some(mut server) = server("a_server_that_crashes_and_comes_back") else { return };
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&server.database(), directory.path()).await;
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    tell(&journal, &start.id, 0..5).await;
    server.tell("stop");
    tell(&journal, &start.id, 5..20).await;
    let news = journal.news(&start.id).await;
    assert!(news[0].starts_with("the journal is away (") && news[0].contains(".spool"), "{news:?}");
    assert_eq!(spools(directory.path()), [journal.waiting(&start.id).await.unwrap()]);
    server.tell("start");
    assert_eq!(journal.settle(&start.id, PATIENCE).await, None);
    assert_eq!(
        journal.news(&start.id).await,
        ["the journal is back: 15 events and 150 samples that waited are written"]
    );
    assert!(spools(directory.path()).is_empty());
    tell(&journal, &start.id, 20..25).await;
    journal.end_run(&start.id, &fixture::end()).await.unwrap();
    let run = journal.load(&start.id).await.unwrap();
    assert_whole(&run, 25);
    assert_eq!(run.end, Some(fixture::end()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_no_more_holds_nobody_up_for_long() {
    let Some(mut server) = server("a_server_that_answers_no_more") else { return };
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&server.database(), directory.path()).await;
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    tell(&journal, &start.id, 0..2).await;
    server.tell("freeze");
    // The first finds it out by a time-out, the others go straight to the spool.
    tokio::time::timeout(PATIENCE, tell(&journal, &start.id, 2..10)).await.unwrap();
    assert!(journal.waiting(&start.id).await.is_some());
    server.tell("thaw");
    assert_eq!(journal.settle(&start.id, PATIENCE).await, None);
    assert_whole(&journal.load(&start.id).await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_when_its_run_was_over_is_brought_in_by_the_next_process() {
    let Some(mut server) = server("what_waited_when_its_run_was_over") else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = server.database();
    let journal = open(&place, directory.path()).await;
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    tell(&journal, &start.id, 0..3).await;
    server.tell("stop");
    tell(&journal, &start.id, 3..9).await;
    journal.end_run(&start.id, &fixture::end()).await.unwrap();
    assert!(journal.settle(&start.id, Duration::from_millis(1)).await.is_some());
    assert!(Journal::open(&place).await.is_err(), "a journal that is away at the start is noticed then");
    server.tell("start");
    let other = open(&server.database(), directory.path()).await;
    assert!(other.absorb().await.is_empty(), "it waits for another journal");
    let next = open(&place, directory.path()).await;
    assert!(next.absorb().await.is_empty(), "its process lives");
    drop(journal);
    let absorbed: Vec<_> = next.absorb().await.into_iter().map(Result::unwrap).collect();
    assert_eq!((absorbed[0].events, absorbed[0].samples), (6, 60));
    assert!(spools(directory.path()).is_empty());
    let run = next.load("last").await.unwrap();
    assert_whole(&run, 9);
    assert_eq!(run.end, Some(fixture::end()));
    assert!(next.absorb().await.is_empty(), "once");
}

/// What a crash between the journal's commit and the spool's removal leaves: it comes in twice and is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_brought_in_again_changes_nothing() {
    let (files, place) = journal_places::file();
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&place, directory.path()).await;
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    tell(&journal, &start.id, 0..2).await;
    let lock = lock(&files).await;
    tell(&journal, &start.id, 2..6).await;
    journal.end_run(&start.id, &fixture::end()).await.unwrap();
    let spool = journal.waiting(&start.id).await.unwrap();
    let copy = std::fs::read(&spool).unwrap();
    drop(lock);
    assert_eq!(journal.settle(&start.id, PATIENCE).await, None);
    assert!(!spool.exists());
    std::fs::write(&spool, copy).unwrap();
    let next = open(&place, directory.path()).await;
    assert_eq!(next.absorb().await.into_iter().map(|one| one.unwrap().events).collect::<Vec<_>>(), [4]);
    assert_whole(&next.load(&start.id).await.unwrap(), 6);
}

/// Another process has the file's write lock.
async fn lock(files: &tempfile::TempDir) -> SqliteConnection {
    let path = files.path().join("deep/er/squall.db");
    let mut other = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_drops_samples_and_counts_them_and_keeps_events() {
    let (files, place) = journal_places::file();
    let directory = tempfile::tempdir().unwrap();
    let choice = SpoolChoice { directory: directory.path().to_owned(), capacity: 32 << 10 };
    let journal = Journal::open(&place).await.unwrap().with_spool(choice);
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    let lock = lock(&files).await;
    for number in 0..10 {
        journal.samples(&start.id, &vec![("probe".into(), sample(number)); 100]).await.unwrap();
        journal.event(&start.id, &note(number)).await.unwrap();
    }
    let dropped = journal.dropped(&start.id).await;
    assert!(dropped > 0 && dropped % 100 == 0, "{dropped}");
    let news = journal.news(&start.id).await;
    assert!(news[1].starts_with("the spool is full: samples are dropped"), "{news:?}");
    drop(lock);
    assert_eq!(journal.settle(&start.id, PATIENCE).await, None);
    let run = journal.load(&start.id).await.unwrap();
    assert_eq!(run.events, (0..10).map(note).collect::<Vec<_>>());
    assert_eq!(run.series[0].samples.len() as u64, 1000 - dropped);
}

#[tokio::test]
async fn without_a_spool_a_locked_journal_is_an_error() {
    let (files, place) = journal_places::file();
    let journal = Journal::open(&place).await.unwrap();
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    let _lock = lock(&files).await;
    let error = journal.event(&start.id, &note(0)).await.unwrap_err();
    assert!(matches!(error, JournalError::Write { .. }), "{error}");
}

/// On a file system of a few pages, where this may mount one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_or_read_only_is_a_journal_that_is_away() {
    let disk = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let done = std::process::Command::new("mount").args(arguments).arg(disk.path()).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=512k", "tmpfs"]) {
        return eprintln!("SKIPPED a_disk_that_is_full_or_read_only: no file system may be mounted here");
    }
    let unmount = Unmount(disk.path());
    let place = JournalPlace::from(&disk.path().join("journal.db"));
    let elsewhere = tempfile::tempdir().unwrap();
    let journal = open(&place, elsewhere.path()).await;
    let start = fixture::start();
    journal.start_run(&start).await.unwrap();
    tell(&journal, &start.id, 0..5).await;
    // Full: something else takes what is left.
    let ballast = disk.path().join("ballast");
    let mut size = 512 << 10;
    while size > 0 {
        match std::fs::write(&ballast, vec![1; size]) {
            Ok(()) => break,
            Err(_) => size -= 4 << 10,
        }
    }
    let mut number = 5;
    while journal.waiting(&start.id).await.is_none() {
        assert!(number < 2000, "it never became full");
        tell(&journal, &start.id, number..number + 1).await;
        number += 1;
    }
    std::fs::remove_file(&ballast).unwrap();
    assert!(mount(&["-o", "remount,size=64m", "tmpfs"]));
    assert_eq!(journal.settle(&start.id, PATIENCE).await, None);
    assert_whole(&journal.load(&start.id).await.unwrap(), number);
    journal.close().await;
    drop(unmount);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}
