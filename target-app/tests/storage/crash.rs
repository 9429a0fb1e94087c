//! `kill -9` at any moment: no acknowledged order or event is lost, and nothing stays reserved for an order that does not
//! exist.
//!
//! The shop, the inventory and payment are processes of their own, so that only the shop dies. Customers buy all the
//! time and ask again when they get no answer. Moments come from a seed (`SQUALL_SEED`). Invariant: with compensation
//! or idempotency switched off the same books do not agree, so the test can fail.

use crate::{
    books::{Books, Told, customer},
    kinds::{Database, on_both},
    support::Customer,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_squall-shop");
const CUSTOMERS: i64 = 6;
/// A shop answers so many orders before it is killed, however slow the machine is.
const ORDERS: u64 = 4;
/// For a process to be ready, and for the books to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process, killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    async fn start(directory: &Path, name: &str, words: &[String]) -> (Self, SocketAddr) {
        let ready = directory.join(format!("{name}.json"));
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(PROGRAM);
        let command =
            command.args(words).arg("--ready-file").arg(&ready).arg("--log").arg("error").stderr(Stdio::inherit());
        let mut process = Self(command.spawn().unwrap());
        let begun = Instant::now();
        while !ready.exists() {
            assert_eq!(process.0.try_wait().unwrap(), None, "{name} ended before it was ready");
            assert!(begun.elapsed() < PATIENCE, "{name} was never ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The file appears whole.
        let addresses: BTreeMap<String, SocketAddr> = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        (process, addresses[name])
    }
}

struct Town {
    directory: tempfile::TempDir,
    database: Database,
    without: &'static str,
    inventory: (Process, SocketAddr),
    payment: (Process, SocketAddr),
}

impl Town {
    async fn open(database: Database, without: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dependency = |name: &str, latency: &str| ["dependency", name, "--latency", latency].map(str::to_owned);
        let inventory = Process::start(directory.path(), "inventory", &dependency("inventory", "2ms")).await;
        let payment = Process::start(directory.path(), "payment", &dependency("payment", "6ms")).await;
        Self { directory, database, without, inventory, payment }
    }

    async fn shop(&self) -> (Process, SocketAddr) {
        let mut words = vec!["serve".to_owned(), "--database".to_owned(), self.database.0.clone()];
        words.extend(["--order-budget", "2s", "--shutdown-pause", "0s"].map(str::to_owned));
        words.extend(["payment", "recommendations", "reviews", "facets", "inventory"].map(|name| {
            let (_, address) = if name == "payment" { &self.payment } else { &self.inventory };
            format!("--{name}=http://{address}")
        }));
        if !self.without.is_empty() {
            words.extend(["--without", self.without].map(str::to_owned));
        }
        Process::start(self.directory.path(), "shop", &words).await
    }

    /// Customers buy while the shop is killed so many times.
    async fn kill(&self, times: u32, seed: u64) -> Vec<Told> {
        let mut moments = StdRng::seed_from_u64(seed);
        let (mut shop, address) = self.shop().await;
        let (tell, address) = watch::channel(address);
        let stop = CancellationToken::new();
        let (tell_answered, mut answered) = watch::channel(0);
        let mut customers = JoinSet::new();
        for n in 0..CUSTOMERS {
            customers.spawn(customer(address.clone(), n * 1000, tell_answered.clone(), stop.clone()));
        }
        for _ in 0..times {
            let enough = *answered.borrow() + ORDERS;
            let working = answered.wait_for(|answered| *answered >= enough);
            tokio::time::timeout(PATIENCE, working).await.expect("orders are answered").unwrap();
            tokio::time::sleep(Duration::from_millis(moments.random_range(0..500))).await;
            shop.0.kill().unwrap();
            drop(shop);
            let address;
            (shop, address) = self.shop().await;
            tell.send_replace(address);
        }
        stop.cancel();
        let told = customers.join_all().await;
        // What was under way when the last one died is undone when its time is over.
        let begun = Instant::now();
        while self.database.number("SELECT COUNT(*) FROM outbox WHERE state <> 'done'").await > 0 {
            assert!(begun.elapsed() < PATIENCE, "the outbox was never empty");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        told
    }

    async fn books(&self, told: &[Told]) -> Books {
        let (inventory, payment) = (Customer::at(self.inventory.1), Customer::at(self.payment.1));
        Books::look(&self.database, told, &inventory, &payment).await
    }
}

fn seed() -> u64 {
    let given = std::env::var("SQUALL_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(rand::random)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_shop_loses_nothing_that_it_acknowledged() {
    on_both("kill -9", async |database| {
        let (seed, begun) = (seed(), Instant::now());
        let town = Town::open(database, "").await;
        let told = town.kill(15, seed).await;
        let books = town.books(&told).await;
        eprintln!("seed {seed}, {:.1} s: {books:?}", begun.elapsed().as_secs_f64());
        assert_eq!(books.wrong(), [""; 0], "SQUALL_SEED={seed}: {books:?}");
        assert!(books.told >= 60, "there was little to lose: {books:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_compensation_or_idempotency_the_same_books_do_not_agree() {
    on_both("kill -9 without", async |database| {
        let town = Town::open(database, "compensation").await;
        let books = town.books(&town.kill(5, seed()).await).await;
        assert!(books.wrong().contains(&"reserved and ordered pieces differ"), "{books:?}");
    })
    .await;
    on_both("kill -9 without", async |database| {
        let town = Town::open(database, "idempotency").await;
        // Each fifth order of a customer is sent twice at once: four orders a kill bring at least one to the fifth.
        let books = town.books(&town.kill(8, seed()).await).await;
        assert!(books.wrong().contains(&"there are more orders than customers were told of"), "{books:?}");
    })
    .await;
}
