//! Who agrees with whom on TLS, and what becomes of a connection where somebody does not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, connect, expect_reset, read_all, until};
use crate::tls_support::{Certificates, shake_hands, start};
use rustls::{ClientConfig, crypto::ring::default_provider, version::TLS12};
use serde_json::{Value, json};
use squall_agent::{PlaneLimits, Proxy};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// A server over TLS that greets everybody who gets so far, and says which name was asked for.
async fn greeter(address: &str, certificates: &Certificates, name: &str, client_certificates: bool) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let acceptor = certificates.server(name, client_certificates);
    let bound = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let asked = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
            let _ = stream.write_all(asked.as_bytes()).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    Server { bound, _tasks: tasks }
}

struct Server {
    bound: SocketAddr,
    _tasks: JoinSet<()>,
}

async fn towards(upstream: impl ToString, upstream_tls: Value) -> Proxy {
    let spec = json!({"name": "p", "upstream": upstream.to_string(), "upstream_tls": upstream_tls});
    start(spec, PlaneLimits::default()).await
}

/// What a plain client gets: the greeting, or an RST.
async fn greeting(proxy: &Proxy) -> String {
    String::from_utf8(read_all(&mut connect(proxy.listen_addr()).await).await).unwrap()
}

async fn is_reset_and_counted(proxy: &Proxy) {
    let before = proxy.counters().connection_errors;
    assert_eq!(expect_reset(&mut connect(proxy.listen_addr()).await).await, b"");
    until(|| proxy.counters().connection_errors == before + 1, || format!("{:?}", proxy.counters())).await;
}

#[tokio::test]
async fn the_upstream_is_verified_by_its_host_an_address_included() {
    let certificates = Certificates::new();
    let server = greeter("127.0.0.1:0", &certificates, "server", false).await;
    let proxy = towards(server.bound, certificates.upstream_tls()).await;
    assert_eq!(greeting(&proxy).await, "nobody", "an address is not asked for by name");
    let proxy = towards(format!("localhost:{}", server.bound.port()), certificates.upstream_tls()).await;
    assert_eq!(greeting(&proxy).await, "localhost");
    let server = greeter("[::1]:0", &certificates, "server", false).await;
    let proxy = towards(server.bound, certificates.upstream_tls()).await;
    assert_eq!(greeting(&proxy).await, "nobody");
}

#[tokio::test]
async fn another_name_can_be_asked_for() {
    let certificates = Certificates::new();
    let server = greeter("127.0.0.1:0", &certificates, "other", false).await;
    let tls = json!({"ca": certificates.path("ca.pem"), "server_name": "other.test"});
    assert_eq!(greeting(&towards(server.bound, tls).await).await, "other.test");
}

#[tokio::test]
async fn an_upstream_that_is_not_who_it_should_be_is_an_upstream_that_is_not_reached() {
    let certificates = Certificates::new();
    let other = greeter("127.0.0.1:0", &certificates, "other", false).await;
    is_reset_and_counted(&towards(other.bound, certificates.upstream_tls()).await).await;
    let server = greeter("127.0.0.1:0", &certificates, "server", false).await;
    let tls = json!({"ca": certificates.path("stranger.pem")});
    is_reset_and_counted(&towards(server.bound, tls).await).await;
}

#[tokio::test]
async fn client_certificates_are_shown_to_an_upstream_that_wants_them() {
    let certificates = Certificates::new();
    let server = greeter("127.0.0.1:0", &certificates, "server", true).await;
    let mut tls = certificates.upstream_tls();
    is_reset_and_counted(&towards(server.bound, tls.clone()).await).await;
    tls["cert"] = json!(certificates.path("client.pem"));
    tls["key"] = json!(certificates.path("client.key"));
    assert_eq!(greeting(&towards(server.bound, tls).await).await, "nobody");
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_tls_is_given_up_in_time() {
    let certificates = Certificates::new();
    let limits = || PlaneLimits { dial_timeout: Duration::from_millis(300), ..PlaneLimits::default() };
    // Nobody accepts there, and the kernel connects all the same.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec =
        |upstream: SocketAddr| json!({"name": "p", "upstream": upstream, "upstream_tls": certificates.upstream_tls()});
    let proxy = start(spec(silent.local_addr().unwrap()), limits()).await;
    let start_of_it = Instant::now();
    is_reset_and_counted(&proxy).await;
    let took = start_of_it.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");

    let loud = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(spec(loud.local_addr().unwrap()), PlaneLimits::default()).await;
    let talking = async {
        let (mut tcp, _) = loud.accept().await.unwrap();
        tcp.write_all(b"220 mail.test ready\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    };
    tokio::join!(is_reset_and_counted(&proxy), talking);
}

/// A proxy that ends TLS before a server that greets.
async fn ending_tls(certificates: &Certificates, limits: PlaneLimits) -> (Proxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec =
        json!({"name": "p", "upstream": listener.local_addr().unwrap(), "listen_tls": certificates.listen_tls()});
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"hello").await.unwrap();
        }
    });
    (start(spec, limits).await, tasks)
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_nobody_up_and_is_given_up_in_time() {
    let certificates = Certificates::new();
    let limits = PlaneLimits { dial_timeout: Duration::from_millis(1500), ..PlaneLimits::default() };
    let (proxy, _server) = ending_tls(&certificates, limits).await;
    let start_of_it = Instant::now();
    let mut silent = connect(proxy.listen_addr()).await;
    let tcp = connect(proxy.listen_addr()).await;
    let mut client = shake_hands(tcp, certificates.client(), "localhost").await.unwrap();
    assert_eq!(read_all(&mut client).await, b"hello");
    assert!(start_of_it.elapsed() < Duration::from_millis(1400), "it waited for the silent one");
    assert_eq!(read_all(&mut silent).await, [21, 3, 3, 0, 2, 1, 0], "a `close_notify`, and the end");
    let took = start_of_it.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(proxy.counters().connection_errors, 1);
}

#[tokio::test]
async fn a_proxy_that_stops_does_not_wait_for_handshakes() {
    let certificates = Certificates::new();
    let limits = PlaneLimits { dial_timeout: Duration::from_secs(60), ..PlaneLimits::default() };
    let (proxy, _server) = ending_tls(&certificates, limits.clone()).await;
    let mut silent = connect(proxy.listen_addr()).await;
    until(|| proxy.counters().open_connections == 1, || "not accepted".into()).await;
    let start_of_it = Instant::now();
    proxy.stop().await;
    assert!(start_of_it.elapsed() < Duration::from_secs(2), "{:?}", start_of_it.elapsed());
    timeout(PATIENCE, silent.read(&mut [0; 1])).await.unwrap().ok();

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = json!({
        "name": "p", "upstream": nobody.local_addr().unwrap(), "upstream_tls": certificates.upstream_tls(),
    });
    let proxy = start(spec, limits).await;
    let _client = connect(proxy.listen_addr()).await;
    let (_dialled, _) = timeout(PATIENCE, nobody.accept()).await.unwrap().unwrap();
    let start_of_it = Instant::now();
    proxy.stop().await;
    assert!(start_of_it.elapsed() < Duration::from_secs(2), "{:?}", start_of_it.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_gets_an_alert_and_an_end() {
    let certificates = Certificates::new();
    let (proxy, _server) = ending_tls(&certificates, PlaneLimits::default()).await;
    let mut client = connect(proxy.listen_addr()).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let got = read_all(&mut client).await;
    assert_eq!(got.first(), Some(&21), "a record of type alert: {got:?}");
    until(|| proxy.counters().connection_errors == 1, || format!("{:?}", proxy.counters())).await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_an_error_that_is_counted() {
    let certificates = Certificates::new();
    let (proxy, _server) = ending_tls(&certificates, PlaneLimits::default()).await;
    let stranger = Certificates::new();
    let error = shake_hands(connect(proxy.listen_addr()).await, stranger.client(), "localhost").await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    until(|| proxy.counters().connection_errors == 1, || format!("{:?}", proxy.counters())).await;
}

#[tokio::test]
async fn a_client_that_only_looks_whether_somebody_listens_is_no_error_and_one_that_stops_in_the_middle_is() {
    let certificates = Certificates::new();
    let (proxy, _server) = ending_tls(&certificates, PlaneLimits::default()).await;
    for reset in [false, true] {
        let client = connect(proxy.listen_addr()).await;
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
    }
    let done = |connections, errors| {
        let counters = proxy.counters();
        (counters.connections, counters.open_connections, counters.connection_errors) == (connections, 0, errors)
    };
    until(|| done(2, 0), || format!("{:?}", proxy.counters())).await;
    let mut client = connect(proxy.listen_addr()).await;
    client.write_all(&[22, 3, 1, 1]).await.unwrap();
    client.shutdown().await.unwrap();
    until(|| done(3, 1), || format!("{:?}", proxy.counters())).await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_too() {
    let certificates = Certificates::new();
    let (proxy, _server) = ending_tls(&certificates, PlaneLimits::default()).await;
    let old = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(certificates.roots())
        .with_no_client_auth();
    let mut client = shake_hands(connect(proxy.listen_addr()).await, old, "localhost").await.unwrap();
    assert_eq!(read_all(&mut client).await, b"hello");
    client.shutdown().await.unwrap();
    until(|| proxy.counters().open_connections == 0, || format!("{:?}", proxy.counters())).await;
    assert_eq!(proxy.counters().connection_errors, 0);
}

/// What a client that offers these versions of HTTP agrees on with a proxy of this protocol.
async fn agreed(protocol: &str, offered: &[&str]) -> std::io::Result<Option<Vec<u8>>> {
    let certificates = Certificates::new();
    let upstream: TcpListener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = json!({
        "name": "p", "upstream": upstream.local_addr().unwrap(), "protocol": protocol,
        "listen_tls": certificates.listen_tls(),
    });
    let proxy = start(spec, PlaneLimits::default()).await;
    let mut config = certificates.client();
    config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp: TcpStream = connect(proxy.listen_addr()).await;
    let client = shake_hands(tcp, config, "localhost").await?;
    Ok(client.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
}

#[tokio::test]
async fn http_proxies_agree_on_http_1_1_and_others_on_nothing() {
    assert_eq!(agreed("tcp", &["h2", "http/1.1"]).await.unwrap(), None);
    assert_eq!(agreed("http", &["h2", "http/1.1"]).await.unwrap().as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(agreed("http", &[]).await.unwrap(), None);
    assert!(agreed("http", &["h2"]).await.unwrap_err().to_string().contains("NoApplicationProtocol"));
}
