//! Keys, certificates and revocation lists from files. Every error names the file and what is wrong with it.

use std::fs;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::RootCertStore;

/// The most that is read of a file: a bundle of all public authorities is 250 KB, a large revocation list some MB.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What some editors put before a text in UTF-8; it would hide the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a file, without a byte order mark.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, String> {
    let refused = |error: &dyn std::fmt::Display| format!("cannot read `{path}`: {error}");
    let size = fs::metadata(path).map_err(|error| refused(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(refused(&format!(
            "it has {size} bytes, more than {MAX_FILE_BYTES}"
        )));
    }
    let mut bytes = fs::read(path).map_err(|error| refused(&error))?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// A chain of certificates.
pub(crate) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates_in(&read(path)?).map_err(|error| format!("`{path}` {error}"))
}

/// The same from memory.
pub(crate) fn certificates_in(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is not valid PEM: {error}"))?;
    if found.is_empty() {
        return Err("holds no certificate\nhint: it should have `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    Ok(found)
}

/// A private key.
pub(crate) fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    private_key_in(&read(path)?).map_err(|error| format!("`{path}` {error}"))
}

/// The same from memory.
pub(crate) fn private_key_in(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let is_encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        match error {
            _ if is_encrypted => {
                "holds an encrypted private key\nhint: `openssl pkey -in FILE -out PLAIN` decrypts it"
                    .to_owned()
            }
            rustls::pki_types::pem::Error::NoItemsFound => {
                "holds no private key\nhint: it should have `-----BEGIN PRIVATE KEY-----`".to_owned()
            }
            other => format!("is not valid PEM: {other}"),
        }
    })
}

/// The authorities of some files.
pub(crate) fn authorities(paths: &[String]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| {
                format!("`{path}` holds a certificate that cannot be an authority: {error}")
            })?;
        }
    }
    Ok(roots)
}

/// The revocation lists of some files.
pub(crate) fn revocation_lists(
    paths: &[String],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let mut lists = Vec::new();
    for path in paths {
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(&read(path)?) {
            lists.push(list.map_err(|error| format!("`{path}` is not valid PEM: {error}"))?);
        }
        if lists.len() == before {
            return Err(format!(
                "`{path}` holds no revocation list\nhint: it should have `-----BEGIN X509 CRL-----`"
            ));
        }
    }
    Ok(lists)
}
