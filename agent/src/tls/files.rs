//! Certificates and keys from PEM files.
//!
//! Neighbours: `super` makes TLS of them. Whatever is read is also hashed, so that a file that changed is noticed.
//! Invariant: only regular files of a bounded size are read, and no message shows more of a file than its path.

use super::TlsMistake;
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use std::{fs::File, hash::Hasher, io::Read};

/// The largest file that is read, in bytes: a machine's whole list of authorities is a fifth of it.
const LARGEST: u64 = 1 << 20;

/// A chain of certificates, the first being the one that is shown for.
pub(super) fn chain(
    field: &'static str,
    path: &str,
    print: &mut impl Hasher,
) -> Result<Vec<CertificateDer<'static>>, TlsMistake> {
    let text = read(field, path, print)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if all.is_empty() => Err(missing(field, path, "certificate", "CERTIFICATE")),
        Ok(all) => Ok(all),
        Err(error) => Err(damaged(field, path, &error)),
    }
}

/// A private key.
pub(super) fn key(
    field: &'static str,
    path: &str,
    print: &mut impl Hasher,
) -> Result<PrivateKeyDer<'static>, TlsMistake> {
    let text = read(field, path, print)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => missing(field, path, "private key", "PRIVATE KEY"),
        error => damaged(field, path, &error),
    })
}

/// The authorities that are trusted.
pub(super) fn roots(field: &'static str, path: &str, print: &mut impl Hasher) -> Result<RootCertStore, TlsMistake> {
    let mut store = RootCertStore::empty();
    for (at, certificate) in chain(field, path, print)?.into_iter().enumerate() {
        store.add(certificate).map_err(|error| {
            TlsMistake::new(field, format!("certificate {} in {path} is no authority: {error}", at + 1))
        })?;
    }
    Ok(store)
}

/// The authorities that this machine trusts.
pub(super) fn machine_roots(field: &'static str) -> Result<RootCertStore, TlsMistake> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Among hundreds some are old and odd; they are not trusted then.
    let (valid, _) = store.add_parsable_certificates(found.certs);
    if valid == 0 {
        let cause = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let message = format!("this machine has no list of authorities{cause}: name a PEM file of those to trust");
        return Err(TlsMistake::new(field, message));
    }
    Ok(store)
}

fn read(field: &'static str, path: &str, print: &mut impl Hasher) -> Result<Vec<u8>, TlsMistake> {
    let failed = |why: String| {
        TlsMistake::new(field, format!("failed to read {path}: {why}; name a PEM file on the agent's machine"))
    };
    // A pipe could be waited for without end.
    let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !about.is_file() {
        return Err(failed("not a file".into()));
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(failed(format!("larger than {LARGEST} bytes")));
    }
    print.write(&text);
    Ok(text)
}

fn missing(field: &'static str, path: &str, what: &str, label: &str) -> TlsMistake {
    TlsMistake::new(field, format!("{path} has no {what}: name a PEM file with a section `BEGIN {label}`"))
}

fn damaged(field: &'static str, path: &str, error: &pem::Error) -> TlsMistake {
    // Its own words would show the line that is wrong, which may be part of a key.
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section does not begin as it should",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    };
    TlsMistake::new(field, format!("{path} is not a sound PEM file: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, chain, key, roots};
    use std::hash::{DefaultHasher, Hasher};

    fn wrong(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let path = file.path().to_str().unwrap();
        let mistakes = [
            chain("f", path, &mut DefaultHasher::new()).err(),
            key("f", path, &mut DefaultHasher::new()).err(),
            roots("f", path, &mut DefaultHasher::new()).err(),
        ];
        let told: Vec<_> = mistakes.into_iter().map(|mistake| mistake.unwrap().message.replace(path, "FILE")).collect();
        told.join("\n")
    }

    #[test]
    fn each_thing_that_can_be_wrong_with_a_file_is_said() {
        insta::assert_snapshot!(wrong(b"nothing of use"), @r"
        FILE has no certificate: name a PEM file with a section `BEGIN CERTIFICATE`
        FILE has no private key: name a PEM file with a section `BEGIN PRIVATE KEY`
        FILE has no certificate: name a PEM file with a section `BEGIN CERTIFICATE`
        ");
        let cut = b"-----BEGIN CERTIFICATE-----\nc2VjcmV0\n";
        assert_eq!(wrong(cut), ["FILE is not a sound PEM file: a section has no end"; 3].join("\n"));
        let odd = b"-----BEGIN PRIVATE KEY-----\nsecret!!\n-----END PRIVATE KEY-----\n";
        let told = wrong(odd);
        assert!(told.contains("base64") && !told.contains("secret"), "{told}");
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate).unwrap();
        let path = file.path().to_str().unwrap();
        let told = roots("f", path, &mut DefaultHasher::new()).unwrap_err().message;
        assert!(told.contains("certificate 1 in") && told.contains("is no authority"), "{told}");
        assert!(wrong(&vec![b'x'; usize::try_from(LARGEST).unwrap() + 1]).contains("larger than"));
    }

    #[test]
    fn what_is_not_a_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().to_str().unwrap(), "/dev/zero", "/nowhere/cert.pem"] {
            let told = chain("f", path, &mut DefaultHasher::new()).unwrap_err().message;
            assert!(told.starts_with(&format!("failed to read {path}: ")), "{told}");
        }
    }

    #[test]
    fn a_file_that_changed_is_noticed() {
        let print = |content: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            let mut print = DefaultHasher::new();
            let _ = chain("f", file.path().to_str().unwrap(), &mut print);
            print.finish()
        };
        assert_eq!(print(b"a"), print(b"a"));
        assert_ne!(print(b"a"), print(b"b"));
    }
}
