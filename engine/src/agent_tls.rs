//! What squall believes an agent by, and shows it: an authority, a client certificate and its key, all in PEM.
//!
//! Neighbours: `agent_client` and the `agent` probe speak with it; `environment` and the command line say where the
//! files are. Invariant: a key is never shown, and files that cannot be used are told before anything is asked.

use std::{fmt, path::Path};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// How to speak TLS with an agent; by default with the roots of this machine and no certificate of our own.
#[derive(Clone, Default)]
pub struct AgentTls {
    authority: Vec<reqwest::Certificate>,
    identity: Option<reqwest::Identity>,
}

/// Why files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// The authority is none.
    #[error("failed to use the authority {path}: {cause}")]
    Authority {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// Certificate and key are none, or do not belong together.
    #[error("failed to use the client certificate {cert} with the key {key}: {cause}")]
    Identity {
        /// The file of the certificate.
        cert: String,
        /// The file of the key.
        key: String,
        /// Why.
        cause: String,
    },
}

impl fmt::Debug for AgentTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentTls")
            .field("authority", &!self.authority.is_empty())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

impl AgentTls {
    /// Believes agents whose certificates this authority signed, and no others.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate in it.
    pub fn trust(&mut self, authority: &Path) -> Result<(), TlsFileError> {
        let wrong = |cause: String| TlsFileError::Authority { path: authority.display().to_string(), cause };
        let pem = read(authority).map_err(wrong)?;
        let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| wrong("it is not PEM".to_owned()))?;
        if found.is_empty() {
            return Err(wrong("no `BEGIN CERTIFICATE` in it".to_owned()));
        }
        self.authority = found;
        Ok(())
    }

    /// Shows this certificate to agents that ask for one.
    ///
    /// # Errors
    /// When a file cannot be read, or the two are no certificate and its key.
    pub fn show(&mut self, cert: &Path, key: &Path) -> Result<(), TlsFileError> {
        let shown = |path: &Path| path.display().to_string();
        let wrong = |cause: String| TlsFileError::Identity { cert: shown(cert), key: shown(key), cause };
        let (mut pem, key) = (read(cert).map_err(wrong)?, read(key).map_err(wrong)?);
        pem.push(b'\n');
        pem.extend(key);
        // The cause would quote the file.
        let found = reqwest::Identity::from_pem(&pem);
        self.identity = Some(found.map_err(|_| wrong("they must be a certificate and a key in PEM".to_owned()))?);
        Ok(())
    }

    /// Lays it over a client.
    pub(crate) fn over(&self, mut builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        if !self.authority.is_empty() {
            builder = builder.tls_certs_only(self.authority.iter().cloned());
        }
        match &self.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::AgentTls;

    #[test]
    fn files_that_cannot_be_used_are_named_and_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let junk = directory.path().join("junk.pem");
        std::fs::write(&junk, "a secret, and no PEM").unwrap();
        let missing = directory.path().join("missing.pem");
        let mut tls = AgentTls::default();
        let told = [
            tls.trust(&junk).unwrap_err().to_string(),
            tls.trust(&missing).unwrap_err().to_string(),
            tls.show(&junk, &junk).unwrap_err().to_string(),
            tls.show(&missing, &junk).unwrap_err().to_string(),
        ];
        for (message, file) in told.iter().zip(["junk.pem", "missing.pem", "junk.pem", "missing.pem"]) {
            assert!(message.contains(file) && !message.contains("secret"), "{message}");
        }
    }
}
