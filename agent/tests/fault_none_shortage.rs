//! Out of file descriptors. Alone in its process, for it takes them all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/common.rs"]
mod common;
#[path = "support/hurt.rs"]
mod hurt;

use common::{PATIENCE, Rig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn echoes(client: &mut TcpStream) {
    client.write_all(b"x").await.unwrap();
    assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'x');
}

#[tokio::test]
async fn out_of_descriptors_open_connections_go_on_and_new_ones_are_served_when_there_are_some_again() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    echoes(&mut open).await;
    // Sockets that exist already need no descriptor to connect.
    let early: Vec<Socket> = (0..5).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
    for socket in &early {
        socket.connect(&rig.proxy.listen_addr().into()).unwrap();
    }
    for _ in 0..20 {
        echoes(&mut open).await;
    }
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "1ms"}}}"#).await;
    rig.heal(&fault).await;
    assert_eq!(rig.proxy.counters().connections, 1, "there was no shortage");
    setrlimit(Resource::Nofile, before).unwrap();
    for socket in early {
        socket.set_nonblocking(true).unwrap();
        echoes(&mut TcpStream::from_std(socket.into()).unwrap()).await;
    }
}
