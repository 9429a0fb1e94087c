//! Asks every request who sends it, and refuses those who may not.
//!
//! To look at things takes the role `read`, to change them `inject`; what takes `admin` the registry knows, for it
//! depends on whose lease it is. `/health/*` answers everybody. Neighbours: `super` lays it over every path,
//! `crate::access` knows the tokens and certificates, `server` sets the name of the certificate.
//! Invariant: no handler runs for somebody unknown, and a refusal says nothing of what there is.

use super::{Api, ApiError, Peer, toxiproxy};
use crate::access::{Identity, Role, Unknown};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Instant};

/// The name in the verified certificate of the client, set by `server` on each request.
#[derive(Debug, Clone)]
pub(crate) struct ClientName(pub(crate) Arc<str>);

/// Lets a request through with its identity, or answers 401 or 403.
pub(super) async fn ask(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/health/live" | "/health/ready") {
        return next.run(request).await;
    }
    let needed = match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => Role::Read,
        _ => Role::Inject,
    };
    let authorization = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let certificate = request.extensions().get::<ClientName>().map(|ClientName(name)| &**name);
    let refusal = match api.access.identify(authorization, certificate) {
        Ok(identity) if identity.role >= needed => {
            request.extensions_mut().insert(identity);
            return next.run(request).await;
        }
        Ok(identity) => {
            tell(&api, &request, &identity.who, "its role is too low");
            ApiError::role(&identity.who, identity.role, needed)
        }
        Err(unknown) => {
            tell(&api, &request, "unknown", &unknown.to_string());
            ApiError::unknown(unknown)
        }
    };
    answer(&api, &request, refusal)
}

/// As the API that is asked tells its errors.
fn answer(api: &Api, request: &Request, refusal: ApiError) -> Response {
    let mut response = if api.config.toxiproxy && toxiproxy::has(request.uri().path()) {
        toxiproxy::told(refusal)
    } else {
        refusal.into_response()
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"squall-agent\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The audit trail of what was refused; a stranger can cause only so much of it.
fn tell(api: &Api, request: &Request, who: &str, why: &str) {
    let Some(left_out) = api.refused.lets_through(Instant::now()) else { return };
    let from = request.extensions().get::<Peer>().map(|Peer(peer)| peer.to_string());
    let path: String = request.uri().path().chars().take(200).collect();
    tracing::warn!(target: "squall_agent::audit", change = "access refused", who, from, method = %request.method(), path, why, left_out, "access refused");
}

impl ApiError {
    fn unknown(unknown: Unknown) -> Self {
        let hint = "send `Authorization: Bearer TOKEN`, or come with a client certificate; \
                    squall takes them from --token-file, --cert and --key, or the environment's file";
        Self::unauthorized(unknown.to_string(), hint)
    }

    fn role(who: &str, role: Role, needed: Role) -> Self {
        let message = format!("`{who}` has the role `{role}`, and this takes the role `{needed}`");
        Self::forbidden(message, "ask with a token or a certificate that has the role")
    }
}

impl Identity {
    /// Who sent a request; anybody where it did not pass here.
    pub(super) fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(Self::anonymous)
    }
}
