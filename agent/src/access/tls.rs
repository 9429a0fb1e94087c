//! TLS of the API: certificates and keys from files, and the name in a client's certificate.
//!
//! A client may come without a certificate: then it needs a token, and `/health` answers it in any case. One that comes
//! with a certificate must have it from the authority in `client_ca`, or the handshake fails.
//! Neighbours: `super` opens and reopens it, `api::server` shakes hands.
//! Invariant: rustls with `ring`, nothing older than TLS 1.2, and no message shows more of a key than its file's name.

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The longest name in a certificate that is used: it is written to the log at every change.
const LONGEST_NAME: usize = 200;

/// Where certificates and keys are, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The agent's certificate, followed by those between it and its root.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates of clients; when it is there, a client is known by its certificate.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with certificates or keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("failed to read {what} from {}: {cause}", path.display())]
    File { field: &'static str, what: &'static str, path: PathBuf, cause: String },
    /// Certificate and key are not usable with each other.
    #[error("failed to use the certificate {} with the key {}: {cause}", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, cause: rustls::Error },
}

impl TlsError {
    /// The field of the configuration that names the file.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::File { field, .. } => field,
            Self::Pair { .. } => "tls.key",
        }
    }
}

/// How the API encrypts, and whom it believes.
pub(super) fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("tls.cert", "a certificate", &files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        field: "tls.key",
        what: "a private key",
        path: files.key.clone(),
        cause: told(&error),
    })?;
    let pair = |cause| TlsError::Pair { cert: files.cert.clone(), key: files.key.clone(), cause };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let wrong = |cause: String| TlsError::File {
                field: "tls.client_ca",
                what: "an authority",
                path: path.clone(),
                cause,
            };
            let mut roots = RootCertStore::empty();
            for root in certificates("tls.client_ca", "an authority", path)? {
                roots.add(root).map_err(|error| wrong(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed would bring back a certificate that is believed no longer.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn certificates(
    field: &'static str,
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |cause: String| TlsError::File { field, what, path: path.into(), cause };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found = read.map_err(|error| wrong(told(&error)))?;
    if found.is_empty() { Err(wrong("no `BEGIN CERTIFICATE` in it".to_owned())) } else { Ok(found) }
}

/// In words that quote nothing of the file.
fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "nothing of that kind in it; it must be PEM".to_owned(),
        _ => "it is not PEM, or is damaged".to_owned(),
    }
}

/// The name in a certificate: the first common name of its subject, or else its first alternative name.
pub(crate) fn name_of(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let common = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let alternative = alternative.and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => Some(*name),
            _ => None,
        })
    });
    let name = common.filter(|name| !name.trim().is_empty()).or(alternative)?;
    // It goes into the log and into answers.
    let usable = name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    usable.then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::{TlsFiles, name_of, server_config};
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common: Option<&str>, alternative: &[&str]) -> (String, String, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        let uri = |name: &&str| SanType::URI((*name).try_into().unwrap());
        params.subject_alt_names = alternative.iter().map(uri).collect();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem(), certificate.der().to_vec())
    }

    #[test]
    fn a_certificate_is_named_by_its_common_name_or_else_by_its_first_alternative_name() {
        let name = |common, alternative: &[&str]| {
            let der = certificate(common, alternative).2;
            name_of(&der.as_slice().into()).map(|name| name.to_string())
        };
        assert_eq!(name(Some("ops"), &["spiffe://a/b"]).as_deref(), Some("ops"));
        assert_eq!(name(None, &["spiffe://a/b", "spiffe://c"]).as_deref(), Some("spiffe://a/b"));
        assert_eq!(name(Some(" "), &["spiffe://a/b"]).as_deref(), Some("spiffe://a/b"));
        assert_eq!(name(None, &[]), None);
        assert_eq!(name(Some("a\nb"), &[]), None, "a name must not break the lines of the log");
        assert_eq!(name(Some(&"x".repeat(201)), &[]), None);
    }

    #[test]
    fn what_is_wrong_with_a_file_names_the_file_and_nothing_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (own, key, _) = certificate(Some("agent"), &[]);
        let (_, other_key, _) = certificate(Some("agent"), &[]);
        let (cert, key) = (write("cert.pem", &own), write("key.pem", &key));
        let files = TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: None };
        server_config(&files).unwrap();
        let missing = directory.path().join("none.pem");
        let (junk, other) = (write("junk.pem", "secret"), write("other.pem", &other_key));
        for (wrong, field, told) in [
            (TlsFiles { cert: missing.clone(), ..files.clone() }, "tls.cert", "none.pem: No such file"),
            (TlsFiles { cert: junk.clone(), ..files.clone() }, "tls.cert", "junk.pem: no `BEGIN CERTIFICATE`"),
            (TlsFiles { key: junk.clone(), ..files.clone() }, "tls.key", "junk.pem: nothing of that kind"),
            (TlsFiles { key: cert, ..files.clone() }, "tls.key", "cert.pem: nothing of that kind"),
            (TlsFiles { key: other, ..files.clone() }, "tls.key", "other.pem"),
            (TlsFiles { client_ca: Some(junk), ..files.clone() }, "tls.client_ca", "junk.pem"),
            (TlsFiles { client_ca: Some(missing), ..files.clone() }, "tls.client_ca", "none.pem"),
        ] {
            let error = server_config(&wrong).unwrap_err();
            assert_eq!(error.field(), field);
            let message = error.to_string();
            assert!(message.contains(told) && !message.contains("secret"), "{message}");
        }
    }
}
