//! A client and a server that speak HTTP/1.1 in raw bytes, so that tests see every one of them.
//!
//! The server answers what the test says to each request, in order; the client sends what it is given and reads whole
//! messages.

// Each test file uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig};
use std::sync::Arc;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// With the empty line that ends it.
    pub(crate) head: String,
    /// As it is on the wire.
    pub(crate) raw: Vec<u8>,
    /// Without the framing of chunks.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The first line.
    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Reads messages, whole ones.
pub(crate) struct Reader<R> {
    pub(crate) stream: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// The next message; none at the end of the stream, or when it is reset.
    pub(crate) async fn message(&mut self, without_body: bool) -> Option<Message> {
        timeout(PATIENCE, self.try_message(without_body)).await.expect("a message in time")
    }

    async fn try_message(&mut self, without_body: bool) -> Option<Message> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).await.ok()? == 0 {
                assert!(head.is_empty(), "a head that ends in its middle: {head:?}");
                return None;
            }
        }
        let mut message = Message { head, raw: Vec::new(), body: Vec::new() };
        if without_body || message.line().starts_with("HTTP/1.1 1") {
            return Some(message);
        }
        if let Some(length) = message.header("content-length") {
            message.raw = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut message.raw).await.ok()?;
            message.body.clone_from(&message.raw);
        } else if message.header("transfer-encoding").is_some() {
            self.chunks(&mut message).await?;
        } else if message.line().starts_with("HTTP/") {
            self.stream.read_to_end(&mut message.raw).await.ok()?;
            message.body.clone_from(&message.raw);
        }
        Some(message)
    }

    async fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let size = self.line(message).await?;
            let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
            if size == 0 {
                while !self.line(message).await?.trim().is_empty() {}
                return Some(());
            }
            let mut data = vec![0; size + 2];
            self.stream.read_exact(&mut data).await.ok()?;
            assert!(data.ends_with(b"\r\n"), "a chunk ends where its size says");
            message.raw.extend_from_slice(&data);
            message.body.extend_from_slice(&data[..size]);
        }
    }

    async fn line(&mut self, message: &mut Message) -> Option<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        message.raw.extend_from_slice(line.as_bytes());
        Some(line)
    }
}

/// A client's connection.
pub(crate) struct Client {
    pub(crate) reader: Reader<tokio::net::tcp::OwnedReadHalf>,
    pub(crate) writer: tokio::net::tcp::OwnedWriteHalf,
}

impl Client {
    pub(crate) async fn of(rig: &Rig) -> Self {
        Self::to(rig.proxy.listen_addr()).await
    }

    pub(crate) async fn to(proxy: std::net::SocketAddr) -> Self {
        let (reader, writer) = crate::common::connect(proxy).await.into_split();
        Self { reader: Reader::new(reader), writer }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.writer.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> Message {
        self.reader.message(false).await.expect("a response, not an end")
    }

    /// A GET and its response.
    pub(crate) async fn get(&mut self, target: &str) -> Message {
        self.send(get(target)).await;
        self.response().await
    }

    /// Nothing but an end comes; whether it was in order.
    pub(crate) async fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, self.reader.stream.read_to_end(&mut rest)).await.expect("an end in time");
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        ended.is_ok()
    }
}

/// A GET of this target.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n")
}

/// A response with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}", body.len())
}

/// The same body in two chunks, with an extension and a trailer.
pub(crate) fn chunked(body: &str) -> String {
    let (one, two) = body.split_at(body.len() / 2);
    format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         {:x};a=b\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\nX-Sum: 7\r\n\r\n",
        one.len(),
        two.len()
    )
}

/// An `http` proxy before a server that answers each request with what `answer` says.
pub(crate) async fn site(answer: impl Fn(&Message) -> String + Send + Sync + 'static) -> Rig {
    site_with("", answer).await
}

/// The same with more in the proxy's specification.
pub(crate) async fn site_with(more: &str, answer: impl Fn(&Message) -> String + Send + Sync + 'static) -> Rig {
    let answer = Arc::new(answer);
    Rig::http(more, move |stream: TcpStream| {
        let answer = Arc::clone(&answer);
        async move {
            let (reader, mut writer) = stream.into_split();
            let mut reader = Reader::new(reader);
            while let Some(request) = reader.message(false).await {
                if writer.write_all(answer(&request).as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// A server that says which request it answers: `GET /path`, and then the request's body.
pub(crate) async fn echo_site() -> Rig {
    site(|request| {
        let line = request.line().strip_suffix(" HTTP/1.1").unwrap_or_default().to_owned();
        let said = format!("{line}{}", request.text());
        if line.starts_with("HEAD") {
            return format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", said.len());
        }
        if line.contains("/chunked") { chunked(&said) } else { ok(&said) }
    })
    .await
}
