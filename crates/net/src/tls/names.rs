//! Which certificate a client gets: by the name it asks for (exact, then wildcard, then the default), and among those of
//! one name by what the client can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureAlgorithm};

use super::certificate::OwnCertificate;

/// The certificates of one name, those that are quick to sign with first.
pub(crate) type Keys = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener by name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashMap<String, Keys>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Keys>,
    /// For clients that name none, or one that is not here; empty to refuse the latter.
    default: Keys,
    /// What each certificate is for.
    covered: Vec<(Arc<CertifiedKey>, Vec<String>)>,
    /// The first name of each certificate, and when it ends.
    expirations: Vec<(String, i64)>,
    refuses_unknown: bool,
}

impl Names {
    /// The first certificate is the default, together with others for the same name (another type of key).
    pub(crate) fn new(certificates: &[OwnCertificate], refuses_unknown: bool) -> Self {
        let mut names = Self {
            refuses_unknown,
            ..Self::default()
        };
        let first = certificates.first().and_then(|first| first.names.first());
        for (position, certificate) in certificates.iter().enumerate() {
            let covered = (Arc::clone(&certificate.key), certificate.names.clone());
            names.covered.push(covered);
            let name = certificate.names.first().cloned().unwrap_or_default();
            names.expirations.push((name, certificate.not_after));
            for name in &certificate.names {
                match name.strip_prefix("*.") {
                    Some(rest) => insert(names.wildcard.entry(rest.to_owned()).or_default(), certificate),
                    None => insert(names.exact.entry(name.clone()).or_default(), certificate),
                }
            }
            if position == 0 || first.is_some_and(|first| certificate.names.contains(first)) {
                insert(&mut names.default, certificate);
            }
        }
        names
    }

    /// The first name of each certificate, and when it ends, in seconds since 1970.
    pub(crate) fn expirations(&self) -> &[(String, i64)] {
        &self.expirations
    }

    /// The certificates for a name in lower case.
    pub(crate) fn find(&self, name: &str) -> Option<&Keys> {
        let name = name.trim_end_matches('.');
        self.exact.get(name).or_else(|| {
            let (_, rest) = name.split_once('.')?;
            self.wildcard.get(rest)
        })
    }

    /// Whether one of these certificates is for that host too, in lower case.
    pub(crate) fn cover(&self, keys: &Keys, host: &str) -> bool {
        self.covered.iter().any(|(key, names)| {
            keys.iter().any(|shown| Arc::ptr_eq(shown, key)) && names.iter().any(|name| covers(name, host))
        })
    }

    /// The certificates for that server name.
    pub(crate) fn served(&self, name: &str) -> &Keys {
        self.find(name).unwrap_or(&self.default)
    }
}

/// Keys that are quick to sign with come first.
fn insert(keys: &mut Keys, certificate: &OwnCertificate) {
    let is_rsa = |key: &CertifiedKey| key.key.algorithm() == SignatureAlgorithm::RSA;
    if is_rsa(&certificate.key) {
        keys.push(Arc::clone(&certificate.key));
    } else {
        let at = keys.iter().position(|key| is_rsa(key)).unwrap_or(keys.len());
        keys.insert(at, Arc::clone(&certificate.key));
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lower case
        let keys = match hello.server_name() {
            Some(name) => match self.find(name) {
                Some(keys) => keys,
                None if self.refuses_unknown => return None,
                None => &self.default,
            },
            None => &self.default,
        };
        best(keys, &hello)
    }
}

/// The first that the client can verify, else the first.
fn best(keys: &Keys, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
    let can_verify = |key: &&Arc<CertifiedKey>| {
        key.key.choose_scheme(hello.signature_schemes()).is_some()
            && speaks(hello.cipher_suites(), key.key.algorithm())
    };
    keys.iter().find(can_verify).or(keys.first()).cloned()
}

/// Whether a suite of the client goes with that type of key: before TLS 1.3 suites name it.
fn speaks(suites: &[CipherSuite], algorithm: SignatureAlgorithm) -> bool {
    suites.iter().any(|suite| {
        let name = suite.as_str().unwrap_or_default();
        name.starts_with("TLS13_")
            || match algorithm {
                SignatureAlgorithm::RSA => name.starts_with("TLS_ECDHE_RSA_"),
                _ => name.starts_with("TLS_ECDHE_ECDSA_"),
            }
    })
}

/// The same certificates for whatever name.
#[derive(Debug)]
pub(crate) struct FixedCertificates(pub(super) Keys);

impl ResolvesServerCert for FixedCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        best(&self.0, &hello)
    }
}

/// Whether a certificate for `name` is for that host, both in lower case: a wildcard stands for one label (RFC 6125).
pub(crate) fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, above)| above == rest),
        None => name == host,
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn wildcard_stands_for_one_label() {
        assert!(covers("*.shop.test", "a.shop.test") && covers("a.test", "a.test"));
        assert!(!covers("*.shop.test", "shop.test") && !covers("*.shop.test", "a.b.shop.test"));
    }
}
