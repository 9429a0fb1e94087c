//! Reads whether a port takes connections, and how long one takes to be made.
//!
//! The reading is the connection itself: it is closed at once, and no byte is sent. The time includes the look-up of a
//! name; of several addresses, the first that answers counts.
//! Neighbours: `probe` calls it on the clock, and its sample's time is the time to connect.

use super::{Seen, Unread};
use crate::fetch::plain_cause;
use tokio::net::TcpStream;

pub(super) struct TcpProbe {
    address: String,
}

impl TcpProbe {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    pub(super) async fn read(&self) -> Result<Seen, Unread> {
        match TcpStream::connect(&*self.address).await {
            Ok(_connection) => Ok(Seen::default()),
            Err(error) => Err(Unread::new(format!("failed to connect: {}", plain_cause(&error.to_string())))),
        }
    }
}
