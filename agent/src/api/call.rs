//! One call of the API as a value: how it is reached, what it takes, what it may answer, and who handles it.
//!
//! Neighbours: `table` lists them all, the router in `super` is made of them, `openapi` describes them.
//! Invariant: a call has its handler with it, so none can be served and not described, or described and not served.

use super::Api;
use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::sync::Arc;

/// The JSON Schema of a type, made by a generator that collects what it refers to.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// One method of one path.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// A name for programs: `setFault`.
    pub(super) id: &'static str,
    pub(super) tag: Tag,
    /// What it does, in a line …
    pub(super) summary: &'static str,
    /// … and what more there is to know; may be empty.
    pub(super) about: &'static str,
    /// Those in the query and in headers; those in the path follow from it.
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    /// Shapes of what its answers carry inside a text.
    pub(super) carried: Vec<Shape>,
    /// Statuses with which it may refuse, beside those that any call of its kind has.
    pub(super) refusals: Vec<u16>,
    pub(super) route: MethodRouter<Arc<Api>>,
}

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Proxies,
    Faults,
    Leases,
    Agent,
}

impl Tag {
    /// In the order in which they are shown.
    pub(super) const ALL: [Self; 4] = [Self::Proxies, Self::Faults, Self::Leases, Self::Agent];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proxies => "proxies",
            Self::Faults => "faults",
            Self::Leases => "leases",
            Self::Agent => "agent",
        }
    }

    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Proxies => "A proxy is a listener between clients and one upstream.",
            Self::Faults => {
                "A fault is one thing that goes wrong on one proxy. It ends by itself, at the latest after \
                             the agent's `max_fault_duration`."
            }
            Self::Leases => {
                "A lease says who may hurt which proxies, and until when. It is exclusive on each of its \
                             proxies; when it ends, its faults go."
            }
            Self::Agent => "What the agent is, what it sees, and how it is.",
        }
    }
}

/// A parameter in the query or in a header.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `query` or `header`.
    pub(super) place: &'static str,
    pub(super) about: &'static str,
    pub(super) shape: Shape,
}

/// What a call takes.
pub(super) struct Body {
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) example: Value,
}

/// What a call answers when it does what it is asked.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    /// Its content type and shape; none: no body.
    pub(super) content: Option<(&'static str, Shape)>,
}

/// The content type of almost everything.
pub(super) const JSON: &str = "application/json";

impl Call {
    /// A call that this handler answers.
    pub(super) fn new<H, T>(method: Method, path: &'static str, id: &'static str, tag: Tag, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        // The table's methods are the common ones; a filter of none of them would be seen by every test of the table.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE);
        Self {
            method,
            path,
            id,
            tag,
            summary: "",
            about: "",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            carried: Vec::new(),
            refusals: Vec::new(),
            route: on(filter, handler),
        }
    }

    /// What it does.
    pub(super) fn does(mut self, summary: &'static str, about: &'static str) -> Self {
        (self.summary, self.about) = (summary, about);
        self
    }

    /// Takes a body of this shape; the example is one that a call may really be made with.
    pub(super) fn takes<T: JsonSchema>(mut self, example: Value) -> Self {
        self.body = Some(Body { shape: SchemaGenerator::subschema_for::<T>, required: true, example });
        self
    }

    /// Takes a body of this shape, or none.
    pub(super) fn may_take<T: JsonSchema>(mut self, example: Value) -> Self {
        self.body = Some(Body { shape: SchemaGenerator::subschema_for::<T>, required: false, example });
        self
    }

    /// Reads a parameter of the query.
    pub(super) fn query<T: JsonSchema>(mut self, name: &'static str, about: &'static str) -> Self {
        let shape = SchemaGenerator::subschema_for::<T>;
        self.parameters.push(Parameter { name, place: "query", about, shape });
        self
    }

    /// Reads a header.
    pub(super) fn header<T: JsonSchema>(mut self, name: &'static str, about: &'static str) -> Self {
        let shape = SchemaGenerator::subschema_for::<T>;
        self.parameters.push(Parameter { name, place: "header", about, shape });
        self
    }

    /// Answers JSON.
    pub(super) fn answers<T: JsonSchema>(self, status: u16, about: &'static str) -> Self {
        self.answers_as::<T>(JSON, status, about)
    }

    /// Answers another kind of text.
    pub(super) fn answers_as<T: JsonSchema>(mut self, kind: &'static str, status: u16, about: &'static str) -> Self {
        let content = Some((kind, SchemaGenerator::subschema_for::<T> as Shape));
        self.answers.push(Answer { status, about, content });
        self
    }

    /// Its answer is a text that carries values of this shape.
    pub(super) fn carries<T: JsonSchema>(mut self) -> Self {
        self.carried.push(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Answers without a body.
    pub(super) fn answers_nothing(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer { status, about, content: None });
        self
    }

    /// May refuse with these statuses, beside those that any call of its kind has.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend_from_slice(statuses);
        self
    }

    /// The names between braces in its path.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Whether it may be asked without a token.
    pub(super) fn is_open(&self) -> bool {
        self.path.starts_with("/health/")
    }

    /// Every status with which it may refuse, in order.
    pub(super) fn all_refusals(&self) -> Vec<u16> {
        let mut all = self.refusals.clone();
        all.extend([403, 500]);
        if !self.is_open() {
            all.push(401);
        }
        if self.names().next().is_some() || !self.parameters.is_empty() {
            all.push(400);
        }
        if self.names().next().is_some() {
            all.push(404);
        }
        if self.body.is_some() {
            all.extend([400, 408, 413]);
        }
        if self.method != Method::GET {
            all.extend([400, 503]);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Why a call is refused with this status.
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        400 => "What was sent is not what the call takes; `field` says where. Nothing was changed.",
        401 => "The agent wants a token or a client certificate, and got none that it knows.",
        403 => {
            "The caller may not do this, a limit or a rule of the agent's forbids it, or the request could be one \
                that a page in a browser forged (a foreign `Host` or `Origin`)."
        }
        404 => "There is no proxy, fault or lease of this name.",
        408 => "The body did not arrive in time.",
        409 => "The name or the address is taken, or somebody else's lease holds the proxy.",
        410 => "The agent does not remember this mark: it is too old, or from another life of the agent.",
        413 => "The body is larger than this agent reads.",
        501 => "This machine cannot do it, and the message says why.",
        503 => "The agent shuts down, or all places are taken.",
        _ => "The agent made a mistake or could not heal, and its log says which.",
    }
}
