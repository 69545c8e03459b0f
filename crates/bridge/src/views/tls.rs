//! What hooks see of TLS: the session, and the client's certificate.

use headgate_engine::{ClientCertificate as Shown, Exchange, TlsInfo};
use pyo3::prelude::*;

/// What a client's TLS handshake negotiated.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct Tls {
    /// `TLSv1.3` or `TLSv1.2`.
    version: &'static str,
    /// The cipher suite.
    cipher: &'static str,
    /// The server name that the client asked for (SNI), in lower case.
    server_name: Option<String>,
    /// The application protocol negotiated (ALPN); empty if the client offered none.
    alpn: String,
    /// Whether a session was resumed.
    is_resumed: bool,
}

impl Tls {
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        let info: &TlsInfo = exchange.client.tls.as_deref()?;
        Some(Self {
            version: info.version,
            cipher: info.cipher,
            server_name: info.server_name.clone(),
            alpn: info.alpn.clone(),
            is_resumed: info.is_resumed,
        })
    }
}

#[pymethods]
impl Tls {
    fn __repr__(&self) -> String {
        format!("<Tls {} {}>", self.version, self.cipher)
    }
}

/// A certificate that a client has shown.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct ClientCertificate {
    /// Whether a trusted authority has signed it and it is valid now.
    is_valid: bool,
    /// `valid`, or why it is not.
    verdict: &'static str,
    /// The subject (RFC 4514).
    subject: String,
    /// The issuer (RFC 4514).
    issuer: String,
    /// The serial number in hex.
    serial: String,
    /// `DNS:name`, `email:address`, `URI:uri`, `IP:address`.
    names: Vec<String>,
    /// SHA-256 of the certificate, in hex.
    fingerprint: String,
    /// Seconds since 1970.
    not_before: i64,
    /// See `not_before`.
    not_after: i64,
    /// The certificate, in DER.
    pem: String,
}

impl ClientCertificate {
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        let shown: &Shown = exchange.client.tls.as_deref()?.client_certificate.as_ref()?;
        Some(Self {
            is_valid: shown.is_valid(),
            verdict: shown.verdict,
            subject: shown.subject.clone(),
            issuer: shown.issuer.clone(),
            serial: shown.serial.clone(),
            names: shown.names.clone(),
            fingerprint: shown.fingerprint.clone(),
            not_before: shown.not_before,
            not_after: shown.not_after,
            pem: shown.pem(),
        })
    }
}

#[pymethods]
impl ClientCertificate {
    fn __repr__(&self) -> String {
        format!("<ClientCertificate {} {}>", self.subject, self.verdict)
    }
}
