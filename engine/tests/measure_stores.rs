//! Probes of what keeps figures, against the real ones: a Prometheus server that scrapes us, SQLite, a PostgreSQL server.
//! Where `prometheus` or PostgreSQL's own programs are not installed, their tests say by name that they were skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod stores_support;

use sqlx::{ConnectOptions, Executor};
use squall_engine::{
    experiment::{ProbeKind, ProbePlan, PromqlPlan, Secrets, SqlPlan},
    probe,
    recorder::Recorder,
    sample::Sample,
};
use std::{path::Path, str::FromStr, sync::Arc, time::Duration};
use stores_support::{Postgres, Prometheus};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// Reads on until a sample is as wanted, and gives it back.
async fn until(kind: ProbeKind, timeout: Duration, secrets: Secrets, wanted: impl Fn(&Sample) -> bool) -> Sample {
    let watching = Watching::start(kind, timeout, secrets);
    watching.until(wanted).await
}

/// A probe under way.
struct Watching {
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
}

impl Watching {
    fn start(kind: ProbeKind, timeout: Duration, secrets: Secrets) -> Self {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let (recorder, stop) = (Recorder::new(["p".to_owned()]), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let plan = ProbePlan { every: Duration::from_millis(50), timeout, kind };
        tasks.spawn(probe::watch("p".into(), plan, Arc::default(), secrets, Arc::clone(&recorder), stop.clone()));
        Self { recorder, stop, _tasks: tasks }
    }

    /// The next sample from now on that is as wanted.
    async fn until(&self, wanted: impl Fn(&Sample) -> bool) -> Sample {
        let (mut changes, from) = (self.recorder.changes(), self.recorder.now());
        let found = async {
            loop {
                changes.changed().await.unwrap();
                let last = self.recorder.last("p").unwrap();
                if last.at >= from && wanted(&last) {
                    return last;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no such sample in time, the last is {:?}", self.recorder.last("p")))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn promql(url: &str, query: &str) -> ProbeKind {
    ProbeKind::Promql(PromqlPlan {
        url: url.into(),
        query: query.into(),
        headers: vec![("X-Scope".into(), "a".into())],
    })
}

fn sql(url: &str, query: &str) -> ProbeKind {
    ProbeKind::Sql(SqlPlan { url: url.into(), query: query.into(), directory: ".".into() })
}

#[tokio::test]
async fn a_prometheus_server_answers_queries() {
    let Some(server) = Prometheus::start("a_prometheus_server_answers_queries").await else { return };
    let read = |query: &str, wanted: fn(&Sample) -> bool| {
        until(promql(&server.url, query), PATIENCE, Secrets::default(), wanted)
    };
    // The first scrape takes its time: until then nothing is found, which is a failed sample.
    let found = read("sum(orders_total)", |sample| sample.ok).await;
    assert_eq!((found.value, found.status), (Some(42.0), Some(200)));
    assert_eq!(read("1.5 * 2", |_| true).await.value, Some(3.0));

    let told = |sample: Sample| (sample.ok, sample.value, sample.text.unwrap().to_string());
    let nothing = told(read("orders_lost_total", |_| true).await);
    assert_eq!(nothing, (false, None, "the query found nothing: no series matches it now".to_owned()));
    let several = told(read("orders_total", |sample| sample.text.as_ref().is_some_and(|t| t.contains("2 el"))).await);
    assert!(several.2.contains("put `sum(…)` or `max(…)` around it") && several.2.contains("paid"), "{several:?}");
    let nan = told(read("0 / 0", |_| true).await);
    assert_eq!(nan, (false, None, "the query gives NaN, which is not a number to go by".to_owned()));
    let wrong = told(read("sum(", |_| true).await);
    assert!(!wrong.0 && wrong.2.starts_with("the server refused the query: "), "{wrong:?}");
    let range = told(read("up[1m]", |_| true).await);
    assert!(range.2.starts_with("the query gives a matrix, not one number"), "{range:?}");
}

#[tokio::test]
async fn what_is_no_prometheus_server_is_told_so() {
    let nobody = "http://127.0.0.1:1";
    let refused = until(promql(nobody, "up"), PATIENCE, Secrets::default(), |_| true).await;
    assert_eq!((refused.ok, refused.text.as_deref()), (false, Some("failed to connect: Connection refused")));
}

/// A database of orders, made by a connection of our own, which stays to change it.
async fn orders(path: &Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).connect().await.unwrap();
    let made = "create table orders (id integer, state text, price real); \
                insert into orders values (1, 'paid', 1.5), (2, 'stuck', 2.5), (3, 'stuck', null)";
    connection.execute(sqlx::raw_sql(made)).await.unwrap();
    connection
}

#[tokio::test]
async fn sqlite_gives_one_value_and_everything_else_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = orders(&directory.path().join("shop.db")).await;
    let read = |query: &str| {
        let plan = SqlPlan { url: "sqlite:shop.db".into(), query: query.into(), directory: directory.path().into() };
        until(ProbeKind::Sql(plan), PATIENCE, Secrets::default(), |_| true)
    };
    let stuck = read("select count(*) from orders where state = 'stuck'").await;
    assert_eq!((stuck.ok, stuck.value, stuck.text.as_deref()), (true, Some(2.0), Some("2")));
    assert_eq!(read("select price from orders where id = 2;").await.value, Some(2.5));
    let text = read("select state from orders where id = 1").await;
    assert_eq!((text.ok, text.value, text.text.as_deref()), (true, None, Some("paid")));
    for (query, told) in [
        ("select price from orders where id = 3", "the query gives null, which is no value"),
        ("select id from orders where id = 9", "the query gives no row, and one value is asked for"),
        ("select id from orders", "the query gives more than one row, and one value is asked for"),
        (
            "select id, state from orders where id = 1",
            "the query gives 2 columns (id, state), and one value is asked for",
        ),
        ("select x'00'", "the query gives a blob, which is no value to go by"),
        ("select * from order_lines", "no such table: order_lines"),
        ("delete from orders", "attempt to write a readonly database"),
    ] {
        let failed = read(query).await;
        assert_eq!((failed.ok, failed.value, failed.text.as_deref()), (false, None, Some(told)), "{query}");
    }
    // One connection sees what others change meanwhile.
    let plan = SqlPlan {
        url: "sqlite:shop.db".into(),
        query: "select count(*) from orders".into(),
        directory: directory.path().into(),
    };
    let watching = Watching::start(ProbeKind::Sql(plan), PATIENCE, Secrets::default());
    assert_eq!(watching.until(|_| true).await.value, Some(3.0));
    writer.execute("delete from orders where id = 1").await.unwrap();
    watching.until(|sample| sample.value == Some(2.0)).await;
}

#[tokio::test]
async fn a_statement_of_sqlite_that_does_not_end_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let _writer = orders(&path).await;
    let endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n";
    let url = format!("sqlite:{}", path.display());
    let samples = Watching::start(sql(&url, endless), Duration::from_millis(200), Secrets::default());
    for _ in 0..2 {
        let sample = samples.until(|_| true).await;
        let text = sample.text.as_deref().unwrap();
        assert!(!sample.ok && text.starts_with("timed out"), "{sample:?}");
        assert!(sample.took < Duration::from_secs(10), "{sample:?}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_and_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.db");
    let missing =
        until(sql(&format!("sqlite:{}", path.display()), "select 1"), PATIENCE, Secrets::default(), |_| true).await;
    assert_eq!(missing.text.as_deref(), Some("failed to connect: unable to open database file"));
    assert!(!path.exists());
}

#[tokio::test]
async fn postgres_gives_one_value_of_any_type_changes_nothing_and_comes_back_after_a_restart() {
    let name = "postgres_gives_one_value_of_any_type_changes_nothing_and_comes_back_after_a_restart";
    let Some(mut server) = Postgres::start(name) else { return };
    let url = server.url();
    let mut secrets = Secrets::default();
    secrets.add_url(&url);
    let read = |query: &str, timeout| until(sql(&url, query), timeout, secrets.clone(), |_| true);
    let mut writer = sqlx::postgres::PgConnectOptions::from_str(&url).unwrap().connect().await.unwrap();
    writer.execute("create table orders (id int, price numeric)").await.unwrap();
    writer.execute("insert into orders values (1, 12.50), (2, null)").await.unwrap();
    for (query, value, text) in [
        ("select count(*) from orders", Some(2.0), "2"),
        ("select price from orders where id = 1;", Some(12.5), "12.50"),
        ("select 0.25::real", Some(0.25), "0.25"),
        ("select count(*) = 2 from orders", Some(1.0), "true"),
        ("select 'ready'", None, "ready"),
        ("select interval '90 seconds'", None, "00:01:30"),
        ("show transaction_read_only", None, "on"),
    ] {
        let sample = read(query, PATIENCE).await;
        assert_eq!((sample.ok, sample.value, sample.text.as_deref()), (true, value, Some(text)), "{query}");
    }
    for (query, told) in [
        ("select price from orders where id = 2", "the query gives null, which is no value"),
        ("select 1 where false", "the query gives no row, and one value is asked for"),
        ("select generate_series(1, 3)", "the query gives more than one row, and one value is asked for"),
        ("select 'NaN'::float8", "the query gives NaN, which is not a number to go by"),
        ("delete from orders returning 1", "cannot execute DELETE in a read-only transaction"),
        ("commit; delete from orders", "failed to connect: cannot insert multiple commands into a prepared statement"),
        ("select nothing from orders", "failed to connect: column \"nothing\" does not exist"),
    ] {
        let sample = read(query, PATIENCE).await;
        assert_eq!((sample.ok, sample.value, sample.text.as_deref()), (false, None, Some(told)), "{query}");
    }
    let slow = read("select count(*) from pg_sleep(600)", Duration::from_millis(300)).await;
    assert!(!slow.ok && slow.took < Duration::from_secs(10), "{slow:?}");
    let left = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";
    until(sql(&url, left), PATIENCE, secrets.clone(), |sample| sample.value == Some(0.0)).await;

    let watching = Watching::start(sql(&url, "select count(*) from orders"), PATIENCE, secrets.clone());
    watching.until(|sample| sample.ok).await;
    server.stop();
    let gone = watching.until(|sample| !sample.ok).await;
    assert!(!gone.text.unwrap().contains(Postgres::PASSWORD));
    server.go();
    assert_eq!(watching.until(|sample| sample.ok).await.value, Some(2.0));

    let wrong = url.replace(Postgres::PASSWORD, "no-such-password");
    let refused = until(sql(&wrong, "select 1"), PATIENCE, Secrets::default(), |_| true).await.text.unwrap();
    assert!(refused.starts_with("failed to connect: password authentication failed"), "{refused}");
    assert!(!refused.contains("no-such-password"), "{refused}");
}
