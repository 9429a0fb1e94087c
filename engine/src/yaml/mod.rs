//! YAML with places: text becomes a tree in which every key and value knows where it stands, and the tree becomes
//! typed documents, with every mistake told instead of the first one only.
//!
//! ```text
//! text ─▶ parse ─▶ Node ─▶ (variables resolved in it) ─▶ read::<Document>
//!          │                                               │
//!          └──────────── mistakes, with their places ──────┘
//! ```
//!
//! `compose` builds the tree from the parser's events under tight budgets, `node` is the tree, `scalar` the meaning of
//! plain words, `de` a serde deserializer over the tree, `read` the loop that goes on after a mistake.
//! Invariant: every text ends in a tree or a mistake, soon; nothing panics.

mod compose;
mod de;
mod node;
mod read;
mod scalar;

pub(crate) use compose::parse;
pub(crate) use node::{Entry, Mark, Node, Spot, Value};
pub(crate) use read::read;
