//! A certificate with its key, ready to be shown, and what stands in it.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem;
use super::provider::provider;
use super::spec;

/// A certificate that the gateway can show.
#[derive(Debug, Clone)]
pub struct OwnCertificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// The names it is for, in lower case; `*.` before a name stands for one label.
    pub(crate) names: Vec<String>,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

impl OwnCertificate {
    /// Reads it from its files.
    pub(crate) fn load(spec: &spec::Certificate) -> Result<Self, String> {
        let chain = pem::certificates(&spec.chain)?;
        let key = pem::private_key(&spec.key)?;
        let mut own = Self::build(chain, key).map_err(|error| match error {
            Unfit::Certificate(error) => format!("`{}` {error}", spec.chain),
            Unfit::Key(error) => format!("`{}` {error}", spec.key),
            Unfit::Pair => format!(
                "the key of `{}` is not the one of the certificate in `{}`\nhint: the certificate itself comes first in the chain",
                spec.key, spec.chain
            ),
        })?;
        if !spec.names.is_empty() {
            own.names = spec.names.iter().map(|name| name.to_ascii_lowercase()).collect();
        }
        if let Some(path) = &spec.ocsp {
            let response = pem::read(path)?;
            // RFC 6960 section 4.2.1: a DER sequence
            if response.first() != Some(&0x30) {
                return Err(format!(
                    "`{path}` holds no OCSP response\nhint: `openssl ocsp ... -respout FILE` writes one"
                ));
            }
            own.staple(response);
        }
        Ok(own)
    }

    /// Makes it from PEM texts: the chain, the key (empty if it is in the chain's text) and an OCSP response in DER.
    ///
    /// # Errors
    /// One sentence on what is wrong with which of them.
    pub fn from_pem(chain: &[u8], key: &[u8], ocsp: Option<Vec<u8>>) -> Result<Self, String> {
        let key = if key.is_empty() { chain } else { key };
        let chain = pem::certificates_in(chain).map_err(|error| format!("the chain {error}"))?;
        let key = pem::private_key_in(key).map_err(|error| format!("the key {error}"))?;
        let mut own = Self::build(chain, key).map_err(|error| match error {
            Unfit::Certificate(error) => format!("the certificate {error}"),
            Unfit::Key(error) => format!("the key {error}"),
            Unfit::Pair => "the key is not the certificate's".to_owned(),
        })?;
        if let Some(response) = ocsp {
            own.staple(response);
        }
        Ok(own)
    }

    /// The names it is for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    fn build(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Unfit> {
        let (_, certificate) = X509Certificate::from_der(&chain[0])
            .map_err(|error| Unfit::Certificate(format!("holds no good certificate: {error}")))?;
        let names = dns_names(&certificate);
        let not_after = certificate.validity().not_after.timestamp();
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Unfit::Pair,
            other => Unfit::Key(format!("holds a key that cannot be used: {other}")),
        })?;
        Ok(Self {
            key: Arc::new(key),
            names,
            not_after,
        })
    }

    fn staple(&mut self, response: Vec<u8>) {
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = Some(response);
        self.key = Arc::new(key);
    }
}

enum Unfit {
    Certificate(String),
    Key(String),
    Pair,
}

/// RFC 6125: names stand in the subject's alternative names; the common name only where there are none.
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => names.extend(ip_text(bytes)),
                _ => {}
            }
        }
    }
    if names.is_empty() {
        names.extend(
            certificate
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_ascii_lowercase),
        );
    }
    names
}

/// An address of a certificate as text.
pub(crate) fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|sixteen| std::net::Ipv6Addr::from(sixteen).to_string())
}
