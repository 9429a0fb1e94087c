//! A byte stream to the echo server and back: written while it is read, ended by half-close.
//!
//! Invariant: what is read counts up to an error, so that a cut stream is still compared.

use super::compared;
use crate::ledger::Ended;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(super) async fn exchange(address: SocketAddr, sent: Vec<u8>) -> Ended {
    let Ok(stream) = TcpStream::connect(address).await else { return Ended::Cut };
    let (mut reader, mut writer) = stream.into_split();
    let mut got = Vec::with_capacity(sent.len());
    let write = async {
        // A fault may end it at any byte.
        let _ = writer.write_all(&sent).await;
        let _ = writer.shutdown().await;
    };
    let read = async {
        // One byte more than was sent would be a finding; a stream without end must not fill the memory.
        let mut bounded = (&mut reader).take(sent.len() as u64 + 1);
        let _ = bounded.read_to_end(&mut got).await;
    };
    tokio::join!(write, read);
    compared(&sent, &got)
}
