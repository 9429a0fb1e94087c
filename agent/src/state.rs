//! The state file: what comes back after a restart, the proxies and a halt. Never a fault: a restarted agent is a
//! healed agent.
//!
//! ```text
//! change ──▶ temporary file ──▶ fsync ──▶ rename over FILE ──▶ fsync of the directory
//! ```
//!
//! Neighbours: `registry` writes it after each change, `agent` reads it once at the start.
//! Invariant: at every moment FILE is whole, the old one or the new one; what cannot be read is never written over.

use serde::{Deserialize, Serialize};
use squall_wire::{Halt, ProxyName, ProxySpec};
use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The one version of the format so far.
const VERSION: u32 = 1;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there and cannot be read.
    #[error("failed to read the state file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no state of this agent's.
    #[error(
        "the state file {} is damaged ({cause}) and was left as it is: repair it, or move it away to start afresh",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        cause: String,
    },
    /// It cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    proxies: Vec<ProxySpec>,
    // An agent that does not know it yet refuses the file, rather than to take faults while it is halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    halt: Option<Halt>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    any_port: BTreeSet<ProxyName>,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// The proxies.
    pub proxies: Vec<ProxySpec>,
    /// The halt that was in effect.
    pub halt: Option<Halt>,
    /// Those that were asked for on any free port. They are kept with the one that they had.
    pub any_port: BTreeSet<ProxyName>,
}

/// What the last run left; nothing when the file is not there yet.
///
/// # Errors
/// When it is there and is not a whole state file of a known version.
pub fn load(path: &Path) -> Result<Saved, StateError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
        Err(source) => return Err(StateError::Read { path: path.into(), source }),
    };
    let damaged = |cause: String| StateError::Damaged { path: path.into(), cause };
    let state: State = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if state.version != VERSION {
        return Err(damaged(format!("version {} is not known to this agent", state.version)));
    }
    Ok(Saved { proxies: state.proxies, halt: state.halt, any_port: state.any_port })
}

/// Whether it could be read and written here, as far as that is known without writing. Blocks on the disk.
///
/// # Errors
/// When it cannot.
pub fn check(path: &Path) -> Result<(), StateError> {
    load(path)?;
    let looked = std::fs::metadata(directory_of(path));
    let found = looked.and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
    found.map_err(|source| StateError::Write { path: path.into(), source })
}

/// Writes it down. Blocks on the disk.
///
/// # Errors
/// When the disk refuses; the old file is still whole then.
pub fn save(path: &Path, saved: Saved) -> Result<(), StateError> {
    let failed = |source: io::Error| StateError::Write { path: path.into(), source };
    let Saved { proxies, halt, any_port } = saved;
    let state = State { version: VERSION, proxies, halt, any_port };
    let mut text = serde_json::to_vec_pretty(&state).map_err(|e| failed(e.into()))?;
    text.push(b'\n');
    write_atomically(path, &text).map_err(failed)
}

/// Puts a file in place as a whole, and returns when it would survive a power cut.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(directory)?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::{Saved, StateError, check, load, save};
    use squall_wire::Halt;

    fn spec() -> squall_wire::ProxySpec {
        serde_json::from_str(r#"{"name": "db", "listen": "127.0.0.1:4000", "upstream": "localhost:5432"}"#).unwrap()
    }

    fn saved() -> Saved {
        Saved { proxies: vec![spec()], ..Saved::default() }
    }

    #[test]
    fn what_was_saved_is_loaded_and_no_other_file_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        assert_eq!(load(&path).unwrap(), Saved::default(), "no file yet is no error");
        save(&path, saved()).unwrap();
        save(&path, saved()).unwrap();
        assert_eq!(load(&path).unwrap(), saved());
        let halt = Halt { reason: "a fire".into(), who: "ann".into(), since: "now".into() };
        let halted = Saved { halt: Some(halt), any_port: [spec().name].into(), ..saved() };
        save(&path, halted.clone()).unwrap();
        assert_eq!(load(&path).unwrap(), halted);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        save(&path, saved()).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        for text in [&whole[..whole.len() / 2], "", "[]", &whole.replace("\"version\": 1", "\"version\": 2")] {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("move it away"), "{error}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_and_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nowhere").join("state.json");
        assert!(save(&path, Saved::default()).unwrap_err().to_string().starts_with("failed to write"));
        assert!(check(&path).unwrap_err().to_string().starts_with("failed to write"));
        assert!(check(&directory.path().join("state.json")).is_ok());
        assert!(check(directory.path()).is_err(), "a directory is no file");
    }
}
