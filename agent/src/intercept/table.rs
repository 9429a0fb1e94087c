//! The name of our table, and whose tables are of the dead.
//!
//! An agent holds a socket of the abstract namespace by the name of its table. That namespace and the rules belong to
//! the same network namespace, and the name is free the moment that its holder is dead: so a table whose name is free
//! is stale, also where agents do not see each other's process ids, as in the containers of one pod.
//!
//! Neighbours: `mod.rs` claims one, `nft.rs` lists and removes. Invariant: two living agents never have one name.

use super::nft::{self, NftError};
use std::io;

/// With it the name of every table of an agent begins.
const PREFIX: &str = "squall_";

/// Agents of one process id in one network namespace, at most: containers whose first process they are.
const NAMESAKES: usize = 1000;

/// A name that is ours while this lives.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    _claim: Claim,
}

impl Table {
    /// A name that no living agent has: `squall_PID`.
    pub(super) fn claim() -> io::Result<Self> {
        let pid = std::process::id();
        for number in 1..=NAMESAKES {
            let name = if number == 1 { format!("{PREFIX}{pid}") } else { format!("{PREFIX}{pid}_{number}") };
            match claim(&name) {
                Ok(claim) => return Ok(Self { name, _claim: claim }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Takes away the tables of agents that are dead, and answers their names.
pub(super) async fn remove_stale() -> Result<Vec<String>, NftError> {
    let mut removed = Vec::new();
    for name in nft::tables().await?.into_iter().filter(|name| is_ours(name)) {
        // Held until the table is gone, so that nobody takes the name meanwhile.
        let Ok(_claim) = claim(&name) else { continue };
        nft::remove(&name).await?;
        removed.push(name);
    }
    Ok(removed)
}

/// Whether a table is an agent's by its name.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        let mut parts = rest.splitn(2, '_');
        parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(target_os = "linux")]
type Claim = std::os::unix::net::UnixListener;

#[cfg(target_os = "linux")]
fn claim(name: &str) -> io::Result<Claim> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    let address = SocketAddr::from_abstract_name(format!("squall-agent/intercept/{name}"))?;
    Claim::bind_addr(&address)
}

#[cfg(not(target_os = "linux"))]
type Claim = ();

#[cfg(not(target_os = "linux"))]
fn claim(_name: &str) -> io::Result<Claim> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{Table, claim, is_ours};

    #[test]
    fn two_of_one_process_id_have_names_of_their_own_and_a_name_is_free_when_its_holder_is_gone() {
        let (first, second) = (Table::claim().unwrap(), Table::claim().unwrap());
        assert_ne!(first.name(), second.name());
        let name = second.name().to_owned();
        assert!(is_ours(&name) && claim(&name).is_err());
        drop(second);
        assert!(claim(&name).is_ok());
    }

    #[test]
    fn tables_of_others_are_left_alone() {
        for name in ["filter", "squall_", "squall_x", "squall_7_", "squall_7_2_3", "my_squall_7", "squall_-7"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
