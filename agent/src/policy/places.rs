//! Where proxies may listen, and from where files of TLS may be read.
//!
//! Who may make proxies could open a port to the world in the agent's name, and have it read any file that it can read.
//! Neighbours: `super`, and `registry::proxies`, which asks before it binds or reads.
//! Invariant: an address is judged as it is bound, and a path as what it leads to, not as they are written.

use super::refusal;
use crate::registry::Refusal;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};
use squall_wire::ProxySpec;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Component, Path},
};

/// The rules for addresses to listen on. What is absent allows all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    allowed: Option<Vec<Place>>,
}

/// A network, or one address.
#[derive(Debug, Clone)]
struct Place(IpNet);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| {
            D::Error::custom(format!("`{text}` is no network such as `127.0.0.0/8` and no address such as `10.0.0.5`"))
        })
    }
}

impl Listen {
    /// May a proxy listen there? An address that stands for all of the machine is in no network but one that has all.
    pub(crate) fn check(&self, bind: SocketAddr) -> Result<(), Refusal> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let address = bind.ip().to_canonical();
        let covers = |Place(net): &Place| match address.is_unspecified() {
            true => net.prefix_len() == 0,
            false => net.contains(&address),
        };
        if allowed.iter().any(covers) {
            return Ok(());
        }
        let all: Vec<_> = self.told().unwrap_or_default();
        let message = format!("this agent's proxies do not listen on {address}, only in: {}", all.join(", "));
        Err(refusal("policy.listen.allowed", "listen", message))
    }

    /// As the API shows it.
    pub(super) fn told(&self) -> Option<Vec<String>> {
        let written = |Place(net): &Place| match net.prefix_len() == net.max_prefix_len() {
            true => net.addr().to_string(),
            false => net.to_string(),
        };
        Some(self.allowed.as_ref()?.iter().map(written).collect())
    }
}

/// May the files of this proxy's TLS be read, where only those in `directory` may? Looks at the disk.
pub(crate) fn check_files(directory: &Path, spec: &ProxySpec) -> Result<(), Refusal> {
    let listen = spec.listen_tls.iter().flat_map(|tls| [Some(&tls.cert), Some(&tls.key)]);
    let upstream = spec.upstream_tls.iter().flat_map(|tls| [tls.ca.as_ref(), tls.cert.as_ref(), tls.key.as_ref()]);
    let named = listen.map(|path| ("listen_tls", path)).chain(upstream.map(|path| ("upstream_tls", path)));
    for (field, path) in named.filter_map(|(field, path)| Some((field, path?))) {
        if !is_inside(directory, Path::new(path)) {
            let message = format!("this agent reads files for TLS from {} only, and not {path}", directory.display());
            return Err(refusal("policy.tls_files", field, message));
        }
    }
    Ok(())
}

/// Whether a path leads to something in the directory. One that leads nowhere is judged as it is written, so that the
/// answer does not tell what there is elsewhere.
fn is_inside(directory: &Path, path: &Path) -> bool {
    match (directory.canonicalize(), path.canonicalize()) {
        (Ok(directory), Ok(path)) => path.starts_with(directory),
        (_, Err(_)) => path.starts_with(directory) && !path.components().any(|part| part == Component::ParentDir),
        (Err(_), Ok(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Listen, is_inside};

    fn allows(yaml: &str, bind: &str) -> bool {
        serde_saphyr::from_str::<Listen>(yaml).unwrap().check(bind.parse().unwrap()).is_ok()
    }

    #[test]
    fn an_address_is_judged_as_it_is_bound() {
        assert!(allows("", "0.0.0.0:80"));
        let some = "allowed: [127.0.0.0/8, '::1', 10.1.2.3]";
        for (bind, so) in [
            ("127.0.0.9:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("10.1.2.3:80", true),
            ("10.1.2.4:80", false),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
        ] {
            assert_eq!(allows(some, bind), so, "{bind}");
        }
        assert!(!allows("allowed: []", "127.0.0.1:80"), "an empty list allows none");
        assert!(allows("allowed: [0.0.0.0/0]", "0.0.0.0:80"));
        let odd = serde_saphyr::from_str::<Listen>("allowed: [localhost]").unwrap_err().to_string();
        assert!(odd.contains("`127.0.0.0/8`"), "{odd}");
    }

    #[test]
    fn a_path_is_judged_by_what_it_leads_to() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret.pem");
        std::fs::write(&secret, "x").unwrap();
        let good = inside.path().join("good.pem");
        std::fs::write(&good, "x").unwrap();
        let link = inside.path().join("link.pem");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let dotted = inside.path().join("..").join(outside.path().file_name().unwrap()).join("secret.pem");
        let nowhere = inside.path().join("nowhere.pem");
        for (path, so) in [
            (&good, true),
            (&nowhere, true),
            (&secret, false),
            (&link, false),
            (&dotted, false),
            (&outside.path().join("nowhere.pem"), false),
            (&inside.path().join("../nowhere.pem"), false),
        ] {
            assert_eq!(is_inside(inside.path(), path), so, "{}", path.display());
        }
    }
}
