//! TLS for measurements: certificates made for one run, and both ends of a connection, encrypted or not.
//!
//! `measure/tls` uses the ends, `contestant` and `peers` hand the files to proxies. Sessions are never resumed, so every
//! connection costs a whole handshake.
//!
//! Invariant: the files are gone when [`Certificates`] is dropped, and nobody trusts them but for as long.

use crate::error::{BenchError, Tried};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    pki_types::{PrivatePkcs8KeyDer, ServerName},
    server::NoServerSessionStorage,
};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A stream of bytes, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// One end of a connection.
pub(crate) type Wire = Box<dyn Duplex>;

/// An authority, and a server whom it vouches for.
pub(crate) struct Certificates {
    directory: TempDir,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn odd(what: &str) -> impl Fn(&dyn std::fmt::Display) -> BenchError {
    let what = what.to_owned();
    move |error| BenchError::Io { what: what.clone(), source: io::Error::other(error.to_string()) }
}

impl Certificates {
    /// Of the server.
    pub(crate) const NAME: &'static str = "localhost";

    /// Makes them: ECDSA with P-256, as most servers have.
    pub(crate) fn new() -> Result<Self, BenchError> {
        let odd = odd("make certificates");
        let key = || KeyPair::generate().map_err(|error| odd(&error));
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| odd(&error))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the measurement's authority");
        let authority = CertifiedIssuer::self_signed(params, key()?).map_err(|error| odd(&error))?;
        let server_key = key()?;
        let params = CertificateParams::new(vec![Self::NAME.to_owned()]).map_err(|error| odd(&error))?;
        let server = params.signed_by(&server_key, &authority).map_err(|error| odd(&error))?;
        let directory = tempfile::tempdir().tried("make a directory for certificates")?;
        let (cert, key) = (server.pem(), server_key.serialize_pem());
        for (name, text) in [
            ("ca.pem", &authority.pem()),
            ("server.pem", &cert),
            ("server.key", &key),
            ("both.pem", &(cert.clone() + &key)),
        ] {
            std::fs::write(directory.path().join(name), text).tried("write a certificate")?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).map_err(|error| odd(&error))?;
        let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.resumption = Resumption::disabled();
        let private = PrivatePkcs8KeyDer::from(server_key.serialize_der());
        let mut serving = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], private.into())
            .map_err(|error| odd(&error))?;
        serving.session_storage = Arc::new(NoServerSessionStorage {});
        serving.send_tls13_tickets = 0;
        let (acceptor, connector) = (Arc::new(serving).into(), Arc::new(client).into());
        Ok(Self { directory, acceptor, connector })
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.display().to_string()
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// The server's certificate.
    pub(crate) fn cert(&self) -> String {
        self.path("server.pem")
    }

    /// Its key.
    pub(crate) fn key(&self) -> String {
        self.path("server.key")
    }

    /// Both in one file, as HAProxy has it.
    pub(crate) fn cert_and_key(&self) -> String {
        self.path("both.pem")
    }

    /// A client's end.
    pub(crate) async fn connect(&self, address: SocketAddr, encrypted: bool) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if !encrypted {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(Self::NAME).map_err(io::Error::other)?;
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }

    /// The server's end of a connection that was accepted.
    pub(crate) async fn accept(&self, stream: TcpStream, encrypted: bool) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        if !encrypted {
            return Ok(Box::new(stream));
        }
        Ok(Box::new(self.acceptor.accept(stream).await?))
    }
}
