//! Who a client is: its certificate, whether it is proven to be the client's, and whether an authority vouches for it.
//!
//! # How it works
//! Where routes decide, the handshake takes any certificate whose key the client has; only then is the chain judged, so
//! that a missing or bad one makes a verdict and not a broken connection. A resumed session is judged anew. Where the
//! listener insists, rustls judges within the handshake.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{digest, SHA256};
use data_encoding::{BASE64, HEXLOWER};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
};
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid2abbrev, oid_registry};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::certificate::ip_text;
use super::itself::Itself;
use super::provider::provider;

/// The verdict on one that is to be trusted.
const VALID: &str = "valid";

/// A certificate that a client has shown. All texts are the client's own words until `verdict` is `valid`.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// RFC 4514, such as `CN=alice,O=Example`.
    pub subject: String,
    /// The same of who signed it.
    pub issuer: String,
    /// The serial number in hex.
    pub serial: String,
    /// `DNS:name`, `email:address`, `URI:uri`, `IP:address`.
    pub names: Vec<String>,
    /// SHA-256 of the whole certificate, in hex.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// See `not_before`.
    pub not_after: i64,
    /// `valid`, or why it is not: `expired`, `not_yet_valid`, `revoked`, `unknown_issuer`, `unfit`, `bad`.
    pub verdict: &'static str,
    /// The certificate itself.
    pub der: Vec<u8>,
}

impl ClientCertificate {
    /// Reads what a client has shown; `judge` says whether to trust it.
    pub(crate) fn of(chain: &[CertificateDer<'_>], judge: &dyn ClientCertVerifier) -> Option<Self> {
        let (own, issuers) = chain.split_first()?;
        let judged = judge.verify_client_cert(own, issuers, UnixTime::now());
        let verdict = judged.map_or_else(|error| reason(&error), |_| VALID);
        let fingerprint = HEXLOWER.encode(digest(&SHA256, own).as_ref());
        let der = own.to_vec();
        let Ok((_, read)) = X509Certificate::from_der(own) else {
            return Some(Self {
                subject: String::new(),
                issuer: String::new(),
                serial: String::new(),
                names: Vec::new(),
                fingerprint,
                not_before: 0,
                not_after: 0,
                verdict: "bad",
                der,
            });
        };
        Some(Self {
            subject: distinguished_name(read.subject()),
            issuer: distinguished_name(read.issuer()),
            serial: HEXLOWER.encode(read.raw_serial()),
            names: alternative_names(&read),
            fingerprint,
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            verdict,
            der,
        })
    }
}

impl ClientCertificate {
    /// Whether it is to be trusted.
    pub fn is_valid(&self) -> bool {
        self.verdict == VALID
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64.encode(&self.der);
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text + "-----END CERTIFICATE-----\n"
    }
}

fn reason(error: &Error) -> &'static str {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => "expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "not_yet_valid",
            Bad::Revoked => "revoked",
            Bad::UnknownIssuer => "unknown_issuer",
            Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "unfit",
            Bad::ExpiredRevocationList | Bad::ExpiredRevocationListContext { .. } => {
                "revocation_list_expired"
            }
            _ => "bad",
        },
        _ => "bad",
    }
}

/// Judges by the chain, but for certificates that are trusted as they are.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Judges all others.
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    /// Need no chain.
    pub(crate) itself: Itself,
}

impl ClientCertVerifier for Judge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.itself.verify(certificate, now) {
            Some(verdict) => verdict.map(|()| ClientCertVerified::assertion()),
            None => self.chain.verify_client_cert(certificate, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Takes any certificate, or none, but only with proof that the client has its key.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    /// Judges chains after the handshake.
    pub(crate) judge: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge
            .verify_tls12_signature(message, certificate, signed)
            .or_else(|error| proof_of_odd_certificate(error, message, certificate, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge
            .verify_tls13_signature(message, certificate, signed)
            .or_else(|error| match signed.scheme {
                // RFC 8446 section 4.2.3: not for handshakes
                SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512 => Err(error),
                _ => proof_of_odd_certificate(error, message, certificate, signed),
            })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// A certificate that webpki does not read (of version 1, say) may still hold a good key: the proof is in the key.
fn proof_of_odd_certificate(
    error: Error,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let is_forged = matches!(error, Error::InvalidCertificate(CertificateError::BadSignature));
    let is_unknown = matches!(
        error,
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon)
    );
    if is_forged || is_unknown {
        return Err(error);
    }
    let Ok((_, read)) = X509Certificate::from_der(certificate) else {
        return Err(error);
    };
    let key = &read.public_key().subject_public_key.data;
    provider()
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signed.scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .find(|algorithm| {
            algorithm
                .verify_signature(key, message, signed.signature())
                .is_ok()
        })
        .map(|_| HandshakeSignatureValid::assertion())
        .ok_or(error)
}

/// RFC 4514: the most particular part first, special characters escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes: Vec<String> = part
                .iter()
                .map(|attribute| {
                    let value = attribute.as_str().unwrap_or("?");
                    format!("{}={}", attribute_name(attribute.attr_type()), escaped(value))
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute_name(oid: &Oid<'_>) -> String {
    oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned)
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        let is_edge = (character == ' ' && (at == 0 || at == last)) || (character == '#' && at == 0);
        if character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(text, "\\{byte:02x}");
            }
            continue;
        }
        if is_edge || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::IPAddress(bytes) => ip_text(bytes).map(|address| format!("IP:{address}")),
        _ => None,
    });
    names.collect()
}
