//! Certificates that are trusted as they are: a self-signed one that was given as its own authority.
//!
//! # How it works
//! The chain of such a certificate is the certificate. webpki refuses one that says it is an authority (as those of
//! `openssl req -x509` do) at the end of a chain, so that it is looked for here first. It still must be valid now.

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Itself(Vec<CertificateDer<'static>>);

impl Itself {
    /// The certificates of some files.
    pub(crate) fn of(paths: &[String]) -> Result<Self, String> {
        let mut all = Vec::new();
        for path in paths {
            all.extend(pem::certificates(path)?);
        }
        Ok(Self(all))
    }

    /// Whether a certificate is one of these and valid now; `None`: it is none of them.
    pub(crate) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        if !self.0.iter().any(|own| own == certificate) {
            return None;
        }
        Some(is_valid(certificate, now).map_err(Error::InvalidCertificate))
    }
}

fn is_valid(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else {
        return Err(CertificateError::BadEncoding);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < read.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet);
    }
    if now > read.validity().not_after.timestamp() {
        return Err(CertificateError::Expired);
    }
    Ok(())
}
