//! A proxy in Toxiproxy's words: as it is asked for, alone or in `populate`, and as it is shown.
//!
//! Neighbours: `toxic.rs` has what is set on it; `registry::toxics` makes it so; `wire::ProxySpec` is our own form.
//! Invariant: of a list that has a mistake nothing is made: [`prepared`] finds it before anything is done.

use super::{Toxic, ToxicInput, ToxicView, ToxiproxyMistake, fields::Fields};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use squall_wire::{ProxyName, ProxySpec};
use std::net::IpAddr;

/// A proxy as it is asked for, in a request or in Toxiproxy's configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct ProxyInput {
    name: Option<String>,
    listen: Option<String>,
    upstream: Option<String>,
    enabled: Option<bool>,
    toxics: Option<Vec<ToxicInput>>,
}

impl TryFrom<Map<String, Value>> for ProxyInput {
    type Error = String;

    fn try_from(object: Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(object);
        Ok(Self {
            name: fields.take("name")?,
            listen: fields.take("listen")?,
            upstream: fields.take("upstream")?,
            enabled: fields.take("enabled")?,
            toxics: fields.take("toxics")?,
        })
    }
}

/// What may be changed of a proxy; what is absent stays, and a name in it is passed over.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(crate) struct ProxyChange {
    pub(crate) listen: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) enabled: Option<bool>,
}

impl TryFrom<Map<String, Value>> for ProxyChange {
    type Error = String;

    fn try_from(object: Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(object);
        Ok(Self {
            listen: fields.take("listen")?,
            upstream: fields.take("upstream")?,
            enabled: fields.take("enabled")?,
        })
    }
}

/// A proxy to be made, with what is to be set on it.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) spec: ProxySpec,
    pub(crate) toxics: Vec<Toxic>,
}

/// A proxy as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProxyView {
    pub(crate) name: ProxyName,
    pub(crate) listen: String,
    pub(crate) upstream: String,
    pub(crate) enabled: bool,
    #[serde(rename = "Logger")]
    pub(crate) logger: Logger,
    pub(crate) toxics: Vec<ToxicView>,
}

/// Toxiproxy shows its logger, which has nothing in it; strict clients look for it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Logger {}

impl ProxyInput {
    /// The proxy asked for, without its toxics. `place` follows the name of a field that is missing.
    pub(crate) fn spec(&self, home: IpAddr, place: &str) -> Result<ProxySpec, ToxiproxyMistake> {
        let given = |field: &str, value: &Option<String>| match value.as_deref() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(ToxiproxyMistake::Missing(format!("{field}{place}"))),
        };
        let name = given("name", &self.name)?;
        let upstream = given("upstream", &self.upstream)?;
        let name = name.parse().map_err(|error| ToxiproxyMistake::Body(format!("{error}")))?;
        Ok(ProxySpec {
            listen: listen_or(self.listen.as_deref(), home),
            enabled: self.enabled.unwrap_or(true),
            ..ProxySpec::tcp(name, upstream)
        })
    }
}

/// The address to listen on: a free port beside the API when none is named, and every interface for `:PORT`. With more
/// colons it is an address of IPv6 without its brackets, which whoever checks it tells in the words that were typed.
pub(crate) fn listen_or(listen: Option<&str>, home: IpAddr) -> String {
    match listen {
        None | Some("") => std::net::SocketAddr::new(home, 0).to_string(),
        Some(text) if text.rfind(':') == Some(0) => format!("0.0.0.0{text}"),
        Some(text) => text.to_owned(),
    }
}

/// A whole list, or the first mistake in it.
pub(crate) fn prepared(inputs: &[ProxyInput], home: IpAddr) -> Result<Vec<Planned>, ToxiproxyMistake> {
    let planned = inputs.iter().enumerate().map(|(index, input)| {
        let spec = input.spec(home, &format!(" at proxy {}", index + 1))?;
        let toxics = input.toxics.iter().flatten().cloned().map(ToxicInput::parsed).collect::<Result<_, _>>()?;
        Ok(Planned { spec, toxics })
    });
    planned.collect()
}

#[cfg(test)]
mod tests {
    use super::{ProxyInput, listen_or, prepared};
    use serde_json::json;

    fn told(list: serde_json::Value) -> String {
        let inputs: Vec<ProxyInput> = serde_json::from_value(list).unwrap();
        prepared(&inputs, "127.0.0.1".parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_field_is_told_with_the_place_of_its_proxy() {
        assert_eq!(told(json!([{"name": "a", "upstream": "b:1"}, {}])), "missing required field: name at proxy 2");
        assert_eq!(told(json!([{"name": "a", "upstream": ""}])), "missing required field: upstream at proxy 1");
        assert_eq!(told(json!([{"name": "a", "upstream": "b:1", "toxics": [{"type": "x"}]}])), "invalid toxic type");
    }

    #[test]
    fn an_address_left_out_is_beside_the_api() {
        let home = "127.0.0.1".parse().unwrap();
        assert_eq!(listen_or(None, home), "127.0.0.1:0");
        assert_eq!(listen_or(Some(":80"), home), "0.0.0.0:80");
        assert_eq!(listen_or(Some("localhost:80"), home), "localhost:80");
        assert_eq!(listen_or(Some("::1:0"), home), "::1:0", "told as it was typed");
        assert_eq!(listen_or(None, "::1".parse().unwrap()), "[::1]:0");
    }
}
