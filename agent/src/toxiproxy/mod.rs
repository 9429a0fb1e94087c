//! Toxiproxy's words as values: proxies and toxics as its clients write and read them, and what they mean here.
//!
//! `toxic.rs` is one toxic, `kind.rs` its attributes and the fault that it becomes, `proxy.rs` a proxy, `fields.rs` how
//! their fields are found. Neighbours:
//! `api::toxiproxy` has the paths, `registry::toxics` does what is asked, `config_file` reads Toxiproxy's own file.
//! Invariant: nothing here acts; a toxic that was parsed translates to a fault that makes sense, or to none.

mod fields;
mod kind;
mod proxy;
mod toxic;

pub use proxy::ProxyInput;
pub(crate) use proxy::{Logger, Planned, ProxyChange, ProxyView, listen_or, prepared};
pub use toxic::ToxicInput;
pub(crate) use toxic::{Toxic, ToxicPatch, ToxicView};

/// What is wrong in something that was asked for in Toxiproxy's words, as Toxiproxy says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ToxiproxyMistake {
    /// It is not JSON, has a wrong type, or a value that makes no sense.
    #[error("bad request body: {0}")]
    Body(String),
    /// A field that must be there is not.
    #[error("missing required field: {0}")]
    Missing(String),
    /// There is no such type.
    #[error("invalid toxic type")]
    Type,
    /// There is no such direction.
    #[error("stream was invalid, can be either upstream or downstream")]
    Stream,
}
