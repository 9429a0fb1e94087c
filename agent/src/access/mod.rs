//! Who may do what: an identity for each request, by its token or its certificate, and the role that it has.
//!
//! ```text
//! token file ──▶ tokens ─┐
//!                        ├─▶ Access ──identify──▶ Identity {who, role} ──▶ audit trail, rules about leases
//! certificates ──▶ tls ──┘
//! ```
//! Neighbours: `api::access` asks for every request, `api::server` for the TLS of every connection; `agent` opens it.
//! Invariant: where tokens or client certificates are asked for, nobody without one has an identity. A role includes
//! those below it. No token and no key is ever shown.

pub(crate) mod tls;
mod tokens;

pub use tls::TlsFiles;

use crate::config::{AgentConfig, Mistake};
use parking_lot::RwLock;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::Path, sync::Arc};
use tokens::Tokens;
use tokio::sync::watch;

/// The name in [`AgentConfig::client_roles`] that stands for every certificate that is not named there.
const ANY_CERTIFICATE: &str = "*";

/// What somebody may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything.
    Read,
    /// Take leases, set faults, change proxies.
    Inject,
    /// Also halt the agent, and take away what others' leases hold.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Inject => "inject",
            Self::Admin => "admin",
        })
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) who: Arc<str>,
    pub(crate) role: Role,
}

impl Identity {
    /// Anybody, where the agent asks nobody who they are.
    pub(crate) fn anonymous() -> Self {
        Self { who: "anonymous".into(), role: Role::Admin }
    }
}

/// Why a request has no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// It brought nothing to be known by.
    #[error("this agent must know who asks, and the request does not say it")]
    Silent,
    /// Its token is not one of ours.
    #[error("the token is not one that this agent knows")]
    WrongToken,
    /// Its header is not a bearer token.
    #[error("the header Authorization is not `Bearer` and a token")]
    NoBearer,
}

/// What is known of tokens and certificates at this moment.
#[derive(Debug)]
struct Known {
    tokens: Option<Tokens>,
    tls: Option<Arc<ServerConfig>>,
}

/// Tells identities, and hands out the TLS of new connections.
#[derive(Debug)]
pub(crate) struct Access {
    asks_certificates: bool,
    client_roles: BTreeMap<String, Role>,
    known: RwLock<Arc<Known>>,
    /// Counts the readings of the files.
    read: watch::Sender<u64>,
}

impl Access {
    /// Reads the files of tokens, certificates and keys; tells everything that is wrong with them.
    pub(crate) fn open(config: &AgentConfig) -> Result<Self, Vec<Mistake>> {
        let known = Known::read(config)?;
        if known.tokens.is_some() && known.tls.is_none() && !is_loopback(config.listen) {
            tracing::warn!("tokens are sent in clear to {}: --tls-cert and --tls-key encrypt them", config.listen);
        }
        Ok(Self {
            asks_certificates: config.asks_certificates(),
            client_roles: config.client_roles.clone(),
            known: RwLock::new(Arc::new(known)),
            read: watch::Sender::new(0),
        })
    }

    /// Reads the files again. What is wrong with them leaves everything as it was.
    pub(crate) fn reload(&self, config: &AgentConfig) -> Result<(), Vec<Mistake>> {
        let known = Known::read(config)?;
        *self.known.write() = Arc::new(known);
        self.read.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Returns when the files are read anew, from the moment of this call on.
    pub(crate) fn read_anew(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut times = self.read.subscribe();
        async move {
            // Its sender lives as long as the agent.
            let _ = times.changed().await;
        }
    }

    /// How new connections are encrypted, if they are.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.known.read().tls.clone()
    }

    /// Who somebody is, by the header `Authorization` and the name in their verified certificate. A token says more
    /// than a certificate: it was sent with this request.
    pub(crate) fn identify(
        &self,
        authorization: Option<&[u8]>,
        certificate: Option<&str>,
    ) -> Result<Identity, Unknown> {
        let known = Arc::clone(&self.known.read());
        match (&known.tokens, authorization) {
            (Some(tokens), Some(header)) => {
                let token = bearer(header).ok_or(Unknown::NoBearer)?;
                return tokens.find(token).ok_or(Unknown::WrongToken);
            }
            (None, _) if !self.asks_certificates => return Ok(Identity::anonymous()),
            _ => {}
        }
        let name = certificate.ok_or(Unknown::Silent)?;
        let role = self.client_roles.get(name).or_else(|| self.client_roles.get(ANY_CERTIFICATE));
        Ok(Identity { who: format!("cert:{name}").into(), role: role.copied().unwrap_or(Role::Inject) })
    }
}

impl Known {
    fn read(config: &AgentConfig) -> Result<Self, Vec<Mistake>> {
        let wrong = |field: &str, message: String| Mistake::new(field, message);
        let mut found = Vec::new();
        let tokens = config.tokens.as_deref().and_then(|path| match Tokens::read(path) {
            Ok(tokens) => Some(tokens),
            Err(messages) => {
                found.extend(messages.into_iter().map(|message| wrong("tokens", message)));
                None
            }
        });
        let tls = config.tls.as_ref().and_then(|files| match tls::server_config(files) {
            Ok(tls) => Some(tls),
            Err(error) => {
                found.push(wrong(error.field(), error.to_string()));
                None
            }
        });
        let secrets = config.tokens.iter().chain(config.tls.as_ref().map(|files| &files.key));
        secrets.for_each(|path| warn_if_readable_by_others(path));
        if found.is_empty() { Ok(Self { tokens, tls }) } else { Err(found) }
    }
}

/// What follows `Bearer`, in any case of letters.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ")).then(|| token.trim_ascii())
}

/// Whether an address can be reached from this machine only.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
        tracing::warn!("everybody on this machine can read {}: chmod 600 it", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Identity, Role, Unknown};
    use crate::AgentConfig;
    use std::collections::BTreeMap;

    const LONG: &str = "a-token-that-is-long-enough";

    fn tokens() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("- {{name: ann, role: inject, token: {LONG}}}")).unwrap();
        file
    }

    fn known(who: &str, role: Role) -> Result<Identity, Unknown> {
        Ok(Identity { who: who.into(), role })
    }

    #[test]
    fn an_agent_that_asks_nobody_lets_everybody_do_everything() {
        let access = Access::open(&AgentConfig::default()).unwrap();
        assert_eq!(access.identify(None, None), known("anonymous", Role::Admin));
        assert_eq!(access.identify(Some(b"Bearer whatever"), None), known("anonymous", Role::Admin));
    }

    #[test]
    fn with_tokens_there_is_no_identity_without_one() {
        let file = tokens();
        let config = AgentConfig { tokens: Some(file.path().into()), ..AgentConfig::default() };
        let access = Access::open(&config).unwrap();
        let header = |scheme: &str, token: &str| format!("{scheme} {token}").into_bytes();
        assert_eq!(access.identify(Some(&header("Bearer", LONG)), None), known("ann", Role::Inject));
        assert_eq!(access.identify(Some(&header("bEARER", LONG)), None), known("ann", Role::Inject));
        assert_eq!(access.identify(None, None), Err(Unknown::Silent));
        assert_eq!(access.identify(Some(&header("Bearer", "")), None), Err(Unknown::WrongToken));
        assert_eq!(access.identify(Some(&header("Bearer", &LONG[1..])), None), Err(Unknown::WrongToken));
        for other in ["Basic", "", "Bearerx"] {
            assert_eq!(access.identify(Some(&header(other, LONG)), None), Err(Unknown::NoBearer), "{other}");
        }
        // A wrong token is not made good by a certificate.
        assert_eq!(access.identify(Some(b"Bearer wrong"), Some("ops")), Err(Unknown::WrongToken));
    }

    #[test]
    fn a_certificate_has_the_role_of_its_name_or_of_all_others_or_inject() {
        let access = |roles: &[(&str, Role)]| Access {
            asks_certificates: true,
            client_roles: roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect::<BTreeMap<_, _>>(),
            known: Access::open(&AgentConfig::default()).unwrap().known,
            read: tokio::sync::watch::Sender::new(0),
        };
        assert_eq!(access(&[]).identify(None, Some("ci")), known("cert:ci", Role::Inject));
        let access = access(&[("ops", Role::Admin), ("*", Role::Read)]);
        assert_eq!(access.identify(None, Some("ops")), known("cert:ops", Role::Admin));
        assert_eq!(access.identify(None, Some("ci")), known("cert:ci", Role::Read));
        assert_eq!(access.identify(None, None), Err(Unknown::Silent));
    }

    #[test]
    fn what_is_wrong_in_a_file_that_is_read_again_leaves_the_old_tokens() {
        let file = tokens();
        let config = AgentConfig { tokens: Some(file.path().into()), ..AgentConfig::default() };
        let access = Access::open(&config).unwrap();
        let header = format!("Bearer {LONG}").into_bytes();
        std::fs::write(file.path(), "- {name: bob, role: inject, token: short}").unwrap();
        assert!(access.reload(&config).is_err());
        assert_eq!(access.identify(Some(&header), None), known("ann", Role::Inject));
        std::fs::write(file.path(), format!("- {{name: ann, role: admin, token: {LONG}}}")).unwrap();
        access.reload(&config).unwrap();
        assert_eq!(access.identify(Some(&header), None), known("ann", Role::Admin));
    }
}
