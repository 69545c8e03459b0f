//! Certificates that an ACME authority gives (RFC 8555), as the process that orders them leaves them in folders.
//!
//! # How it works
//! Certificates lie in one folder, as `NAME.pem` with chain and key; a listener looks there as in any folder of
//! certificates, but an empty or missing one is fine until the first order is done. What proves control of a name to the
//! authority lies in another: `http/TOKEN` holds the response to an HTTP-01 challenge (section 8.3), `alpn/NAME.pem` the
//! certificate that a TLS-ALPN-01 validation wants to see (RFC 8737).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls::ServerConfig;

use super::folder;
use super::names::FixedCertificates;
use super::pem;
use super::provider::{provider, versions};
use super::spec::{Acme, Certificate};

/// The protocol that an authority's validation offers, and nothing else (RFC 8737 section 3).
const VALIDATION: &[u8] = b"acme-tls/1";

/// The longest response to an HTTP-01 challenge that is served, in bytes; one is a token and a digest.
const MAX_RESPONSE_BYTES: u64 = 1024;

/// The longest token, in bytes; authorities use about 43.
const MAX_TOKEN_BYTES: usize = 256;

/// The certificates that there are by now.
pub(crate) fn certificates(acme: &Acme) -> Result<Vec<Certificate>, String> {
    if Path::new(&acme.certificates).is_dir() {
        folder::certificates(&acme.certificates)
    } else {
        Ok(Vec::new())
    }
}

/// Whether that is an authority's validation connection.
pub(crate) fn is_validation(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else {
        return false;
    };
    offered.next() == Some(VALIDATION) && offered.next().is_none()
}

/// What a validation connection for that name is shown, while an order for it is under way.
pub(crate) fn validation(acme: &Acme, name: &str) -> Option<Arc<ServerConfig>> {
    let name = name.to_ascii_lowercase();
    if !is_file_name(name.as_bytes(), b"-._") || name.contains("..") {
        return None;
    }
    let path = PathBuf::from(&acme.challenges).join(format!("alpn/{name}.pem"));
    let pem = fs::read(path).ok()?;
    let key = pem::private_key_in(&pem).ok()?;
    let key = provider().key_provider.load_private_key(key).ok()?;
    // not compared with its key: the extension is critical, and unknown to those who verify certificates
    let certificate = CertifiedKey::new(pem::certificates_in(&pem).ok()?, key);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions("intermediate").ok()?)
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(FixedCertificates(vec![Arc::new(certificate)])));
    config.alpn_protocols = vec![VALIDATION.to_vec()];
    config.send_tls13_tickets = 0;
    Some(Arc::new(config))
}

/// The response to the HTTP-01 challenge of that token, if this gateway's order is under way.
pub fn http_response(challenges: &Path, token: &[u8]) -> Option<Vec<u8>> {
    if !is_file_name(token, b"-_") || token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let path = challenges.join("http").join(std::str::from_utf8(token).ok()?);
    let about = fs::symlink_metadata(&path).ok()?;
    if !about.is_file() || about.len() > MAX_RESPONSE_BYTES {
        return None;
    }
    fs::read(path).ok()
}

fn is_file_name(name: &[u8], others: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || others.contains(byte);
    !name.is_empty() && name.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_files_of_their_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("http")).unwrap();
        fs::write(folder.path().join("secret"), "no").unwrap();
        fs::write(folder.path().join("http/a-B_9"), "a-B_9.digest").unwrap();
        fs::write(folder.path().join("http/long"), vec![b'x'; 2000]).unwrap();
        std::os::unix::fs::symlink("../secret", folder.path().join("http/link")).unwrap();
        let served = |token: &[u8]| http_response(folder.path(), token);
        assert_eq!(served(b"a-B_9").unwrap(), b"a-B_9.digest");
        for token in [
            &b""[..],
            b"../secret",
            b"..",
            b"a.b",
            b"missing",
            b"link",
            b"long",
            &[b'a'; 300],
            b"a\0b",
        ] {
            assert!(served(token).is_none(), "{token:?}");
        }
    }

    #[test]
    fn folder_that_is_not_there_yet_holds_no_certificates() {
        let acme = Acme {
            certificates: "/nowhere/at/all".to_owned(),
            challenges: "/nowhere/at/all".to_owned(),
        };
        assert!(certificates(&acme).unwrap().is_empty());
        assert!(validation(&acme, "../x").is_none() && validation(&acme, "a.test").is_none());
    }
}
