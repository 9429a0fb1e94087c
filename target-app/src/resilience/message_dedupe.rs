//! Message dedupe: a message that comes again is acknowledged and does nothing.
//!
//! Whoever sends messages sends them at least once. The id of each is kept, in the transaction in which the message does
//! its work (`store/messages.rs`), and forgotten when nobody would send it any more (`steady_state.rs`). Own, for it is one
//! unique column.
//!
//! Neighbour: `api/storage.rs` takes the messages. Invariant: the id and the effect are stored together, or neither.
//! Switched off, a message that comes twice does its work twice.

/// Whether messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageDedupe {
    On,
    Off,
}

impl MessageDedupe {
    /// The id under which a message is remembered, if it is.
    pub(crate) fn remembered(self, id: &str) -> Option<&str> {
        match self {
            Self::On => Some(id),
            Self::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MessageDedupe;

    #[test]
    fn switched_off_no_message_is_remembered() {
        assert_eq!(MessageDedupe::On.remembered("m"), Some("m"));
        assert_eq!(MessageDedupe::Off.remembered("m"), None);
    }
}
