//! TLS that a proxy ends towards its clients, and starts towards its upstream.
//!
//! ```text
//!  ListenTls, UpstreamTls ──files──▶ Tls ──▶ accepted: a client's socket ─▶ Stream ──▶ shake_hands ──▶ plaintext
//!                                        ╰─▶ dialled:  the upstream's    ─▶ Stream ──╯
//! ```
//! Neighbours: `files` reads certificates and keys, `session` is one connection's TLS over its socket, `crate::reach`
//! brings both ends of a connection up with it, `proxy` keeps one [`Tls`] for the connections to come.
//!
//! Invariant: what is wrong with a file is said when a proxy is made or replaced, never at its first connection; and
//! whoever speaks TLS to an upstream has verified its certificate.

mod files;
mod session;

pub(crate) use session::TlsStream;

use crate::stream::Stream;
use files::{chain, key, machine_roots, roots};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::NoServerSessionStorage,
};
use squall_wire::{
    Protocol, ProxySpec,
    proxy::{ListenTls, UpstreamTls},
};
use std::{
    hash::{DefaultHasher, Hasher},
    io,
    sync::Arc,
};
use tokio::net::TcpStream;

/// What is wrong with the TLS of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct TlsMistake {
    /// The field that is wrong: `listen_tls.cert`.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl TlsMistake {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// How a proxy encrypts; nothing on either side when it is plain. A clone is two pointers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    clients: Option<Arc<ServerConfig>>,
    upstream: Option<Arc<Outgoing>>,
    /// Of all files as they were read.
    print: u64,
}

/// Towards the upstream.
#[derive(Debug)]
struct Outgoing {
    config: Arc<ClientConfig>,
    /// The name that the certificate must have; the upstream's host when absent.
    name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files of a specification, on a thread where the disk may be waited for.
    pub(crate) async fn of(spec: &ProxySpec) -> Result<Self, TlsMistake> {
        if spec.listen_tls.is_none() && spec.upstream_tls.is_none() {
            return Ok(Self::default());
        }
        let spec = spec.clone();
        let read = tokio::task::spawn_blocking(move || Self::read(&spec)).await;
        read.unwrap_or_else(|error| Err(TlsMistake::new("listen_tls", format!("failed to read its files: {error}"))))
    }

    /// The same on this thread.
    pub(crate) fn read(spec: &ProxySpec) -> Result<Self, TlsMistake> {
        let mut print = DefaultHasher::new();
        let clients = spec.listen_tls.as_ref().map(|tls| incoming(tls, spec.protocol, &mut print)).transpose()?;
        let upstream = spec.upstream_tls.as_ref().map(|tls| outgoing(tls, spec, &mut print)).transpose()?;
        Ok(Self { clients: clients.map(Arc::new), upstream: upstream.map(Arc::new), print: print.finish() })
    }

    /// Whether the files said something else.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        self.print != other.print
    }

    /// A client that was accepted. Over TLS it has yet to shake hands.
    pub(crate) fn accepted(&self, socket: TcpStream) -> io::Result<Stream> {
        let Some(config) = &self.clients else { return Ok(Stream::Plain(socket)) };
        let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(TlsStream::new(socket, session.into()))))
    }

    /// The upstream at `target`, `HOST:PORT`, that was dialled. Over TLS it has yet to shake hands.
    pub(crate) fn dialled(&self, socket: TcpStream, target: &str) -> io::Result<Stream> {
        let Some(Outgoing { config, name }) = self.upstream.as_deref() else { return Ok(Stream::Plain(socket)) };
        let name = match name {
            Some(name) => name.clone(),
            None => host_name(target).ok_or_else(|| {
                let message = format!("`{target}` has no name that a certificate could have: set `server_name`");
                io::Error::new(io::ErrorKind::InvalidInput, message)
            })?,
        };
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(TlsStream::new(socket, session.into()))))
    }
}

/// Towards clients: this certificate, whatever name they ask for.
fn incoming(tls: &ListenTls, protocol: Protocol, print: &mut impl Hasher) -> Result<ServerConfig, TlsMistake> {
    let chain = chain("listen_tls.cert", &tls.cert, print)?;
    let key = key("listen_tls.key", &tls.key, print)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsMistake::new("listen_tls", error.to_string()))?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&error, ["listen_tls.cert", "listen_tls.key"], &tls.cert, &tls.key))?;
    // Tickets come unasked: a client that only sends and then closes would leave them unread, and so end with an RST.
    // Without them nobody resumes, and each connection costs what a stranger's costs.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = alpn(protocol);
    Ok(config)
}

/// Towards the upstream.
fn outgoing(tls: &UpstreamTls, spec: &ProxySpec, print: &mut impl Hasher) -> Result<Outgoing, TlsMistake> {
    let given = tls.server_name.as_deref();
    let name = given.map(|name| {
        ServerName::try_from(name.to_owned()).map_err(|_| {
            let message = format!("`{name}` is no name that a certificate could have: write a host or an IP address");
            TlsMistake::new("upstream_tls.server_name", message)
        })
    });
    let name = name.transpose()?;
    if name.is_none() && host_name(&spec.upstream).is_none() {
        let message = format!("`{}` has no name that a certificate could have: say which one to expect", spec.upstream);
        return Err(TlsMistake::new("upstream_tls.server_name", message));
    }
    let trusted: RootCertStore = match &tls.ca {
        Some(path) => roots("upstream_tls.ca", path, print)?,
        None => machine_roots("upstream_tls.ca")?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsMistake::new("upstream_tls", error.to_string()))?
        .with_root_certificates(trusted);
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert_path), Some(key_path)) => {
            let chain = chain("upstream_tls.cert", cert_path, print)?;
            let key = key("upstream_tls.key", key_path, print)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(&error, ["upstream_tls.cert", "upstream_tls.key"], cert_path, key_path))?
        }
        // One without the other is a mistake that `ProxySpec::mistakes` tells.
        _ => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn(spec.protocol);
    Ok(Outgoing { config: Arc::new(config), name })
}

/// An HTTP proxy speaks no other version; of a plain stream nothing is known.
fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::Http => vec![b"http/1.1".to_vec()],
        Protocol::Tcp | Protocol::Udp => Vec::new(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The host of `HOST:PORT`, as it stands in certificates.
fn host_name(target: &str) -> Option<ServerName<'static>> {
    let (host, _) = target.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).ok()
}

/// Certificate and key are each well-formed, and yet cannot be used.
fn unusable(error: &rustls::Error, fields: [&'static str; 2], cert: &str, key: &str) -> TlsMistake {
    let [cert_field, key_field] = fields;
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let message = format!("the key in {key} does not belong to the first certificate in {cert}: name its own");
            TlsMistake::new(key_field, message)
        }
        rustls::Error::InvalidCertificate(_) => {
            TlsMistake::new(cert_field, format!("the certificate in {cert} cannot be used: {error}"))
        }
        _ => TlsMistake::new(key_field, format!("the key in {key} cannot be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::host_name;
    use rustls::pki_types::ServerName;

    #[test]
    fn the_host_of_an_upstream_is_a_name_of_a_certificate() {
        let text = |target| host_name(target).map(|name: ServerName<'_>| name.to_str().into_owned());
        assert_eq!(text("db.internal:5432").as_deref(), Some("db.internal"));
        assert_eq!(text("127.0.0.1:1").as_deref(), Some("127.0.0.1"));
        assert_eq!(text("[::1]:443").as_deref(), Some("::1"));
        assert_eq!(text("-wrong-:1"), None);
    }
}
