//! Certificates that are made for a test, and a proxy between a client and a server that speak TLS or not.
//!
//! Neighbours: `common` has the same without TLS. Everything is on loopback; whatever waits has a limit.

// Each test file uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::hurt::{Hurt, PATIENCE};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use squall_agent::{DataPlane, PlaneLimits, Proxy};
use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A stream of bytes, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// One end of a connection as a test sees it.
pub(crate) type Wire = Pin<Box<dyn Duplex>>;

/// An authority and what it has signed, as files: `ca`, `server`, `other` (for another name), `client`; and a
/// `stranger`, whom it does not know. Each has a `.pem` and a `.key`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let ca = authority("the test's authority");
        this.write("ca", &ca.pem(), ca.key());
        for (name, subjects) in
            [("server", &["localhost", "127.0.0.1", "::1"][..]), ("other", &["other.test"]), ("client", &["client"])]
        {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(subjects.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
            this.write(name, &params.unwrap().signed_by(&key, &ca).unwrap().pem(), &key);
        }
        let stranger = authority("a stranger");
        this.write("stranger", &stranger.pem(), stranger.key());
        this
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        std::fs::write(self.path(&format!("{name}.pem")), certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.0.path().join(file).to_str().unwrap().to_owned()
    }

    fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.path(&format!("{name}.pem"))).unwrap().map(Result::unwrap).collect()
    }

    fn key(&self, name: &str) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.chain("ca").remove(0)).unwrap();
        roots.into()
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A server with one of the certificates; whether clients need one of theirs.
    pub(crate) fn server(&self, name: &str, client_certificates: bool) -> TlsAcceptor {
        let provider = Arc::new(default_provider());
        let verifier = match client_certificates {
            true => WebPkiClientVerifier::builder_with_provider(self.roots(), provider.clone()).build().unwrap(),
            false => WebPkiClientVerifier::no_client_auth(),
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain(name), self.key(name))
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// `listen_tls` with the server's certificate.
    pub(crate) fn listen_tls(&self) -> Value {
        json!({"cert": self.path("server.pem"), "key": self.path("server.key")})
    }

    /// `upstream_tls` that trusts the authority.
    pub(crate) fn upstream_tls(&self) -> Value {
        json!({"ca": self.path("ca.pem")})
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Which side of the proxy is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    Listen,
    Upstream,
    Both,
}

/// Each way of using TLS.
pub(crate) const ALL_SIDES: [Sides; 3] = [Sides::Listen, Sides::Upstream, Sides::Both];

impl Sides {
    pub(crate) fn client(self) -> bool {
        self != Self::Upstream
    }

    pub(crate) fn upstream(self) -> bool {
        self != Self::Listen
    }
}

/// A proxy, and the server behind it.
pub(crate) struct TlsRig {
    pub(crate) sides: Sides,
    pub(crate) certificates: Certificates,
    pub(crate) hurt: Hurt,
    pub(crate) server: SocketAddr,
    _server: JoinSet<()>,
}

impl TlsRig {
    /// Before a server that does this with each connection.
    pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
        sides: Sides,
        serve: impl Fn(Wire) -> F + Clone + Send + 'static,
    ) -> Self {
        Self::serve_tcp(sides, move |tcp, acceptor| {
            let serve = serve.clone();
            async move {
                let wire: Wire = match acceptor {
                    // One that does not trust us, or whom we do not trust, is none of the server's business.
                    Some(acceptor) => match acceptor.accept(tcp).await {
                        Ok(stream) => Box::pin(stream),
                        Err(_) => return,
                    },
                    None => Box::pin(tcp),
                };
                serve(wire).await;
            }
        })
        .await
    }

    /// The same, with the bare socket.
    pub(crate) async fn serve_tcp<F: Future<Output = ()> + Send + 'static>(
        sides: Sides,
        serve: impl Fn(TcpStream, Option<TlsAcceptor>) -> F + Send + 'static,
    ) -> Self {
        let certificates = Certificates::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let acceptor = sides.upstream().then(|| certificates.server("server", false));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream, acceptor.clone()));
            }
        });
        let mut spec = json!({"name": "p", "upstream": server});
        if sides.client() {
            spec["listen_tls"] = certificates.listen_tls();
        }
        if sides.upstream() {
            spec["upstream_tls"] = certificates.upstream_tls();
        }
        let proxy = start(spec, PlaneLimits::default()).await;
        Self { sides, certificates, hurt: Hurt { proxy, datagrams: false }, server, _server: tasks }
    }

    /// Before a server that sends back what it gets.
    pub(crate) async fn echo(sides: Sides) -> Self {
        Self::serve(sides, |wire| async move {
            let (mut reader, mut writer) = tokio::io::split(wire);
            // A client that resets is none of the server's business.
            if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut writer).await;
            }
        })
        .await
    }

    /// A client's connection through the proxy.
    pub(crate) async fn connect(&self) -> Wire {
        let tcp = crate::common::connect(self.proxy.listen_addr()).await;
        if !self.sides.client() {
            return Box::pin(tcp);
        }
        Box::pin(shake_hands(tcp, self.certificates.client(), "localhost").await.unwrap())
    }
}

impl std::ops::Deref for TlsRig {
    type Target = Hurt;

    fn deref(&self) -> &Hurt {
        &self.hurt
    }
}

/// A proxy of this specification, on any port.
pub(crate) async fn start(spec: Value, limits: PlaneLimits) -> Proxy {
    let spec = serde_json::from_value(spec).unwrap();
    Proxy::start(&spec, &DataPlane::new(limits)).await.unwrap()
}

/// A client's handshake.
pub(crate) async fn shake_hands(
    tcp: TcpStream,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let shaken = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await;
    shaken.expect("a handshake in time")
}
