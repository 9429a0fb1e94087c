//! Processes of the workspace's own binaries, ended by their id when the test is over.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

/// A binary of the workspace, as built beside this test.
///
/// # Panics
/// When it is not there.
#[must_use]
#[expect(clippy::expect_used, reason = "a test without its binary must fail loudly")]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let built = test.parent().and_then(Path::parent).expect("tests are built into target/PROFILE/deps").join(name);
    assert!(
        built.exists(),
        "{} is not built: run `cargo test --workspace`, or `cargo build --workspace` first",
        built.display()
    );
    built
}

/// Whether a sandbox can start a PostgreSQL server here.
#[must_use]
pub fn has_postgres() -> bool {
    let debian =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.chain(std::env::split_paths(&path)).any(|place| place.join("initdb").exists())
}

/// A process that runs.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it, both its outputs going to the log.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its process must fail loudly")]
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let out = File::create(log).expect("a log can be written");
        let err = out.try_clone().expect("a file can be shared");
        let child = command.stdin(std::process::Stdio::null()).stdout(out).stderr(err).spawn().expect("it starts");
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is not there any more.
    #[expect(clippy::expect_used, reason = "a signal to nobody is a broken test")]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has an id");
        kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[expect(clippy::expect_used, reason = "a process that cannot be waited for is a broken test")]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < until, "it did not end within {limit:?}:\n{}", self.log());
            // Polling a child: there is no event to wait for.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may have ended between the two calls, which is as good.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
