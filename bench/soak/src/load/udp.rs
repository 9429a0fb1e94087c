//! A datagram to the echo server and back. One that does not come is lost, as datagrams are.
//!
//! Invariant: only whole datagrams count: a shorter one than was sent is a finding.

use super::compared;
use crate::ledger::Ended;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

pub(super) async fn exchange(address: SocketAddr, sent: Vec<u8>) -> Ended {
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0").await else { return Ended::Cut };
    let reached = async {
        socket.connect(address).await?;
        socket.send(&sent).await
    };
    if reached.await.is_err() {
        return Ended::Cut;
    }
    let mut buffer = vec![0; 64 * 1024];
    match socket.recv(&mut buffer).await {
        // The port may be closed, which is told by an error.
        Err(_) => Ended::Cut,
        Ok(read) => match compared(&sent, &buffer[..read]) {
            Ended::Cut => Ended::Other(format!("of a datagram of {} bytes, {read} came back", sent.len())),
            ended => ended,
        },
    }
}
