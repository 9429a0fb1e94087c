//! What the kernel drops of what arrives at the sockets of a connection: a program of `fault/packet_loss.rs`, put on a
//! link's source.
//!
//! Held by `link.rs` and `http/connection.rs`, which tell it of each new plan and of its source; at the end of the
//! connection it is taken off.
//!
//! Invariant: a socket carries a program exactly as long as a fault of the plan wants it, and none when it is closed:
//! the kernel would go on dropping what concerns its end.

use crate::{
    fault::{Claim, Instruction, Share, segments, share_of},
    stream::Stream,
};
use socket2::SockRef;
use std::{
    io::{self, ErrorKind},
    sync::{Arc, OnceLock},
};

/// What is dropped at one socket.
#[derive(Debug, Default)]
pub(crate) struct Sieve(Share);

impl Sieve {
    /// Drops at the source of a link as its plan says.
    pub(crate) fn follow(&mut self, plan: &[Arc<Claim>], upstream: bool, source: Option<&Stream>) {
        if let Some(source) = source {
            self.set(share_of(plan, upstream), source);
        }
    }

    /// Drops nothing any more.
    pub(crate) fn clear(&mut self, source: &Stream) {
        self.set(Share::NONE, source);
    }

    fn set(&mut self, share: Share, source: &Stream) {
        if share == self.0 {
            return;
        }
        match put(&SockRef::from(source.tcp()), segments(share).as_deref()) {
            Ok(()) => self.0 = share,
            Err(error) => tracing::warn!(%error, "failed to change what a connection loses; it stays as it was"),
        }
    }
}

/// Puts a program onto a socket in place of the one that it carries, or takes that off.
#[cfg(target_os = "linux")]
pub(crate) fn put(socket: &socket2::Socket, program: Option<&[Instruction]>) -> io::Result<()> {
    match program {
        Some(program) => {
            let program: Vec<_> = program
                .iter()
                .map(|one| socket2::SockFilter::new(one.code, one.jump_true, one.jump_false, one.k))
                .collect();
            socket.attach_filter(&program)
        }
        // There was none.
        None => socket.detach_filter().or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }),
    }
}

/// Puts a program onto a socket in place of the one that it carries, or takes that off.
#[cfg(not(target_os = "linux"))]
pub(crate) fn put(_socket: &socket2::Socket, program: Option<&[Instruction]>) -> io::Result<()> {
    match program {
        Some(_) => Err(ErrorKind::Unsupported.into()),
        None => Ok(()),
    }
}

/// Why segments cannot be dropped here; none when they can. Tried once, on a socket that is then thrown away.
pub(crate) fn unavailable() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let tried = || {
        if !cfg!(target_os = "linux") {
            return Some("dropping segments takes the socket filters of Linux".to_owned());
        }
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let outcome = socket.and_then(|socket| {
            let outcome = put(&socket, segments(Share::of(0.5)).as_deref());
            outcome.and_then(|()| put(&socket, None))
        });
        outcome.err().map(|error| format!("the kernel takes no socket filter: {error}"))
    };
    WHY.get_or_init(tried).as_deref()
}
