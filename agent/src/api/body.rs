//! The body of a request: bounded in size and time, JSON whatever its content type says, with the field that is wrong.
//!
//! Neighbours: every handler that takes a body; `wire` has the shapes and refuses keys that it does not know.
//! Invariant: nothing of a body that is too large, too slow or wrong reaches a handler, and no more than the limit
//! is ever held in memory.

use super::{
    Api, ApiError,
    strict::{Strict, Unique},
};
use crate::config_file::suggestion;
use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::header,
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::time::timeout;

/// A body that is too large is read to its end up to here, and thrown away, so that its sender gets the answer
/// instead of a broken pipe.
const THROWN_AWAY: usize = 32 << 20;

/// A body as JSON.
pub(super) struct Json<T>(pub(super) T);

/// A body as JSON, or none.
pub(super) struct MaybeJson<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        parse(&collect(request, api).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Arc<Api>> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let bytes = collect(request, api).await?;
        if bytes.trim_ascii().is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

pub(super) async fn collect(request: Request, api: &Api) -> Result<Bytes, ApiError> {
    let limit = api.config.max_body;
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    let reading = async {
        if announced <= limit as u64 {
            match Limited::new(&mut body, limit).collect().await {
                Ok(whole) => return Ok(whole.to_bytes()),
                Err(error) if error.is::<LengthLimitError>() => {}
                Err(error) => return Err(ApiError::bad_body(format!("failed to read the body: {error}"), None, None)),
            }
        }
        if !asks_first && announced <= THROWN_AWAY as u64 {
            throw_away(body).await;
        }
        Err(ApiError::too_large(limit))
    };
    timeout(api.config.api_timeout, reading).await.unwrap_or_else(|_| Err(ApiError::too_slow()))
}

async fn throw_away(body: Body) {
    let mut rest = Limited::new(body, THROWN_AWAY);
    while let Some(Ok(_)) = rest.frame().await {}
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ApiError::bad_body("the body is empty: send JSON", None, None));
    }
    let json = unique(bytes)?;
    serde_path_to_error::deserialize(Strict(&json)).map_err(|error| {
        let field = error.path().to_string();
        let message = error.inner().to_string();
        let hint = suggestion(&message).map(|word| format!("did you mean `{word}`?"));
        ApiError::bad_body(message, Some(field).filter(|field| field != "."), hint)
    })
}

/// Of a key that stands twice nobody could say which one was meant.
fn unique(bytes: &[u8]) -> Result<serde_json::Value, ApiError> {
    let no_json = |error| ApiError::bad_body(format!("the body is not JSON: {error}"), None, None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Unique(json) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        let error = error.into_inner();
        if !error.is_data() {
            return no_json(error);
        }
        let message = format!("`{field}` stands there twice: leave one of them out");
        ApiError::bad_body(message, Some(field), None)
    })?;
    reader.end().map_err(no_json)?;
    Ok(json)
}
